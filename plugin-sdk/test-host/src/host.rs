//! The host as tests hold it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tessera_manifest::PluginManifest;
use tessera_sdk::bindings::host::storage::Message;
use tessera_storage::{Database, Postgres, Session};
use tessera_test_services::TestDatabase;

use crate::backend::Native;
use crate::builder::Builder;
use crate::memory::Memory;
use crate::request::TestRequest;
use crate::services::Services;
use crate::wakes::Wakes;

/// A plug-in, ready to act.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Prefix of its tables and its name as a consumer.
    pub(crate) prefix: String,
    pub(crate) manifest: PluginManifest,
    pub(crate) session: Session,
    pub(crate) config: String,
}

type Interference = Box<dyn FnOnce(&TestHost) + Send>;

/// Where the database lives; removed after it is closed.
pub(crate) enum Home {
    Folder { _folder: tempfile::TempDir },
    Server { _postgres: Postgres, _database: TestDatabase },
}

/// What all threads of a test share.
pub(crate) struct Shared {
    /// `None` only while it is closed.
    pub(crate) database: Option<Database>,
    pub(crate) runtime: Option<tokio::runtime::Runtime>,
    pub(crate) _home: Home,
    pub(crate) plugins: HashMap<String, Installed>,
    pub(crate) tenant: String,
    pub(crate) now_ms: AtomicU64,
    pub(crate) random: AtomicU64,
    pub(crate) calls: AtomicUsize,
    pub(crate) rows: AtomicUsize,
    /// Snapshots tell no higher horizon.
    pub(crate) horizon: AtomicU64,
    pub(crate) messages: Mutex<Vec<Message>>,
    pub(crate) logs: Mutex<Vec<String>>,
    pub(crate) services: Mutex<Services>,
    pub(crate) before_commit: Mutex<Option<Interference>>,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) memory: Arc<Memory>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("plugins", &self.plugins.keys()).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.plugins.clear();
        if let (Some(database), Some(runtime)) = (self.database.take(), self.runtime.take()) {
            runtime.block_on(database.close());
            runtime.shutdown_background();
        }
    }
}

thread_local! {
    static ACTING: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Answers what plug-ins ask, on every thread where it is installed. Cheap to clone; the database is gone
/// with the last clone, so a test keeps one to its end.
#[derive(Debug, Clone)]
pub struct TestHost {
    pub(crate) shared: Arc<Shared>,
}

impl TestHost {
    /// Starts a description of the host.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Makes this host answer the calls of the current thread. [`Builder::start`] does so for the
    /// thread that starts it; others that play a concurrent caller need it and [`TestHost::act_as`].
    pub fn install(&self) {
        tessera_sdk::backend::install(Rc::new(Native::new(self)));
    }

    /// From now on the grants of this plug-in are in force on this thread.
    ///
    /// # Panics
    /// If it is not one of the plug-ins under test.
    pub fn act_as(&self, plugin: &str) {
        assert!(
            plugin.is_empty() || self.shared.plugins.contains_key(plugin),
            "{plugin} is not among the plug-ins under test"
        );
        ACTING.with(|acting| plugin.clone_into(&mut acting.borrow_mut()));
    }

    /// Runs `f` as another plug-in, then goes back; the way one plug-in's service is called by another.
    pub fn acting<T>(&self, plugin: &str, f: impl FnOnce() -> T) -> T {
        let before = ACTING.with(|acting| acting.borrow().clone());
        self.act_as(plugin);
        let result = f();
        self.act_as(&before);
        result
    }

    /// The plug-in that acts on this thread.
    pub(crate) fn installed(&self) -> &Installed {
        let name = ACTING.with(|acting| acting.borrow().clone());
        self.shared.plugins.get(&name).expect("no plug-in acts: TestHost::act_as")
    }

    pub(crate) fn database(&self) -> &Database {
        self.shared.database.as_ref().expect("open until the end of the test")
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.shared.runtime.as_ref().expect("runs until the end of the test");
        runtime.handle().block_on(future)
    }

    /// Milliseconds since the Unix epoch, as plug-ins see them.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.shared.now_ms.load(Ordering::SeqCst)
    }

    /// Sets the clock.
    pub fn set_now(&self, now_ms: u64) {
        self.shared.now_ms.store(now_ms, Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, ms: u64) {
        self.shared.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Storage calls since the last time this was asked: `query`, `snapshot`, `commit` and `search` count.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.calls.swap(0, Ordering::SeqCst)
    }

    /// Rows that plug-ins were given since the last time this was asked.
    pub fn rows(&self) -> usize {
        self.shared.rows.swap(0, Ordering::SeqCst)
    }

    /// Takes the topics woken since the last time this was asked, in order.
    #[must_use]
    pub fn wakes(&self) -> Vec<String> {
        self.shared.wakes.take()
    }

    /// Whether a topic of this watch has been woken since it was taken.
    #[must_use]
    pub fn watch_fired(&self, watch: u64) -> bool {
        self.shared.wakes.fired(watch)
    }

    /// The topics of a watch.
    #[must_use]
    pub fn watched(&self, watch: u64) -> Vec<String> {
        self.shared.wakes.topics(watch)
    }

    /// Payloads emitted on a durable topic so far, parsed.
    ///
    /// # Panics
    /// If one of them is not JSON.
    #[must_use]
    pub fn messages(&self, topic: &str) -> Vec<serde_json::Value> {
        let messages = self.shared.messages.lock().unwrap();
        messages
            .iter()
            .filter(|message| message.topic == topic)
            .map(|message| serde_json::from_str(&message.payload).expect("a JSON payload"))
            .collect()
    }

    /// Log lines of level warn and error so far, with their fields.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        self.shared.logs.lock().unwrap().clone()
    }

    /// The highest position below which nothing is still to appear.
    #[must_use]
    pub fn horizon(&self) -> u64 {
        self.database().horizon().min(self.held_horizon())
    }

    pub(crate) fn held_horizon(&self) -> u64 {
        self.shared.horizon.load(Ordering::SeqCst)
    }

    /// Holds the horizon back, as a writer does that took a lower position and has not finished: rows above
    /// `at` can be seen, snapshots tell no higher horizon, and the wake-ups of commits wait for
    /// [`TestHost::release_horizon`].
    pub fn hold_horizon(&self, at: u64) {
        self.shared.horizon.store(at, Ordering::SeqCst);
        self.shared.wakes.hold();
    }

    /// The writer has finished: the horizon is where it would be, and what waited is woken.
    pub fn release_horizon(&self) {
        self.shared.horizon.store(u64::MAX, Ordering::SeqCst);
        self.shared.wakes.release();
    }

    /// Lets `f` run once, just before the next commit of any plug-in: how a test gets between a read and
    /// the commit that rests on it.
    pub fn before_next_commit(&self, f: impl FnOnce(&Self) + Send + 'static) {
        *self.shared.before_commit.lock().unwrap() = Some(Box::new(f));
    }

    /// Changes what other plug-ins answer.
    pub fn services(&self, change: impl FnOnce(&mut Services)) {
        change(&mut self.shared.services.lock().unwrap());
    }

    /// Starts a request for a route of the acting plug-in.
    ///
    /// # Panics
    /// If its manifest has no such route, or the route not this method.
    pub fn request(&self, method: &str, route: &str) -> TestRequest {
        TestRequest::new(self.clone(), method, route)
    }
}
