//! wasmtime with our settings: one for most plug-ins, one for those that bring a language's whole runtime.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use wasmtime::{
    Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, component::Linker,
};

use super::{EngineConfig, EngineError};
use crate::{bindings::Everything, capabilities::wasi, plugin::Footprint, state::State};

/// Which of the two a component runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rust, C, Go: a few core modules, a small memory at the start.
    Small,
    /// JavaScript and Python: an interpreter, with up to some dozens of core modules and a heap from the start.
    Large,
}

impl Kind {
    /// By what the file brings. Either would run anywhere; in the right one its memory is treated well.
    pub(crate) fn of(footprint: &Footprint) -> Self {
        let large = footprint.modules > 8 || footprint.memory > 4 << 20 || footprint.table > 4096;
        if large { Self::Large } else { Self::Small }
    }
}

/// An engine of wasmtime's, its clock, and what all components in it link to.
pub(crate) struct Machine {
    pub(crate) wasm: wasmtime::Engine,
    /// Host capabilities and WASI; cloned for each component.
    pub(crate) linker: Linker<State>,
    ticking: Arc<AtomicBool>,
}

impl Machine {
    pub(crate) fn new(config: &EngineConfig, kind: Kind) -> Result<Self, EngineError> {
        let wrong = |error: wasmtime::Error| EngineError::Wasm(format!("{error:#}"));
        let wasm = wasmtime::Engine::new(&settings(config, kind)).map_err(wrong)?;
        let mut linker = Linker::new(&wasm);
        wasi::add_to_linker(&mut linker)
            .and_then(|()| {
                Everything::add_to_linker::<_, wasmtime::component::HasSelf<State>>(
                    &mut linker,
                    |state| state,
                )
            })
            .map_err(wrong)?;
        let ticking = Arc::new(AtomicBool::new(true));
        tick(wasm.weak(), Arc::clone(&ticking));
        Ok(Self { wasm, linker, ticking })
    }
}

impl Drop for Machine {
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
const TICK: Duration = Duration::from_millis(1);

fn settings(config: &EngineConfig, kind: Kind) -> Config {
    let mut settings = compiling();
    let mut pool = PoolingAllocationConfig::new();
    pool
        // Host-side state of one component instance; 1 MiB is wasmtime's own figure.
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        .max_memory_size(config.memory_max)
        // Function tables of large guests reach some ten thousand elements.
        .table_elements(100_000);
    match kind {
        Kind::Small => small(&mut pool, config.instances.max(1)),
        Kind::Large => large(&mut pool, config.large_instances.max(1)),
    }
    // Half for the guest's own recursion, the rest for host functions on the same fiber. Interpreters recurse
    // deeper for the same program.
    let (guest, fiber) = match kind {
        Kind::Small => (512 << 10, 2 << 20),
        Kind::Large => (2 << 20, 4 << 20),
    };
    settings
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .max_wasm_stack(guest)
        .async_stack_size(fiber);
    settings
}

/// What machine code depends on: the same for both kinds, and for the process that compiles.
pub(crate) fn compiling() -> Config {
    let mut settings = Config::new();
    settings
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        // Guests are blocking; the concurrent machinery costs each call several microseconds.
        .concurrency_support(false)
        // Only for tools that unwind from outside; wasmtime's own traces need none, and it takes memory beside all code.
        .native_unwind_info(false)
        // Names in traps, without the text of whole modules.
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20));
    settings
}

fn small(pool: &mut PoolingAllocationConfig, instances: u32) {
    pool.total_component_instances(instances)
        // A Rust guest is one core module and two or three adapters.
        .total_core_instances(instances.saturating_mul(8))
        .max_core_instances_per_component(64)
        // One memory for each instance, and room for a few that have several.
        .total_memories(instances.saturating_mul(2))
        .max_memories_per_component(8)
        .total_tables(instances.saturating_mul(6))
        .max_tables_per_component(32)
        // One fiber for each instance that runs.
        .total_stacks(instances)
        // Kept mapped between instances: saves page faults on what nearly every guest touches.
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(16 << 10)
        .max_unused_warm_slots(instances / 4);
}

fn large(pool: &mut PoolingAllocationConfig, instances: u32) {
    pool.total_component_instances(instances)
        // A Python guest with some native libraries.
        .total_core_instances(instances.saturating_mul(100))
        .max_core_instances_per_component(200)
        .total_memories(instances.saturating_mul(2))
        .max_memories_per_component(8)
        .total_tables(instances.saturating_mul(8))
        .max_tables_per_component(64)
        .total_stacks(instances)
        // What an instance leaves behind is given back whole: its heap is most of its memory, and the next one
        // begins with the file's pages, which all share.
        .linear_memory_keep_resident(0)
        .table_keep_resident(0)
        .async_stack_keep_resident(0)
        .max_unused_warm_slots(instances / 8);
}
