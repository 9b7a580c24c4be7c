//! POST /rooms/{roomId}/upgrade.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{ALICE, BOB, CAROL, Server, server};

fn find(server: &Server, room: &str, kind: &str) -> Value {
    server.events(room).into_iter().rfind(|event| event["type"] == kind).unwrap_or_default()
}

#[test]
fn room_moves_with_its_state() {
    for (from, to) in [("10", "11"), ("11", "12"), ("12", "12"), ("12", "10")] {
        let server = server();
        let room = server.create(
            ALICE,
            &json!({"room_version": from, "preset": "public_chat", "name": "N", "topic": "T",
                "room_alias_name": "here", "visibility": "public"}),
        );
        let _ = server.join(BOB, &room).ok();
        let _ = server.about(ALICE, "ban", &room, CAROL).ok();
        let upgrade = |user: &str| {
            server.ask(user, "POST", "upgrade", &[("roomId", &room)], &json!({"new_version": to}))
        };
        assert_eq!(upgrade(BOB).error(), (403, "M_FORBIDDEN".to_owned()));
        let new = upgrade(ALICE).ok()["replacement_room"].as_str().unwrap().to_owned();
        assert_eq!(
            find(&server, &room, "m.room.tombstone")["content"]["replacement_room"],
            new.as_str()
        );
        let create = find(&server, &new, "m.room.create");
        assert_eq!(create["content"]["predecessor"]["room_id"], room.as_str());
        let tombstone = server.rows::<(String,)>(
            "SELECT event_id FROM rooms_events WHERE room_id = $1 AND type = 'm.room.tombstone'",
            tessera_sdk::params![&room],
        );
        let named = create["content"]["predecessor"]["event_id"].as_str();
        // A room whose id is a hash cannot name what names it.
        assert_eq!(named, (to != "12").then_some(tombstone[0].0.as_str()));
        assert_eq!(find(&server, &new, "m.room.name")["content"]["name"], "N", "{from} to {to}");
        assert_eq!(server.membership(&new, CAROL), "ban");
        let alias = server.get(BOB, "get-alias", &[("roomAlias", "#here:hs1")]).ok();
        assert_eq!(alias["room_id"], new.as_str());
        let listed = |room: &str| {
            server.get(BOB, "get-visibility", &[("roomId", room)]).ok()["visibility"].clone()
        };
        assert_eq!((listed(&room), listed(&new)), (json!("private"), json!("public")));
        let named =
            |room: &str| find(&server, room, "m.room.canonical_alias")["content"]["alias"].clone();
        assert_eq!((named(&room), named(&new)), (Value::Null, json!("#here:hs1")));
        let message = json!({"body": "x", "msgtype": "m.text"});
        assert_eq!(
            server.send(BOB, &room, "m.room.message", "t", &message).status(),
            403,
            "the old room is silent"
        );
        let _ = server.join(BOB, &new).ok();
        let _ = server.put_state(ALICE, &new, "m.room.name", "", &json!({"name": "M"})).ok();
    }
}

#[test]
fn wrong_upgrades_are_refused() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let upgrade =
        |body: Value| server.ask(ALICE, "POST", "upgrade", &[("roomId", &room)], &body).error();
    assert_eq!(
        upgrade(json!({"new_version": "99"})),
        (400, "M_UNSUPPORTED_ROOM_VERSION".to_owned())
    );
    assert_eq!(upgrade(json!({})), (400, "M_MISSING_PARAM".to_owned()));
    let answer = server.ask(
        ALICE,
        "POST",
        "upgrade",
        &[("roomId", "!none:hs1")],
        &json!({"new_version": "12"}),
    );
    assert_eq!(answer.error(), (404, "M_NOT_FOUND".to_owned()));
}

#[test]
fn tags_and_direct_chats_follow_their_users() {
    type Data = Arc<Mutex<HashMap<(String, String), String>>>;
    let server = server();
    let data = Data::default();
    let (read, write) = (Arc::clone(&data), Arc::clone(&data));
    let elsewhere = AtomicBool::new(false);
    server.host.services(|services| {
        services.account_data = Arc::new(move |_, user, room, kind| {
            let key = (user.to_owned(), format!("{}/{kind}", room.unwrap_or_default()));
            Ok(read.lock().unwrap().get(&key).cloned())
        });
        services.swap_account_data = Arc::new(move |_, user, room, kind, expected, content| {
            let key = (user.to_owned(), format!("{}/{kind}", room.unwrap_or_default()));
            let mut data = write.lock().unwrap();
            // Another device is quicker, once.
            if key.1 == "/m.direct" && !elsewhere.swap(true, Ordering::SeqCst) {
                let now: Value = serde_json::from_str(&data[&key]).unwrap();
                let mut now = now.as_object().unwrap().clone();
                now.insert("@dave:hs1".to_owned(), json!(["!dave:hs1"]));
                data.insert(key.clone(), Value::Object(now).to_string());
            }
            if data.get(&key).map(String::as_str) != expected {
                return Ok(false);
            }
            data.insert(key, content.to_owned());
            Ok(true)
        });
    });
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.join(BOB, &room).ok();
    let tags = json!({"tags": {"m.favourite": {}}}).to_string();
    let direct = json!({CAROL: [room], ALICE: ["!other:hs1"]}).to_string();
    data.lock().unwrap().insert((BOB.to_owned(), format!("{room}/m.tag")), tags.clone());
    data.lock().unwrap().insert((ALICE.to_owned(), "/m.direct".to_owned()), direct);
    let body = json!({"new_version": "12"});
    let answer = server.ask(ALICE, "POST", "upgrade", &[("roomId", &room)], &body).ok();
    let new = answer["replacement_room"].as_str().unwrap();
    let _ = server.join(BOB, new).ok();
    let _ = server.join(CAROL, new).ok();
    let data = data.lock().unwrap();
    assert_eq!(data.get(&(BOB.to_owned(), format!("{new}/m.tag"))), Some(&tags));
    let direct = &data[&(ALICE.to_owned(), "/m.direct".to_owned())];
    let direct: Value = serde_json::from_str(direct).unwrap();
    let expected = json!({CAROL: [room, new], ALICE: ["!other:hs1"], "@dave:hs1": ["!dave:hs1"]});
    assert_eq!(direct, expected);
    assert!(server.host.logs().is_empty());
}
