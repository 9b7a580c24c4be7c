//! What takes as long as somebody else likes: identity servers that users choose, captcha verifiers, the mail relay.
//!
//! A call that waits for one holds a place that log-ins and the authenticator need as well, and anybody may start some of them. So only a
//! few of each kind wait at once in a process; whoever comes then is told to come again.

use tessera_sdk::fetch::{self, Request, Response};
use tessera_sdk::matrix::Error;
use tessera_sdk::{random, storage};

/// Calls of one kind at once. The host lets 16 requests into a plug-in at once: three kinds leave a quarter of that.
pub const SLOTS: usize = 4;
/// After how long to come again, milliseconds.
const RETRY_MS: u64 = 1000;

/// Who is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An identity server.
    Identity,
    /// The verifier of captchas.
    Captcha,
    /// The relay.
    Mail,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Captcha => "captcha",
            Self::Mail => "mail",
        }
    }

    /// The key that is held while place `n` is taken.
    pub fn slot(self, n: usize) -> String {
        format!("outside:{}:{n}", self.name())
    }
}

/// Runs `call` in a free place. It must not take storage locks.
///
/// # Errors
/// 429 `M_LIMIT_EXCEEDED` where there is none.
pub fn with<T>(kind: Kind, call: impl FnOnce() -> T) -> Result<T, Error> {
    // Begun anywhere, so that those who come together do not all ask for the same ones.
    let [first] = random::bytes::<1>();
    let first = usize::from(first);
    let free = (0..SLOTS).any(|n| storage::lock(&[kind.slot((first + n) % SLOTS)], 0));
    if !free {
        return Err(Error::limit_exceeded(RETRY_MS));
    }
    let result = call();
    storage::unlock();
    Ok(result)
}

/// Sends a request in a free place; what went wrong with it, for the log.
///
/// # Errors
/// As [`with`].
pub fn send(kind: Kind, request: &Request) -> Result<Result<Response, String>, Error> {
    with(kind, || fetch::send(request).map_err(|error| format!("{error:?}")))
}
