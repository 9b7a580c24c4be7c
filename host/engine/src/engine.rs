//! The engine: wasmtime with our settings, the clock of epochs, the code cache, and what all plug-ins link to.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use wasmtime::{
    Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, component::Linker,
};

use crate::{
    bindings::Everything, capabilities::wasi, compile::CodeCache, fair::Fair, metrics::Metrics,
    pool::Pool, quota::Account, state::State,
};

/// Settings of the whole process.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Folder of compiled code.
    pub cache_dir: PathBuf,
    /// File of the key under which the code cache is authenticated; made if absent, mode 0600.
    pub cache_key: PathBuf,
    /// Instances alive at once, over all plug-ins and tenants.
    pub instances: u32,
    /// Largest component file in bytes.
    pub component_max: u64,
    /// Largest memory that any limit may allow one instance, in bytes.
    pub memory_max: usize,
    /// An instance that nobody used for so long is dropped.
    pub idle: Duration,
    /// Guests that run at once. The runtime should have a thread more, so that a tenant of which nothing runs need
    /// not wait for those that flood.
    pub cpus: u32,
}

impl EngineConfig {
    /// Defaults, with everything below one data folder.
    #[must_use]
    pub fn below(data: &std::path::Path) -> Self {
        Self {
            cache_dir: data.join("cache"),
            cache_key: data.join("cache.key"),
            instances: 256,
            component_max: 64 << 20,
            memory_max: 512 << 20,
            idle: Duration::from_secs(300),
            cpus: cpus(),
        }
    }
}

/// The processors of this machine that the process may use.
fn cpus() -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    u32::try_from(cpus).unwrap_or(u32::MAX)
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The code cache or its key cannot be used.
    #[error("cannot use the code cache {path}: {source}")]
    Cache {
        /// The folder.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// wasmtime refused the settings, for instance for lack of address space.
    #[error("the WebAssembly engine does not start: {0}")]
    Wasm(String),
    /// A metric of this name is registered already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Loads plug-ins and holds what they share. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What [`Engine`] points to.
pub struct Inner {
    pub(crate) wasm: wasmtime::Engine,
    pub(crate) config: EngineConfig,
    pub(crate) cache: CodeCache,
    pub(crate) metrics: Arc<Metrics>,
    /// Host capabilities and WASI; cloned for each plug-in.
    pub(crate) linker: Linker<State>,
    pub(crate) fair: Fair,
    pub(crate) room: Arc<Room>,
    ticking: Arc<AtomicBool>,
    /// Those that run; asked to give up idle instances where there is no room for another.
    pools: Mutex<Vec<Weak<Pool>>>,
}

impl std::ops::Deref for Engine {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts the engine and its clock; metrics go to `registry`.
    ///
    /// # Errors
    ///
    /// See [`EngineError`].
    pub fn new(config: EngineConfig, registry: &prometheus::Registry) -> Result<Self, EngineError> {
        let wasm = wasmtime::Engine::new(&settings(&config))
            .map_err(|error| EngineError::Wasm(format!("{error:#}")))?;
        let cache =
            CodeCache::open(&config.cache_dir, &config.cache_key, &wasm).map_err(|source| {
                EngineError::Cache { path: config.cache_dir.display().to_string(), source }
            })?;
        let mut linker = Linker::new(&wasm);
        wasi::add_to_linker(&mut linker)
            .and_then(|()| {
                Everything::add_to_linker::<_, wasmtime::component::HasSelf<State>>(
                    &mut linker,
                    |state| state,
                )
            })
            .map_err(|error| EngineError::Wasm(format!("{error:#}")))?;
        let metrics = Arc::new(Metrics::new(registry)?);
        let ticking = Arc::new(AtomicBool::new(true));
        tick(wasm.weak(), Arc::clone(&ticking));
        Ok(Self {
            inner: Arc::new(Inner {
                wasm,
                fair: Fair::new(config.cpus),
                room: Arc::default(),
                config,
                cache,
                metrics,
                linker,
                ticking,
                pools: Mutex::default(),
            }),
        })
    }
}

/// Tells calls that wait for an instance that there may be room for one.
#[derive(Default)]
pub(crate) struct Room {
    changed: Notify,
    waiting: AtomicU32,
}

impl Room {
    /// An instance is idle, or gone.
    pub(crate) fn changed(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.changed.notify_waiters();
        }
    }

    /// Counts who waits; take it before the look.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting { room: self }
    }
}

/// See [`Room::wait`].
pub(crate) struct Waiting<'a> {
    room: &'a Room,
}

impl Waiting<'_> {
    /// The next change after this was called.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.changed.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Inner {
    /// Remembers a pool while it lives.
    pub(crate) fn register(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    fn pools(&self) -> Vec<Arc<Pool>> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().filter_map(Weak::upgrade).collect()
    }

    /// Drops the idle instances of one tenant.
    pub(crate) fn reclaim_of(&self, account: &Arc<Account>) -> usize {
        let now = std::time::Instant::now();
        let own = |pool: &&Arc<Pool>| Arc::ptr_eq(&pool.caps.shared.account, account);
        self.pools().iter().filter(own).map(|pool| pool.drop_used_until(now)).sum()
    }

    /// Drops instances that run nothing, whosever they are: those that were not used for longest, a sixteenth of
    /// what there may be, and always one if there is one. Gives how many.
    pub(crate) fn reclaim(&self) -> usize {
        let pools = self.pools();
        let mut used: Vec<std::time::Instant> = Vec::new();
        pools.iter().for_each(|pool| pool.last_used(&mut used));
        used.sort_unstable();
        let share = self.config.instances as usize / 16;
        let Some(until) = used.get(share.min(used.len().saturating_sub(1))) else { return 0 };
        pools.iter().map(|pool| pool.drop_used_until(*until)).sum()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ticking.store(false, Ordering::Relaxed);
    }
}

/// The clock: each tick makes every running guest yield once. A plain thread, so that a busy runtime
/// cannot stop it.
fn tick(engine: wasmtime::EngineWeak, ticking: Arc<AtomicBool>) {
    std::thread::Builder::new()
        .name("epochs".to_owned())
        .spawn(move || {
            while ticking.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        })
        .map_or_else(|error| tracing::error!(%error, "no clock for CPU limits"), drop);
}

/// Length of an epoch: how long one guest may keep a thread from the others.
pub(crate) const TICK: Duration = Duration::from_millis(1);

fn settings(config: &EngineConfig) -> Config {
    let instances = config.instances.max(1);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        // A Rust guest is one core module and two or three adapters; a JavaScript or Python one up to thirty.
        .total_core_instances(instances.saturating_mul(8))
        .max_core_instances_per_component(64)
        // One memory for each instance, and room for a few that have several.
        .total_memories(instances.saturating_mul(2))
        .max_memories_per_component(8)
        .total_tables(instances.saturating_mul(6))
        .max_tables_per_component(32)
        // Function tables of large guests reach some ten thousand elements.
        .table_elements(100_000)
        // One fiber for each instance that runs.
        .total_stacks(instances)
        .max_memory_size(config.memory_max)
        // Host-side state of one component instance; 1 MiB is wasmtime's own figure.
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        // Kept mapped between instances: saves page faults on what nearly every guest touches.
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(16 << 10)
        .max_unused_warm_slots(instances / 4);
    let mut settings = Config::new();
    settings
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        // Guests are blocking; the concurrent machinery costs each call several microseconds.
        .concurrency_support(false)
        // Half for the guest's own recursion, the rest for host functions on the same fiber.
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        // Names in traps, without the text of whole modules.
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20));
    settings
}
