//! The engine: wasmtime with our settings, the clock of epochs, the code cache, and what all plug-ins link to.

mod machine;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

pub(crate) use self::machine::{Kind, Machine, compiling};
use crate::{
    compile::{CodeCache, Compiler},
    fair::Fair,
    metrics::Metrics,
    pool::Pool,
    quota::Account,
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
    /// The same for components that bring a language's runtime, such as JavaScript and Python; these have a pool of
    /// their own.
    pub large_instances: u32,
    /// Largest component file in bytes.
    pub component_max: u64,
    /// Largest memory that any limit may allow one instance, in bytes.
    pub memory_max: usize,
    /// An instance that nobody used for so long is dropped.
    pub idle: Duration,
    /// Where components are compiled.
    pub compiler: Compiler,
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
            large_instances: 64,
            component_max: 64 << 20,
            memory_max: 512 << 20,
            idle: Duration::from_secs(300),
            compiler: Compiler::InProcess,
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
    small: Machine,
    /// Made when a file first needs it.
    large: OnceLock<Result<Machine, String>>,
    pub(crate) config: EngineConfig,
    pub(crate) cache: CodeCache,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) fair: Fair,
    pub(crate) room: Arc<Room>,
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
        let small = Machine::new(&config, Kind::Small)?;
        let (dir, key) = (&config.cache_dir, &config.cache_key);
        let cache = CodeCache::open(dir, key, config.compiler.clone(), &small.wasm)
            .map_err(|source| EngineError::Cache { path: dir.display().to_string(), source })?;
        let metrics = Arc::new(Metrics::new(registry)?);
        Ok(Self {
            inner: Arc::new(Inner {
                small,
                large: OnceLock::new(),
                fair: Fair::new(config.cpus),
                room: Arc::default(),
                config,
                cache,
                metrics,
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
    /// Where components of this kind run.
    pub(crate) fn machine(&self, kind: Kind) -> Result<&Machine, String> {
        match kind {
            Kind::Small => Ok(&self.small),
            Kind::Large => {
                let make =
                    || Machine::new(&self.config, Kind::Large).map_err(|error| error.to_string());
                self.large.get_or_init(make).as_ref().map_err(Clone::clone)
            }
        }
    }

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
