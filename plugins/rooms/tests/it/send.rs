//! PUT /rooms/{roomId}/send/{eventType}/{txnId}.

use serde_json::json;

use tessera_plugin_rooms::Plugin;
use tessera_sdk::hooks::{Objection, Refusal};
use tessera_sdk::storage;

use crate::harness::{ALICE, BOB, event_id, server};

#[test]
fn repeated_transaction_gives_the_first_event() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let body = json!({"msgtype": "m.text", "body": "once"});
    let first = event_id(&server.send(ALICE, &room, "m.room.message", "t", &body));
    let again = event_id(&server.send(ALICE, &room, "m.room.message", "t", &body));
    assert_eq!(first, again);
    assert_eq!(server.events(&room).iter().filter(|e| e["type"] == "m.room.message").count(), 1);
}

#[test]
fn sending_takes_two_storage_calls() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let _ = server.host.calls();
    server.text(ALICE, &room, "hi");
    assert_eq!(server.host.calls(), 2);
}

#[test]
fn transaction_belongs_to_its_device_and_path() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let other = server.create(ALICE, &json!({}));
    let body = json!({"msgtype": "m.text", "body": "x"});
    let first = event_id(&server.send(ALICE, &room, "m.room.message", "t", &body));
    let elsewhere = event_id(&server.send(ALICE, &other, "m.room.message", "t", &body));
    let kind = event_id(&server.send(ALICE, &room, "org.example", "t", &body));
    let device = server.host.request("PUT", "send").user(ALICE).device("OTHER");
    let device =
        device.param("roomId", &room).param("eventType", "m.room.message").param("txnId", "t");
    let device = event_id(&device.json(&body).send::<Plugin>());
    let ids = std::collections::BTreeSet::from([first, elsewhere, kind, device]);
    assert_eq!(ids.len(), 4);
}

#[test]
fn old_transactions_are_forgotten() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    server.text(ALICE, &room, "first");
    server.host.advance(49 * 3_600_000);
    for n in 0..64 {
        server.text(ALICE, &room, &format!("n{n}"));
    }
    let left = server
        .rows::<(String,)>("SELECT txn_id FROM rooms_transactions WHERE txn_id = 'first'", vec![]);
    assert!(left.is_empty());
}

#[test]
fn only_members_send() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let body = json!({"msgtype": "m.text", "body": "x"});
    let answer = server.send(BOB, &room, "m.room.message", "t", &body);
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
    let answer = server.send(BOB, "!none:hs1", "m.room.message", "t", &body);
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn power_is_needed() {
    let server = server();
    let levels = json!({"events_default": 30, "users": {}});
    let room = server
        .create(ALICE, &json!({"preset": "public_chat", "power_level_content_override": levels}));
    let _ = server.join(BOB, &room).ok();
    let body = json!({"msgtype": "m.text", "body": "x"});
    let answer = server.send(BOB, &room, "m.room.message", "t", &body);
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn policy_is_asked_once_and_its_refusal_is_the_answer() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = asked.clone();
    server.host.services(move |services| {
        services.hooks.check_event = Some(std::sync::Arc::new(move |_, event, origin| {
            log.lock().unwrap().push((event.to_owned(), origin.clone()));
            if event.contains("spam") {
                return Err(Objection::Refuse(Refusal {
                    status: 451,
                    errcode: "ORG_EXAMPLE_SPAM".to_owned(),
                    error: "no".to_owned(),
                }));
            }
            Ok(())
        }));
    });
    let spam = json!({"msgtype": "m.text", "body": "spam"});
    let answer = server.send(ALICE, &room, "m.room.message", "t", &spam);
    assert_eq!(answer.error(), (451, "ORG_EXAMPLE_SPAM".to_owned()));
    // A lost race asks nobody twice.
    server.host.before_next_commit(|host| {
        host.install();
        host.act_as("rooms");
        let bump = "UPDATE rooms_rooms SET revision = revision + 1";
        storage::Batch::new().run(bump, vec![]).commit().unwrap();
    });
    server.text(ALICE, &room, "ham");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    let (event, origin) = &asked[1];
    let event: serde_json::Value = serde_json::from_str(event).unwrap();
    assert_eq!(event["content"]["body"], "ham");
    assert!(event.get("signatures").is_none() && event.get("hashes").is_some());
    assert_eq!((origin.sender.as_str(), origin.local), (ALICE, true));
}

#[test]
fn pretended_event_looks_sent_and_is_stored_nowhere() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    server.host.services(|services| {
        services.hooks.check_event = Some(std::sync::Arc::new(|_, _, _| Err(Objection::Pretend)));
    });
    let body = json!({"msgtype": "m.text", "body": "x"});
    let answer = server.send(ALICE, &room, "m.room.message", "t", &body).ok();
    let event = answer["event_id"].as_str().unwrap();
    assert!(event.starts_with('$'));
    let rows = storage::query(
        "SELECT event_id FROM rooms_events WHERE event_id = $1",
        tessera_sdk::params![event],
    );
    assert!(rows.unwrap().rows.is_empty());
}

#[test]
fn words_can_be_found() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let event = server.text(ALICE, &room, "purple elephants");
    let hits = storage::search("messages", "elephants", None, 10, 0).unwrap();
    assert_eq!((hits[0].key.as_str(), hits[0].group.as_str()), (event.as_str(), room.as_str()));
}
