//! Plug-ins, what they are allowed, and hooks.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{InterfaceName, Limits, OriginPattern, PluginName, Sha256, ViewName};

/// `[plugins.NAME]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Plugin {
    /// Whether it runs.
    pub enabled: bool,
    /// The file, relative to the plug-ins folder; absent: `NAME.wasm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// Digest of the file; another file is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// What it is allowed: `"asked"` for all that its manifest asks, or a table.
    pub grants: Grants,
    /// Limits over those of its manifest.
    pub limits: Limits,
    /// What a trap or a timeout in an answer to a hook means.
    pub on_error: OnError,
    /// Its configuration; only the plug-in knows what it means.
    pub config: serde_json::Map<String, serde_json::Value>,
}

impl Default for Plugin {
    fn default() -> Self {
        Self {
            enabled: true,
            source: None,
            sha256: None,
            grants: Grants::default(),
            limits: Limits::default(),
            on_error: OnError::default(),
            config: serde_json::Map::new(),
        }
    }
}

/// What a plug-in is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Grants {
    /// All that its manifest asks.
    #[default]
    Asked,
    /// This much of what its manifest asks.
    Only(GrantsTable),
}

/// `[plugins.NAME.grants]`: a list that is absent allows what the manifest asks, one that is there allows only
/// what is in both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GrantsTable {
    /// Services and hooks that it may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Vec<InterfaceName>>,
    /// Origins that it may fetch from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch: Option<Vec<OriginPattern>>,
    /// Views of others that it may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<Vec<ViewName>>,
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Grants;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("\"asked\" or a table of grants")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Grants, E> {
                if text == "asked" {
                    return Ok(Grants::Asked);
                }
                Err(E::custom(format!(
                    "`{text}` is no grant; expected \"asked\" or a table such as {{ call = [] }}"
                )))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Grants, A::Error> {
                GrantsTable::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(Grants::Only)
            }
        }

        from.deserialize_any(Visitor)
    }
}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Asked => to.serialize_str("asked"),
            Self::Only(table) => table.serialize(to),
        }
    }
}

impl JsonSchema for Grants {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Grants".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        let table = generator.subschema_for::<GrantsTable>();
        schemars::json_schema!({ "anyOf": [{ "const": "asked" }, table] })
    }
}

/// What a trap or a timeout in an answer to a hook means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// As if it had no objection.
    Allow,
    /// As if it had refused.
    #[default]
    Deny,
}

/// `[hooks]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Hooks {
    /// Who is asked, in this order. A plug-in that answers a hook but is not named here is asked
    /// after those named, in the order of names.
    pub order: BTreeMap<InterfaceName, Vec<PluginName>>,
    /// What the caller of a hook is told where a module trapped or took too long and its `on-error` is `"deny"`: the
    /// fields of the hook's refusal.
    pub refusals: BTreeMap<InterfaceName, serde_json::Value>,
}
