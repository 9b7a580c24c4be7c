//! What lives beside a guest: its capabilities, and the context of the call that runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tessera_bus::{Mark, Watch};
use tessera_storage::LockGuard;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    capabilities::{Capabilities, OwnRates},
    limits::{Breach, Memory},
    tenant::PluginSet,
};

/// Data of one store, that is, of one instance.
pub(crate) struct State {
    pub(crate) caps: Arc<Capabilities>,
    pub(crate) call: Call,
    pub(crate) memory: Memory,
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
}

/// The call that runs, or none. Set before each call, taken away after it.
pub(crate) struct Call {
    pub(crate) context: Context,
    /// Subscriptions taken in this call; what is not parked ends with it.
    pub(crate) watches: Vec<(u64, Watch)>,
    next_watch: u64,
    pub(crate) lock: Option<LockGuard>,
    host_calls: u32,
    /// What it waits for that is not its own doing.
    pub(crate) inside: Option<&'static str>,
    /// Rates of the user whose request it answers, if they have any of their own.
    pub(crate) own: Option<OwnRates>,
    /// With what the answer goes on after its first piece.
    pub(crate) more: Option<Vec<u8>>,
    /// Moment of the bus at the start; what the cache is given counts as read then.
    pub(crate) since: Mark,
}

/// What a call inherits from whoever makes it.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// In every log line.
    pub(crate) request_id: Arc<str>,
    pub(crate) deadline: Instant,
    /// 0 for calls from the edge, one more for each plug-in that calls another.
    pub(crate) depth: u8,
    /// The plug-ins among which the call runs, to its end; given up with the call, so that an instance that is kept warm
    /// does not keep plug-ins of long ago.
    pub(crate) set: Option<Arc<PluginSet>>,
    /// Which of the set runs the call.
    pub(crate) unit: usize,
    /// Only its answer is of interest: it must not change anything.
    pub(crate) shadow: Option<Arc<Shadowed>>,
}

/// What a call whose answer nobody gets has tried to do.
#[derive(Debug, Default)]
pub(crate) struct Shadowed {
    wrote: AtomicBool,
}

impl Shadowed {
    /// Whether it tried to change anything, so that its answer says nothing.
    pub(crate) fn wrote(&self) -> bool {
        self.wrote.load(Ordering::Acquire)
    }

    /// Notes that it did.
    pub(crate) fn note(&self) {
        self.wrote.store(true, Ordering::Release);
    }
}

impl Context {
    /// A call from the edge.
    pub(crate) fn edge(
        request_id: Arc<str>,
        deadline: Instant,
        set: Arc<PluginSet>,
        unit: usize,
    ) -> Self {
        Self { request_id, deadline, depth: 0, set: Some(set), unit, shadow: None }
    }

    /// Whether anybody answers a hook (without version) that the plug-in asks.
    pub(crate) fn answers(&self, hook: &str) -> bool {
        let links = self.set.as_ref().map_or(&[][..], |set| set.links(self.unit));
        links.iter().any(|link| link.answers(hook))
    }
}

/// Deepest nesting of calls; cycles between plug-ins end here.
pub(crate) const MAX_DEPTH: u8 = 16;

impl Call {
    pub(crate) fn new(context: Context, since: Mark) -> Self {
        Self {
            context,
            watches: Vec::new(),
            next_watch: 1,
            lock: None,
            host_calls: 0,
            inside: None,
            own: None,
            more: None,
            since,
        }
    }

    /// Keeps a subscription and gives the number by which the guest knows it.
    pub(crate) fn keep(&mut self, watch: Watch) -> u64 {
        let id = self.next_watch;
        self.next_watch = self.next_watch.wrapping_add(1);
        self.watches.push((id, watch));
        id
    }

    /// Takes a subscription out, to be parked.
    pub(crate) fn take(&mut self, id: u64) -> Option<Watch> {
        let index = self.watches.iter().position(|(watch, _)| *watch == id)?;
        Some(self.watches.swap_remove(index).1)
    }
}

impl State {
    /// The reason why the call may not do `what`, where it is a shadow of another.
    pub(crate) fn shadow_refuses(&self, what: &str) -> Option<String> {
        let shadow = self.call.context.shadow.as_ref()?;
        shadow.note();
        Some(format!("a shadow changes nothing: no {what}"))
    }

    /// Counts a host call.
    pub(crate) fn enter(&mut self) -> wasmtime::Result<()> {
        let cap = self.caps.limits.host_calls;
        self.call.host_calls = self.call.host_calls.saturating_add(1);
        if self.call.host_calls > cap {
            return Err(Breach::HostCalls(cap).into());
        }
        Ok(())
    }
}

// Holds types only.
impl crate::bindings::tessera::plugin::identity::Host for State {}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
