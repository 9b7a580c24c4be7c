//! What one plug-in may use.

use std::{
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use prometheus::Counter;
use wasmtime::ResourceLimiter;

use crate::{
    fair::{Fair, Turn},
    quota::Account,
};

/// Resolved limits of one plug-in: the descriptor's over the manifest's over these defaults.
#[derive(Debug, Clone, PartialEq)]
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
    #[error("an answer with more than {0} {1}")]
    Many(usize, &'static str),
    #[error("an answer with the header {0:?}, which cannot be sent")]
    Header(String),
}

impl Breach {
    /// The value of the metric's label.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::HostCalls(_) => "host-calls",
            Self::Memory(_) => "memory",
            Self::Result(_) | Self::Many(..) => "result",
            Self::Header(_) => "header",
        }
    }
}

/// Memory of one instance, summed over all its memories and tables.
pub(crate) struct Memory {
    cap: usize,
    used: usize,
    /// Of the tenant; has what is used here, too.
    account: Arc<Account>,
    /// Growth was refused in this call: says why the guest then trapped.
    pub(crate) refused: bool,
}

impl Memory {
    pub(crate) fn new(cap: usize, account: Arc<Account>) -> Self {
        account.instance();
        Self { cap, used: 0, account, refused: false }
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
        self.account.grow(after.saturating_sub(self.used));
        self.used = after;
        true
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.account.shrink(self.used);
        self.account.instance_gone();
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

    /// Over what a memory may have at most, whatever the limit is.
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }
}

thread_local! {
    static POLLING: Polling = const {
        Polling { inner: Cell::new(Duration::ZERO), guest: Cell::new(false), yielded: Cell::new(false) }
    };
}

/// What the meters on this thread's stack share.
struct Polling {
    /// Time that inner meters have measured since the innermost running one began its poll.
    inner: Cell<Duration>,
    /// A meter is being polled.
    guest: Cell<bool>,
    /// A guest used up its tick in this poll.
    yielded: Cell<bool>,
}

/// What a guest awaits at each tick. It wakes nobody: the outermost meter sees it and stands in line.
#[derive(Default)]
pub(crate) struct TickOver {
    seen: bool,
}

impl Future for TickOver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.seen {
            return Poll::Ready(());
        }
        self.seen = true;
        let metered = POLLING.with(|polling| {
            polling.yielded.set(polling.guest.get());
            polling.guest.get()
        });
        if !metered {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Longest that a tenant over its CPU quota waits between two ticks: slow, not dead.
const SLOWED: Duration = Duration::from_millis(50);

/// Counts the time inside polls of a guest's future, without that of guests which it calls, and ends it
/// when the limit is passed. A guest yields at each epoch, so no poll is much longer than one.
///
/// The outermost one waits for its turn before each poll ([`crate::fair`]) and charges its tenant.
pub(crate) struct Metered<'a, F> {
    future: F,
    used: Duration,
    limit: Duration,
    /// Where the sum goes in the end, in seconds.
    total: &'a Counter,
    account: &'a Arc<Account>,
    turn: Turn<'a>,
    /// The tenant is over its quota of CPU.
    slowed: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<'a, F> Metered<'a, F> {
    pub(crate) fn new(
        future: F,
        limit: Duration,
        total: &'a Counter,
        fair: &'a Fair,
        account: &'a Arc<Account>,
    ) -> Self {
        let turn = Turn::new(fair, account);
        Self { future, used: Duration::ZERO, limit, total, account, turn, slowed: None }
    }
}

impl<T, F: Future<Output = wasmtime::Result<T>> + Unpin> Metered<'_, F> {
    /// One poll of the guest, and how long it took with all that it called.
    fn measure(&mut self, cx: &mut Context<'_>) -> (Poll<wasmtime::Result<T>>, Duration, Instant) {
        let outer = POLLING.with(|polling| polling.inner.replace(Duration::ZERO));
        let start = Instant::now();
        let polled = Pin::new(&mut self.future).poll(cx);
        let end = Instant::now();
        let took = end.saturating_duration_since(start);
        let inner = POLLING.with(|polling| polling.inner.replace(outer.saturating_add(took)));
        self.used = self.used.saturating_add(took.saturating_sub(inner));
        (polled, took, end)
    }

    fn over(&self) -> bool {
        self.used > self.limit
    }
}

impl<T, F: Future<Output = wasmtime::Result<T>> + Unpin> Future for Metered<'_, F> {
    type Output = wasmtime::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if POLLING.with(|polling| polling.guest.get()) {
            let (polled, ..) = this.measure(cx);
            if polled.is_pending() && this.over() {
                return Poll::Ready(Err(Breach::Cpu(this.limit).into()));
            }
            return polled;
        }
        if let Some(slowed) = &mut this.slowed {
            std::task::ready!(slowed.as_mut().poll(cx));
            this.slowed = None;
        }
        std::task::ready!(this.turn.begin(cx));
        let outermost = Outermost::enter();
        let (polled, took, end) = this.measure(cx);
        let yielded = outermost.leave();
        this.account.charge(took, end);
        if polled.is_ready() || this.over() {
            this.turn.end();
            return match polled {
                Poll::Ready(output) => Poll::Ready(output),
                Poll::Pending => Poll::Ready(Err(Breach::Cpu(this.limit).into())),
            };
        }
        let wait = if yielded { this.account.over_cpu() } else { Duration::ZERO };
        if !wait.is_zero() {
            this.turn.end();
            let mut slowed = Box::pin(tokio::time::sleep(wait.min(SLOWED)));
            if slowed.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            this.slowed = Some(slowed);
        } else if yielded {
            this.turn.again(cx);
        } else {
            this.turn.end();
        }
        Poll::Pending
    }
}

/// Marks this thread as polling a guest; also where the poll panics.
struct Outermost;

impl Outermost {
    fn enter() -> Self {
        POLLING.with(|polling| {
            polling.guest.set(true);
            polling.yielded.set(false);
            polling.inner.set(Duration::ZERO);
        });
        Self
    }

    /// Whether a guest used up its tick.
    fn leave(self) -> bool {
        POLLING.with(|polling| polling.yielded.get())
    }
}

impl Drop for Outermost {
    fn drop(&mut self) {
        POLLING.with(|polling| polling.guest.set(false));
    }
}

impl<F> Drop for Metered<'_, F> {
    fn drop(&mut self) {
        self.total.inc_by(self.used.as_secs_f64());
    }
}
