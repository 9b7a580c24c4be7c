//! Changes by command: worked out here, carried out by the server that runs, or on the data folder where none does.

use std::fmt::Display;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tessera_engine::Grants;
use tessera_manifest::{
    Allowed, Covers, Descriptor, Grants as Granted, GrantsTable, InterfaceName, PluginName, Sha256,
};
use toml::Value;

use super::{Overlay, version::VersionChange};
use crate::{
    admin::{self, ModuleQuestion, Question},
    cli::Settings,
    commands::check,
    files,
    folder::{DataFolder, Taken, live_socket},
    manifests::{self, Described},
};

/// What is to be changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub(crate) enum Change {
    /// A plug-in that is not there yet, whose file lies in the data folder already.
    Install {
        name: PluginName,
        file: String,
        sha256: Sha256,
        grants: Granted,
        config: serde_json::Map<String, serde_json::Value>,
    },
    /// One that was installed.
    Remove { name: PluginName },
    /// Words as [`GrantsTable::add`] reads them, or `asked`.
    Grant { name: PluginName, words: Vec<String> },
    /// The same, or `all`.
    Revoke { name: PluginName, words: Vec<String> },
    /// Who is asked first about a hook.
    Order { hook: InterfaceName, plugins: Vec<PluginName> },
    /// Another version in the place of one, or beside it.
    Version(VersionChange),
}

impl Change {
    /// The plug-in whose version changes, or that goes.
    pub(crate) fn name(&self) -> Option<&PluginName> {
        match self {
            Self::Remove { name } => Some(name),
            Self::Version(change) => Some(change.name()),
            _ => None,
        }
    }

    /// The plug-in whose new version is watched for a while.
    pub(crate) fn watched(&self) -> Option<&PluginName> {
        match self {
            Self::Version(change) if change.is_watched() => Some(change.name()),
            _ => None,
        }
    }

    /// Whether versions that run may stop working.
    pub(crate) fn stops(&self) -> bool {
        matches!(self, Self::Version(change) if change.stops())
    }

    /// Makes the change. `alone` is the descriptor without what commands have changed, `with` the one with it. Gives
    /// what the operator should know.
    pub(crate) fn make(
        &self,
        overlay: &mut Overlay,
        alone: &Descriptor,
        with: &Descriptor,
    ) -> Result<Vec<String>> {
        match self {
            Self::Install { name, file, sha256, grants, config } => {
                if with.plugins.contains_key(name) {
                    bail!(
                        "there is a plug-in `{name}` already; `tessera plugin swap {name} FILE` puts another version in its place"
                    );
                }
                let entry = overlay.plugin(name.as_str());
                entry.insert("source".to_owned(), Value::String(file.clone()));
                entry.insert("sha256".to_owned(), Value::String(sha256.to_string()));
                entry.insert("grants".to_owned(), Value::try_from(grants)?);
                if !config.is_empty() {
                    let config = Value::try_from(config);
                    let config = config.context("the configuration holds what TOML cannot say")?;
                    entry.insert("config".to_owned(), config);
                }
                Ok(Vec::new())
            }
            Self::Remove { name } => {
                if alone.plugins.contains_key(name) {
                    bail!(
                        "`{name}` was not installed by command: the descriptor names it; `[plugins.{name}] enabled = false` there switches it off"
                    );
                }
                if !overlay.remove(name.as_str()) {
                    bail!(
                        "there is no plug-in `{name}`; `tessera plugin list` shows those there are"
                    );
                }
                Ok(vec![format!(
                    "its tables stay in the database, and messages are kept for it: `tessera topics forget {name}` ends that"
                )])
            }
            Self::Grant { name, words } => {
                let described = described(with, name)?;
                let current = current(with, name)?;
                let grants = granted(name, &described.asked, &current, words)?;
                let allowed = described.asked.allowed(&grants);
                overlay
                    .plugin(name.as_str())
                    .insert("grants".to_owned(), Value::try_from(&grants)?);
                Ok(still_missing(name, &described.asked, &allowed))
            }
            Self::Revoke { name, words } => {
                let described = described(with, name)?;
                let current = described.asked.allowed(&current(with, name)?);
                let left = revoked(name, &current, words)?;
                let grants = Granted::Only(Box::new(left.table()));
                overlay
                    .plugin(name.as_str())
                    .insert("grants".to_owned(), Value::try_from(&grants)?);
                Ok(Vec::new())
            }
            Self::Order { hook, plugins } => {
                if let Some(name) = plugins.iter().find(|name| !with.plugins.contains_key(*name)) {
                    bail!(
                        "there is no plug-in `{name}`; `tessera plugin list` shows those there are"
                    );
                }
                let names: Vec<String> = plugins.iter().map(ToString::to_string).collect();
                overlay.order(hook.as_str(), &names);
                Ok(Vec::new())
            }
            Self::Version(change) => change.make(overlay, with),
        }
    }

    /// Has it carried out: by the server that runs on the data folder, or here where none does. Gives what the operator
    /// should know.
    pub(crate) fn carry_out(self, settings: &Settings) -> Result<Vec<String>> {
        let with = settings.descriptor()?;
        let data = &with.server.data;
        if let Some(socket) = live_socket(data) {
            return admin::ask(&socket, &Question::Module(ModuleQuestion::Change(self)));
        }
        let folder = match DataFolder::try_open(data)? {
            Taken::Mine(folder) => folder,
            Taken::Another(_) => bail!(
                "a server starts or stops on {} this moment; try again when it is done",
                data.display()
            ),
        };
        let mut overlay = settings.overlay()?;
        let notes = self.make(&mut overlay, &settings.descriptor_alone()?, &with)?;
        check::all(&settings.descriptor_with(&overlay)?)?;
        overlay.write()?;
        drop(folder);
        Ok(notes)
    }
}

/// What a plug-in of the descriptor says about itself.
pub(crate) fn described(descriptor: &Descriptor, name: &PluginName) -> Result<Described> {
    manifests::of(&files::read_one(descriptor, name)?)
}

fn current(descriptor: &Descriptor, name: &PluginName) -> Result<Granted> {
    let entry = descriptor.plugins.get(name);
    Ok(entry.with_context(|| format!("there is no plug-in `{name}`"))?.grants.clone())
}

fn still_missing(name: &PluginName, asked: &Grants, allowed: &Grants) -> Vec<String> {
    manifests::not_allowed(name.as_str(), asked, allowed).into_iter().collect()
}

/// What is allowed after these words, each of which must be something that is asked for.
pub(crate) fn granted(
    name: &PluginName,
    asked: &Grants,
    current: &Granted,
    words: &[String],
) -> Result<Granted> {
    let mut table = match current {
        Granted::Asked => bail!("`{name}` is allowed all that it asks for already"),
        Granted::Only(table) => (**table).clone(),
    };
    for word in words {
        match word.as_str() {
            "asked" if words.len() == 1 => return Ok(Granted::Asked),
            "asked" => bail!("`asked` is everything; say nothing beside it"),
            _ => {}
        }
        for single in singles(word) {
            let mut one = GrantsTable::default();
            one.add(&single).map_err(|error| anyhow!(error))?;
            if asked.within(&one).is_nothing() {
                let asks = asked.arguments();
                let asks = if asks.is_empty() { "nothing".to_owned() } else { asks.join(" ") };
                bail!("`{name}` does not ask for `{single}`\n  it asks for: {asks}");
            }
            table.add(&single).map_err(|error| anyhow!(error))?;
        }
    }
    Ok(Granted::Only(Box::new(table)))
}

/// `call=a,b` as `call=a` and `call=b`.
fn singles(word: &str) -> Vec<String> {
    match word.split_once('=') {
        None => vec![word.to_owned()],
        Some((key, values)) => {
            let values = values.split(',').map(str::trim).filter(|value| !value.is_empty());
            values.map(|value| format!("{key}={value}")).collect()
        }
    }
}

/// What is left after these words are taken away.
fn revoked(name: &PluginName, current: &Grants, words: &[String]) -> Result<Grants> {
    let mut left = current.clone();
    for word in words {
        if word == "all" {
            return Ok(Grants::default());
        }
        for single in singles(word) {
            let mut away = GrantsTable::default();
            away.add(&single).map_err(|error| anyhow!(error))?;
            let before = left.clone();
            take(&mut left.call, &away.call)?;
            take(&mut left.answer, &away.answer)?;
            take(&mut left.hear, &away.hear)?;
            take(&mut left.serve, &away.serve)?;
            take(&mut left.authenticate, &away.authenticate)?;
            take(&mut left.provide, &away.provide)?;
            take(&mut left.reads, &away.reads)?;
            take(&mut left.fetch, &away.fetch)?;
            left.sign &= !away.sign;
            left.passwords &= !away.passwords;
            left.mail &= !away.mail;
            if left == before {
                let has = current.arguments();
                let has = if has.is_empty() { "nothing".to_owned() } else { has.join(" ") };
                bail!("`{name}` is not allowed `{single}`\n  it is allowed: {has}");
            }
        }
    }
    Ok(left)
}

fn take<T: Covers + Display>(from: &mut Vec<T>, away: &Allowed<T>) -> Result<()> {
    let Allowed::Only(away) = away else {
        from.clear();
        return Ok(());
    };
    for away in away {
        let before = from.len();
        from.retain(|one| !away.covers(one));
        if from.len() == before
            && let Some(wide) = from.iter().find(|one| one.covers(away))
        {
            bail!(
                "`{wide}` is allowed as a whole; take that away, and allow the parts that shall stay"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tessera_engine::Grants;
    use tessera_manifest::{Grants as Granted, PluginManifest, PluginName};

    use super::{granted, revoked};

    fn asked() -> Grants {
        let text = "name = 'a'\nversion = '1.0.0'\ngrants.call = ['x:s/y', 'x:s/z']\n\
                    grants.fetch = ['https://*']\ngrants.sign = true";
        Grants::asked(&PluginManifest::parse("plugin.toml", text).unwrap(), [])
    }

    fn name() -> PluginName {
        "a".parse().unwrap()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn grant(current: &Granted, given: &[&str]) -> Result<Granted, String> {
        granted(&name(), &asked(), current, &words(given)).map_err(|error| error.to_string())
    }

    #[test]
    fn grants_add_up_and_are_taken_away_one_by_one() {
        let some = grant(&Granted::default(), &["call=x:s/y.f,x:s/z", "sign"]).unwrap();
        let more = grant(&some, &["fetch=https://a.org"]).unwrap();
        let allowed = asked().allowed(&more);
        assert_eq!(allowed.arguments(), ["call=x:s/y.f,x:s/z", "fetch=https://a.org", "sign"]);
        let left = revoked(&name(), &allowed, &words(&["call=x:s/y", "sign"])).unwrap();
        assert_eq!(left.arguments(), ["call=x:s/z", "fetch=https://a.org"]);
        assert!(revoked(&name(), &allowed, &words(&["all"])).unwrap().is_nothing());
        assert_eq!(grant(&some, &["asked"]).unwrap(), Granted::Asked);
    }

    #[test]
    fn what_is_not_asked_cannot_be_allowed() {
        let refused = grant(&Granted::default(), &["call=x:s/y,x:s/w"]).unwrap_err();
        assert!(refused.contains("does not ask for `call=x:s/w`"), "{refused}");
        assert!(
            refused.contains("it asks for: call=x:s/y,x:s/z fetch=https://* sign"),
            "{refused}"
        );
        assert!(grant(&Granted::Asked, &["sign"]).unwrap_err().contains("already"));
        assert!(grant(&Granted::default(), &["asked", "sign"]).is_err());
    }

    #[test]
    fn what_is_not_allowed_or_only_a_part_cannot_be_taken_away() {
        let allowed = asked();
        let refuse =
            |word: &str| revoked(&name(), &allowed, &words(&[word])).unwrap_err().to_string();
        assert!(refuse("passwords").contains("is not allowed `passwords`"));
        assert!(refuse("call=x:s/y.f").contains("`x:s/y` is allowed as a whole"));
    }
}
