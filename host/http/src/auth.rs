//! Asks authenticators and keeps their answers for as long as they hold.
//!
//! An answer that is kept carries a watch of the grant's topics, so it is void the moment one of them is notified:
//! whoever commits a logout and has its answer finds nothing here any more. Each tenant has a store of its own, and
//! all share one number of answers.

mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tessera_bus::{Bus, Watch};
use tessera_engine::api::{CallError, Credentials, Denial, Dispatch, Grant};

pub(crate) use self::store::Store;
use crate::redact;
use crate::routes::Authenticate;

/// The longest that an answer is kept, whatever the authenticator says: a bound on what a lost wake-up can cost.
const LONGEST: Duration = Duration::from_secs(600);

/// The same where there are several nodes: a wake-up comes over the network then.
const LONGEST_OF_MANY: Duration = Duration::from_secs(5);

/// A hash over who is asked and all secrets of a request.
pub(crate) type Key = [u8; 32];

/// What an authenticator granted.
pub(crate) struct Granted {
    pub(crate) grant: Grant,
    asked: Instant,
    until: Instant,
    /// Absent if the bus had no room, and the answer is then good for this request only.
    watch: Option<Watch>,
}

impl Granted {
    /// Whether one of the topics fired since the authenticator was asked.
    pub(crate) fn is_void(&self) -> bool {
        self.watch.as_ref().is_none_or(Watch::is_fired)
    }

    /// Whether one who holds on to it has to ask anew: it is void, or older than an answer may become with so many
    /// nodes.
    pub(crate) fn is_over(&self, nodes: u32) -> bool {
        self.is_void() || nodes > 1 && self.asked.elapsed() >= LONGEST_OF_MANY
    }

    fn holds(&self) -> bool {
        !self.is_void() && Instant::now() < self.until
    }
}

/// What came of asking.
pub(crate) enum Verdict {
    /// No credentials.
    Anonymous,
    Granted(Arc<Granted>),
    Denied(Denial),
}

/// Whom to ask, and for which tenant.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) bus: &'a Bus,
    pub(crate) tenant: &'a str,
    pub(crate) dispatch: &'a dyn Dispatch,
    pub(crate) who: &'a Authenticate,
    pub(crate) nodes: u32,
}

impl Asking<'_> {
    /// Asks the authenticator, and keeps its answer in `store` if it may be kept and there is a key.
    pub(crate) async fn ask(
        self,
        credentials: Credentials,
        store: &Store,
        key: Option<Key>,
    ) -> Result<Verdict, CallError> {
        // Before the authenticator looks, so that a logout or a swap that falls between is seen.
        let mark = self.bus.mark();
        let generation = store.generation();
        let asked = Instant::now();
        let grant = match self.dispatch.authenticate(&self.who.plugin, credentials).await? {
            Err(denial) => return Ok(Verdict::Denied(denial)),
            Ok(None) => return Ok(Verdict::Anonymous),
            Ok(Some(grant)) => grant,
        };
        let watch = match self.bus.watch_since(mark, self.tenant, &grant.topics) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(%error, "answer of an authenticator is not kept");
                None
            }
        };
        let longest = if self.nodes > 1 { LONGEST_OF_MANY } else { LONGEST };
        let keep = Duration::from_millis(u64::from(grant.cache_ms)).min(longest);
        // One who acts for others may name them outside of the credentials: never answer from memory.
        let alone = grant.principal.service.is_none();
        let granted = Arc::new(Granted { grant, asked, until: asked + keep, watch });
        if let Some(key) = key.filter(|_| alone && granted.holds()) {
            store.keep(key, Arc::clone(&granted), generation);
        }
        Ok(Verdict::Granted(granted))
    }
}

/// The key of a request's credentials within its tenant: who is asked, every `authorization` header, and the secret
/// parameters of the query. `None` where there are none of these, or where the body counts too.
pub(crate) fn key(
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tessera_bus::Bus;
    use tessera_engine::api::{Grant, Principal};

    use super::{Granted, LONGEST_OF_MANY};

    fn asked(ago: Duration) -> Granted {
        let principal = Principal {
            user: "alice".to_owned(),
            device: None,
            service: None,
            marks: Vec::new(),
            unlimited: false,
            rates: Vec::new(),
        };
        let grant = Grant { principal, cache_ms: 60_000, topics: Vec::new() };
        let asked = Instant::now().checked_sub(ago).unwrap();
        let watch = Bus::default().watch::<&str>("t", &[]).ok();
        Granted { grant, asked, until: asked + Duration::from_secs(60), watch }
    }

    #[test]
    fn of_several_nodes_none_trusts_an_answer_for_long() {
        let (young, old) = (asked(Duration::ZERO), asked(LONGEST_OF_MANY));
        assert!(!young.is_over(3) && old.is_over(3));
        assert!(!old.is_over(1), "a process by itself is told of every logout");
        let unwatched = Granted { watch: None, ..asked(Duration::ZERO) };
        assert!(unwatched.is_over(1), "it is told of none");
        assert!(old.holds() && !asked(Duration::from_secs(60)).holds());
    }
}
