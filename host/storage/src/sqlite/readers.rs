//! The pool of reading connections: a thread each, opened when first needed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures::executor::block_on;

use crate::{DatabaseConfig, Error};

use super::connect;
use super::raw::Raw;
use super::shared::Shared;

/// One read; gets the connection, or why there is none.
pub(super) type ReadJob = Box<dyn FnOnce(Result<&mut Raw<'_>, Error>) + Send>;

#[derive(Default)]
struct State {
    queue: VecDeque<ReadJob>,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

struct Inner {
    state: Mutex<State>,
    work: Condvar,
    path: PathBuf,
    config: DatabaseConfig,
    shared: Arc<Shared>,
}

/// The pool.
pub(super) struct Readers {
    inner: Arc<Inner>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, config: DatabaseConfig, shared: Arc<Shared>) -> Self {
        let state = Mutex::new(State::default());
        Self { inner: Arc::new(Inner { state, work: Condvar::new(), path, config, shared }) }
    }

    /// Queues a read; opens one more connection if none is idle.
    pub(super) fn submit(&self, job: ReadJob) -> Result<(), Error> {
        let inner = &self.inner;
        let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(Error::Unavailable("the database is closed".to_owned()));
        }
        if state.queue.len() >= inner.config.read_queue {
            return Err(Error::Busy);
        }
        state.queue.push_back(job);
        if state.idle < state.queue.len() && state.threads.len() < inner.config.readers.max(1) {
            let mine = inner.clone();
            let thread = std::thread::Builder::new()
                .name("sql-reader".to_owned())
                .spawn(move || serve(&mine));
            match thread {
                Ok(thread) => state.threads.push(thread),
                Err(e) if state.threads.is_empty() => {
                    state.queue.pop_back();
                    return Err(Error::Unavailable(format!("no thread for a reader: {e}")));
                }
                Err(e) => tracing::warn!(error = %e, "no thread for one more reader"),
            }
        }
        drop(state);
        inner.work.notify_one();
        Ok(())
    }

    /// Reads that wait.
    pub(super) fn waiting(&self) -> usize {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner).queue.len()
    }

    /// Lets the threads end after what is queued; gives them for joining.
    pub(super) fn close(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        self.inner.work.notify_all();
        std::mem::take(&mut state.threads)
    }
}

impl Inner {
    fn next(&self) -> Option<ReadJob> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

fn serve(inner: &Inner) {
    // A connection that cannot be opened (too many files) is tried again with the next read.
    loop {
        let Some(first) = inner.next() else { return };
        let mut connection = match connect::reader(&inner.path, &inner.config) {
            Ok(connection) => connection,
            Err(e) => {
                first(Err(Error::Unavailable(format!("cannot open a reader: {e}"))));
                continue;
            }
        };
        let opened = block_on(connection.lock_handle())
            .map_err(|e| Error::Unavailable(e.to_string()))
            .and_then(|mut handle| {
                let mut raw = Raw::new(&mut handle, inner.config.statements)?;
                let mut generation = u64::MAX;
                let mut next = Some(first);
                while let Some(job) = next {
                    let current = inner.shared.generation.load(Ordering::Acquire);
                    if generation != current {
                        raw.refresh()?;
                        generation = current;
                    }
                    // Caught, because a thread that is gone would leave its place in the pool empty.
                    catch_unwind(AssertUnwindSafe(|| job(Ok(&mut raw))))
                        .map_err(|_| Error::Unavailable("a panic".to_owned()))?;
                    next = inner.next();
                }
                Ok(())
            });
        if let Err(error) = opened {
            tracing::error!(%error, "reader ends");
        } else {
            return;
        }
    }
}
