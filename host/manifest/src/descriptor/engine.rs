//! The machine that runs components, and what costs CPU beside it.

use std::{num::NonZeroU32, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::count;
use crate::{ByteSize, Duration, Limits};

/// `[engine]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Engine {
    /// Instances alive at once, over all plug-ins.
    pub instances: NonZeroU32,
    /// Calls from the edge at once, over all plug-ins; more wait a moment, then are `unavailable`.
    pub calls: NonZeroU32,
    /// Folder of compiled code; absent: `cache` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// The same for plug-ins that bring a language's runtime with them, such as JavaScript and Python.
    pub large_instances: NonZeroU32,
    /// Largest component file.
    pub component_max: ByteSize,
    /// Memory that compiling one component may take; it happens in a process of its own.
    pub compile_memory: ByteSize,
    /// CPU time that compiling one component may take.
    pub compile_time: Duration,
    /// An instance that nobody used for so long is dropped.
    pub idle: Duration,
    /// Limits of plug-ins that neither their manifest nor the descriptor limits.
    pub limits: Limits,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            instances: count(256),
            calls: count(128),
            cache: None,
            large_instances: count(64),
            component_max: ByteSize::mib(64),
            compile_memory: ByteSize::mib(2048),
            compile_time: Duration::secs(120),
            idle: Duration::secs(300),
            limits: Limits {
                memory: Some(ByteSize::mib(64)),
                cpu: Some(Duration::secs(2)),
                wall: Some(Duration::secs(30)),
                instances: Some(16),
                calls_per_instance: Some(100_000),
                host_calls: Some(10_000),
                rows: Some(10_000),
                bytes: Some(ByteSize::mib(16)),
                statement_time: Some(Duration::secs(10)),
                statements: Some(1_000),
                result: Some(ByteSize::mib(64)),
                blob: Some(ByteSize::mib(100)),
                fetch: Some(ByteSize::mib(64)),
                fetch_time: Some(Duration::secs(30)),
                cache: Some(ByteSize::mib(32)),
                log_rate: Some(100),
                hook: Some(Duration::millis(50)),
            },
        }
    }
}

/// `[crypto]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Crypto {
    /// What hashing a password costs.
    pub password_cost: PasswordCost,
}

/// `[crypto.password-cost]`: parameters of argon2id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PasswordCost {
    /// Memory of one hash.
    pub memory: ByteSize,
    /// Passes over the memory.
    pub passes: NonZeroU32,
    /// Lanes.
    pub lanes: NonZeroU32,
    /// Hashes worked on at once; more wait.
    pub at_once: NonZeroU32,
}

impl Default for PasswordCost {
    /// OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self { memory: ByteSize::mib(19), passes: count(2), lanes: count(1), at_once: count(2) }
    }
}
