//! What a plug-in may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Duration};

/// Limits of one plug-in; what is absent is taken from the next place: the descriptor's
/// `[plugins.NAME.limits]`, then the manifest's `[limits]`, then the descriptor's `[engine.limits]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of one instance, summed over its memories and tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// CPU time of one call; waiting for the host does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Duration>,
    /// Time of one call by the clock on the wall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall: Option<Duration>,
    /// Instances alive at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// Calls after which an instance is replaced by a fresh one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_instance: Option<u32>,
    /// Host functions that one call may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_calls: Option<u32>,
    /// Rows of one query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
    /// Bytes of one query's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<ByteSize>,
    /// Time of one statement, snapshot or commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement_time: Option<Duration>,
    /// Statements of one commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<u32>,
    /// Bytes of one answer that the plug-in gives to its caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ByteSize>,
    /// Bytes of one blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<ByteSize>,
    /// Bytes of one fetched answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch: Option<ByteSize>,
    /// Time of one fetch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch_time: Option<Duration>,
    /// Bytes that the plug-in may keep in its cache in one process and tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<ByteSize>,
    /// Log lines each second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_rate: Option<u32>,
    /// Time of one answer to a hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<Duration>,
}

impl Limits {
    /// The limits of `self`, with what is absent taken from `below`.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        Self {
            memory: self.memory.or(below.memory),
            cpu: self.cpu.or(below.cpu),
            wall: self.wall.or(below.wall),
            instances: self.instances.or(below.instances),
            calls_per_instance: self.calls_per_instance.or(below.calls_per_instance),
            host_calls: self.host_calls.or(below.host_calls),
            rows: self.rows.or(below.rows),
            bytes: self.bytes.or(below.bytes),
            statement_time: self.statement_time.or(below.statement_time),
            statements: self.statements.or(below.statements),
            result: self.result.or(below.result),
            blob: self.blob.or(below.blob),
            fetch: self.fetch.or(below.fetch),
            fetch_time: self.fetch_time.or(below.fetch_time),
            cache: self.cache.or(below.cache),
            log_rate: self.log_rate.or(below.log_rate),
            hook: self.hook.or(below.hook),
        }
    }
}
