//! `plugin.toml` and `tessera.toml` as types that cannot be wrong; no runtime code.
//!
//! [`PluginManifest`] is what a plug-in says about itself, [`Descriptor`] what the operator wants.
//! Both are read with unknown keys refused, and every error names file, line, column, key and what
//! is allowed there ([`Problem`]).

mod address;
mod byte_size;
mod check;
mod config_schema;
mod descriptor;
mod duration;
#[doc(hidden)]
pub mod fuzzing;
mod host_pattern;
mod interface;
mod limits;
mod locate;
mod merge;
mod names;
mod plugin;
mod problem;
mod route_pattern;
mod schema;
mod text;

pub use address::{ListenAddr, OrOff};
pub use byte_size::ByteSize;
pub use config_schema::ConfigProblem;
pub use descriptor::{
    Allowed, Answer, Answers, Before, Blobs, BlobsStore, Bus, BusEngine, BusTls, Canary, Cors,
    Covers, Crypto, Descriptor, Engine, Fetch, Grants, GrantsTable, Hooks, Http, LimitClass,
    Listener, Log, LogFormat, Mail, MailRelay, MailSecurity, Metrics, Modules, Node, OnError,
    PasswordCost, Percent, Plugin, Quotas, Rate, RateBy, Server, Shadow, Sleep, Storage,
    StorageEngine, Swap, Tenant, TenantEntry, Tls, Tracing, TrustedKey,
};
pub use duration::Duration;
pub use host_pattern::{Host, HostPattern, OriginPattern, Scheme};
pub use interface::{CallName, InterfaceName, VersionRange};
pub use limits::Limits;
pub use names::{Name, PluginName, PublicKey, Sha256, TenantName, TopicName, ViewName};
pub use plugin::{
    Auth, Authenticator, AuthenticatorReads, BodyKind, ConfigSection, Consume, HooksSection,
    HttpSection, Method, PluginManifest, RequestedGrants, Route, StorageSection, TopicsSection,
};
pub use problem::{Details, Problem};
pub use route_pattern::{RoutePattern, Segment};
pub use schema::{Schema, schemas};
pub use semver::{Version, VersionReq};
