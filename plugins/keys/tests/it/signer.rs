//! Keys that sign.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Map, Value, json};

pub(crate) struct Signer(SigningKey);

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub(crate) fn public(&self) -> String {
        STANDARD_NO_PAD.encode(self.0.verifying_key().as_bytes())
    }

    pub(crate) fn id(&self) -> String {
        format!("ed25519:{}", self.public())
    }

    /// A cross-signing key.
    pub(crate) fn key(&self, user: &str, usage: &str) -> Value {
        json!({"user_id": user, "usage": [usage], "keys": {self.id(): self.public()}})
    }

    /// Signs as `user` under a name.
    pub(crate) fn sign_as(&self, mut object: Value, user: &str, id: &str) -> Value {
        let map = object.as_object_mut().unwrap();
        let signatures = map.remove("signatures");
        let unsigned = map.remove("unsigned");
        let text = Value::Object(map.clone()).to_string();
        let signature = STANDARD_NO_PAD.encode(self.0.sign(text.as_bytes()).to_bytes());
        let mut signatures = signatures.unwrap_or_else(|| Value::Object(Map::new()));
        signatures[user][id] = signature.into();
        map.insert("signatures".to_owned(), signatures);
        if let Some(unsigned) = unsigned {
            map.insert("unsigned".to_owned(), unsigned);
        }
        object
    }

    /// Signs as `user` under the name of a cross-signing key.
    pub(crate) fn sign(&self, object: Value, user: &str) -> Value {
        self.sign_as(object, user, &self.id())
    }
}
