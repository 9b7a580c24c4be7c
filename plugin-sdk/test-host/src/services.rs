//! What other plug-ins answer, as a test wants it.

use std::sync::Arc;

use tessera_sdk::services::{AccountsError, PushError, RoomsError};

use crate::{Hooks, TestHost};

type PutAccountData =
    dyn Fn(&TestHost, &str, Option<&str>, &str, &str) -> Result<(), AccountsError> + Send + Sync;
type ProfileChanged =
    dyn Fn(&TestHost, &str, Option<&str>, Option<&str>) -> Result<(), RoomsError> + Send + Sync;
type PushRules = dyn Fn(&TestHost, &str) -> Result<String, PushError> + Send + Sync;
type Fetch = dyn Fn(
        &tessera_sdk::bindings::host::fetch::Request,
    ) -> Result<
        tessera_sdk::bindings::host::fetch::Response,
        tessera_sdk::bindings::host::fetch::Error,
    > + Send
    + Sync;

/// Answers of services, hooks and the outside. At first: no provider (`unavailable`), nobody who answers a hook, nothing reachable.
/// A closure gets the host, to run another plug-in's code with [`TestHost::acting`].
#[derive(Clone)]
pub struct Services {
    /// `tessera:hooks`
    pub hooks: Hooks,
    /// `tessera:services/accounts.put-account-data`
    pub put_account_data: Arc<PutAccountData>,
    /// `tessera:services/rooms.profile-changed`
    pub profile_changed: Arc<ProfileChanged>,
    /// `tessera:services/push.rules`
    pub push_rules: Arc<PushRules>,
    /// `tessera:host/fetch.send`
    pub fetch: Arc<Fetch>,
}

fn nobody() -> String {
    "no provider in this test".to_owned()
}

impl Default for Services {
    fn default() -> Self {
        use tessera_sdk::bindings::host::fetch::Error;
        Self {
            hooks: Hooks::default(),
            put_account_data: Arc::new(|_, _, _, _, _| Err(AccountsError::Unavailable(nobody()))),
            profile_changed: Arc::new(|_, _, _, _| Err(RoomsError::Unavailable(nobody()))),
            push_rules: Arc::new(|_, _| Err(PushError::Unavailable(nobody()))),
            fetch: Arc::new(|_| Err(Error::Unreachable("no network in tests".to_owned()))),
        }
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}
