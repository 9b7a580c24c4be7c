//! The instances of one plug-in and tenant.
//!
//! An instance runs one call at a time. It is taken out of the pool before a call and comes back only after
//! success: whatever ends a call otherwise (a trap, a limit, a time-out, a dropped future) drops it.
//! Calls from the edge wait for a place; nested calls have places of their own at each depth and never wait,
//! so no call waits for what its caller holds.

mod figures;
mod gate;
mod health;
mod instance;
mod work;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use wasmtime::component::InstancePre;

pub use self::health::Health;
use self::{
    figures::Figures,
    gate::{Gate, Pass},
    health::Supervisor,
    instance::Warm,
};
pub(crate) use self::{
    instance::{Indices, functions_of},
    work::{Authenticate, CallFunction, Consume, Fire, Handle, Resume, Start, Work},
};
use crate::{
    api::CallError,
    capabilities::Capabilities,
    engine::Engine,
    limits::{Breach, Metered},
    state::{Context, State},
};

/// See the module.
pub(crate) struct Pool {
    engine: Engine,
    pub(crate) caps: Arc<Capabilities>,
    pre: InstancePre<State>,
    indices: Indices,
    idle: Mutex<Vec<Warm>>,
    gate: Gate,
    supervisor: Supervisor,
    figures: Figures,
}

impl Pool {
    pub(crate) fn new(
        engine: &Engine,
        caps: Arc<Capabilities>,
        pre: InstancePre<State>,
        indices: Indices,
        edge: Arc<tokio::sync::Semaphore>,
    ) -> Self {
        let figures = Figures::new(
            &engine.metrics,
            &caps.shared.tenant,
            &caps.plugin,
            indices.function_names(),
        );
        Self {
            engine: engine.clone(),
            gate: Gate::new(caps.limits.instances, caps.limits.queue, edge),
            supervisor: Supervisor::new(&caps.shared.tenant, &caps.plugin),
            caps,
            pre,
            indices,
            idle: Mutex::new(Vec::new()),
            figures,
        }
    }

    /// Runs one call on an instance of its own. At depth 0 it may wait for a place, deeper it does not.
    pub(crate) async fn run<W: Work>(
        &self,
        context: Context,
        work: W,
    ) -> Result<W::Output, CallError> {
        let start = Instant::now();
        let function = self.figures.function(work.function());
        let result = self.admitted(context, work).await;
        if let Some(function) = function {
            function.record(result.as_ref().err(), start.elapsed());
        }
        result
    }

    async fn admitted<W: Work>(&self, context: Context, work: W) -> Result<W::Output, CallError> {
        self.supervisor.admit()?;
        let deadline = context.deadline;
        let pass = match self.gate.enter(context.depth, deadline).await {
            Ok(pass) => pass,
            Err(error) => {
                self.figures.limit("slots");
                return Err(error);
            }
        };
        let mut lease = Lease { pool: self, warm: None, running: true, _pass: pass };
        let outcome = tokio::time::timeout_at(deadline.into(), lease.run(context, work)).await;
        match outcome {
            Ok(Ok(output)) => {
                self.supervisor.succeeded();
                lease.give_back();
                Ok(output)
            }
            Ok(Err(error)) => Err(self.failed(&error, &lease)),
            Err(_elapsed) => {
                self.figures.limit("wall");
                tracing::warn!(tenant = %self.caps.shared.tenant, plugin = %self.caps.plugin, "call timed out");
                Err(CallError::Timeout)
            }
        }
    }

    /// What an error of wasmtime's means to the caller.
    fn failed(&self, error: &wasmtime::Error, lease: &Lease<'_>) -> CallError {
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            self.figures.limit("slots");
            return CallError::Unavailable("no room for another instance".to_owned());
        }
        if let Some(NotOffered(what)) = error.downcast_ref() {
            return CallError::Unavailable(format!(
                "plug-in {} offers no {what}",
                self.caps.plugin
            ));
        }
        let mut reason = error.root_cause().to_string();
        let mut limit = error.downcast_ref::<Breach>().map(Breach::name);
        if let Some(warm) = &lease.warm {
            let memory = &warm.store.data().memory;
            if memory.refused {
                limit = Some("memory");
                reason = format!("{} ({reason})", Breach::Memory(memory.cap()));
            }
        }
        if let Some(limit) = limit {
            self.figures.limit(limit);
        }
        tracing::warn!(
            tenant = %self.caps.shared.tenant, plugin = %self.caps.plugin, version = self.caps.version,
            reason, "call trapped"
        );
        tracing::debug!(plugin = %self.caps.plugin, "{error:?}");
        self.supervisor.trapped(&reason);
        CallError::Trapped(reason)
    }

    /// A new instance; what it runs at its start counts like a call.
    async fn make(&self, context: Context) -> wasmtime::Result<Warm> {
        let make =
            Warm::make(&self.engine, &self.caps, &self.pre, &self.indices, &self.figures, context);
        Metered::new(std::pin::pin!(make), self.caps.limits.cpu, &self.figures.cpu).await
    }

    fn take_idle(&self) -> Option<Warm> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Drops instances that nobody used for `idle`, and says how many.
    pub(crate) fn trim(&self, idle: Duration) -> usize {
        let mut instances = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one is the one used last.
        let stale = instances.iter().take_while(|warm| warm.used.elapsed() >= idle).count();
        let dropped: Vec<Warm> = instances.drain(..stale).collect();
        drop(instances);
        dropped.len()
    }

    /// How it fares.
    pub(crate) fn health(&self) -> Health {
        self.supervisor.health()
    }

    /// Ends a quarantine.
    pub(crate) fn release(&self) {
        self.supervisor.succeeded();
    }

    /// Instances alive and idle.
    pub(crate) fn instances(&self) -> (u64, u64) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        (u64::try_from(self.figures.instances.get()).unwrap_or(0), idle as u64)
    }
}

/// The plug-in does not export the interface that was called.
#[derive(Debug, thiserror::Error)]
#[error("not offered: {0}")]
pub(crate) struct NotOffered(pub(crate) &'static str);

/// A place in the pool and the instance that runs there.
struct Lease<'a> {
    pool: &'a Pool,
    warm: Option<Warm>,
    /// Not yet given back: if dropped now, the instance is poisoned.
    running: bool,
    _pass: Pass,
}

impl Lease<'_> {
    async fn run<W: Work>(&mut self, context: Context, work: W) -> wasmtime::Result<W::Output> {
        let pool = self.pool;
        let limit = pool.caps.limits.cpu;
        let warm = match pool.take_idle() {
            Some(warm) => warm,
            None => match pool.make(context.clone()).await {
                // Others may hold room that they do not use now.
                Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                    pool.engine.reclaim();
                    pool.make(context.clone()).await?
                }
                made => made?,
            },
        };
        let warm = self.warm.insert(warm);
        warm.begin(context, &pool.caps);
        Metered::new(work.run(warm), limit, &pool.figures.cpu).await
    }

    /// The call went well: the instance serves again, unless it is worn.
    fn give_back(mut self) {
        self.running = false;
        let Some(mut warm) = self.warm.take() else { return };
        let pool = self.pool;
        warm.end();
        if warm.is_worn(&pool.caps.limits) {
            pool.figures.retired.inc();
            return;
        }
        let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Nested calls may have made more than the edge alone needs.
        if idle.len() < pool.caps.limits.instances as usize {
            idle.push(warm);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.running && self.warm.is_some() {
            self.pool.figures.poisoned.inc();
        }
    }
}
