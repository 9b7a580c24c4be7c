//! The backend inside wasm: each method is one WIT call.

use crate::bindings::host::{
    answer, blobs, bus, cache, config, crypto, fetch, limits, log, mail, metrics, peers, storage,
    timers,
};

/// The bindings.
#[derive(Debug)]
pub struct Wasm;

#[expect(missing_docs, reason = "documented in wit/, function by function")]
impl Wasm {
    pub fn query(&self, query: &storage::Select) -> Result<storage::Rows, storage::Error> {
        storage::query(query)
    }
    pub fn snapshot(&self, queries: &[storage::Select]) -> Result<storage::Moment, storage::Error> {
        storage::snapshot(queries)
    }
    pub fn commit(&self, batch: &storage::Batch) -> Result<storage::Committed, storage::Error> {
        storage::commit(batch)
    }
    pub fn search(
        &self,
        index: &str,
        words: &str,
        groups: Option<&[String]>,
        newest: bool,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<storage::Hit>, storage::Error> {
        let search = if newest { storage::search_newest } else { storage::search };
        search(index, words, groups, limit, offset)
    }
    pub fn lock(&self, keys: &[String], wait_ms: u32) -> bool {
        storage::lock(keys, wait_ms)
    }
    pub fn unlock(&self) {
        storage::unlock();
    }
    pub fn watch(&self, topics: &[String]) -> bus::WatchId {
        bus::watch(topics)
    }
    pub fn notify(&self, topics: &[String]) {
        bus::notify(topics);
    }
    pub fn fetch(&self, request: &fetch::Request) -> Result<fetch::Response, fetch::Error> {
        fetch::send(request)
    }
    pub fn continue_with(&self, state: &[u8]) -> Result<(), String> {
        answer::continue_with(state)
    }
    pub fn mail(&self, message: &mail::Message) -> Result<(), mail::Error> {
        mail::send(message)
    }
    pub fn blob_put(&self, bytes: &[u8]) -> Result<String, blobs::Error> {
        blobs::put(bytes)
    }
    pub fn blob_read(&self, id: &str, offset: u64, length: u32) -> Result<Vec<u8>, blobs::Error> {
        blobs::read(id, offset, length)
    }
    pub fn blob_stat(&self, id: &str) -> Result<blobs::Info, blobs::Error> {
        blobs::stat(id)
    }
    pub fn blob_delete(&self, id: &str) -> Result<(), blobs::Error> {
        blobs::delete(id)
    }
    pub fn tenant_name(&self) -> String {
        crypto::tenant_name()
    }
    pub fn signing_key(&self) -> crypto::SigningKey {
        crypto::key()
    }
    pub fn sign(&self, messages: &[String]) -> Vec<String> {
        crypto::sign(messages)
    }
    pub fn verify(&self, checks: &[crypto::Check]) -> Vec<bool> {
        crypto::verify(checks)
    }
    pub fn hash_password(&self, password: &str) -> String {
        crypto::hash_password(password)
    }
    pub fn verify_password(&self, password: &str, hash: &str) -> bool {
        crypto::verify_password(password, hash)
    }
    pub fn cache_get(&self, key: &str) -> Option<Vec<u8>> {
        cache::get(key)
    }
    pub fn cache_put(&self, key: &str, value: &[u8], ttl_ms: u32, topics: &[String]) {
        cache::put(key, value, ttl_ms, topics);
    }
    pub fn cache_remove(&self, key: &str) {
        cache::remove(key);
    }
    pub fn timer_set(&self, name: &str, due_ms: u64, payload: &str) -> Result<(), String> {
        timers::set(name, due_ms, payload)
    }
    pub fn timer_cancel(&self, name: &str) -> Result<(), String> {
        timers::cancel(name)
    }
    pub fn limit_take(&self, class: &str, key: &str, n: u32) -> Result<(), u64> {
        limits::take(class, key, n)
    }
    pub fn limit_cap(&self, name: &str) -> Option<u64> {
        limits::cap(name)
    }
    pub fn log(&self, level: log::Level, message: &str, fields: &[(String, String)]) {
        log::write(level, message, fields);
    }
    pub fn log_enabled(&self, level: log::Level) -> bool {
        log::enabled(level)
    }
    pub fn count(&self, name: &str, n: u64) {
        metrics::count(name, n);
    }
    pub fn gauge(&self, name: &str, value: f64) {
        metrics::gauge(name, value);
    }
    pub fn observe(&self, name: &str, seconds: f64) {
        metrics::observe(name, seconds);
    }
    pub fn config(&self) -> String {
        config::get()
    }
    pub fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
    #[expect(clippy::expect_used, reason = "wasi:random does not fail; a trap beats a weak secret")]
    pub fn random(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("wasi:random");
    }
    pub fn answered(&self, hook: &str) -> bool {
        peers::answered(hook)
    }
}
