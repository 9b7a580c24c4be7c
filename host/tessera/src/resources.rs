//! What the system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer open files than this are soon used up: each client that waits holds one.
const FEW: u64 = 4096;

/// Raises the soft limit on open files (often 1,024) to the hard one, as a server should. Gives the limit
/// that holds.
pub(crate) fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, "cannot raise the limit on open files");
        return current;
    }
    if let Some(files) = maximum.filter(|files| *files < FEW) {
        tracing::warn!(
            files,
            "few files may be open at once, and each waiting client holds one: raise `ulimit -Hn`"
        );
    }
    maximum
}

/// Processors that this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
