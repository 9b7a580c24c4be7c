//! The host functions, answered natively.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tessera_sdk::backend::Backend;
use tessera_sdk::bindings::host::{blobs, bus, crypto, fetch, log, mail, storage};
use tessera_storage::{LockGuard, Order};

use crate::host::Shared;
use crate::{TestHost, convert};

/// Bytes of a state, as the engine has it.
const MAX_STATE: usize = 16 * 1024;

/// One thread's view of the host; a thread stands for a call.
#[derive(Debug)]
pub(crate) struct Native {
    /// Weak: the test holds the host, and everything ends with it rather than with the thread.
    shared: Weak<Shared>,
    lock: RefCell<Option<LockGuard>>,
}

impl Native {
    pub(crate) fn new(host: &TestHost) -> Self {
        Self { shared: Arc::downgrade(&host.shared), lock: RefCell::new(None) }
    }

    pub(crate) fn host(&self) -> TestHost {
        TestHost::new(self.shared.upgrade().expect("the test has dropped its host"))
    }

    fn counted(&self) {
        self.host().shared.calls.fetch_add(1, Ordering::SeqCst);
    }

    fn given(&self, rows: &storage::Rows) {
        self.host().shared.rows.fetch_add(rows.rows.len(), Ordering::SeqCst);
    }

    pub(crate) fn services(&self) -> crate::Services {
        self.host().shared.services.lock().unwrap().clone()
    }

    /// What the engine checks before storage sees a batch.
    fn granted(&self, batch: &storage::Batch) -> Result<(), storage::Error> {
        let host = self.host();
        let manifest = &host.installed().manifest;
        for message in &batch.messages {
            if !manifest.topics.emits.iter().any(|topic| topic.as_str() == message.topic) {
                return Err(storage::Error::Refused(format!(
                    "{} does not emit {}: [topics] emits",
                    manifest.name, message.topic
                )));
            }
        }
        Ok(())
    }
}

impl Backend for Native {
    fn query(&self, query: &storage::Select) -> Result<storage::Rows, storage::Error> {
        self.counted();
        let host = self.host();
        let session = &host.installed().session;
        let rows = self.host().block_on(session.query(convert::query(query)));
        let rows = rows.map(convert::rows).map_err(convert::error)?;
        self.given(&rows);
        Ok(rows)
    }

    fn snapshot(&self, queries: &[storage::Select]) -> Result<storage::Moment, storage::Error> {
        self.counted();
        let host = self.host();
        let session = &host.installed().session;
        let queries = queries.iter().map(convert::query).collect();
        let snapshot = self.host().block_on(session.snapshot(queries));
        let mut moment = snapshot.map(convert::moment).map_err(convert::error)?;
        moment.horizon = moment.horizon.min(host.held_horizon());
        moment.results.iter().for_each(|rows| self.given(rows));
        Ok(moment)
    }

    fn commit(&self, batch: &storage::Batch) -> Result<storage::Committed, storage::Error> {
        let interference = self.host().shared.before_commit.lock().unwrap().take();
        if let Some(interfere) = interference {
            interfere(&self.host());
        }
        self.counted();
        self.granted(batch)?;
        let host = self.host();
        let session = &host.installed().session;
        let committed = self.host().block_on(session.commit(convert::batch(batch)));
        let committed = committed.map(convert::committed).map_err(convert::error)?;
        if !committed.duplicate {
            host.shared.messages.lock().unwrap().extend(batch.messages.iter().cloned());
        }
        Ok(committed)
    }

    fn search(
        &self,
        index: &str,
        words: &str,
        groups: Option<&[String]>,
        newest: bool,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<storage::Hit>, storage::Error> {
        self.counted();
        let host = self.host();
        let session = &host.installed().session;
        let groups = groups.map(<[String]>::to_vec);
        let order = if newest { Order::Newest } else { Order::Best };
        let hits = self.host().block_on(session.search(index, words, groups, order, limit, offset));
        hits.map(|hits| hits.into_iter().map(convert::hit).collect()).map_err(convert::error)
    }

    fn lock(&self, keys: &[String], wait_ms: u32) -> bool {
        self.unlock();
        let host = self.host();
        let session = &host.installed().session;
        let wait = Duration::from_millis(wait_ms.into());
        let guard = self.host().block_on(session.lock(keys.to_vec(), wait)).ok();
        let held = guard.is_some();
        *self.lock.borrow_mut() = guard;
        held
    }

    fn unlock(&self) {
        self.lock.borrow_mut().take();
    }

    fn watch(&self, topics: &[String]) -> bus::WatchId {
        self.host().shared.wakes.watch(topics)
    }

    fn notify(&self, topics: &[String]) {
        self.host().shared.wakes.wake(topics);
    }

    fn fetch(&self, request: &fetch::Request) -> Result<fetch::Response, fetch::Error> {
        (self.services().fetch)(request)
    }

    fn continue_with(&self, state: &[u8]) -> Result<(), String> {
        if state.len() > MAX_STATE {
            return Err(format!("a state of {} bytes; at most {MAX_STATE}", state.len()));
        }
        crate::answer::goes_on(state);
        Ok(())
    }

    fn mail(&self, message: &mail::Message) -> Result<(), mail::Error> {
        (self.services().mail)(message)
    }

    fn blob_put(&self, bytes: &[u8]) -> Result<String, blobs::Error> {
        Ok(self.host().shared.memory.blob_put(bytes))
    }

    fn blob_read(&self, id: &str, offset: u64, length: u32) -> Result<Vec<u8>, blobs::Error> {
        self.host().shared.memory.blob_read(id, offset, length)
    }

    fn blob_stat(&self, id: &str) -> Result<blobs::Info, blobs::Error> {
        self.host().shared.memory.blob_stat(id)
    }

    fn blob_delete(&self, id: &str) -> Result<(), blobs::Error> {
        self.host().shared.memory.blob_delete(id);
        Ok(())
    }

    fn tenant_name(&self) -> String {
        self.host().shared.tenant.clone()
    }

    fn signing_key(&self) -> crypto::SigningKey {
        crate::crypto::public()
    }

    fn sign(&self, messages: &[String]) -> Vec<String> {
        messages.iter().map(|message| crate::crypto::sign(message)).collect()
    }

    fn verify(&self, checks: &[crypto::Check]) -> Vec<bool> {
        checks.iter().map(crate::crypto::verify).collect()
    }

    fn hash_password(&self, password: &str) -> String {
        crate::crypto::hash_password(password)
    }

    fn verify_password(&self, password: &str, hash: &str) -> bool {
        crate::crypto::verify_password(password, hash)
    }

    fn cache_get(&self, key: &str) -> Option<Vec<u8>> {
        let host = self.host();
        let plugin = &host.installed().prefix;
        self.host().shared.memory.cache_get(plugin, key, self.host().now_ms())
    }

    fn cache_put(&self, key: &str, value: &[u8], ttl_ms: u32, topics: &[String]) {
        let host = self.host();
        let plugin = &host.installed().prefix;
        let until_ms = self.host().now_ms() + u64::from(ttl_ms);
        self.host().shared.memory.cache_put(plugin, key, value, until_ms, topics);
    }

    fn cache_remove(&self, key: &str) {
        self.host().shared.memory.cache_remove(&self.host().installed().prefix, key);
    }

    fn timer_set(&self, name: &str, due_ms: u64, payload: &str) -> Result<(), String> {
        let host = self.host();
        let plugin = &host.installed().prefix;
        let set = host.database().timer_set(plugin, name, due_ms, payload);
        host.block_on(set).map_err(|error| error.to_string())
    }

    fn timer_cancel(&self, name: &str) -> Result<(), String> {
        let host = self.host();
        let cancel = host.database().timer_cancel(&host.installed().prefix, name);
        host.block_on(cancel).map(drop).map_err(|error| error.to_string())
    }

    fn limit_take(&self, class: &str, key: &str, n: u32) -> Result<(), u64> {
        self.host().shared.memory.take(class, key, n)
    }

    fn limit_cap(&self, name: &str) -> Option<u64> {
        self.host().shared.memory.cap(name)
    }

    fn log(&self, level: log::Level, message: &str, fields: &[(String, String)]) {
        if matches!(level, log::Level::Error | log::Level::Warn) {
            let fields: Vec<_> = fields.iter().map(|(k, v)| format!(" {k}={v}")).collect();
            let line = format!("{level:?} {message}{}", fields.concat());
            // Shown by the test runner when the test fails.
            eprintln!("{line}");
            self.host().shared.logs.lock().unwrap().push(line);
        }
    }

    fn log_enabled(&self, _level: log::Level) -> bool {
        true
    }

    fn count(&self, _name: &str, _n: u64) {}
    fn gauge(&self, _name: &str, _value: f64) {}
    fn observe(&self, _name: &str, _seconds: f64) {}

    fn config(&self) -> String {
        self.host().installed().config.clone()
    }

    fn now_ms(&self) -> u64 {
        self.host().now_ms()
    }

    fn random(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            // splitmix64: the same in every run, distinct within one. Never outside of tests.
            let step = 0x9e37_79b9_7f4a_7c15;
            let mut z = self.host().shared.random.fetch_add(step, Ordering::SeqCst);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            for (target, byte) in chunk.iter_mut().zip(bytes) {
                *target = byte;
            }
        }
    }

    fn answered(&self, hook: &str) -> bool {
        self.services().hooks.answered(hook)
    }
}
