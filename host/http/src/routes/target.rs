//! What a route leads to.

use std::sync::Arc;
use std::time::Duration;

use tessera_manifest::{BodyKind, Name, PluginName};

use crate::rates::RateClass;

/// A route of a plug-in for one method, with all defaults filled in.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) plugin: Arc<str>,
    pub(crate) plugin_name: PluginName,
    pub(crate) id: Name,
    /// The id as text.
    pub(crate) route: Arc<str>,
    pub(crate) auth: Option<Authenticate>,
    pub(crate) auth_optional: bool,
    pub(crate) body: BodyKind,
    /// In bytes.
    pub(crate) body_max: u64,
    pub(crate) rate: Option<Arc<RateClass>>,
    pub(crate) timeout: Option<Duration>,
}

/// Who is asked who asks.
#[derive(Clone, Debug)]
pub(crate) struct Authenticate {
    pub(crate) plugin: Arc<str>,
    pub(crate) name: Arc<str>,
    /// It reads the body; its answers are not kept.
    pub(crate) with_body: bool,
}
