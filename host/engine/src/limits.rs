//! What one plug-in may use.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use prometheus::Counter;
use wasmtime::ResourceLimiter;

/// Resolved limits of one plug-in: the descriptor's over the manifest's over these defaults.
#[derive(Debug, Clone)]
pub struct PluginLimits {
    /// Bytes of all memories and tables of one instance.
    pub memory: usize,
    /// CPU time of one call, without what it waits for and without the plug-ins that it calls.
    pub cpu: Duration,
    /// Wall time of one call, unless its route has its own.
    pub wall: Duration,
    /// Calls from the edge that run at once; as many again at each depth.
    pub instances: u32,
    /// Calls after which an instance retires.
    pub calls_per_instance: u32,
    /// Host functions that one call may call.
    pub host_calls: u32,
    /// Bytes that one host or service call may hand over, and a response may have.
    pub result: usize,
    /// Largest blob that the plug-in may put from memory.
    pub blob: usize,
    /// Largest body of an outbound answer in bytes.
    pub fetch: u64,
    /// Longest outbound request.
    pub fetch_time: Duration,
    /// Bytes of the plug-in's cache.
    pub cache: u64,
    /// Log lines per second.
    pub log_rate: u32,
    /// Wall time of one answer to a hook.
    pub hook: Duration,
    /// Calls that may wait for an instance; more are refused.
    pub queue: u32,
    /// What its SQL may use.
    pub storage: tessera_storage::Limits,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            cpu: Duration::from_secs(2),
            wall: Duration::from_secs(30),
            instances: 16,
            calls_per_instance: 100_000,
            host_calls: 10_000,
            result: 32 << 20,
            blob: 16 << 20,
            fetch: 16 << 20,
            fetch_time: Duration::from_secs(30),
            cache: 16 << 20,
            log_rate: 200,
            hook: Duration::from_millis(50),
            queue: 1024,
            storage: tessera_storage::Limits::default(),
        }
    }
}

impl PluginLimits {
    /// These limits, with whatever `over` says in place of them.
    #[must_use]
    pub fn with(mut self, over: &tessera_manifest::Limits) -> Self {
        fn set<T, U>(target: &mut T, value: Option<U>, convert: impl Fn(U) -> T) {
            if let Some(value) = value {
                *target = convert(value);
            }
        }
        set(&mut self.memory, over.memory, |v| v.as_usize());
        set(&mut self.cpu, over.cpu, |v| v.get());
        set(&mut self.wall, over.wall, |v| v.get());
        set(&mut self.instances, over.instances, |v| v.max(1));
        set(&mut self.calls_per_instance, over.calls_per_instance, |v| v.max(1));
        set(&mut self.host_calls, over.host_calls, |v| v);
        set(&mut self.result, over.result, |v| v.as_usize());
        set(&mut self.blob, over.blob, |v| v.as_usize());
        set(&mut self.fetch, over.fetch, |v| v.get());
        set(&mut self.fetch_time, over.fetch_time, |v| v.get());
        set(&mut self.cache, over.cache, |v| v.get());
        set(&mut self.log_rate, over.log_rate, |v| v);
        set(&mut self.hook, over.hook, |v| v.get());
        set(&mut self.storage.rows, over.rows, |v| v as usize);
        set(&mut self.storage.bytes, over.bytes, |v| v.as_usize());
        set(&mut self.storage.time, over.statement_time, |v| v.get());
        set(&mut self.storage.statements, over.statements, |v| v as usize);
        self
    }
}

/// A limit that a guest ran into; it ends the call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Breach {
    #[error("CPU time over {0:?}")]
    Cpu(Duration),
    #[error("more than {0} host calls")]
    HostCalls(u32),
    #[error("memory over {0} bytes")]
    Memory(usize),
    #[error("an answer over {0} bytes")]
    Result(usize),
}

impl Breach {
    /// The value of the metric's label.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::HostCalls(_) => "host-calls",
            Self::Memory(_) => "memory",
            Self::Result(_) => "result",
        }
    }
}

/// Memory of one instance, summed over all its memories and tables.
#[derive(Debug)]
pub(crate) struct Memory {
    cap: usize,
    used: usize,
    /// Growth was refused in this call: says why the guest then trapped.
    pub(crate) refused: bool,
}

impl Memory {
    pub(crate) fn new(cap: usize) -> Self {
        Self { cap, used: 0, refused: false }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let after = self.used.saturating_add(desired.saturating_sub(current));
        if after > self.cap {
            self.refused = true;
            return false;
        }
        self.used = after;
        true
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let element = size_of::<usize>();
        Ok(self.grow(current.saturating_mul(element), desired.saturating_mul(element)))
    }
}

thread_local! {
    /// Time that inner meters have measured since the innermost running one began its poll.
    static INNER: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Counts the time inside polls of a guest's future, without that of guests which it calls, and ends it
/// when the limit is passed. A guest yields at each epoch, so no poll is much longer than one.
pub(crate) struct Metered<'a, F> {
    future: F,
    used: Duration,
    limit: Duration,
    /// Where the sum goes in the end, in seconds.
    total: &'a Counter,
}

impl<'a, F> Metered<'a, F> {
    pub(crate) fn new(future: F, limit: Duration, total: &'a Counter) -> Self {
        Self { future, used: Duration::ZERO, limit, total }
    }
}

impl<T, F: Future<Output = wasmtime::Result<T>> + Unpin> Future for Metered<'_, F> {
    type Output = wasmtime::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outer = INNER.replace(Duration::ZERO);
        let start = Instant::now();
        let polled = Pin::new(&mut self.future).poll(cx);
        let took = start.elapsed();
        let inner = INNER.replace(outer.saturating_add(took));
        self.used = self.used.saturating_add(took.saturating_sub(inner));
        if polled.is_pending() && self.used > self.limit {
            return Poll::Ready(Err(Breach::Cpu(self.limit).into()));
        }
        polled
    }
}

impl<F> Drop for Metered<'_, F> {
    fn drop(&mut self) {
        self.total.inc_by(self.used.as_secs_f64());
    }
}
