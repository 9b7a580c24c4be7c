//! What a plug-in is, for people to read.

use serde::Serialize;

use super::Loaded;
use crate::contract::Interface;

/// A plug-in's contract in plain data; `Serialize` gives the JSON of `tessera plugin inspect --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// From the manifest.
    pub name: String,
    /// From the manifest.
    pub version: String,
    /// From the manifest.
    pub description: String,
    /// Bytes of the file.
    pub size: u64,
    /// Interfaces with versions and function names.
    pub imports: Vec<InspectedInterface>,
    /// Interfaces with versions and function names.
    pub exports: Vec<InspectedInterface>,
    /// `METHOD path → id`.
    pub routes: Vec<String>,
    /// Names of its authenticators.
    pub authenticators: Vec<String>,
    /// Views that others may read.
    pub exposes: Vec<String>,
    /// Views of others that it reads.
    pub reads: Vec<String>,
    /// Topics that it emits.
    pub emits: Vec<String>,
    /// Topics that it consumes.
    pub consumes: Vec<String>,
    /// Services and hooks that it asks to call.
    pub calls: Vec<String>,
    /// Origins that it asks to fetch from.
    pub fetches: Vec<String>,
    /// Hooks that it answers.
    pub hooks: Vec<String>,
    /// Names of its migrations.
    pub migrations: Vec<String>,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedInterface {
    /// With version.
    pub name: String,
    /// Names of its functions.
    pub functions: Vec<String>,
}

impl From<&Interface> for InspectedInterface {
    fn from(interface: &Interface) -> Self {
        Self {
            name: interface.name.clone(),
            functions: interface.functions.keys().cloned().collect(),
        }
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

impl Inspection {
    pub(super) fn of(loaded: &Loaded) -> Self {
        let manifest = &loaded.manifest;
        let mut routes = Vec::new();
        for route in &manifest.http.routes {
            for method in &route.methods {
                for path in &route.paths {
                    routes.push(format!("{method} {path} → {}", route.id));
                }
            }
        }
        Self {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            description: manifest.description.clone(),
            size: loaded.size,
            imports: loaded.imports.iter().map(Into::into).collect(),
            exports: loaded.exports.iter().map(Into::into).collect(),
            routes,
            authenticators: manifest.authenticators.keys().map(ToString::to_string).collect(),
            exposes: texts(&manifest.storage.exposes),
            reads: texts(&manifest.storage.reads),
            emits: texts(&manifest.topics.emits),
            consumes: manifest.topics.consumes.iter().map(|c| c.topic.to_string()).collect(),
            calls: texts(&manifest.grants.call),
            fetches: texts(&manifest.grants.fetch),
            hooks: texts(&manifest.hooks.provides),
            migrations: loaded.migrations.iter().map(|m| m.name.clone()).collect(),
        }
    }
}
