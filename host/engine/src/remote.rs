//! Calls of plug-ins that run on other nodes.
//!
//! A plug-in that is not local is linked like any other, and called through [`Remote`]. The other side hands the
//! payload to [`crate::Tenant::answer`] of the tenant that [`tenant_of`] names. Caller and provider cannot tell.

mod answer;
mod away;
mod names;
pub(crate) mod values;
pub(crate) mod wire;

use std::time::Instant;

use bytes::Bytes;

pub(crate) use self::away::{Away, AwayFunction};
pub(crate) use self::names::call_service;
pub use self::names::{edge_service, services};
use crate::api::{BoxFuture, CallError};

/// Carries calls to other nodes.
pub trait Remote: Send + Sync + 'static {
    /// Hands `payload` to one node that serves `service` (see [`services`]), and gives its answer.
    ///
    /// # Errors
    ///
    /// [`CallError::Unavailable`] where no node serves it, so that nothing was started; [`CallError::Lost`] where
    /// the node went away with the call, and [`CallError::Timeout`] where `deadline` passed.
    fn call(
        &self,
        service: String,
        payload: Bytes,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, CallError>>;
}

/// Form of what travels; another one is refused by name.
const FORM: u8 = 1;
/// Bytes before the tenant's name: form, and length of the name in two bytes.
const HEAD: usize = 3;

/// A payload's beginning, to which the call is appended.
pub(crate) fn frame(tenant: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(HEAD + tenant.len() + 512);
    // The descriptor's grammar allows 255 bytes.
    let length = u16::try_from(tenant.len()).unwrap_or(u16::MAX);
    payload.push(FORM);
    payload.extend_from_slice(&length.to_be_bytes());
    payload.extend_from_slice(tenant.as_bytes());
    payload
}

/// The tenant and the rest of a payload.
fn split(payload: &[u8]) -> Option<(&str, &[u8])> {
    let [form, high, low, rest @ ..] = payload else { return None };
    if *form != FORM {
        return None;
    }
    let (tenant, rest) = rest.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
    Some((std::str::from_utf8(tenant).ok()?, rest))
}

/// Whom a payload is for: whose [`crate::Tenant::answer`] it goes to. `None`: it cannot be read; answer [`refuse`].
#[must_use]
pub fn tenant_of(payload: &[u8]) -> Option<&str> {
    split(payload).map(|(tenant, _)| tenant)
}

/// The answer to a call that reached no tenant. After [`CallError::Unavailable`] the caller tries another node that
/// serves it.
#[must_use]
pub fn refuse(error: CallError) -> Bytes {
    answer::failed(match error {
        CallError::Unavailable(reason) => wire::Failure::Elsewhere(reason),
        other => wire::Failure::of(other),
    })
}
