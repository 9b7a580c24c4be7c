//! What the host keeps in memory for plug-ins: cache, blobs, buckets.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use tessera_sdk::bindings::host::blobs::{Error, Info};

#[derive(Debug)]
struct Cached {
    value: Vec<u8>,
    until_ms: u64,
    topics: Vec<String>,
}

/// Keys carry the plug-in's name, as the host's do.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    cache: Mutex<HashMap<(String, String), Cached>>,
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    taken: Mutex<HashMap<(String, String), u32>>,
    capacity: Mutex<HashMap<String, u32>>,
    caps: Mutex<HashMap<String, u64>>,
}

impl Memory {
    pub(crate) fn woken(&self, topics: &[String]) {
        let mut cache = self.cache.lock().unwrap();
        cache.retain(|_, cached| !cached.topics.iter().any(|topic| topics.contains(topic)));
    }

    pub(crate) fn cache_get(&self, plugin: &str, key: &str, now_ms: u64) -> Option<Vec<u8>> {
        let cache = self.cache.lock().unwrap();
        let cached = cache.get(&(plugin.to_owned(), key.to_owned()))?;
        (cached.until_ms > now_ms).then(|| cached.value.clone())
    }

    pub(crate) fn cache_put(
        &self,
        plugin: &str,
        key: &str,
        value: &[u8],
        until_ms: u64,
        topics: &[String],
    ) {
        let cached = Cached { value: value.to_vec(), until_ms, topics: topics.to_vec() };
        self.cache.lock().unwrap().insert((plugin.to_owned(), key.to_owned()), cached);
    }

    pub(crate) fn cache_remove(&self, plugin: &str, key: &str) {
        self.cache.lock().unwrap().remove(&(plugin.to_owned(), key.to_owned()));
    }

    pub(crate) fn blob_put(&self, bytes: &[u8]) -> String {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let id = format!("{:016x}{:08x}", hasher.finish(), bytes.len());
        self.blobs.lock().unwrap().insert(id.clone(), bytes.to_vec());
        id
    }

    pub(crate) fn blob_read(&self, id: &str, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        let blobs = self.blobs.lock().unwrap();
        let bytes = blobs.get(id).ok_or(Error::NotFound)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(bytes.iter().skip(offset).take(length as usize).copied().collect())
    }

    pub(crate) fn blob_stat(&self, id: &str) -> Result<Info, Error> {
        let blobs = self.blobs.lock().unwrap();
        blobs.get(id).map(|bytes| Info { size: bytes.len() as u64 }).ok_or(Error::NotFound)
    }

    pub(crate) fn blob_delete(&self, id: &str) {
        self.blobs.lock().unwrap().remove(id);
    }

    /// Makes a class hold `n` for each key; without this it has no limit.
    pub(crate) fn limit(&self, class: &str, n: u32) {
        self.capacity.lock().unwrap().insert(class.to_owned(), n);
    }

    pub(crate) fn set_cap(&self, name: &str, n: Option<u64>) {
        let mut caps = self.caps.lock().unwrap();
        caps.remove(name);
        caps.extend(n.map(|n| (name.to_owned(), n)));
    }

    pub(crate) fn cap(&self, name: &str) -> Option<u64> {
        self.caps.lock().unwrap().get(name).copied()
    }

    pub(crate) fn take(&self, class: &str, key: &str, n: u32) -> Result<(), u64> {
        let Some(capacity) = self.capacity.lock().unwrap().get(class).copied() else {
            return Ok(());
        };
        let mut taken = self.taken.lock().unwrap();
        let used = taken.entry((class.to_owned(), key.to_owned())).or_default();
        if *used + n > capacity {
            return Err(1000);
        }
        *used += n;
        Ok(())
    }
}
