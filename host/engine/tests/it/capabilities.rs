//! Host functions, called by a guest.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::{Signature, SigningKey, Verifier as _};
use tessera_engine::{
    Event,
    api::{CallError, Dispatch},
};

use crate::support::{House, packed_of};

const WORLD: &str = r#"
package demo:caps@0.1.0;

world caps {
    import tessera:host/cache@0.1.0;
    import tessera:host/crypto@0.1.0;
    import tessera:host/limits@0.1.0;
    import tessera:host/config@0.1.0;
    export tessera:plugin/timer@0.1.0;
}
"#;

/// The first letter of the name says what to do with the rest of it and the payload.
const CODE: &str = r#"
    (import "tessera:host/cache@0.1.0" "put" (func $put (param i32 i32 i32 i32 i32 i32 i32)))
    (import "tessera:host/cache@0.1.0" "get" (func $get (param i32 i32 i32)))
    (import "tessera:host/crypto@0.1.0" "sign" (func $sign (param i32 i32 i32)))
    (import "tessera:host/crypto@0.1.0" "hash-password" (func $hash (param i32 i32 i32)))
    (import "tessera:host/crypto@0.1.0" "verify-password" (func $verify (param i32 i32 i32 i32) (result i32)))
    (import "tessera:host/limits@0.1.0" "take" (func $take (param i32 i32 i32 i32 i32 i32)))
    (import "tessera:host/config@0.1.0" "get" (func $config (param i32)))
    (data (i32.const 2048) "key")
    (data (i32.const 2064) "room")
    (data (i32.const 2080) "login")
    (func (export "tessera:plugin/timer@0.1.0#fire")
        (param $name i32) (param $length i32) (param $at i32) (param $size i32) (result i32)
        (local $what i32)
        (local.set $what (i32.load8_u (local.get $name)))
        (i32.store (i32.const 400) (i32.const 2064))
        (i32.store (i32.const 404) (i32.const 4))
        (if (i32.eq (local.get $what) (i32.const 112)) (then ;; p
            (call $put (i32.const 2048) (i32.const 3) (local.get $at) (local.get $size)
                (i32.const 60000) (i32.const 400) (i32.const 1))))
        (if (i32.eq (local.get $what) (i32.const 103)) (then ;; g
            (call $get (i32.const 2048) (i32.const 3) (i32.const 256))
            (if (i32.load8_u (i32.const 256))
                (then (return (call $text (i32.load (i32.const 260)) (i32.load (i32.const 264))))))))
        (if (i32.eq (local.get $what) (i32.const 115)) (then ;; s
            (i32.store (i32.const 400) (local.get $at))
            (i32.store (i32.const 404) (local.get $size))
            (call $sign (i32.const 400) (i32.const 1) (i32.const 256))
            (return (call $text (i32.load (i32.load (i32.const 256)))
                (i32.load offset=4 (i32.load (i32.const 256)))))))
        (if (i32.eq (local.get $what) (i32.const 104)) (then ;; h
            (call $hash (local.get $at) (local.get $size) (i32.const 256))
            (return (call $text (i32.load (i32.const 256)) (i32.load (i32.const 260))))))
        (if (i32.eq (local.get $what) (i32.const 118)) (then ;; v: rest of the name is the hash
            (return (call $fail (call $verify (local.get $at) (local.get $size)
                (i32.add (local.get $name) (i32.const 1))
                (i32.sub (local.get $length) (i32.const 1)))))))
        (if (i32.eq (local.get $what) (i32.const 108)) (then ;; l
            (call $take (i32.const 2080) (i32.const 5) (local.get $at) (local.get $size)
                (i32.const 1) (i32.const 256))
            (if (i32.load8_u (i32.const 256)) (then (return (call $fail (i32.const 1)))))))
        (if (i32.eq (local.get $what) (i32.const 99)) (then ;; c
            (call $config (i32.const 256))
            (return (call $text (i32.load (i32.const 256)) (i32.load (i32.const 260))))))
        (call $ok))
"#;

async fn house() -> House {
    let house = House::new().await;
    let rest = "[config]\ndefault = { colour = \"red\" }\n[grants]\nsign = true\npasswords = true";
    house.install(&[packed_of(WORLD, "caps", rest, "caps", CODE)]);
    house
}

async fn call(house: &House, name: &str, payload: &str) -> Result<(), String> {
    house.tenant.fire("caps", name, payload).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_value_is_dropped_when_its_topic_wakes() {
    let house = house().await;
    assert_eq!(call(&house, "g", "").await, Ok(()));
    call(&house, "p", "value").await.unwrap();
    assert_eq!(call(&house, "g", "").await, Err("value".to_owned()));
    house.bus.notify("t", &["other"]);
    assert_eq!(call(&house, "g", "").await, Err("value".to_owned()));
    house.bus.notify("t", &["room"]);
    assert_eq!(call(&house, "g", "").await, Ok(()));
    call(&house, "p", "again").await.unwrap();
    assert_eq!(call(&house, "g", "").await, Err("again".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_signed_with_the_tenants_key() {
    let house = house().await;
    let signature = call(&house, "s", "a message").await.unwrap_err();
    let file = std::fs::read_to_string(house.dir.path().join("key")).unwrap();
    let (id, seed) = file.trim().split_once(' ').unwrap();
    assert!(id.starts_with("ed25519:a_"), "{id}");
    let seed: [u8; 32] = STANDARD_NO_PAD.decode(seed).unwrap().try_into().unwrap();
    let signature = Signature::from_slice(&STANDARD_NO_PAD.decode(signature).unwrap()).unwrap();
    let key = SigningKey::from_bytes(&seed).verifying_key();
    assert!(key.verify(b"a message", &signature).is_ok());
    assert!(key.verify(b"another", &signature).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_fits_its_hash_only() {
    let house = house().await;
    let hash = call(&house, "h", "secret").await.unwrap_err();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    let fits = async |hash: &str, password: &str| {
        call(&house, &format!("v{hash}"), password).await.unwrap_err().len() == 1
    };
    assert!(fits(&hash, "secret").await);
    assert!(!fits(&hash, "Secret").await);
    assert!(!fits("nonsense", "secret").await);
    // Nobody chooses by a hash how much memory or time its check takes.
    let (salt, digest) = hash.split_once("p=1$").unwrap().1.split_once('$').unwrap();
    for cost in ["m=4294967295,t=1,p=1", "m=64,t=4294967295,p=1"] {
        assert!(!fits(&format!("$argon2id$v=19${cost}${salt}${digest}"), "secret").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_runs_empty_for_its_key_only() {
    let house = house().await;
    assert_eq!(call(&house, "l", "alice").await, Ok(()));
    assert_eq!(call(&house, "l", "alice").await, Ok(()));
    assert!(call(&house, "l", "alice").await.is_err());
    assert_eq!(call(&house, "l", "bob").await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn config_is_the_manifests_default_where_nothing_is_set() {
    let house = house().await;
    assert_eq!(call(&house, "c", "").await, Err(r#"{"colour":"red"}"#.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_and_passwords_are_for_those_who_are_granted_them() {
    let house = House::new().await;
    house.install(&[packed_of(WORLD, "caps", "", "caps", CODE)]);
    for (what, payload, grant) in [("s", "message", "sign"), ("h", "secret", "passwords")] {
        let CallError::Trapped(reason) =
            house.tenant.fire("caps", what, payload).await.unwrap_err()
        else {
            panic!("{what} did not end")
        };
        assert!(reason.contains(&format!("not granted: {grant}")), "{reason}");
    }
    assert_eq!(house.metric("tessera_limits_hit_total", "grant"), 2.0);
    let denied = house.tenant.journal("caps").into_iter();
    let denied = denied.filter(|entry| entry.event == Event::Denied && entry.limit == "grant");
    assert_eq!(denied.count(), 2);
}
