//! The address guard: what a name resolves to is checked, and the connection goes to exactly what was checked.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// An address that must not be reached.
#[derive(Debug, thiserror::Error)]
#[error("{host} leads to {address}, which the address guard refuses ([fetch] deny)")]
pub(crate) struct Refused {
    host: String,
    address: IpAddr,
}

/// Ranges that are refused and exceptions from them.
#[derive(Debug)]
pub(crate) struct Guard {
    deny: Vec<IpNet>,
    allow: Vec<IpNet>,
}

impl Guard {
    pub(crate) fn new(deny: Vec<IpNet>, allow: Vec<IpNet>) -> Self {
        Self { deny, allow }
    }

    /// Whether an address may be reached. An IPv6 address that carries an IPv4 one is judged as both.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        let holds =
            |ranges: &[IpNet], address: IpAddr| ranges.iter().any(|range| range.contains(&address));
        let open = |address| holds(&self.allow, address) || !holds(&self.deny, address);
        match address {
            IpAddr::V4(_) => open(address),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => open(IpAddr::V4(v4)),
                None => open(address) && carried(v6).is_none_or(|v4| open(IpAddr::V4(v4))),
            },
        }
    }

    /// Keeps the addresses that may be reached.
    ///
    /// # Errors
    /// None of them may.
    pub(crate) fn filter(
        &self,
        host: &str,
        found: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Refused> {
        let first = found.first().map(SocketAddr::ip);
        let kept: Vec<SocketAddr> =
            found.into_iter().filter(|address| self.allows(address.ip())).collect();
        match first {
            Some(address) if kept.is_empty() => Err(Refused { host: host.to_owned(), address }),
            _ => Ok(kept),
        }
    }
}

/// The IPv4 address that an IPv6 one leads to by way of a translator or tunnel: NAT64 (64:ff9b::/96), SIIT
/// (::ffff:0:0:0/96), 6to4 (2002::/16), Teredo (2001::/32), ISATAP (…:5efe:a.b.c.d), and the old compatible form (::/96).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        (0x64, 0xff9b, 0, 0, 0, 0) | (0, 0, 0, 0, 0 | 0xffff, 0) => Some(v4(g, h)),
        (0x2002, ..) => Some(v4(b, c)),
        (0x2001, 0, ..) => Some(v4(!g, !h)),
        (.., 0 | 0x200, 0x5efe) => Some(v4(g, h)),
        _ => None,
    }
}

/// The system's resolver behind the guard. What it gives is what is connected to: a name is not asked for twice, so an
/// answer that changes between the check and the connection changes nothing.
#[derive(Clone)]
pub(crate) struct GuardedDns {
    guard: Arc<Guard>,
    lookup: Lookup,
}

/// Finds the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

impl GuardedDns {
    /// The system's resolver.
    pub(crate) fn system(guard: Arc<Guard>) -> Self {
        Self::new(guard, |name| {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
        })
    }

    fn new(
        guard: Arc<Guard>,
        lookup: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { guard, lookup: Arc::new(lookup) }
    }
}

impl Resolve for GuardedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.guard);
        let found = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let found = found.await?;
            let kept = guard.filter(name.as_str(), found)?;
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

/// The guard's refusal inside of another error.
pub(crate) fn refusal<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Refused> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return Some(refused);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use reqwest::dns::{Name, Resolve};

    use super::{Guard, GuardedDns, refusal};

    #[tokio::test]
    async fn an_answer_that_changes_is_checked_each_time_and_asked_for_once() {
        let settings = tessera_manifest::Fetch::default();
        let guard = Arc::new(Guard::new(settings.deny, settings.allow));
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        // Outside at first, inside from then on, and once both.
        let dns = GuardedDns::new(guard, move |_| {
            let answer = match counted.fetch_add(1, Ordering::SeqCst) {
                0 => vec!["93.184.216.34:0"],
                1 => vec!["169.254.169.254:0", "127.0.0.1:0"],
                _ => vec!["127.0.0.1:0", "93.184.216.34:0", "[::ffff:10.0.0.1]:0"],
            };
            let answer: Vec<std::net::SocketAddr> =
                answer.iter().map(|text| text.parse().unwrap()).collect();
            Box::pin(async move { Ok(answer) })
        });
        let name = || "rebinding.example".parse::<Name>().unwrap();
        let outside = || vec!["93.184.216.34:0".parse().unwrap()];
        // What is checked is what is connected to: there is no second question in between.
        assert_eq!(dns.resolve(name()).await.unwrap().collect::<Vec<_>>(), outside());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let error = dns.resolve(name()).await.err().unwrap();
        assert!(refusal(error.as_ref()).is_some(), "{error}");
        assert_eq!(dns.resolve(name()).await.unwrap().collect::<Vec<_>>(), outside());
    }

    #[test]
    fn private_addresses_are_refused_in_every_disguise() {
        let settings = tessera_manifest::Fetch::default();
        let guard = Guard::new(settings.deny, settings.allow);
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:0:1:2:3:4:80ff:fffe",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "2606:4700::5efe:10.0.0.1",
            "2606:4700::200:5efe:192.168.0.1",
        ] {
            assert!(!guard.allows(address.parse().unwrap()), "{address}");
        }
        for address in
            ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
        {
            assert!(guard.allows(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_goes_before_what_is_denied() {
        let deny = vec!["127.0.0.0/8".parse().unwrap()];
        let guard = Guard::new(deny, vec!["127.0.0.2/32".parse().unwrap()]);
        assert!(guard.allows("127.0.0.2".parse().unwrap()));
        assert!(guard.allows("::ffff:127.0.0.2".parse().unwrap()));
        assert!(!guard.allows("127.0.0.3".parse().unwrap()));
    }

    #[test]
    fn a_name_is_refused_if_nothing_is_left_of_it() {
        let guard = Guard::new(vec!["127.0.0.0/8".parse().unwrap()], vec![]);
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let kept = guard.filter("a", list(&["127.0.0.1:1", "1.1.1.1:1"])).unwrap();
        assert_eq!(kept, ["1.1.1.1:1".parse().unwrap()]);
        let error = guard.filter("a", list(&["127.0.0.1:1"])).unwrap_err();
        assert!(error.to_string().starts_with("a leads to 127.0.0.1"), "{error}");
    }
}
