//! A tenant's settings from the command line.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use tessera_manifest::{PluginName, Quotas};

use crate::{cli::EntryArguments, tenants::archive::Over};

impl TryFrom<EntryArguments> for Over {
    type Error = anyhow::Error;

    fn try_from(arguments: EntryArguments) -> Result<Self> {
        let plugins = (!arguments.plugin.is_empty()).then_some(arguments.plugin);
        Ok(Self {
            hosts: arguments.hosts,
            plugins,
            quotas: quotas(&arguments.quotas)?,
            config: config(&arguments.set)?,
        })
    }
}

fn quotas(given: &[String]) -> Result<Quotas> {
    let mut table = Map::new();
    for given in given {
        let (key, value) = split(given, "--quota", "KEY=VALUE, such as rows=1000000")?;
        let value = json(value);
        if value.as_f64().is_some_and(|number| number <= 0.0) {
            bail!("--quota {given}: a quota is above 0; leave it out to have none");
        }
        match key.split_once('.') {
            Some(("counts", name)) => {
                let counts = table.entry("counts").or_insert_with(|| Map::new().into());
                if let Some(counts) = counts.as_object_mut() {
                    counts.insert(name.to_owned(), value);
                }
            }
            _ => drop(table.insert(key.to_owned(), value)),
        }
    }
    serde_json::from_value(Value::Object(table)).context("--quota")
}

fn config(given: &[String]) -> Result<BTreeMap<PluginName, Map<String, Value>>> {
    let mut tables: BTreeMap<PluginName, Map<String, Value>> = BTreeMap::new();
    for given in given {
        let want = "PLUGIN.KEY=VALUE, such as accounts.registration=false";
        let (key, value) = split(given, "--set", want)?;
        let Some((plugin, key)) = key.split_once('.') else {
            bail!("--set {given}: expected {want}");
        };
        let plugin: PluginName =
            plugin.parse().map_err(|error| anyhow::anyhow!("--set {given}: {error}"))?;
        tables.entry(plugin).or_default().insert(key.to_owned(), json(value));
    }
    Ok(tables)
}

fn split<'a>(given: &'a str, flag: &str, want: &str) -> Result<(&'a str, &'a str)> {
    given.split_once('=').with_context(|| format!("{flag} {given}: expected {want}"))
}

/// What is no JSON is a text.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{config, quotas};

    fn strings(given: &[&str]) -> Vec<String> {
        given.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn quotas_are_read() {
        let given = strings(&["cpu=0.5", "bytes=2GiB", "rows=10", "counts.users=3", "counts.a=1"]);
        let read = serde_json::to_value(quotas(&given).unwrap()).unwrap();
        let expected =
            json!({"cpu": 0.5, "bytes": "2GiB", "rows": 10, "counts": {"users": 3, "a": 1}});
        assert_eq!(read, expected);
    }

    #[test]
    fn wrong_quotas_are_named() {
        for (given, said) in [
            ("cpu", "expected KEY=VALUE"),
            ("cpu=0", "a quota is above 0"),
            ("cpus=1", "unknown field `cpus`"),
            ("rows=many", "invalid type"),
        ] {
            let error = format!("{:#}", quotas(&strings(&[given])).unwrap_err());
            assert!(error.contains(said) && error.contains("--quota"), "{error}");
        }
    }

    #[test]
    fn configuration_is_read() {
        let read = config(&strings(&["a.x=1", "a.y=two words", "b.z={\"deep\":true}"])).unwrap();
        let expected = json!({"a": {"x": 1, "y": "two words"}, "b": {"z": {"deep": true}}});
        assert_eq!(serde_json::to_value(read).unwrap(), expected);
        for given in ["a=1", "a.x", "A.x=1"] {
            let error = format!("{:#}", config(&strings(&[given])).unwrap_err());
            assert!(error.contains("--set"), "{error}");
        }
    }
}
