//! Which node of the descriptor this process is.

use anyhow::{Result, bail};
use tessera_manifest::{Descriptor, Name};

/// One node's share of the descriptor.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: Name,
    run: Vec<String>,
}

impl Node {
    /// The node that this process is to be; none where the descriptor has no nodes. Its listeners and
    /// its metrics address take their places in the descriptor.
    pub(crate) fn take(descriptor: &mut Descriptor, wanted: Option<&str>) -> Result<Option<Self>> {
        let names: Vec<&str> = descriptor.nodes.keys().map(Name::as_str).collect();
        let Some(wanted) = wanted else {
            if names.is_empty() {
                return Ok(None);
            }
            bail!(
                "the descriptor has nodes: say which of them this process is with --node NAME\n  there are: {}",
                names.join(", ")
            );
        };
        if names.is_empty() {
            bail!(
                "--node {wanted}: the descriptor has no `[nodes]`; leave --node out to run everything in this process"
            );
        }
        let Some((name, node)) = descriptor.nodes.iter().find(|(name, _)| name.as_str() == wanted)
        else {
            bail!(
                "--node {wanted}: the descriptor has no such node\n  there are: {}",
                names.join(", ")
            );
        };
        let (name, node) = (name.clone(), node.clone());
        if let Some(listeners) = node.listeners {
            descriptor.listeners = listeners;
        }
        if let Some(metrics) = node.metrics {
            descriptor.metrics.address = metrics;
        }
        let run = node.run.iter().map(ToString::to_string).collect();
        Ok(Some(Self { name, run }))
    }

    /// Whether it runs a plug-in; what it does not run it reaches over the bus.
    pub(crate) fn runs(&self, plugin: &str) -> bool {
        self.run.iter().any(|name| name == plugin)
    }
}

#[cfg(test)]
mod tests {
    use tessera_manifest::Descriptor;

    use super::Node;

    const NODES: &str = "
        [storage]
        engine = 'postgres'
        [bus]
        engine = 'nats'
        [plugins.a]
        [plugins.b]
        [nodes.one]
        run = ['a']
        listeners = [{ address = '127.0.0.1:81' }]
        metrics = 'off'
        [nodes.two]
        run = ['b']
    ";

    fn refused(text: &str, wanted: Option<&str>) -> String {
        let mut descriptor = Descriptor::parse("t", text).unwrap();
        Node::take(&mut descriptor, wanted).unwrap_err().to_string()
    }

    #[test]
    fn a_node_has_its_own_listeners_and_metrics() {
        let mut descriptor = Descriptor::parse("t", NODES).unwrap();
        let node = Node::take(&mut descriptor, Some("one")).unwrap().unwrap();
        assert!(node.runs("a") && !node.runs("b"));
        assert_eq!(descriptor.listeners[0].address.to_string(), "127.0.0.1:81");
        assert_eq!(descriptor.metrics.address.on(), None);
    }

    #[test]
    fn what_a_node_does_not_say_stays_as_it_is() {
        let mut descriptor = Descriptor::parse("t", NODES).unwrap();
        let before = descriptor.clone();
        Node::take(&mut descriptor, Some("two")).unwrap().unwrap();
        assert_eq!(descriptor, before);
    }

    #[test]
    fn a_node_must_be_named_where_there_are_some_and_not_where_there_are_none() {
        assert!(refused(NODES, None).contains("with --node NAME\n  there are: one, two"));
        assert!(refused(NODES, Some("three")).contains("no such node\n  there are: one, two"));
        assert!(refused("", Some("one")).contains("has no `[nodes]`"));
        assert!(Node::take(&mut Descriptor::default(), None).unwrap().is_none());
    }
}
