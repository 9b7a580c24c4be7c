//! The backend inside wasm: each method is one WIT call.

use super::Backend;
use crate::bindings::hook_caller::event_policy;
use crate::bindings::host::{
    blobs, bus, cache, config, crypto, fetch, limits, log, metrics, storage, timers,
};
use crate::bindings::service_caller;

/// The bindings.
#[derive(Debug)]
pub struct Wasm;

impl Backend for Wasm {
    fn query(&self, query: &storage::Select) -> Result<storage::Rows, storage::Error> {
        storage::query(query)
    }
    fn snapshot(&self, queries: &[storage::Select]) -> Result<storage::Moment, storage::Error> {
        storage::snapshot(queries)
    }
    fn commit(&self, batch: &storage::Batch) -> Result<storage::Committed, storage::Error> {
        storage::commit(batch)
    }
    fn search(
        &self,
        index: &str,
        words: &str,
        groups: Option<&[String]>,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<storage::Hit>, storage::Error> {
        storage::search(index, words, groups, limit, offset)
    }
    fn lock(&self, keys: &[String], wait_ms: u32) -> bool {
        storage::lock(keys, wait_ms)
    }
    fn unlock(&self) {
        storage::unlock();
    }
    fn watch(&self, topics: &[String]) -> bus::WatchId {
        bus::watch(topics)
    }
    fn notify(&self, topics: &[String]) {
        bus::notify(topics);
    }
    fn fetch(&self, request: &fetch::Request) -> Result<fetch::Response, fetch::Error> {
        fetch::send(request)
    }
    fn blob_put(&self, bytes: &[u8]) -> Result<String, blobs::Error> {
        blobs::put(bytes)
    }
    fn blob_read(&self, id: &str, offset: u64, length: u32) -> Result<Vec<u8>, blobs::Error> {
        blobs::read(id, offset, length)
    }
    fn blob_stat(&self, id: &str) -> Result<blobs::Info, blobs::Error> {
        blobs::stat(id)
    }
    fn blob_delete(&self, id: &str) -> Result<(), blobs::Error> {
        blobs::delete(id)
    }
    fn tenant_name(&self) -> String {
        crypto::tenant_name()
    }
    fn signing_key(&self) -> crypto::SigningKey {
        crypto::key()
    }
    fn sign(&self, messages: &[String]) -> Vec<String> {
        crypto::sign(messages)
    }
    fn verify(&self, checks: &[crypto::Check]) -> Vec<bool> {
        crypto::verify(checks)
    }
    fn hash_password(&self, password: &str) -> String {
        crypto::hash_password(password)
    }
    fn verify_password(&self, password: &str, hash: &str) -> bool {
        crypto::verify_password(password, hash)
    }
    fn cache_get(&self, key: &str) -> Option<Vec<u8>> {
        cache::get(key)
    }
    fn cache_put(&self, key: &str, value: &[u8], ttl_ms: u32, topics: &[String]) {
        cache::put(key, value, ttl_ms, topics);
    }
    fn cache_remove(&self, key: &str) {
        cache::remove(key);
    }
    fn timer_set(&self, name: &str, due_ms: u64, payload: &str) -> Result<(), String> {
        timers::set(name, due_ms, payload)
    }
    fn timer_cancel(&self, name: &str) -> Result<(), String> {
        timers::cancel(name)
    }
    fn limit_take(&self, class: &str, key: &str, n: u32) -> Result<(), u64> {
        limits::take(class, key, n)
    }
    fn log(&self, level: log::Level, message: &str, fields: &[(String, String)]) {
        log::write(level, message, fields);
    }
    fn log_enabled(&self, level: log::Level) -> bool {
        log::enabled(level)
    }
    fn count(&self, name: &str, n: u64) {
        metrics::count(name, n);
    }
    fn gauge(&self, name: &str, value: f64) {
        metrics::gauge(name, value);
    }
    fn observe(&self, name: &str, seconds: f64) {
        metrics::observe(name, seconds);
    }
    fn config(&self) -> String {
        config::get()
    }
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
    #[expect(clippy::expect_used, reason = "wasi:random does not fail; a trap beats a weak secret")]
    fn random(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("wasi:random");
    }
    fn check_event(
        &self,
        event: &str,
        origin: &event_policy::Origin,
    ) -> Result<(), event_policy::Refusal> {
        event_policy::check_event(event, origin)
    }
    fn put_account_data(
        &self,
        user: &str,
        room: Option<&str>,
        kind: &str,
        content: &str,
    ) -> Result<(), service_caller::accounts::Error> {
        service_caller::accounts::put_account_data(user, room, kind, content)
    }
    fn profile_changed(
        &self,
        user: &str,
        displayname: Option<&str>,
        avatar_url: Option<&str>,
    ) -> Result<(), service_caller::rooms::Error> {
        service_caller::rooms::profile_changed(user, displayname, avatar_url)
    }
    fn push_rules(&self, user: &str) -> Result<String, service_caller::push::Error> {
        service_caller::push::rules(user)
    }
}
