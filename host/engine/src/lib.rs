//! The engine: loads plug-ins, links them to the host and to one another, and runs their calls in
//! sandboxes that are limited, pooled and supervised.

pub mod api;
pub mod bindings;
mod capabilities;
mod compile;
pub mod contract;
mod engine;
mod fair;
#[doc(hidden)]
pub mod fuzzing;
mod golden;
mod grants;
mod journal;
mod limits;
mod link;
mod metrics;
mod plugin;
mod pool;
mod quota;
pub mod remote;
mod state;
mod tenant;
pub mod trace;

pub use self::{
    capabilities::{
        Buckets, Crypto, CryptoError, Fetch, FetchBody, FetchError, FetchGrants, FetchRequest,
        FetchResponse, LimitClass, Mail, MailError, MailMessage, PasswordCost, Passwords,
    },
    compile::{ChildCompiler, Compiler, compile_as_child},
    engine::{Engine, EngineConfig, EngineError},
    golden::Round,
    grants::Grants,
    journal::{Entry, Event, Faults},
    limits::PluginLimits,
    link::LinkError,
    metrics::Metrics,
    plugin::{InspectedInterface, Inspection, LoadError, Loaded, Plugin},
    pool::{Health, Reading},
    quota::{TenantQuotas, Usage},
    remote::Remote,
    tenant::{
        Compared, HookSettings, PluginSpec, PluginStatus, Prepared, StartError, Tenant,
        TenantParts, TrialMode, TrialSpec, TrialStatus, VersionFigures,
    },
};
