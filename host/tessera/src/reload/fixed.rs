//! What does not change while a server runs.

use serde_json::Value;
use tessera_manifest::Descriptor;

/// Sections that take another start.
const FIXED: [&str; 18] = [
    "server",
    "listeners",
    "metrics",
    "log",
    "storage",
    "bus",
    "tracing",
    "tenant",
    "tenants",
    "sleep",
    "http",
    "limits",
    "fetch",
    "mail",
    "blobs",
    "crypto",
    "engine",
    "nodes",
];

/// What of a new descriptor takes another start, in words.
pub(super) fn notes(before: &Descriptor, after: &Descriptor) -> Vec<String> {
    let (before, after) = (value(before), value(after));
    let differs = |key: &&&str| before.get(key) != after.get(key);
    let named: Vec<String> = FIXED.iter().filter(differs).map(|key| format!("[{key}]")).collect();
    if named.is_empty() {
        return Vec::new();
    }
    vec![format!("{} changed, which takes effect at the next start", named.join(", "))]
}

fn value(descriptor: &Descriptor) -> Value {
    // What cannot be written as JSON cannot be read as TOML.
    let mut value = serde_json::to_value(descriptor).unwrap_or_default();
    // Modules that were installed by command are added to each node.
    if let Some(nodes) = value.get_mut("nodes").and_then(Value::as_object_mut) {
        for node in nodes.values_mut().filter_map(Value::as_object_mut) {
            node.remove("run");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use tessera_manifest::Descriptor;

    use super::notes;

    #[test]
    fn sections_that_take_another_start_are_named() {
        let read = |text: &str| Descriptor::parse("t", text).unwrap();
        let before = read("[plugins.a]");
        assert_eq!(notes(&before, &read("[plugins.a]\nenabled = false\n[plugins.b]")), [""; 0]);
        let after = read("[plugins.a]\n[http]\nnative-route = true\n[tenant]\nname = 'x.org'");
        assert_eq!(
            notes(&before, &after),
            ["[tenant], [http] changed, which takes effect at the next start"]
        );
    }
}
