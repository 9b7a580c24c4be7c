//! Which tenant answers to a host.

use std::{collections::HashMap, sync::Arc};

use tessera_manifest::{Host, HostPattern};

/// Hosts of all tenants, without ports: the edge does not tell them apart. Exact hosts go before those with a wildcard, the
/// longer of these before the shorter.
#[derive(Debug)]
pub(crate) struct Hosts<T> {
    exact: HashMap<Box<str>, Arc<T>>,
    below: HashMap<Box<str>, Arc<T>>,
    any: Option<Arc<T>>,
    /// Of a lone tenant that names no host.
    everything: Option<Arc<T>>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), below: HashMap::new(), any: None, everything: None }
    }
}

impl<T> Hosts<T> {
    /// Puts tenants under their hosts: name, hosts and tenant of each. One without hosts answers to the host of
    /// its name, or where it is the only tenant to every host. What is claimed twice goes to who comes first.
    pub(crate) fn new<'a>(
        tenants: impl ExactSizeIterator<Item = (&'a str, &'a [HostPattern], Arc<T>)>,
    ) -> Self {
        let mut hosts = Self::default();
        let lone = tenants.len() == 1;
        for (name, patterns, tenant) in tenants {
            if patterns.is_empty() && lone {
                hosts.everything = Some(tenant);
                continue;
            }
            for claim in claims(name, patterns) {
                let tenant = Arc::clone(&tenant);
                match claim {
                    Host::Any => _ = hosts.any.get_or_insert(tenant),
                    Host::Below(name) => _ = hosts.below.entry(name.into()).or_insert(tenant),
                    Host::Exactly(name) => _ = hosts.exact.entry(name.into()).or_insert(tenant),
                }
            }
        }
        hosts
    }

    /// Who answers to `host`: in lower case, without port, brackets and last dot. Without a host only a tenant that answers to every one does.
    pub(crate) fn find(&self, host: Option<&str>) -> Option<&Arc<T>> {
        if let Some(tenant) = &self.everything {
            return Some(tenant);
        }
        let Some(host) = host else { return self.any.as_ref() };
        if let Some(tenant) = self.exact.get(host) {
            return Some(tenant);
        }
        let mut rest = host;
        while let Some((_, below)) = rest.split_once('.') {
            if let Some(tenant) = self.below.get(below) {
                return Some(tenant);
            }
            rest = below;
        }
        self.any.as_ref()
    }
}

/// The hosts that a tenant asks for, where it is not the only one.
pub(crate) fn claims(name: &str, patterns: &[HostPattern]) -> Vec<Host> {
    if patterns.is_empty() {
        let end = name.find(']').map_or(0, |at| at + 1);
        let (address, rest) = name.split_at(end);
        let host =
            if address.is_empty() { rest.split(':').next().unwrap_or(rest) } else { address };
        return vec![Host::Exactly(plain(host))];
    }
    let claim = |pattern: &HostPattern| match &pattern.host {
        Host::Exactly(name) => Host::Exactly(plain(name)),
        other => other.clone(),
    };
    patterns.iter().map(claim).collect()
}

fn plain(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tessera_manifest::HostPattern;

    use super::Hosts;

    fn hosts(tenants: &[(&'static str, &[&str])]) -> Hosts<&'static str> {
        let patterns: Vec<Vec<HostPattern>> = tenants
            .iter()
            .map(|(_, hosts)| hosts.iter().map(|host| host.parse().unwrap()).collect())
            .collect();
        let named = tenants.iter().zip(&patterns);
        Hosts::new(named.map(|((name, _), hosts)| (*name, hosts.as_slice(), Arc::new(*name))))
    }

    fn found(hosts: &Hosts<&'static str>, host: &str) -> Option<&'static str> {
        hosts.find(Some(host)).map(|name| **name)
    }

    #[test]
    fn a_lone_tenant_without_hosts_answers_to_every_host() {
        let hosts = hosts(&[("a.org", &[])]);
        assert_eq!(found(&hosts, "b.org"), Some("a.org"));
        assert!(hosts.find(None).is_some());
    }

    #[test]
    fn a_lone_tenant_with_hosts_answers_to_those() {
        let hosts = hosts(&[("a.org", &["chat.a.org"])]);
        assert_eq!(found(&hosts, "chat.a.org"), Some("a.org"));
        assert_eq!(found(&hosts, "a.org"), None);
        assert!(hosts.find(None).is_none());
    }

    #[test]
    fn of_several_each_answers_to_the_host_of_its_name() {
        let hosts = hosts(&[("a.org:8448", &[]), ("B.org", &[]), ("[::1]:80", &[])]);
        assert_eq!(found(&hosts, "a.org"), Some("a.org:8448"));
        assert_eq!(found(&hosts, "b.org"), Some("B.org"));
        assert_eq!(found(&hosts, "::1"), Some("[::1]:80"));
        assert_eq!(found(&hosts, "c.org"), None);
        assert!(hosts.find(None).is_none());
    }

    #[test]
    fn exact_hosts_go_before_wildcards_and_longer_wildcards_before_shorter() {
        let hosts = hosts(&[
            ("any", &["*"]),
            ("org", &["*.org"]),
            ("a", &["*.a.org"]),
            ("x", &["x.a.org"]),
        ]);
        assert_eq!(found(&hosts, "x.a.org"), Some("x"));
        assert_eq!(found(&hosts, "y.a.org"), Some("a"));
        assert_eq!(found(&hosts, "z.y.a.org"), Some("a"));
        assert_eq!(found(&hosts, "a.org"), Some("org"));
        assert_eq!(found(&hosts, "org"), Some("any"));
        assert!(hosts.find(None).is_some());
    }

    #[test]
    fn a_host_that_two_claim_goes_to_the_first() {
        let hosts = hosts(&[("a", &["x.org"]), ("b", &["X.org"])]);
        assert_eq!(found(&hosts, "x.org"), Some("a"));
    }
}
