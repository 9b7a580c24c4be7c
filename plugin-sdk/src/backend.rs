//! Where calls to the host go: the WIT bindings inside wasm, a test host outside.

use crate::bindings::host::{blobs, bus, crypto, fetch, log, mail, storage};
use crate::hooks::HookBackend;
use crate::services::ServiceBackend;

/// Everything a plug-in can ask for, one method for each function of `tessera:host`, `tessera:services` and
/// `tessera:hooks`. The functions' meaning and errors are documented in `wit/`.
#[expect(missing_docs, reason = "documented in wit/, function by function")]
pub trait Backend: HookBackend + ServiceBackend {
    fn query(&self, query: &storage::Select) -> Result<storage::Rows, storage::Error>;
    fn snapshot(&self, queries: &[storage::Select]) -> Result<storage::Moment, storage::Error>;
    fn commit(&self, batch: &storage::Batch) -> Result<storage::Committed, storage::Error>;
    fn search(
        &self,
        index: &str,
        words: &str,
        groups: Option<&[String]>,
        newest: bool,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<storage::Hit>, storage::Error>;
    fn lock(&self, keys: &[String], wait_ms: u32) -> bool;
    fn unlock(&self);

    fn watch(&self, topics: &[String]) -> bus::WatchId;
    fn notify(&self, topics: &[String]);

    fn fetch(&self, request: &fetch::Request) -> Result<fetch::Response, fetch::Error>;

    fn continue_with(&self, state: &[u8]) -> Result<(), String>;

    fn mail(&self, message: &mail::Message) -> Result<(), mail::Error>;

    fn blob_put(&self, bytes: &[u8]) -> Result<String, blobs::Error>;
    fn blob_read(&self, id: &str, offset: u64, length: u32) -> Result<Vec<u8>, blobs::Error>;
    fn blob_stat(&self, id: &str) -> Result<blobs::Info, blobs::Error>;
    fn blob_delete(&self, id: &str) -> Result<(), blobs::Error>;

    fn tenant_name(&self) -> String;
    fn signing_key(&self) -> crypto::SigningKey;
    fn sign(&self, messages: &[String]) -> Vec<String>;
    fn verify(&self, checks: &[crypto::Check]) -> Vec<bool>;
    fn hash_password(&self, password: &str) -> String;
    fn verify_password(&self, password: &str, hash: &str) -> bool;

    fn cache_get(&self, key: &str) -> Option<Vec<u8>>;
    fn cache_put(&self, key: &str, value: &[u8], ttl_ms: u32, topics: &[String]);
    fn cache_remove(&self, key: &str);

    fn timer_set(&self, name: &str, due_ms: u64, payload: &str) -> Result<(), String>;
    fn timer_cancel(&self, name: &str) -> Result<(), String>;

    fn limit_take(&self, class: &str, key: &str, n: u32) -> Result<(), u64>;
    fn limit_cap(&self, name: &str) -> Option<u64>;

    fn log(&self, level: log::Level, message: &str, fields: &[(String, String)]);
    fn log_enabled(&self, level: log::Level) -> bool;

    fn count(&self, name: &str, n: u64);
    fn gauge(&self, name: &str, value: f64);
    fn observe(&self, name: &str, seconds: f64);

    fn config(&self) -> String;

    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Fills a buffer with random bytes fit for secrets.
    fn random(&self, buffer: &mut [u8]);

    /// Whether anybody answers a hook.
    fn answered(&self, hook: &str) -> bool;
}

#[cfg(target_arch = "wasm32")]
pub mod wasm;

/// Runs `f` with the backend in force.
///
/// The type is concrete on purpose: through `dyn` every plug-in would import every function there is.
#[cfg(target_arch = "wasm32")]
pub fn with<T>(f: impl FnOnce(&wasm::Wasm) -> T) -> T {
    f(&wasm::Wasm)
}

#[cfg(not(target_arch = "wasm32"))]
pub use native::{install, with};

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::Backend;

    thread_local! {
        static CURRENT: RefCell<Option<Rc<dyn Backend>>> = const { RefCell::new(None) };
    }

    /// Makes `backend` answer all calls of this thread. For tests.
    pub fn install(backend: Rc<dyn Backend>) {
        CURRENT.with(|current| *current.borrow_mut() = Some(backend));
    }

    /// Runs `f` with the backend in force.
    ///
    /// # Panics
    /// Outside wasm, if the thread has none: call [`install`] first.
    #[expect(clippy::expect_used, reason = "a test without a host cannot go on")]
    pub fn with<T>(f: impl FnOnce(&dyn Backend) -> T) -> T {
        let backend = CURRENT
            .with(|current| current.borrow().clone())
            .expect("no test host on this thread: see tessera_test_host");
        f(backend.as_ref())
    }
}
