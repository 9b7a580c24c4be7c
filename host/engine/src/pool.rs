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
mod score;
mod work;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::Instrument as _;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use self::{
    figures::Figures,
    gate::{Gate, Pass},
    health::Supervisor,
    instance::Warm,
    score::Score,
};
pub use self::{health::Health, score::Reading};
pub(crate) use self::{
    instance::{Linked, functions_of},
    work::{
        Authenticate, CONTINUATION, CallFunction, Consume, Fire, Handle, Next, Resume, Start, Work,
    },
};
use crate::{
    api::CallError,
    capabilities::{Capabilities, LineFull},
    engine::{Engine, Kind},
    journal::{Event, Note},
    limits::{Breach, Metered},
    state::Context,
    trace,
};

/// See the module.
pub(crate) struct Pool {
    engine: Engine,
    pub(crate) caps: Arc<Capabilities>,
    component: Linked,
    idle: Mutex<Vec<Warm>>,
    gate: Gate,
    supervisor: Supervisor,
    figures: Figures,
    pub(crate) score: Score,
}

impl Pool {
    pub(crate) fn new(
        engine: &Engine,
        caps: Arc<Capabilities>,
        component: &Linked,
        edge: Arc<tokio::sync::Semaphore>,
    ) -> Self {
        let figures = Figures::new(&engine.metrics, &caps, component.indices.functions());
        Self {
            engine: engine.clone(),
            gate: Gate::new(caps.limits.instances, caps.limits.queue, edge),
            supervisor: Supervisor::new(
                &caps.shared.tenant,
                &caps.plugin,
                &caps.version,
                Arc::clone(&caps.journal),
            ),
            caps,
            component: component.clone(),
            idle: Mutex::new(Vec::new()),
            figures,
            score: Score::default(),
        }
    }

    /// Runs one call on an instance of its own. At depth 0 it may wait for a place, deeper it does not.
    pub(crate) async fn run<W: Work>(
        &self,
        context: Context,
        work: W,
    ) -> Result<W::Output, CallError> {
        let start = Instant::now();
        let index = work.function();
        let name = || self.component.indices.name(index);
        let function = figures::fixed(index).unwrap_or_else(name);
        let span = tracing::info_span!(
            target: trace::TARGET, "call", tenant = &*self.caps.shared.tenant,
            plugin = &*self.caps.plugin, function
        );
        let result = self.admitted(context, work, function).instrument(span).await;
        let took = start.elapsed();
        let fault = match &result {
            Ok(output) => W::is_fault(output),
            Err(CallError::Unavailable(_)) => !self.takes_calls(),
            Err(error) => error.is_fault(),
        };
        self.score.record(fault, took);
        self.figures.record(&self.caps, index, name, result.as_ref().err(), took);
        result
    }

    async fn admitted<W: Work>(
        &self,
        context: Context,
        work: W,
        function: &str,
    ) -> Result<W::Output, CallError> {
        let request_id = Arc::clone(&context.request_id);
        let note = Note { function, request_id: &request_id, ..Note::default() };
        self.supervisor.admit()?;
        if context.depth == 0 {
            self.caps.shared.account.admit()?;
        }
        let deadline = context.deadline;
        let pass = match self.gate.enter(context.depth, deadline).await {
            Ok(pass) => pass,
            Err(error) => {
                self.figures.limit(&self.caps, "slots");
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
            Ok(Err(error)) => Err(self.failed(&error, &lease, note)),
            Err(_elapsed) => {
                self.late(&lease, note);
                Err(CallError::Timeout)
            }
        }
    }

    /// A call ran out of time.
    fn late(&self, lease: &Lease<'_>, note: Note<'_>) {
        let caps = &self.caps;
        self.figures.limit(caps, "wall");
        // What the host or another plug-in takes is not this one's fault.
        let inside = lease.warm.as_ref().and_then(|warm| warm.store.data().call.inside);
        let reason = match inside {
            Some(what) => format!("timed out in {what}"),
            None => "timed out".to_owned(),
        };
        if !matches!(inside, Some("storage" | "another plug-in" | "crypto")) {
            self.supervisor.slow(&reason);
        }
        tracing::warn!(
            tenant = %caps.shared.tenant, plugin = %caps.plugin, version = caps.version,
            function = note.function, request_id = note.request_id, limit = "wall", reason,
            "call timed out"
        );
        caps.journal.note(
            Event::Fault,
            &caps.version,
            Note { limit: "wall", reason: &reason, ..note },
        );
    }

    /// What an error of wasmtime's means to the caller.
    fn failed(&self, error: &wasmtime::Error, lease: &Lease<'_>, note: Note<'_>) -> CallError {
        if error.is::<MemoryQuota>() {
            return self.caps.shared.account.refuse("memory", PATIENCE);
        }
        if error.is::<PoolConcurrencyLimitError>() {
            self.figures.limit(&self.caps, "slots");
            return CallError::Unavailable("no room for another instance".to_owned());
        }
        if let Some(NotOffered(what)) = error.downcast_ref() {
            return CallError::Unavailable(format!(
                "plug-in {} offers no {what}",
                self.caps.plugin
            ));
        }
        if error.is::<LineFull>() {
            // Others' work is in the way: no fault of the plug-in's.
            self.figures.limit(&self.caps, "passwords");
            return CallError::Trapped(LineFull.to_string());
        }
        let mut reason = error.root_cause().to_string();
        let mut limit = error.downcast_ref::<Breach>().map(Breach::name);
        if error.downcast_ref() == Some(&Trap::StackOverflow) {
            limit = Some("stack");
        } else if reason.contains("fuel allocated for hostcalls") {
            limit = Some("result");
            reason = Breach::Result(self.caps.limits.result).to_string();
        }
        if let Some(warm) = &lease.warm {
            let memory = &warm.store.data().memory;
            if memory.refused {
                limit = Some("memory");
                reason = format!("{} ({reason})", Breach::Memory(memory.cap()));
            }
        }
        if let Some(limit) = limit {
            self.figures.limit(&self.caps, limit);
        }
        let limit = limit.unwrap_or_default();
        let caps = &self.caps;
        tracing::warn!(
            tenant = %caps.shared.tenant, plugin = %caps.plugin, version = caps.version,
            function = note.function, request_id = note.request_id, limit, reason, "call trapped"
        );
        caps.journal.note(Event::Fault, &caps.version, Note { limit, reason: &reason, ..note });
        tracing::debug!(plugin = %self.caps.plugin, "{error:?}");
        self.supervisor.trapped(&reason);
        CallError::Trapped(reason)
    }

    /// A new instance; what it runs at its start counts like a call.
    async fn make(&self, context: Context) -> wasmtime::Result<Warm> {
        let make = Warm::make(&self.engine, &self.caps, &self.component, &self.figures, context);
        self.metered(std::pin::pin!(make)).await
    }

    /// Counts CPU time, lets others have their turn, and ends what takes too much.
    fn metered<F>(&self, guest: F) -> Metered<'_, F> {
        let account = &self.caps.shared.account;
        Metered::new(guest, self.caps.limits.cpu, &self.figures.cpu, &self.engine.fair, account)
    }

    /// A new instance, or one that others give back meanwhile where there is no room for a new one: no slot in the
    /// process, or the tenant's quota of memory is used up. Nested calls do not wait.
    async fn another(&self, context: &Context) -> wasmtime::Result<Warm> {
        let account = &self.caps.shared.account;
        let waiting = self.engine.room.wait();
        let patience = Instant::now().checked_add(PATIENCE).unwrap_or(context.deadline);
        loop {
            // Before the look, so that nothing that is given back after it is missed.
            let changed = waiting.changed();
            if let Some(warm) = self.take_idle() {
                return Ok(warm);
            }
            let full = if account.has_memory() || self.engine.reclaim_of(account) > 0 {
                match self.make(context.clone()).await {
                    // Others may hold room that they do not use now.
                    Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                        if self.engine.reclaim() > 0 {
                            continue;
                        }
                        error
                    }
                    made => return made,
                }
            } else {
                wasmtime::Error::from(MemoryQuota)
            };
            if context.depth > 0 {
                return Err(full);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(patience.into()) => return Err(full),
            }
        }
    }

    fn take_idle(&self) -> Option<Warm> {
        self.idle().pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Warm>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops instances that nobody used for `idle`.
    pub(crate) fn trim(&self, idle: Duration) {
        let idle = match self.component.kind {
            Kind::Small => idle,
            Kind::Large => idle.min(LARGE_IDLE),
        };
        if let Some(until) = Instant::now().checked_sub(idle) {
            self.drop_used_until(until);
        }
    }

    /// When its idle instances were last used.
    pub(crate) fn last_used(&self, into: &mut Vec<Instant>) {
        into.extend(self.idle().iter().map(|warm| warm.used));
    }

    /// Drops idle instances that were last used then or before, and says how many.
    pub(crate) fn drop_used_until(&self, until: Instant) -> usize {
        let mut instances = self.idle();
        // The last one is the one used last.
        let stale = instances.iter().take_while(|warm| warm.used <= until).count();
        let dropped: Vec<Warm> = instances.drain(..stale).collect();
        drop(instances);
        dropped.len()
    }

    /// How it fares.
    pub(crate) fn health(&self) -> Health {
        self.supervisor.health()
    }

    /// Whether it takes calls now: it is neither paused nor quarantined.
    pub(crate) fn takes_calls(&self) -> bool {
        self.supervisor.admit().is_ok()
    }

    /// Ends a quarantine.
    pub(crate) fn release(&self) {
        self.supervisor.released();
    }

    /// Instances alive and idle.
    pub(crate) fn instances(&self) -> (u64, u64) {
        let idle = self.idle().len();
        (u64::try_from(self.figures.instances.get()).unwrap_or(0), idle as u64)
    }
}

/// The plug-in does not export the interface that was called.
#[derive(Debug, thiserror::Error)]
#[error("not offered: {0}")]
pub(crate) struct NotOffered(pub(crate) &'static str);

/// The tenant's instances use all the memory that they may.
#[derive(Debug, thiserror::Error)]
#[error("the tenant's instances use all the memory that they may")]
struct MemoryQuota;

/// An instance that holds an interpreter's heap is kept no longer than this where nobody uses it.
const LARGE_IDLE: Duration = Duration::from_secs(60);

/// How long a call from the edge waits for an instance where no new one can be made.
const PATIENCE: Duration = Duration::from_secs(1);

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
        let warm = match pool.take_idle() {
            Some(warm) => warm,
            None => pool.another(&context).await?,
        };
        let warm = self.warm.insert(warm);
        warm.begin(context, &pool.caps);
        pool.metered(work.run(warm)).await
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
        let mut idle = pool.idle();
        // Nested calls may have made more than the edge alone needs.
        if idle.len() < pool.caps.limits.instances as usize {
            idle.push(warm);
            drop(idle);
            pool.engine.room.changed();
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
