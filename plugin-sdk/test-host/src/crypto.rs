//! Signing with a fixed key, verifying, and password hashing that costs next to nothing.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use tessera_sdk::bindings::host::crypto::{Check, SigningKey as PublicKey};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(crate) fn public() -> PublicKey {
    PublicKey {
        id: "ed25519:test".to_owned(),
        public: STANDARD_NO_PAD.encode(key().verifying_key().as_bytes()),
    }
}

pub(crate) fn sign(message: &str) -> String {
    STANDARD_NO_PAD.encode(key().sign(message.as_bytes()).to_bytes())
}

pub(crate) fn verify(check: &Check) -> bool {
    let public = STANDARD_NO_PAD.decode(&check.public).ok();
    let public = public.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let public = public.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    let signature = STANDARD_NO_PAD.decode(&check.signature).ok();
    let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
    match (public, signature) {
        (Some(public), Some(signature)) => {
            public.verify(check.message.as_bytes(), &signature).is_ok()
        }
        _ => false,
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(8, 1, 1, None).expect("the smallest there are");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

pub(crate) fn hash_password(password: &str) -> String {
    argon2().hash_password(password.as_bytes()).expect("hashing does not fail").to_string()
}

pub(crate) fn verify_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok())
}
