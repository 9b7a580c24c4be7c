//! What lives beside a guest: its capabilities, and the context of the call that runs.

use std::{sync::Arc, time::Instant};

use tessera_bus::{Mark, Watch};
use tessera_storage::LockGuard;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    capabilities::Capabilities,
    limits::{Breach, Memory},
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
