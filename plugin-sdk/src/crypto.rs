//! Signing, verifying and password hashing; keys stay with the host.

use crate::backend;
pub use crate::bindings::host::crypto::{Check, SigningKey};

/// The tenant's name: the server name.
pub fn tenant_name() -> String {
    backend::with(|host| host.tenant_name())
}

/// The tenant's public signing key.
pub fn key() -> SigningKey {
    backend::with(|host| host.signing_key())
}

/// Signs each message with ed25519; unpadded base64, in order.
pub fn sign(messages: &[String]) -> Vec<String> {
    backend::with(|host| host.sign(messages))
}

/// Checks each signature, in order.
pub fn verify(checks: &[Check]) -> Vec<bool> {
    backend::with(|host| host.verify(checks))
}

/// A PHC string for a password.
pub fn hash_password(password: &str) -> String {
    backend::with(|host| host.hash_password(password))
}

/// Whether a password fits a PHC string.
pub fn verify_password(password: &str, hash: &str) -> bool {
    backend::with(|host| host.verify_password(password, hash))
}
