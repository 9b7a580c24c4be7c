//! Where modules may come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Name, PublicKey};

/// `[modules]`: modules of third parties.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Modules {
    /// Whose signatures are believed.
    pub trusted_keys: Vec<TrustedKey>,
    /// Install and swap nothing that none of them has signed.
    pub require_signature: bool,
    /// Registries (`HOST` or `HOST:PORT`) that are spoken to without TLS; those on this machine are in any case.
    pub plain_registries: Vec<String>,
}

/// One of `[modules] trusted-keys`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrustedKey {
    /// What it is called when a module is shown.
    pub name: Name,
    /// The public key, as `tessera plugin sign --generate` prints it.
    pub key: PublicKey,
}
