//! Asks authenticators and keeps their answers for as long as they hold.
//!
//! An answer that is kept carries a watch of the grant's topics, so it is void the moment one of them is notified:
//! whoever commits a logout and has its answer finds nothing here any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use tessera_bus::{Bus, Watch};
use tessera_engine::api::{CallError, Credentials, Denial, Dispatch, Grant};

use crate::redact;
use crate::routes::Authenticate;

/// The longest that an answer is kept, whatever the authenticator says: a bound on what a lost wake-up can cost.
const LONGEST: Duration = Duration::from_secs(600);

/// A hash over who is asked and all secrets of a request.
pub(crate) type Key = [u8; 32];

/// What an authenticator granted.
pub(crate) struct Granted {
    pub(crate) grant: Grant,
    until: Instant,
    /// Absent if the bus had no room, and the answer is then good for this request only.
    watch: Option<Watch>,
}

impl Granted {
    /// Whether one of the topics fired since the authenticator was asked.
    pub(crate) fn is_void(&self) -> bool {
        self.watch.as_ref().is_none_or(Watch::is_fired)
    }
}

/// What came of asking.
pub(crate) enum Verdict {
    /// No credentials.
    Anonymous,
    Granted(Arc<Granted>),
    Denied(Denial),
}

/// Answers of authenticators.
pub(crate) struct AuthCache {
    answers: Cache<Key, Arc<Granted>>,
    bus: Bus,
}

impl AuthCache {
    pub(crate) fn new(capacity: u64, bus: Bus) -> Self {
        Self { answers: Cache::new(capacity), bus }
    }

    /// A kept answer that still holds.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Granted>> {
        let granted = self.answers.get(key)?;
        if granted.is_void() || Instant::now() >= granted.until {
            self.answers.invalidate(key);
            return None;
        }
        Some(granted)
    }

    /// Drops everything: after a swap of plug-ins, or when wake-ups may have been lost.
    pub(crate) fn clear(&self) {
        self.answers.invalidate_all();
    }

    /// Asks the authenticator, and keeps its answer if it may be kept and there is a key.
    pub(crate) async fn ask(
        &self,
        dispatch: &dyn Dispatch,
        tenant: &str,
        who: &Authenticate,
        credentials: Credentials,
        key: Option<Key>,
    ) -> Result<Verdict, CallError> {
        // Before the authenticator looks, so that a logout that falls between is seen.
        let mark = self.bus.mark();
        let grant = match dispatch.authenticate(&who.plugin, credentials).await? {
            Err(denial) => return Ok(Verdict::Denied(denial)),
            Ok(None) => return Ok(Verdict::Anonymous),
            Ok(Some(grant)) => grant,
        };
        let watch = match self.bus.watch_since(mark, tenant, &grant.topics) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(%error, "answer of an authenticator is not kept");
                None
            }
        };
        let keep = Duration::from_millis(u64::from(grant.cache_ms)).min(LONGEST);
        // One who acts for others may name them outside of the credentials: never answer from memory.
        let alone = grant.principal.service.is_none();
        let granted = Arc::new(Granted { grant, until: Instant::now() + keep, watch });
        if let Some(key) = key.filter(|_| alone && !keep.is_zero() && !granted.is_void()) {
            self.answers.insert(key, Arc::clone(&granted));
        }
        Ok(Verdict::Granted(granted))
    }
}

/// The key of a request's credentials: the tenant, who is asked, every `authorization` header, and the secret parameters of the
/// query. `None` where there are none of these, or where the body counts too.
pub(crate) fn key(
    tenant: &str,
    who: &Authenticate,
    headers: &http::HeaderMap,
    query: &str,
    secret_query: &[String],
) -> Option<Key> {
    if who.with_body {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    let mut add = |kind: u8, bytes: &[u8]| {
        // Length first, so that no two lists of parts run into one.
        hasher.update(&[kind]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(4, tenant.as_bytes());
    add(0, who.plugin.as_bytes());
    add(1, who.name.as_bytes());
    let mut secrets = 0;
    for value in headers.get_all(http::header::AUTHORIZATION) {
        add(2, value.as_bytes());
        secrets += 1;
    }
    for pair in redact::secrets(query, secret_query) {
        add(3, pair.as_bytes());
        secrets += 1;
    }
    (secrets > 0).then(|| *hasher.finalize().as_bytes())
}
