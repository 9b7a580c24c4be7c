//! Compiling a file that nobody vouches for, in a process of its own with little to harm: a cap on memory and CPU
//! time, no environment, no files, a low priority. It reads the component and writes machine code, nothing else.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Condvar, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};

use crate::engine::compiling;

/// Where components are compiled that are not in the code cache.
#[derive(Debug, Clone, Default)]
pub enum Compiler {
    /// In this process, without a limit: for files that one has made oneself, as in tests.
    #[default]
    InProcess,
    /// In a child process.
    Child(ChildCompiler),
}

/// How the child is started, and what it may use.
#[derive(Debug, Clone)]
pub struct ChildCompiler {
    /// A program that calls [`compile_as_child`] with the two numbers that follow `arguments`: bytes and seconds.
    pub program: PathBuf,
    /// What comes before the numbers.
    pub arguments: Vec<OsString>,
    /// Address space of the child in bytes.
    pub memory: u64,
    /// CPU time over all its threads. Of wall time it has four times as much, for machines that are busy.
    pub time: Duration,
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JailError {
    #[error("the component needs more than {} MiB of memory to compile ([engine] compile-memory)", .0 >> 20)]
    Memory(u64),
    #[error("the component needs more than {} s of CPU time to compile ([engine] compile-time)", .0.as_secs())]
    Time(Duration),
    #[error("the component's machine code has more than {} MiB", .0 >> 20)]
    Size(u64),
    /// The compiler says what is wrong with the component.
    #[error("{0}")]
    Refused(String),
    #[error("the compiler ended with {status}: {text}")]
    Crashed { status: ExitStatus, text: String },
    #[error("the compiler cannot be started: {0}")]
    Start(io::Error),
}

impl JailError {
    /// The value of the metric's label.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Time(_) => "time",
            Self::Size(_) => "size",
            Self::Refused(_) => "invalid",
            Self::Crashed { .. } => "crash",
            Self::Start(_) => "start",
        }
    }
}

/// Children at once: each may use all processors and as much memory as it is allowed.
const AT_ONCE: u32 = 2;
/// Most machine code of one component.
const CODE_MAX: u64 = 512 << 20;
/// Bytes of the child's complaint that are read.
const TEXT_MAX: u64 = 4 << 10;
/// The exit status by which the child says that the component is at fault.
const REFUSED: i32 = 3;

/// Compiles in a child; blocks.
pub(super) fn compile(child: &ChildCompiler, component: &[u8]) -> Result<Vec<u8>, JailError> {
    let _place = Place::take();
    let wall = child.time.saturating_mul(4);
    let deadline = Instant::now().checked_add(wall);
    let mut running = Command::new(&child.program)
        .args(&child.arguments)
        .arg(child.memory.to_string())
        .arg(child.time.as_secs().max(1).to_string())
        .env_clear()
        // Threads, and the heaps that the allocator sets aside for them, take address space each.
        .env("RAYON_NUM_THREADS", threads().to_string())
        .env("MALLOC_ARENA_MAX", "2")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(JailError::Start)?;
    let pipes = (running.stdin.take(), running.stdout.take(), running.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(JailError::Start(io::Error::other("it has no pipes")));
    };
    let (done, ended) = mpsc::channel();
    let outcome = thread::scope(|scope| {
        // A child that is killed breaks the pipe; what it says counts.
        scope.spawn(move || drop(stdin.write_all(component)));
        let text = scope.spawn(move || {
            let mut text = Vec::new();
            drop(stderr.take(TEXT_MAX).read_to_end(&mut text));
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        scope.spawn(move || {
            let mut code = Vec::new();
            let read = stdout.take(CODE_MAX + 1).read_to_end(&mut code);
            // Nobody listens where the time is over.
            drop(done.send(read.map(|_| code)));
        });
        let left = deadline.map_or(wall, |at| at.saturating_duration_since(Instant::now()));
        let code = match ended.recv_timeout(left) {
            Ok(Ok(code)) if code.len() as u64 > CODE_MAX => {
                kill(&mut running);
                Err(JailError::Size(CODE_MAX))
            }
            Ok(Ok(code)) => Ok(code),
            Ok(Err(error)) => {
                kill(&mut running);
                Err(JailError::Start(error))
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                kill(&mut running);
                Err(JailError::Time(child.time))
            }
        };
        let status = running.wait().map_err(JailError::Start);
        let text = text.join().unwrap_or_default();
        Ok((code?, status?, text))
    });
    let (code, status, text) = outcome?;
    if status.success() {
        return Ok(code);
    }
    Err(judge(child, status, text))
}

/// What an end that is no success means.
fn judge(child: &ChildCompiler, status: ExitStatus, text: String) -> JailError {
    const SIGXCPU: i32 = 24;
    let starved = ["memory allocation of", "Cannot allocate memory", "out of memory"];
    match (status.code(), status.signal()) {
        (_, Some(SIGXCPU)) => JailError::Time(child.time),
        // No room for a thread counts, too.
        _ if starved.iter().any(|words| text.contains(words)) => JailError::Memory(child.memory),
        (Some(_), _) if text.contains("Resource temporarily unavailable") => {
            JailError::Memory(child.memory)
        }
        (Some(REFUSED), _) => JailError::Refused(text),
        _ => JailError::Crashed { status, text },
    }
}

/// Threads of a child.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(8)
}

fn kill(child: &mut Child) {
    // It may have ended meanwhile.
    if let Err(error) = child.kill() {
        tracing::debug!(%error, "the compiler had ended");
    }
}

/// The right to run a child.
struct Place;

static TAKEN: Mutex<u32> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Place {
    fn take() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = FREED
            .wait_while(taken, |taken| *taken >= AT_ONCE)
            .unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_add(1);
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(1);
        FREED.notify_one();
    }
}

/// What the child process does: it takes its limits upon itself, reads a component from the standard input and writes
/// machine code to the standard output. Gives the status to exit with; what is wrong is on the standard error.
///
/// `memory` in bytes of address space, `seconds` of CPU time.
#[must_use]
pub fn compile_as_child(memory: u64, seconds: u64) -> u8 {
    match child(memory, seconds) {
        Ok(()) => 0,
        Err(Failed::Component(reason)) => {
            eprintln!("{reason}");
            REFUSED.try_into().unwrap_or(1)
        }
        Err(Failed::Jail(error)) => {
            eprintln!("{error}");
            1
        }
    }
}

enum Failed {
    Component(String),
    Jail(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Jail(error)
    }
}

fn child(memory: u64, seconds: u64) -> Result<(), Failed> {
    let limits = [
        (Resource::As, memory, memory),
        // The first ends it by a signal of its own, by which the end is known.
        (Resource::Cpu, seconds, seconds.saturating_add(1)),
        // Three are open; the machine's list of processors is read once.
        (Resource::Nofile, 16, 16),
        // No file can be written.
        (Resource::Fsize, 0, 0),
        (Resource::Core, 0, 0),
    ];
    for (resource, current, maximum) in limits {
        let limit = Rlimit { current: Some(current), maximum: Some(maximum) };
        setrlimit(resource, limit).map_err(io::Error::from)?;
    }
    // Those who are served go first. Where that is forbidden, it does no harm.
    let _forbidden = setpriority_process(None, 10);
    let mut component = Vec::new();
    io::stdin().lock().read_to_end(&mut component)?;
    let wrong = |error: wasmtime::Error| Failed::Component(format!("{error:#}"));
    let engine = wasmtime::Engine::new(&compiling()).map_err(wrong)?;
    let code = engine.precompile_component(&component).map_err(wrong)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&code)?;
    Ok(stdout.flush()?)
}
