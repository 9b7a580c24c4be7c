//! Extensions.

use serde_json::json;
use tessera_sdk::http::WakeReason::Woken;

use super::*;

fn with(extensions: &Value) -> Value {
    let mut body = all();
    body["extensions"] = extensions.clone();
    body
}

#[test]
fn account_data_is_told_whole_and_then_by_what_changed() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    world.account_data(ALICE, "", "org.global", &json!({ "n": 1 }));
    world.account_data(ALICE, ROOM, "m.tag", &json!({ "tags": {} }));
    world.account_data(ALICE, "!elsewhere:hs1", "m.tag", &json!({ "tags": {} }));
    let wish = with(&json!({ "account_data": { "enabled": true } }));
    let first = next(&world, ALICE, &wish, None);
    let data = &first["extensions"]["account_data"];
    assert_eq!(types(&data["global"]), ["org.global", "m.push_rules"]);
    assert_eq!(data["rooms"], json!({ ROOM: [{ "type": "m.tag", "content": { "tags": {} } }] }));
    let quiet = next(&world, ALICE, &wish, Some(&first));
    assert_eq!(quiet["extensions"]["account_data"], json!({ "global": [], "rooms": {} }));
    world.account_data(ALICE, "", "org.global", &json!({ "n": 2 }));
    world.account_data(ALICE, "!other:hs1", "m.tag", &json!({ "tags": { "u.x": {} } }));
    let body = next(&world, ALICE, &wish, Some(&quiet));
    let data = &body["extensions"]["account_data"];
    assert_eq!(data["global"][0]["content"]["n"], 2);
    assert_eq!(data["rooms"].as_object().unwrap().keys().collect::<Vec<_>>(), ["!other:hs1"]);
    assert!(told(&body).is_empty(), "the rooms themselves have nothing new");
}

#[test]
fn what_rooms_have_comes_with_the_rooms() {
    let world = world_with_room();
    world.create("!other:hs1", ALICE);
    world.account_data(ALICE, ROOM, "m.tag", &json!({ "tags": {} }));
    let extensions =
        json!({ "account_data": { "enabled": true }, "receipts": { "enabled": true } });
    let list = |last: u64| json!({ "lists": { "l": { "range": [0, last], "timeline_limit": 1 } }, "extensions": extensions });
    let id = world.say(ROOM, ALICE, "read");
    world.receipt(ROOM, BOB, "m.read", "", &id);
    world.say("!other:hs1", ALICE, "newer");
    let first = next(&world, ALICE, &list(0), None);
    assert_eq!(first["extensions"]["account_data"]["rooms"], json!({}));
    assert_eq!(first["extensions"]["receipts"]["rooms"], json!({}));
    let wider = next(&world, ALICE, &list(1), Some(&first));
    assert_eq!(types(&wider["extensions"]["account_data"]["rooms"][ROOM]), ["m.tag"]);
    let receipt = &wider["extensions"]["receipts"]["rooms"][ROOM];
    assert!(receipt["content"][&id]["m.read"][BOB].is_object(), "{receipt}");
    // Left out of reach and back again: what changed meanwhile.
    world.account_data(ALICE, ROOM, "org.a", &json!({}));
    world.receipt(ROOM, ALICE, "m.read.private", "", &id);
    let narrow = next(&world, ALICE, &list(0), Some(&wider));
    assert_eq!(narrow["extensions"]["receipts"]["rooms"], json!({}));
    let wide = next(&world, ALICE, &list(1), Some(&narrow));
    assert_eq!(types(&wide["extensions"]["account_data"]["rooms"][ROOM]), ["org.a"]);
    let receipt = &wide["extensions"]["receipts"]["rooms"][ROOM];
    assert_eq!(receipt["content"][&id], json!({ "m.read.private": { ALICE: { "ts": 7 } } }));
}

#[test]
fn receipts_of_new_rooms_are_those_of_what_is_shown() {
    let world = world_with_room();
    let old = world.say(ROOM, BOB, "old");
    for n in 0..12 {
        world.say(ROOM, BOB, &n.to_string());
    }
    let shown = world.say(ROOM, BOB, "shown");
    world.receipt(ROOM, CAROL, "m.read", "", &old);
    world.receipt(ROOM, ALICE, "m.read", "", &old);
    world.receipt(ROOM, BOB, "m.read", "", &shown);
    world.receipt(ROOM, BOB, "m.read.private", "", &shown);
    let wish = with(&json!({ "receipts": { "enabled": true } }));
    let first = next(&world, ALICE, &wish, None);
    let content = &first["extensions"]["receipts"]["rooms"][ROOM]["content"];
    assert_eq!(
        *content,
        json!({ &old: { "m.read": { ALICE: { "ts": 7 } } }, &shown: { "m.read": { BOB: { "ts": 7 } } } })
    );
    world.receipt(ROOM, CAROL, "m.read", "", &shown);
    let body = next(&world, ALICE, &wish, Some(&first));
    let content = &body["extensions"]["receipts"]["rooms"][ROOM]["content"];
    assert_eq!(*content, json!({ &shown: { "m.read": { CAROL: { "ts": 7 } } } }));
}

#[test]
fn typing_is_told_while_it_lasts() {
    let world = world_with_room();
    let wish = with(&json!({ "typing": { "enabled": true } }));
    let first = next(&world, ALICE, &wish, None);
    assert_eq!(first["extensions"]["typing"]["rooms"], json!({}));
    let mut poll = with_pos(&wish, &pos(&first));
    poll["timeout"] = 30_000.into();
    let answer = ask(&world, ALICE, &poll);
    world.typing(ROOM, BOB, world.host.now_ms() + 1000);
    let body = world.resume(&answer, Woken).ok();
    assert_eq!(body["extensions"]["typing"]["rooms"][ROOM]["content"]["user_ids"], json!([BOB]));
    let new = next(&world, ALICE, &wish, None);
    assert_eq!(new["extensions"]["typing"]["rooms"][ROOM]["content"]["user_ids"], json!([BOB]));
    world.typing(ROOM, BOB, 0);
    let body = next(&world, ALICE, &wish, Some(&body));
    assert_eq!(body["extensions"]["typing"]["rooms"][ROOM]["content"]["user_ids"], json!([]));
    let body = next(&world, ALICE, &wish, Some(&body));
    assert_eq!(body["extensions"]["typing"]["rooms"], json!({}));
}

#[test]
fn lists_and_rooms_of_an_extension_narrow_it() {
    let world = world_with_room();
    world.account_data(ALICE, ROOM, "m.tag", &json!({}));
    for (narrowed, told) in [
        (json!({ "enabled": true, "lists": [] }), false),
        (json!({ "enabled": true, "lists": ["other"] }), false),
        (json!({ "enabled": true, "lists": ["all"] }), true),
        (json!({ "enabled": true, "lists": [], "rooms": [ROOM] }), false),
        (json!({ "enabled": false }), false),
    ] {
        let body = next(&world, ALICE, &with(&json!({ "account_data": narrowed })), None);
        let rooms = &body["extensions"]["account_data"]["rooms"];
        assert_eq!(rooms.get(ROOM).is_some(), told, "{narrowed}");
    }
}

#[test]
fn messages_to_the_device_wait_until_they_are_acknowledged() {
    let world = world_with_room();
    for n in 0..3 {
        world.to_device(ALICE, "D", "org.example", n);
    }
    world.to_device(ALICE, "OTHER", "org.other", 0);
    let wish = |since: Option<&str>| {
        let mut body = json!({ "extensions": { "to_device": { "enabled": true, "limit": 2 } } });
        if let Some(since) = since {
            body["extensions"]["to_device"]["since"] = since.into();
        }
        body
    };
    let first = next(&world, ALICE, &wish(None), None);
    let got = &first["extensions"]["to_device"];
    assert_eq!(types(&got["events"]), ["org.example"; 2]);
    assert_eq!(
        got["events"][0],
        json!({ "type": "org.example", "sender": BOB, "content": { "n": 0 } })
    );
    let since = got["next_batch"].as_str().unwrap().to_owned();
    let again = next(&world, ALICE, &wish(None), Some(&first));
    assert_eq!(again["extensions"]["to_device"]["events"], got["events"], "not acknowledged yet");
    let acknowledged = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&acknowledged);
    world.host.services(|services| {
        services.acknowledge_to_device = std::sync::Arc::new(move |_, user, device, position| {
            seen.lock().unwrap().push((user.to_owned(), device.to_owned(), position));
            Ok(())
        });
    });
    let rest = next(&world, ALICE, &wish(Some(&since)), Some(&first));
    assert_eq!(rest["extensions"]["to_device"]["events"][0]["content"]["n"], 2);
    assert_eq!(
        *acknowledged.lock().unwrap(),
        [(ALICE.to_owned(), "D".to_owned(), since.parse::<u64>().unwrap())]
    );
    let since = rest["extensions"]["to_device"]["next_batch"].as_str().unwrap().to_owned();
    let mut poll = with_pos(&wish(Some(&since)), &pos(&rest));
    poll["timeout"] = 30_000.into();
    let answer = ask(&world, ALICE, &poll);
    assert!(answer.parked().is_some());
    world.to_device(ALICE, "D", "org.example", 9);
    let body = world.resume(&answer, Woken).ok();
    assert_eq!(body["extensions"]["to_device"]["events"][0]["content"]["n"], 9);
}

#[test]
fn keys_and_device_lists_are_told() {
    let world = world_with_room();
    let wish = with(&json!({ "e2ee": { "enabled": true } }));
    let first = next(&world, ALICE, &wish, None);
    assert_eq!(
        first["extensions"]["e2ee"],
        json!({ "device_one_time_keys_count": { "signed_curve25519": 0 }, "device_unused_fallback_key_types": [] })
    );
    world.devices_changed(BOB, ALICE);
    world.devices_changed(CAROL, ALICE);
    let body = next(&world, ALICE, &wish, Some(&first));
    assert_eq!(body["extensions"]["e2ee"]["device_lists"], json!({ "changed": [BOB], "left": [] }));
    world.join(ROOM, CAROL);
    let body = next(&world, ALICE, &wish, Some(&body));
    assert_eq!(body["extensions"]["e2ee"]["device_lists"]["changed"], json!([CAROL]));
    world.leave(ROOM, BOB);
    let body = next(&world, ALICE, &wish, Some(&body));
    assert_eq!(body["extensions"]["e2ee"]["device_lists"]["left"], json!([BOB]));
    let body = next(&world, ALICE, &wish, Some(&body));
    assert!(body["extensions"]["e2ee"].get("device_lists").is_none());
}

#[test]
fn a_claimed_key_ends_the_wait() {
    let world = world_with_room();
    let mut poll = with(&json!({ "e2ee": { "enabled": true } }));
    poll["timeout"] = 30_000.into();
    let first = next(&world, ALICE, &poll, None);
    let answer = ask(&world, ALICE, &with_pos(&poll, &pos(&first)));
    assert!(answer.parked().is_some());
    one_time_key(&world, ALICE);
    let body = world.resume(&answer, Woken).ok();
    assert_eq!(
        body["extensions"]["e2ee"]["device_one_time_keys_count"],
        json!({ "signed_curve25519": 1 })
    );
}

#[test]
fn extensions_alone_need_no_rooms() {
    let world = world_with_room();
    let wish = json!({ "conn_id": "encryption", "extensions": {
        "to_device": { "enabled": true }, "e2ee": { "enabled": true } } });
    let first = next(&world, ALICE, &wish, None);
    assert!(world.host.calls() <= 2);
    assert!(told(&first).is_empty());
    let mut poll = with_pos(&wish, &pos(&first));
    poll["timeout"] = 30_000.into();
    let answer = ask(&world, ALICE, &poll);
    world.say(ROOM, BOB, "not asked for");
    assert!(world.resume(&answer, Woken).parked().is_some());
}

#[test]
fn receipts_that_are_asked_for_later_are_told() {
    let world = world_with_room();
    let id = world.say(ROOM, BOB, "hi");
    world.receipt(ROOM, ALICE, "m.read", "", &id);
    world.receipt(ROOM, BOB, "m.read", "", &id);
    let first = next(&world, ALICE, &all(), None);
    let wish = with(&json!({ "receipts": { "enabled": true } }));
    let body = next(&world, ALICE, &wish, Some(&first));
    let content = &body["extensions"]["receipts"]["rooms"][ROOM]["content"][&id]["m.read"];
    assert!(content[ALICE].is_object() && content[BOB].is_object(), "{body}");
    let body = next(&world, ALICE, &wish, Some(&body));
    assert_eq!(body["extensions"]["receipts"]["rooms"], json!({}));
}

#[test]
fn a_token_above_the_horizon_loses_no_message() {
    let world = world_with_room();
    let wish =
        |since: &str| json!({ "extensions": { "to_device": { "enabled": true, "since": since } } });
    let acknowledged = std::sync::Arc::new(std::sync::Mutex::new(0));
    let seen = std::sync::Arc::clone(&acknowledged);
    world.host.services(|services| {
        services.acknowledge_to_device = std::sync::Arc::new(move |_, _, _, _| {
            *seen.lock().unwrap() += 1;
            Ok(())
        });
    });
    world.to_device(ALICE, "D", "org.example", 1);
    let first = next(&world, ALICE, &wish("1000000"), None);
    assert_eq!(*acknowledged.lock().unwrap(), 0);
    world.to_device(ALICE, "D", "org.example", 2);
    let since = first["extensions"]["to_device"]["next_batch"].as_str().unwrap();
    let body = next(&world, ALICE, &wish(since), Some(&first));
    assert_eq!(body["extensions"]["to_device"]["events"][0]["content"]["n"], 2);
}
