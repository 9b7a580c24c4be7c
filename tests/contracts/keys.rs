//! `keys`: keys of devices and users, messages between devices, backups. Functions, views (`docs/views.md`) and what clients see.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::Session;

use crate::world::{Pair, World, refused};

suite!(
    "keys",
    [
        keys_are_found_by_services_until_the_device_goes,
        one_time_keys_are_given_out_once_and_in_order,
        counts_and_unused_fallback_keys_are_seen,
        messages_wait_in_order_until_they_are_acknowledged,
        a_service_sends_once,
        an_acknowledged_message_survives_a_kill,
        a_change_of_keys_moves_the_device_list,
        what_one_alone_sees_is_told_to_nobody_else,
        a_removed_device_takes_what_waited_with_it,
        a_backup_keeps_the_better_key,
        what_makes_no_sense_is_refused,
    ]
);

fn device_keys(user: &Session) -> Value {
    let device = &user.device_id;
    json!({
        "user_id": user.user_id.as_ref(), "device_id": device.as_ref(), "algorithms": ["m.x"],
        "keys": {format!("ed25519:{device}"): "e"}, "signatures": {},
    })
}

async fn upload(user: &Session) {
    user.post("/keys/upload", &json!({"device_keys": device_keys(user)})).await.unwrap();
}

/// What a service is told, parsed.
async fn asked(world: &World, function: &str, arguments: &Value) -> Value {
    let told = world.ok(function, arguments).await;
    serde_json::from_str(told.as_str().unwrap()).unwrap()
}

async fn devices(world: &World, user: &Session) -> Value {
    let request = json!({"device_keys": {user.user_id.as_ref(): []}}).to_string();
    asked(world, "keys.query", &json!([request, null])).await["device_keys"].clone()
}

async fn waiting(world: &World, user: &Session) -> Vec<Value> {
    let sql = "SELECT position, sender, type, content FROM keys_v1_to_device \
               WHERE user_id = $1 AND device_id = $2 ORDER BY position";
    world.rows(sql, &[json!(user.user_id.as_ref()), json!(user.device_id.as_ref())]).await
}

async fn list_position(world: &World, user: &Session) -> i64 {
    let sql = "SELECT position FROM keys_v1_device_lists WHERE user_id = $1";
    let rows = world.rows(sql, &[json!(user.user_id.as_ref())]).await;
    rows.first().map_or(0, |row| row["position"].as_i64().unwrap())
}

async fn keys_are_found_by_services_until_the_device_goes(world: World) {
    let alice = world.user("alice").await;
    assert_eq!(devices(&world, &alice).await, json!({alice.user_id.as_ref(): {}}));
    upload(&alice).await;
    let found = devices(&world, &alice).await;
    let device = &found[alice.user_id.as_ref()][alice.device_id.as_ref()];
    assert_eq!(device["keys"], device_keys(&alice)["keys"]);
    alice.post("/logout", &json!({})).await.unwrap();
    assert_eq!(devices(&world, &alice).await, json!({alice.user_id.as_ref(): {}}), "at once");
}

async fn one_time_keys_are_given_out_once_and_in_order(world: World) {
    let alice = world.user("alice").await;
    for id in ["b", "a"] {
        let body = json!({"one_time_keys": {format!("m.x:{id}"): {"key": id}}});
        alice.post("/keys/upload", &body).await.unwrap();
    }
    let fallback = json!({"fallback_keys": {"m.x:f": {"key": "f"}}});
    alice.post("/keys/upload", &fallback).await.unwrap();
    let (user, device) = (alice.user_id.as_ref(), alice.device_id.as_ref());
    let request = json!({"one_time_keys": {user: {device: "m.x"}}});
    for id in ["b", "a", "f", "f"] {
        let claimed = asked(&world, "keys.claim", &json!([request.to_string()])).await;
        let expected = json!({user: {device: {format!("m.x:{id}"): {"key": id}}}});
        assert_eq!(claimed["one_time_keys"], expected);
    }
}

async fn counts_and_unused_fallback_keys_are_seen(world: World) {
    let alice = world.user("alice").await;
    let body = json!({
        "one_time_keys": {"m.x:1": "k", "m.x:2": "k", "m.y:1": "k"}, "fallback_keys": {"m.z:1": "k"},
    });
    let counts = alice.post("/keys/upload", &body).await.unwrap();
    assert_eq!(counts["one_time_key_counts"]["m.x"], 2);
    let of = [json!(alice.user_id.as_ref()), json!(alice.device_id.as_ref())];
    let sql = "SELECT algorithm, count FROM keys_v1_one_time_counts WHERE user_id = $1 AND device_id = $2 \
               ORDER BY algorithm";
    let expected =
        [json!({"algorithm": "m.x", "count": 2}), json!({"algorithm": "m.y", "count": 1})];
    assert_eq!(world.rows(sql, &of).await, expected);
    let sql = "SELECT algorithm FROM keys_v1_unused_fallback WHERE user_id = $1 AND device_id = $2";
    assert_eq!(world.rows(sql, &of).await, [json!({"algorithm": "m.z"})]);
    let claim =
        json!({"one_time_keys": {alice.user_id.as_ref(): {alice.device_id.as_ref(): "m.z"}}});
    alice.post("/keys/claim", &claim).await.unwrap();
    assert!(world.rows(sql, &of).await.is_empty());
}

async fn messages_wait_in_order_until_they_are_acknowledged(world: World) {
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    for n in 0..3 {
        let messages = json!({"messages": {bob.user_id.as_ref(): {"*": {"n": n}}}});
        alice.put(&format!("/sendToDevice/m.x/{n}"), &messages).await.unwrap();
    }
    let rows = waiting(&world, &bob).await;
    let contents: Vec<_> = rows.iter().map(|row| row["content"].as_str().unwrap()).collect();
    assert_eq!(contents, ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
    assert_eq!(
        (&rows[0]["sender"], &rows[0]["type"]),
        (&json!(alice.user_id.as_ref()), &json!("m.x"))
    );
    let to = json!([bob.user_id.as_ref(), bob.device_id.as_ref(), rows[1]["position"]]);
    for _ in 0..2 {
        world.ok("keys.acknowledge", &to).await;
        assert_eq!(waiting(&world, &bob).await, rows[2..]);
    }
}

async fn a_service_sends_once(world: World) {
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let messages = json!({bob.user_id.as_ref(): {bob.device_id.as_ref(): {"n": 1}}}).to_string();
    let call = json!([alice.user_id.as_ref(), "m.x", "id", messages]);
    world.ok("keys.send-to-device", &call).await;
    world.ok("keys.send-to-device", &call).await;
    assert_eq!(waiting(&world, &bob).await.len(), 1);
    let wrong = json!([alice.user_id.as_ref(), "m.x", "other", "[]"]);
    let error = world.error("keys.send-to-device", &wrong).await;
    assert!(error.contains("Refused") && error.contains("M_BAD_JSON"), "{error}");
}

async fn an_acknowledged_message_survives_a_kill(mut world: World) {
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let messages = json!({"messages": {bob.user_id.as_ref(): {"*": {"n": 1}}}});
    alice.put("/sendToDevice/m.x/1", &messages).await.unwrap();
    world.server.kill9().await.unwrap();
    world.server.boot().await.unwrap();
    assert_eq!(waiting(&world, &bob).await.len(), 1);
    alice.at(&world.server.url()).put("/sendToDevice/m.x/1", &messages).await.unwrap();
    assert_eq!(waiting(&world, &bob).await.len(), 1, "the transaction is known");
}

async fn a_change_of_keys_moves_the_device_list(world: World) {
    let Pair { alice, bob, .. } = world.pair().await;
    let before = list_position(&world, &alice).await;
    upload(&alice).await;
    let uploaded = list_position(&world, &alice).await;
    assert!(uploaded > before, "{before} {uploaded}");
    let since = bob.sync_token().await.unwrap();
    let master =
        json!({"user_id": alice.user_id.as_ref(), "usage": ["master"], "keys": {"ed25519:m": "m"}});
    alice.post("/keys/device_signing/upload", &json!({"master_key": master})).await.unwrap();
    assert!(list_position(&world, &alice).await > uploaded);
    let changes = bob.get(&format!("/keys/changes?from={since}&to={since}")).await.unwrap();
    assert_eq!(changes, json!({"changed": [alice.user_id.as_ref()], "left": []}));
}

/// A key of a user, and what signs with it.
fn signing_key(seed: u8, user: &Session, usage: &str) -> (SigningKey, String, Value) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let public = STANDARD_NO_PAD.encode(key.verifying_key().as_bytes());
    let id = format!("ed25519:{public}");
    let map = json!({"user_id": user.user_id.as_ref(), "usage": [usage], "keys": {&id: public}});
    (key, id, map)
}

/// The object with the signature of a user's key.
fn sign(key: &SigningKey, id: &str, user: &Session, object: &Value) -> Value {
    let signature = STANDARD_NO_PAD.encode(key.sign(object.to_string().as_bytes()).to_bytes());
    let mut signed = object.clone();
    signed["signatures"] = json!({user.user_id.as_ref(): {id: signature}});
    signed
}

async fn what_one_alone_sees_is_told_to_nobody_else(world: World) {
    let Pair { alice, bob, .. } = world.pair().await;
    let (master, master_id, alices) = signing_key(1, &alice, "master");
    let (signing, signing_id, key) = signing_key(2, &alice, "user_signing");
    let key = sign(&master, &master_id, &alice, &key);
    let body = json!({"master_key": alices, "user_signing_key": key});
    alice.post("/keys/device_signing/upload", &body).await.unwrap();
    let (_, bobs_id, bobs) = signing_key(3, &bob, "master");
    bob.post("/keys/device_signing/upload", &json!({"master_key": bobs})).await.unwrap();
    let before = list_position(&world, &bob).await;
    let signed = sign(&signing, &signing_id, &alice, &bobs);
    let public = bobs_id.trim_start_matches("ed25519:");
    let body = json!({bob.user_id.as_ref(): {public: signed}});
    let answer = alice.post("/keys/signatures/upload", &body).await.unwrap();
    assert_eq!(answer, json!({"failures": {}}));
    assert_eq!(list_position(&world, &bob).await, before);
    let rows = world.rows("SELECT viewer, user_id FROM keys_v1_private_changes", &[]).await;
    assert_eq!(rows, [json!({"viewer": alice.user_id.as_ref(), "user_id": bob.user_id.as_ref()})]);
    let query =
        json!({"device_keys": {bob.user_id.as_ref(): [], alice.user_id.as_ref(): []}}).to_string();
    for (viewer, seen) in [(json!(alice.user_id.as_ref()), &signed), (json!(null), &bobs)] {
        let told = asked(&world, "keys.query", &json!([query, viewer])).await;
        assert_eq!(told["master_keys"][bob.user_id.as_ref()], *seen);
        assert_eq!(told["user_signing_keys"].as_object().unwrap().is_empty(), viewer.is_null());
    }
}

async fn a_removed_device_takes_what_waited_with_it(world: World) {
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let messages = json!({"messages": {bob.user_id.as_ref(): {"*": {"n": 1}}}});
    alice.put("/sendToDevice/m.x/1", &messages).await.unwrap();
    assert_eq!(waiting(&world, &bob).await.len(), 1);
    let before = list_position(&world, &bob).await;
    bob.post("/logout", &json!({})).await.unwrap();
    world.until(async || waiting(&world, &bob).await.is_empty()).await;
    assert!(list_position(&world, &bob).await > before);
}

async fn a_backup_keeps_the_better_key(world: World) {
    let alice = world.user("alice").await;
    let version = json!({"algorithm": "m.x", "auth_data": {}});
    let version = alice.post("/room_keys/version", &version).await.unwrap()["version"].clone();
    let path = format!("/room_keys/keys/!r:hs1/s?version={}", version.as_str().unwrap());
    let key = |verified: bool, first: u32, forwarded: u32| {
        json!({
            "first_message_index": first, "forwarded_count": forwarded, "is_verified": verified, "session_data": {},
        })
    };
    let mut best = key(false, 5, 5);
    alice.put(&path, &best).await.unwrap();
    for (next, better) in [
        (key(false, 6, 0), false),
        (key(false, 5, 4), true),
        (key(false, 4, 9), true),
        (key(true, 9, 9), true),
        (key(false, 0, 0), false),
    ] {
        alice.put(&path, &next).await.unwrap();
        best = if better { next } else { best };
        assert_eq!(alice.get(&path).await.unwrap(), best);
    }
    let wrong = alice.call(Method::PUT, "/room_keys/keys/!r:hs1/s?version=99", Some(&best)).await;
    refused(&wrong.unwrap(), 404, "M_NOT_FOUND");
}

async fn what_makes_no_sense_is_refused(world: World) {
    let alice = world.user("alice").await;
    for (path, body, status, errcode) in [
        ("/keys/upload", json!({"one_time_keys": {"x": "y"}}), 400, "M_INVALID_PARAM"),
        ("/keys/query", json!({}), 400, "M_BAD_JSON"),
        ("/keys/claim", json!({}), 400, "M_BAD_JSON"),
        ("/keys/device_signing/upload", json!({}), 400, "M_MISSING_PARAM"),
        ("/keys/signatures/upload", json!([]), 400, "M_BAD_JSON"),
        ("/room_keys/version", json!({}), 400, "M_MISSING_PARAM"),
    ] {
        refused(&alice.call(Method::POST, path, Some(&body)).await.unwrap(), status, errcode);
    }
    let query = world.error("keys.query", &json!(["{}", null])).await;
    assert!(query.contains("Refused") && query.contains("M_BAD_JSON"), "{query}");
}
