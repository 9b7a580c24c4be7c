//! Pushers.

use serde_json::{Value, json};
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

use crate::world::*;

fn pusher() -> Value {
    json!({
        "app_id": "org.example", "pushkey": "key", "kind": "http", "app_display_name": "App",
        "device_display_name": "Phone", "lang": "en", "profile_tag": "x",
        "data": { "url": "https://push.example.org/_matrix/push/v1/notify", "format": "event_id_only" },
    })
}

fn list(world: &World, user: &str) -> Value {
    let mut pushers = world.request(user, "GET", "pushers", &[], None).ok()["pushers"].clone();
    for pusher in pushers.as_array_mut().unwrap() {
        let pusher = pusher.as_object_mut().unwrap();
        assert_eq!(pusher.remove("org.matrix.msc3881.enabled"), Some(json!(true)));
        assert_eq!(pusher.remove("org.matrix.msc3881.device_id"), Some(json!("D")));
    }
    pushers
}

fn set(world: &World, user: &str, body: &Value) -> tessera_test_host::TestAnswer {
    world.request(user, "POST", "pushers-set", &[], Some(body))
}

/// Lets alice and bob have the device of all requests.
fn world_with_devices() -> World {
    let world = world();
    for user in [ALICE, BOB] {
        world.device(user);
    }
    world
}

#[test]
fn a_pusher_is_kept_as_it_was_set_changed_and_deleted() {
    let world = world_with_devices();
    assert_eq!(list(&world, ALICE), json!([]));
    set(&world, ALICE, &pusher()).ok();
    assert_eq!(list(&world, ALICE), json!([pusher()]));
    assert_eq!(list(&world, BOB), json!([]));
    let mut changed = pusher();
    changed["lang"] = json!("de");
    set(&world, ALICE, &changed).ok();
    assert_eq!(list(&world, ALICE), json!([changed]));
    let none = json!({ "app_id": "org.example", "pushkey": "key", "kind": null });
    set(&world, ALICE, &none).ok();
    assert_eq!(list(&world, ALICE), json!([]));
}

#[test]
fn a_key_moves_to_its_new_user_unless_appended() {
    let world = world_with_devices();
    set(&world, ALICE, &pusher()).ok();
    let mut appended = pusher();
    appended["append"] = json!(true);
    set(&world, BOB, &appended).ok();
    assert_eq!(list(&world, ALICE), json!([pusher()]));
    set(&world, BOB, &pusher()).ok();
    assert_eq!(list(&world, ALICE), json!([]));
    assert_eq!(list(&world, BOB), json!([pusher()]));
}

#[test]
fn a_pusher_goes_with_its_device() {
    let world = world_with_devices();
    set(&world, ALICE, &pusher()).ok();
    world
        .host
        .acting("accounts", || {
            Batch::new()
                .run("DELETE FROM accounts_devices WHERE user_id = $1", params![ALICE])
                .commit()
        })
        .unwrap();
    assert_eq!(list(&world, ALICE), json!([]));
}

#[test]
fn bad_pushers_are_refused() {
    let world = world_with_devices();
    let cases = [
        ("app_id", Value::Null, "M_MISSING_PARAM"),
        ("pushkey", Value::Null, "M_MISSING_PARAM"),
        ("lang", Value::Null, "M_MISSING_PARAM"),
        ("data", Value::Null, "M_MISSING_PARAM"),
        ("data", json!({}), "M_MISSING_PARAM"),
        ("app_display_name", Value::Null, "M_MISSING_PARAM"),
        ("device_display_name", Value::Null, "M_MISSING_PARAM"),
        ("app_id", json!("x".repeat(65)), "M_INVALID_PARAM"),
        ("pushkey", json!("x".repeat(513)), "M_INVALID_PARAM"),
        ("kind", json!("sms"), "M_INVALID_PARAM"),
        ("kind", json!("email"), "M_THREEPID_NOT_FOUND"),
        ("kind", json!(7), "M_INVALID_PARAM"),
        ("data", json!({ "url": "http://x/_matrix/push/v1/notify" }), "M_INVALID_PARAM"),
        ("data", json!({ "url": "https://x/elsewhere" }), "M_INVALID_PARAM"),
        ("data", json!({ "url": "https:///_matrix/push/v1/notify" }), "M_INVALID_PARAM"),
        ("data", json!([]), "M_BAD_JSON"),
    ];
    for (key, value, code) in cases {
        let mut body = pusher();
        body[key] = value;
        let answer = set(&world, ALICE, &body);
        assert_eq!(answer.error(), (400, code.to_owned()), "{body}");
    }
    let mut body = pusher();
    body.as_object_mut().unwrap().remove("kind");
    assert_eq!(set(&world, ALICE, &body).error(), (400, "M_MISSING_PARAM".to_owned()));
}

#[test]
fn the_oldest_pushers_make_room() {
    let world = world_with_devices();
    for n in 0..105 {
        world.host.advance(1);
        let mut body = pusher();
        body["pushkey"] = json!(format!("key{n}"));
        set(&world, ALICE, &body).ok();
    }
    let list = list(&world, ALICE);
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 100);
    assert_eq!(list[0]["pushkey"], "key5");
}
