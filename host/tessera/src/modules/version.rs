//! Changes of a plug-in's version: in its place, beside it, and back.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tessera_manifest::{Descriptor, Percent, PluginName, Sha256, TenantName};
use toml::{Table, Value};

use super::Overlay;

/// What is to be changed about the version of a plug-in. Files lie in the data folder already.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "version", rename_all = "kebab-case")]
pub(crate) enum VersionChange {
    /// Another version in its place; `stop`: also where the one before cannot run any more.
    Swap { name: PluginName, file: String, sha256: Sha256, stop: bool },
    /// Another version gets a part of the calls.
    Canary {
        name: PluginName,
        file: String,
        sha256: Sha256,
        share: Percent,
        tenants: Vec<TenantName>,
        stop: bool,
    },
    /// The version that gets a part of the calls gets all of them.
    Finish { name: PluginName },
    /// Ends a canary, or goes back to the version before.
    Rollback { name: PluginName },
    /// Another version is asked the same.
    Shadow { name: PluginName, file: String, sha256: Sha256, functions: Vec<String> },
    /// It is not asked any more.
    EndShadow { name: PluginName },
}

impl VersionChange {
    /// Whose version it is.
    pub(crate) fn name(&self) -> &PluginName {
        match self {
            Self::Swap { name, .. }
            | Self::Canary { name, .. }
            | Self::Finish { name }
            | Self::Rollback { name }
            | Self::Shadow { name, .. }
            | Self::EndShadow { name } => name,
        }
    }

    /// Whether the version that runs may stop working.
    pub(crate) fn stops(&self) -> bool {
        matches!(self, Self::Swap { stop: true, .. } | Self::Canary { stop: true, .. })
    }

    /// Whether the new version is watched for a while.
    pub(crate) fn is_watched(&self) -> bool {
        matches!(self, Self::Swap { .. } | Self::Canary { .. } | Self::Finish { .. })
    }

    /// Makes the change. Gives what the operator should know.
    pub(crate) fn make(&self, overlay: &mut Overlay, with: &Descriptor) -> Result<Vec<String>> {
        let name = self.name();
        let Some(there) = with.plugins.get(name) else {
            bail!("there is no plug-in `{name}`; `tessera plugin install FILE` installs one");
        };
        let entry = overlay.plugin(name.as_str());
        match self {
            Self::Swap { file, sha256, .. } => {
                put_in(entry, version(file, sha256));
            }
            Self::Canary { file, sha256, share, tenants, .. } => {
                let mut canary = version(file, sha256);
                canary.insert("share".to_owned(), Value::String(share.to_string()));
                if !tenants.is_empty() {
                    let tenants = tenants.iter().map(|tenant| Value::String(tenant.to_string()));
                    canary.insert("tenants".to_owned(), Value::Array(tenants.collect()));
                }
                entry.remove("shadow");
                entry.insert("canary".to_owned(), Value::Table(canary));
            }
            Self::Finish { .. } => {
                let Some(Value::Table(mut canary)) = entry.remove("canary") else {
                    bail!("no other version of `{name}` gets a part of its calls");
                };
                canary.remove("share");
                canary.remove("tenants");
                put_in(entry, canary);
            }
            Self::Rollback { .. } => return back(name, entry),
            Self::Shadow { file, sha256, functions, .. } => {
                if there.canary.is_some() {
                    bail!(
                        "another version of `{name}` gets a part of its calls; `tessera plugin swap {name} --finish` or `tessera plugin rollback {name}` ends that"
                    );
                }
                let mut shadow = version(file, sha256);
                if !functions.is_empty() {
                    let functions = functions.iter().map(|one| Value::String(one.clone()));
                    shadow.insert("functions".to_owned(), Value::Array(functions.collect()));
                }
                entry.insert("shadow".to_owned(), Value::Table(shadow));
            }
            Self::EndShadow { .. } => {
                if entry.remove("shadow").is_none() {
                    bail!("no other version of `{name}` is asked the same");
                }
            }
        }
        Ok(Vec::new())
    }
}

fn version(file: &str, sha256: &Sha256) -> Table {
    let mut table = Table::new();
    table.insert("source".to_owned(), Value::String(file.to_owned()));
    table.insert("sha256".to_owned(), Value::String(sha256.to_string()));
    table
}

/// The keys that say which file it is.
const FILE: [&str; 2] = ["source", "sha256"];

/// Puts a version in the place of the one that counts, which is noted.
fn put_in(entry: &mut Table, version: Table) {
    let mut before = Table::new();
    for key in FILE {
        if let Some(value) = entry.remove(key) {
            before.insert(key.to_owned(), value);
        }
    }
    entry.remove("canary");
    entry.remove("shadow");
    entry.extend(version);
    entry.insert("before".to_owned(), Value::Table(before));
}

fn back(name: &PluginName, entry: &mut Table) -> Result<Vec<String>> {
    if entry.remove("canary").is_some() {
        return Ok(vec![format!("the other version of `{name}` gets no calls any more")]);
    }
    let Some(Value::Table(before)) = entry.remove("before") else {
        bail!("`{name}` was not swapped: there is no version before to go back to");
    };
    for key in FILE {
        entry.remove(key);
    }
    entry.remove("shadow");
    entry.extend(before);
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use tessera_manifest::Descriptor;

    use super::{Overlay, VersionChange};

    fn sha(digit: &str) -> String {
        digit.repeat(64)
    }

    fn swap(file: &str, digit: &str) -> VersionChange {
        VersionChange::Swap {
            name: "a".parse().unwrap(),
            file: file.to_owned(),
            sha256: sha(digit).parse().unwrap(),
            stop: false,
        }
    }

    #[test]
    fn a_rollback_goes_back_one_version_at_a_time() {
        let data = tempfile::tempdir().unwrap();
        let mut overlay = Overlay::read(data.path()).unwrap();
        let with = Descriptor::parse("t", "[plugins.a]").unwrap();
        let back = VersionChange::Rollback { name: "a".parse().unwrap() };
        assert!(back.make(&mut overlay, &with).unwrap_err().to_string().contains("not swapped"));
        swap("a-2.wasm", "2").make(&mut overlay, &with).unwrap();
        assert_eq!(overlay.get("a").unwrap()["source"].as_str(), Some("a-2.wasm"));
        swap("a-3.wasm", "3").make(&mut overlay, &with).unwrap();
        let before = &overlay.get("a").unwrap()["before"];
        assert_eq!(before["source"].as_str(), Some("a-2.wasm"));
        back.make(&mut overlay, &with).unwrap();
        let entry = overlay.get("a").unwrap();
        assert_eq!(entry["source"].as_str(), Some("a-2.wasm"));
        assert_eq!(entry["sha256"].as_str(), Some(&*sha("2")));
        assert!(!entry.contains_key("before"));
    }

    #[test]
    fn a_canary_is_finished_or_ended() {
        let data = tempfile::tempdir().unwrap();
        let mut overlay = Overlay::read(data.path()).unwrap();
        let with = Descriptor::parse("t", "[plugins.a]").unwrap();
        let name = || "a".parse().unwrap();
        let canary = VersionChange::Canary {
            name: name(),
            file: "a-2.wasm".to_owned(),
            sha256: sha("2").parse().unwrap(),
            share: "5%".parse().unwrap(),
            tenants: Vec::new(),
            stop: false,
        };
        canary.make(&mut overlay, &with).unwrap();
        assert_eq!(overlay.get("a").unwrap()["canary"]["share"].as_str(), Some("5%"));
        VersionChange::Rollback { name: name() }.make(&mut overlay, &with).unwrap();
        assert!(overlay.get("a").unwrap().is_empty());
        let finish = VersionChange::Finish { name: name() };
        assert!(finish.make(&mut overlay, &with).is_err());
        canary.make(&mut overlay, &with).unwrap();
        finish.make(&mut overlay, &with).unwrap();
        let entry = overlay.get("a").unwrap();
        assert_eq!(entry["source"].as_str(), Some("a-2.wasm"));
        assert!(entry["before"].as_table().unwrap().is_empty() && !entry.contains_key("canary"));
    }
}
