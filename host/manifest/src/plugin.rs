//! `plugin.toml`: what a plug-in says about itself.

mod http;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};

pub use self::http::{
    Auth, Authenticator, AuthenticatorReads, BodyKind, HttpSection, Method, Route,
};
use crate::{
    CallName, ConfigProblem, InterfaceName, Limits, Name, OriginPattern, PluginName, Problem,
    TopicName, VersionRange, ViewName, check, locate, text::foreign,
};

/// A plug-in's manifest.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "plugin.toml")]
pub struct PluginManifest {
    /// Its name; tables, topics and metrics carry it as prefix.
    pub name: PluginName,
    /// Its own version, which is also the version of what it provides.
    #[serde(deserialize_with = "foreign::one")]
    #[schemars(with = "String")]
    pub version: Version,
    /// One line for a person.
    #[serde(default)]
    pub description: String,
    /// HTTP routes.
    #[serde(default)]
    pub http: HttpSection,
    /// What it shows to others and wants to see of them.
    #[serde(default)]
    pub storage: StorageSection,
    /// Durable topics.
    #[serde(default)]
    pub topics: TopicsSection,
    /// Authenticators that it answers for, by name.
    #[serde(default)]
    pub authenticators: BTreeMap<Name, Authenticator>,
    /// What it asks to be allowed; the descriptor may cut.
    #[serde(default)]
    pub grants: RequestedGrants,
    /// Versions that it needs of services and hooks that it calls.
    #[serde(default)]
    pub requires: BTreeMap<InterfaceName, VersionRange>,
    /// Hooks that it answers.
    #[serde(default)]
    pub hooks: HooksSection,
    /// Limits that suit it; the descriptor may override.
    #[serde(default)]
    pub limits: Limits,
    /// Its configuration.
    #[serde(default)]
    pub config: ConfigSection,
}

/// `[storage]` of a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StorageSection {
    /// Views of its own that others may read.
    pub exposes: Vec<ViewName>,
    /// Views of others that it reads.
    pub reads: Vec<ViewName>,
    /// Full-text indexes of its own.
    pub full_text: Vec<Name>,
}

/// `[topics]` of a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TopicsSection {
    /// Topics that it emits; they begin with its name.
    pub emits: Vec<TopicName>,
    /// Topics that it consumes.
    pub consumes: Vec<Consume>,
}

/// One topic that a plug-in consumes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Consume {
    /// The topic.
    pub topic: TopicName,
    /// Messages of one call at most.
    #[serde(default = "Consume::batch")]
    pub batch: u32,
    /// Tries after which a message becomes a dead letter.
    #[serde(default = "Consume::max_attempts")]
    pub max_attempts: u32,
}

impl Consume {
    /// 64: enough to spread the cost of a call, few enough to be retried together.
    const fn batch() -> u32 {
        64
    }

    /// 10: with doubling backoff some minutes of trying.
    const fn max_attempts() -> u32 {
        10
    }
}

/// `[grants]` of a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RequestedGrants {
    /// Services and hooks that it calls, whole or by function.
    pub call: Vec<CallName>,
    /// Origins that it fetches from.
    pub fetch: Vec<OriginPattern>,
    /// Whether it signs with the tenant's key, or asks for the public part.
    pub sign: bool,
    /// Whether it hashes and checks passwords.
    pub passwords: bool,
    /// Whether it sends mail through the operator's relay.
    pub mail: bool,
}

/// `[hooks]` of a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HooksSection {
    /// Hooks that it answers, whole or by function; its component exports them.
    pub provides: Vec<CallName>,
}

/// `[config]` of a manifest.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ConfigSection {
    /// Values that hold where the descriptor says nothing.
    pub default: serde_json::Map<String, serde_json::Value>,
    /// JSON schema of the plug-in's section in the descriptor.
    pub schema: serde_json::Map<String, serde_json::Value>,
}

impl ConfigSection {
    /// The configuration that holds: the manifest's default with `over` laid over it, key by key.
    #[must_use]
    pub fn with(
        &self,
        over: &serde_json::Map<String, serde_json::Value>,
    ) -> serde_json::Map<String, serde_json::Value> {
        let mut config = self.default.clone();
        config.extend(over.clone());
        config
    }

    /// Checks a configuration, the default included, against the schema.
    ///
    /// # Errors
    /// The first value that does not fit.
    pub fn check(
        &self,
        config: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), ConfigProblem> {
        crate::config_schema::check(&self.schema, &serde_json::Value::Object(config.clone()))
    }
}

impl PluginManifest {
    /// Reads and checks a manifest. `file` is the name used in messages.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let manifest: Self = locate::read(file, text)?;
        check::manifest(file, text, &manifest)?;
        Ok(manifest)
    }
}
