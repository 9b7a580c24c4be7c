//! The SQLite engine: threads, queues and files behind [`crate::Database`].

mod authorizer;
mod batch;
mod catalog;
mod code;
mod connect;
mod exec;
pub(crate) mod flavor;
mod fulltext;
mod install;
mod leases;
mod outbox;
mod raw;
mod readers;
mod session;
mod shared;
mod timers;
mod transfer;
mod usage;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::executor::block_on;
use tokio::sync::{mpsc, oneshot};

use crate::dialect::Flavor;
use crate::fence::{Fences, gone};
use crate::quota::Quota;
use crate::transfer::{Receiver, Record, Sender, TransferError, Transferred, Watch};
use crate::{
    Consumer, DatabaseConfig, DeadLetter, Delivery, Error, Head, InstallError, OpenError,
    OutboxQuery, PluginSchema, Stats, Timer, Usage, Wake,
};

use raw::Raw;
use readers::Readers;
use shared::Shared;
use writer::{Member, Work, Writer};

pub(crate) use session::EngineSession;

/// An open database.
pub(crate) struct Engine {
    path: PathBuf,
    config: DatabaseConfig,
    shared: Arc<Shared>,
    queue: mpsc::Sender<Work>,
    readers: Readers,
    writer: Mutex<Option<JoinHandle<()>>>,
    fences: Fences,
    quota: Quota,
    flavor: Arc<dyn Flavor + Send>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The writer ends when the queue's sender goes; readers must be told.
        drop(self.readers.close());
    }
}

/// A member of a group that runs a host operation.
struct HostMember<T, F> {
    operation: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Member for HostMember<T, F>
where
    T: Send,
    F: FnMut(&mut Writer<'_>) -> Result<T, Error> + Send,
{
    fn run(&mut self, writer: &mut Writer<'_>) -> Result<(), Error> {
        self.result = Some((self.operation)(writer)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), Error>, _shared: &Shared) {
        let Self { reply, result, .. } = *self;
        let _ = reply.send(outcome.and_then(|()| result.ok_or_else(gone)));
    }
}

impl Engine {
    /// Opens or creates the file and starts the writer.
    pub(crate) async fn open(
        path: &Path,
        config: DatabaseConfig,
        wake: Arc<dyn Wake>,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(wake));
        let (queue, receiver) = mpsc::channel(config.write_queue.max(1));
        let (ready, opened) = oneshot::channel();
        let thread = {
            let (path, config, shared) = (path.to_owned(), config.clone(), shared.clone());
            std::thread::Builder::new()
                .name("sql-writer".to_owned())
                .spawn(move || write(&path, &config, shared, receiver, ready))
                .map_err(|source| OpenError::Io { path: "writer thread".to_owned(), source })?
        };
        let engine =
            |message: String| OpenError::Engine { path: path.display().to_string(), message };
        opened.await.map_err(|_| engine("the writer ended".to_owned()))??;
        let readers = Readers::new(path.to_owned(), config.clone(), shared.clone());
        let writer = Mutex::new(Some(thread));
        let (fences, flavor) = (Fences::default(), Arc::new(flavor::Sqlite));
        Ok(Self {
            path: path.to_owned(),
            config,
            shared,
            queue,
            readers,
            writer,
            fences,
            quota: Quota::default(),
            flavor,
        })
    }

    /// Lets everything accepted finish, then joins the threads. Whatever comes later is refused.
    pub(crate) async fn close(&self) {
        let mut threads = self.readers.close();
        threads.extend(self.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
        // An error: the writer has ended before.
        let _ = self.queue.send(Work::Close).await;
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a database thread panicked");
                }
            }
        });
        let _ = joined.await;
    }

    pub(crate) fn horizon(&self) -> u64 {
        self.shared.horizon.load(Ordering::Acquire)
    }

    pub(crate) fn stats(&self) -> Stats {
        let waiting = self.queue.max_capacity() - self.queue.capacity();
        self.shared.stats.snapshot(waiting as u64, self.readers.waiting() as u64)
    }

    fn submit(&self, work: Work) -> Result<(), Error> {
        self.queue.try_send(work).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => gone(),
        })
    }

    /// Runs a host operation on the writer, in a transaction.
    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnMut(&mut Writer<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.submit(Work::Member(Box::new(HostMember { operation, result: None, reply })))?;
        answer.await.map_err(|_| gone())?
    }

    /// Runs a read on a reading connection.
    async fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Raw<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.readers.submit(Box::new(move |raw| {
            // Nobody waits any more: nothing to do.
            if !reply.is_closed() {
                let _ = reply.send(raw.and_then(operation));
            }
        }))?;
        answer.await.map_err(|_| gone())?
    }

    pub(crate) async fn install(&self, schema: PluginSchema) -> Result<(), InstallError> {
        let (reply, answer) = oneshot::channel();
        let plugin = schema.plugin.clone();
        let failed = |error| InstallError::Engine {
            plugin: plugin.clone(),
            migration: "-".to_owned(),
            error,
        };
        let work = Work::Alone(Box::new(move |writer: &mut Writer<'_>| {
            let _ = reply.send(install::install(writer, &schema));
        }));
        self.queue.send(work).await.map_err(|_| failed(gone()))?;
        answer.await.map_err(|_| failed(gone()))?
    }

    /// Sends all there is, as of one moment, on a thread of its own.
    pub(crate) fn dump(&self, to: Sender) {
        let (path, config, failed) = (self.path.clone(), self.config.clone(), to.clone());
        let thread = std::thread::Builder::new()
            .name("sql-export".to_owned())
            .spawn(move || transfer::dump(&path, &config, &to));
        if let Err(error) = thread {
            let error = Error::Unavailable(format!("no thread for an export: {error}"));
            // The way is empty: there is room.
            let _ = failed.try_send(Record::Failed(error.into()));
        }
    }

    /// Takes in what comes.
    pub(crate) async fn load(
        &self,
        mut from: Receiver,
        watch: Watch,
    ) -> Result<Transferred, TransferError> {
        let (reply, answer) = oneshot::channel();
        let work = Work::Alone(Box::new(move |writer: &mut Writer<'_>| {
            let _ = reply.send(transfer::load(writer, &mut from, &watch));
        }));
        self.queue.send(work).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    pub(crate) async fn register(&self, topic: &str, consumer: &str) -> Result<(), Error> {
        let (topic, consumer) = (topic.to_owned(), consumer.to_owned());
        self.write(move |w| outbox::register(w, &topic, &consumer)).await
    }

    pub(crate) async fn unregister(&self, topic: &str, consumer: &str) -> Result<(), Error> {
        let (topic, consumer) = (topic.to_owned(), consumer.to_owned());
        self.write(move |w| outbox::unregister(w, &topic, &consumer)).await
    }

    pub(crate) async fn consumers(&self) -> Result<Vec<Consumer>, Error> {
        self.read(outbox::consumers).await
    }

    pub(crate) async fn outbox(&self, query: OutboxQuery) -> Result<Vec<Delivery>, Error> {
        self.read(move |raw| outbox::pending(raw, &query)).await
    }

    pub(crate) async fn next_try(&self, topic: &str, consumer: &str) -> Result<Option<u64>, Error> {
        let (topic, consumer) = (topic.to_owned(), consumer.to_owned());
        self.read(move |raw| outbox::next_try(raw, &topic, &consumer)).await
    }

    pub(crate) async fn ack(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        let consumer = consumer.to_owned();
        self.write(move |w| outbox::settle(w, &consumer, message)).await
    }

    pub(crate) async fn fail(
        &self,
        consumer: &str,
        message: u64,
        error: &str,
        next_ms: Option<u64>,
    ) -> Result<u32, Error> {
        let (consumer, error) = (consumer.to_owned(), error.to_owned());
        self.write(move |w| outbox::fail(w, &consumer, message, &error, next_ms)).await
    }

    pub(crate) async fn dead_letters(
        &self,
        consumer: Option<&str>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        let consumer = consumer.map(str::to_owned);
        self.read(move |raw| outbox::dead_letters(raw, consumer.as_deref(), after, limit)).await
    }

    pub(crate) async fn dead_retry(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        let consumer = consumer.to_owned();
        self.write(move |w| outbox::retry_dead(w, &consumer, message)).await
    }

    pub(crate) async fn dead_drop(&self, consumer: &str, message: u64) -> Result<bool, Error> {
        let consumer = consumer.to_owned();
        self.write(move |w| outbox::drop_dead(w, &consumer, message)).await
    }

    pub(crate) async fn timer_set(
        &self,
        plugin: &str,
        name: &str,
        due_ms: u64,
        payload: &str,
    ) -> Result<(), Error> {
        let (plugin, name, payload) = (plugin.to_owned(), name.to_owned(), payload.to_owned());
        let cap = self.config.timers;
        self.write(move |w| timers::set(w, &plugin, &name, due_ms, &payload, cap)).await
    }

    pub(crate) async fn timer_cancel(&self, plugin: &str, name: &str) -> Result<bool, Error> {
        let (plugin, name) = (plugin.to_owned(), name.to_owned());
        self.write(move |w| timers::cancel(w, &plugin, &name)).await
    }

    pub(crate) async fn timers_due(
        &self,
        now_ms: u64,
        limit: u32,
        each: u32,
    ) -> Result<Vec<Timer>, Error> {
        self.read(move |raw| timers::due(raw, now_ms, limit, each)).await
    }

    pub(crate) async fn timers_claim(
        &self,
        now_ms: u64,
        limit: u32,
        each: u32,
        ttl_ms: u64,
    ) -> Result<Vec<Timer>, Error> {
        self.write(move |w| timers::claim(w, now_ms, limit, each, ttl_ms)).await
    }

    pub(crate) async fn lease_taken(
        &self,
        name: &str,
        holder: &str,
        ttl_ms: u64,
    ) -> Result<bool, Error> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |w| leases::take(w, &name, &holder, ttl_ms)).await
    }

    pub(crate) async fn release_lease(&self, name: &str, holder: &str) -> Result<(), Error> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |w| leases::release(w, &name, &holder)).await
    }

    pub(crate) async fn heads(
        &self,
        topic: Option<&str>,
        now_ms: u64,
        older_than_ms: u64,
        limit: u32,
    ) -> Result<Vec<Head>, Error> {
        let topic = topic.map(str::to_owned);
        self.read(move |raw| outbox::heads(raw, topic.as_deref(), now_ms, older_than_ms, limit))
            .await
    }

    /// Whether a commit that adds may go on. Bytes are held by the file itself.
    async fn within_quota(&self) -> Result<(), Error> {
        if self.config.max_rows.is_none() {
            return Ok(());
        }
        if self.quota.due() {
            self.quota.seen(self.usage().await?, &self.config, false);
        }
        self.quota.check()
    }

    pub(crate) async fn usage(&self) -> Result<Usage, Error> {
        self.read(usage::usage).await
    }

    pub(crate) async fn timer_after(&self, now_ms: u64) -> Result<Option<u64>, Error> {
        self.read(move |raw| timers::after(raw, now_ms)).await
    }

    pub(crate) async fn timer_postpone(&self, timer: &Timer, due_ms: u64) -> Result<(), Error> {
        let timer = timer.clone();
        self.write(move |w| timers::postpone(w, &timer, due_ms)).await
    }

    pub(crate) async fn timer_next(&self) -> Result<Option<u64>, Error> {
        self.read(timers::next).await
    }

    pub(crate) async fn timer_finish(&self, timer: &Timer) -> Result<(), Error> {
        let timer = timer.clone();
        self.write(move |w| timers::finish(w, &timer)).await
    }
}

/// How long the writer waits before it opens the database again.
const REOPEN: Duration = Duration::from_secs(1);

/// The writer's thread: opens, answers, serves. A panic is a bug of ours; what was at work is lost
/// unanswered, and the writer goes on with a connection of its own making.
fn write(
    path: &Path,
    config: &DatabaseConfig,
    shared: Arc<Shared>,
    mut receiver: mpsc::Receiver<Work>,
    ready: oneshot::Sender<Result<(), OpenError>>,
) {
    // Held until the connection is closed.
    let lock = match connect::take_lock(path) {
        Ok(lock) => lock,
        Err(e) => {
            let _ = ready.send(Err(e));
            return;
        }
    };
    let mut ready = Some(ready);
    while let Err(error) = write_once(path, config, &shared, &mut receiver, &mut ready) {
        if let Some(ready) = ready.take() {
            let _ = ready.send(Err(error));
            break;
        }
        tracing::error!(%error, "the database's writer ended; it is opened again");
        if receiver.is_closed() {
            break;
        }
        std::thread::sleep(REOPEN);
    }
    drop(lock);
}

/// Serves the queue to its end on one connection.
fn write_once(
    path: &Path,
    config: &DatabaseConfig,
    shared: &Arc<Shared>,
    receiver: &mut mpsc::Receiver<Work>,
    ready: &mut Option<oneshot::Sender<Result<(), OpenError>>>,
) -> Result<(), OpenError> {
    let engine = |message: String| OpenError::Engine { path: path.display().to_string(), message };
    let mut connection = connect::writer(path, config)?;
    let served = block_on(connection.lock_handle()).map_err(|e| engine(e.to_string())).and_then(
        |mut handle| {
            let writer = Raw::new(&mut handle, config.statements)
                .map_err(Error::from)
                .and_then(|raw| Writer::new(raw, Arc::clone(shared)))
                .map_err(|e| engine(e.to_string()))?;
            if let Some(ready) = ready.take() {
                let _ = ready.send(Ok(()));
            }
            catch_unwind(AssertUnwindSafe(|| writer.run(receiver, config.group)))
                .map_err(|_| engine("a panic".to_owned()))
        },
    );
    if let Err(error) = block_on(sqlx::Connection::close(connection)) {
        tracing::warn!(%error, "closing the database");
    }
    served
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Wake for Nobody {
        fn committed(&self, _: &[String], _: u64) {
            panic!("a bug of a listener");
        }
    }

    #[tokio::test]
    async fn a_panic_costs_one_answer_and_not_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let config = DatabaseConfig { readers: 1, ..DatabaseConfig::default() };
        let engine =
            Engine::open(&dir.path().join("d.sqlite"), config, Arc::new(Nobody)).await.unwrap();
        let set = |name: &'static str| engine.timer_set("p", name, 1, "");
        set("before").await.unwrap();
        let lost = engine.write(|_| -> Result<(), Error> { panic!("a bug") }).await;
        assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
        set("after").await.unwrap();
        let lost = engine.read(|_| -> Result<(), Error> { panic!("a bug") }).await;
        assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
        assert_eq!(engine.timers_due(1, 10, 10).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_listener_that_panics_takes_nothing_from_the_committer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.sqlite");
        let engine =
            Engine::open(&path, DatabaseConfig::default(), Arc::new(Nobody)).await.unwrap();
        let grant = crate::SessionGrant { plugin: "p".to_owned(), ..Default::default() };
        let session = EngineSession::new(Arc::new(engine), grant);
        for _ in 0..2 {
            let wake = vec!["topic".to_owned()];
            session.commit(crate::Batch { wake, ..Default::default() }).await.unwrap();
        }
    }
}
