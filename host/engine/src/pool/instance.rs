//! One instance: a store, the component in it, and its exports, looked up.

use std::{sync::Arc, time::Instant};

use prometheus::IntGauge;
use wasmtime::{
    Store, UpdateDeadline,
    component::{Component, ComponentExportIndex, Func, InstancePre},
};

use super::figures::{self, Figures};
use crate::{
    bindings::exports::tessera::plugin::{
        authenticator, consumer, continuation, http, lifecycle, timer,
    },
    capabilities::{Capabilities, wasi},
    contract::Interface,
    engine::{Engine, Kind, Machine, Room},
    limits::{Memory, PluginLimits, TickOver},
    link::define,
    state::{Call, Context, State},
};

/// A component, linked to the host, and where its exports are. Made once for each component and shared by all
/// tenants: what is a tenant's own is found in the store.
#[derive(Clone)]
pub(crate) struct Linked {
    pub(super) pre: InstancePre<State>,
    pub(super) indices: Arc<Indices>,
    pub(super) kind: Kind,
}

impl Linked {
    pub(crate) fn new(
        machine: &Machine,
        kind: Kind,
        component: &Component,
        imports: &[Interface],
        exports: &[Interface],
    ) -> wasmtime::Result<Self> {
        let mut linker = machine.linker.clone();
        define(&mut linker, imports)?;
        wasi::refuse_http(&mut linker, imports)?;
        let pre = linker.instantiate_pre(component)?;
        let indices = Arc::new(Indices::of(&pre, exports)?);
        Ok(Self { pre, indices, kind })
    }
}

/// Where a component's exports are.
pub(crate) struct Indices {
    http: Option<http::GuestIndices>,
    continuation: Option<continuation::GuestIndices>,
    authenticator: Option<authenticator::GuestIndices>,
    consumer: Option<consumer::GuestIndices>,
    timer: Option<timer::GuestIndices>,
    lifecycle: Option<lifecycle::GuestIndices>,
    /// Functions of services and hooks, in the order in which links count them.
    functions: Vec<(String, ComponentExportIndex)>,
}

impl Indices {
    pub(crate) fn of(pre: &InstancePre<State>, exports: &[Interface]) -> wasmtime::Result<Self> {
        let has = |name: &str| exports.iter().any(|export| export.base == name);
        let mut functions = Vec::new();
        for (interface, function) in functions_of(exports) {
            let component = pre.component();
            let index = component
                .get_export_index(None, &interface.name)
                .and_then(|instance| component.get_export_index(Some(&instance), function))
                .ok_or_else(|| wasmtime::format_err!("no export {}.{function}", interface.name))?;
            functions.push((format!("{}.{function}", interface.name), index));
        }
        Ok(Self {
            http: has("tessera:plugin/http").then(|| http::GuestIndices::new(pre)).transpose()?,
            continuation: has("tessera:plugin/continuation")
                .then(|| continuation::GuestIndices::new(pre))
                .transpose()?,
            authenticator: has("tessera:plugin/authenticator")
                .then(|| authenticator::GuestIndices::new(pre))
                .transpose()?,
            consumer: has("tessera:plugin/consumer")
                .then(|| consumer::GuestIndices::new(pre))
                .transpose()?,
            timer: has("tessera:plugin/timer")
                .then(|| timer::GuestIndices::new(pre))
                .transpose()?,
            lifecycle: has("tessera:plugin/lifecycle")
                .then(|| lifecycle::GuestIndices::new(pre))
                .transpose()?,
            functions,
        })
    }

    /// How many functions of services and hooks there are.
    pub(super) fn functions(&self) -> usize {
        self.functions.len()
    }

    /// The name of such a function, by its index in figures.
    pub(super) fn name(&self, index: usize) -> &str {
        let function = index.checked_sub(figures::FIRST).and_then(|at| self.functions.get(at));
        function.map_or("", |(name, _)| name.as_str())
    }
}

/// The functions of all services and hooks that a plug-in offers, in a fixed order.
pub(crate) fn functions_of(exports: &[Interface]) -> impl Iterator<Item = (&Interface, &str)> {
    exports
        .iter()
        .filter(|export| export.is_between_plugins())
        .flat_map(|export| export.functions.keys().map(move |name| (export, name.as_str())))
}

pub(super) struct Exports {
    pub(super) http: Option<http::Guest>,
    pub(super) continuation: Option<continuation::Guest>,
    pub(super) authenticator: Option<authenticator::Guest>,
    pub(super) consumer: Option<consumer::Guest>,
    pub(super) timer: Option<timer::Guest>,
    pub(super) lifecycle: Option<lifecycle::Guest>,
    pub(super) functions: Vec<Func>,
}

/// An instance that is warm.
pub(crate) struct Warm {
    pub(super) store: Store<State>,
    pub(super) exports: Exports,
    calls: u32,
    /// Memory that it had before its first call.
    base: usize,
    pub(super) used: Instant,
    alive: Alive,
}

/// Counts an instance and its memory while it lives.
struct Alive {
    room: Arc<Room>,
    instances: IntGauge,
    memory: IntGauge,
    bytes: i64,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.instances.dec();
        self.memory.sub(self.bytes);
        // The store is gone by now: it stands before this in its instance.
        self.room.changed();
    }
}

impl Warm {
    pub(super) async fn make(
        engine: &Engine,
        caps: &Arc<Capabilities>,
        component: &Linked,
        figures: &Figures,
        context: Context,
    ) -> wasmtime::Result<Self> {
        let Linked { pre, indices, .. } = component;
        let (wasi, table) = wasi::context(caps);
        let state = State {
            caps: Arc::clone(caps),
            call: Call::new(context, caps.shared.bus.mark()),
            memory: Memory::new(caps.limits.memory, Arc::clone(&caps.shared.account)),
            wasi,
            table,
        };
        let mut store = Store::new(pre.component().engine(), state);
        store.limiter(|state| &mut state.memory);
        // At each epoch a guest yields to the others; `Metered` counts and ends it.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| {
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(TickOver::default())))
        });
        // What one call may hand over to the host.
        store.set_hostcall_fuel(caps.limits.result);
        let instance = pre.instantiate_async(&mut store).await?;
        let mut functions = Vec::with_capacity(indices.functions.len());
        for (name, index) in &indices.functions {
            let function = instance
                .get_func(&mut store, index)
                .ok_or_else(|| wasmtime::format_err!("no function {name}"))?;
            functions.push(function);
        }
        macro_rules! load {
            ($field:ident) => {
                match &indices.$field {
                    Some(indices) => Some(indices.load(&mut store, &instance)?),
                    None => None,
                }
            };
        }
        let exports = Exports {
            http: load!(http),
            continuation: load!(continuation),
            authenticator: load!(authenticator),
            consumer: load!(consumer),
            timer: load!(timer),
            lifecycle: load!(lifecycle),
            functions,
        };
        figures.instances.inc();
        let alive = Alive {
            room: Arc::clone(&engine.room),
            instances: figures.instances.clone(),
            memory: figures.memory.clone(),
            bytes: 0,
        };
        let base = store.data().memory.used();
        Ok(Self { store, exports, calls: 0, base, used: Instant::now(), alive })
    }

    /// Sets the context of a call.
    pub(super) fn begin(&mut self, context: Context, caps: &Capabilities) {
        self.calls = self.calls.saturating_add(1);
        self.store.set_epoch_deadline(1);
        let state = self.store.data_mut();
        state.memory.refused = false;
        state.call = Call::new(context, caps.shared.bus.mark());
    }

    /// Takes everything of the call away: locks, subscriptions.
    pub(super) fn end(&mut self) {
        self.used = Instant::now();
        let state = self.store.data_mut();
        state.call.lock = None;
        state.call.watches.clear();
        state.call.context.set = None;
        let bytes = i64::try_from(state.memory.used()).unwrap_or(i64::MAX);
        let alive = &mut self.alive;
        alive.memory.add(bytes.saturating_sub(alive.bytes));
        alive.bytes = bytes;
    }

    /// Whether it has served long enough, or grown too large to keep.
    pub(super) fn is_worn(&self, limits: &PluginLimits) -> bool {
        let memory = &self.store.data().memory;
        // What an interpreter begins with is no wear.
        let room = memory.cap().saturating_sub(self.base);
        let grown = memory.used().saturating_sub(self.base);
        self.calls >= limits.calls_per_instance || grown > room / 2
    }
}
