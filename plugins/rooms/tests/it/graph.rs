//! Hashes, ids, signatures and links of every event, in every room version.

use std::collections::{BTreeMap, HashMap};

use ruma::RoomVersionId;
use ruma::canonical_json::CanonicalJsonObject;
use ruma::serde::Base64;
use ruma::signatures::{PublicKeyMap, Verified, reference_hash, verify_event};
use ruma::state_res::check_pdu_format;
use serde_json::{Value, json};
use tessera_plugin_rooms::core::version::SUPPORTED;
use tessera_plugin_rooms::core::{Decision, State, StoredEvent, Version, decide};
use tessera_sdk::{crypto, params};

use crate::harness::{ALICE, BOB, CAROL, Server, server};

fn busy_room(server: &Server, version: &str) -> String {
    let room = server.create(
        ALICE,
        &json!({"room_version": version, "preset": "public_chat", "name": "N", "invite": [CAROL]}),
    );
    let _ = server.join(BOB, &room).ok();
    let message = server.text(BOB, &room, "hello");
    let _ = server.put_state(ALICE, &room, "m.room.topic", "", &json!({"topic": "T"})).ok();
    let _ = server.redact(ALICE, &room, &message, "r").ok();
    let _ = server.about(ALICE, "kick", &room, BOB).ok();
    let _ = server.about(ALICE, "ban", &room, BOB).ok();
    let _ = server.about(ALICE, "unban", &room, BOB).ok();
    let _ = server.leave(CAROL, &room).ok();
    room
}

fn stored(server: &Server, room: &str) -> Vec<(String, String)> {
    server.rows(
        "SELECT event_id, json FROM rooms_events WHERE room_id = $1 ORDER BY position",
        params![room],
    )
}

fn ids(event: &Value, key: &str) -> Vec<String> {
    let id = |reference: &Value| match reference {
        Value::Array(pair) => pair[0].as_str().unwrap().to_owned(),
        id => id.as_str().unwrap().to_owned(),
    };
    event[key].as_array().unwrap().iter().map(id).collect()
}

#[test]
fn every_event_verifies() {
    for version in SUPPORTED {
        let server = server();
        let rules = RoomVersionId::try_from(version).unwrap().rules().unwrap();
        let room = busy_room(&server, version);
        let key = crypto::key();
        let keys = BTreeMap::from([(key.id.clone(), Base64::parse(&key.public).unwrap())]);
        let keys: PublicKeyMap = BTreeMap::from([("hs1".to_owned(), keys)]);
        for (event_id, json) in stored(&server, &room) {
            let object: CanonicalJsonObject = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&object).unwrap(), json, "stored canonically");
            check_pdu_format(&object, &rules.event_format).unwrap();
            let redacted: Vec<(String,)> = server.rows(
                "SELECT event_id FROM rooms_events WHERE event_id = $1 AND redacted_by IS NOT NULL",
                params![&event_id],
            );
            let verified = verify_event(&keys, &object, &rules).unwrap();
            let expected = if redacted.is_empty() { Verified::All } else { Verified::Signatures };
            assert_eq!(verified, expected, "version {version}: {json}");
            match version {
                "1" | "2" => assert_eq!(object["event_id"].as_str(), Some(event_id.as_str())),
                _ => assert_eq!(format!("${}", reference_hash(&object, &rules).unwrap()), event_id),
            }
        }
        if version == "12" {
            assert_eq!(stored(&server, &room)[0].0, room.replacen('!', "$", 1));
        }
    }
}

#[test]
fn each_event_follows_the_one_before() {
    for version in ["1", "11", "12"] {
        let server = server();
        let room = busy_room(&server, version);
        let events = stored(&server, &room);
        let mut before: Option<&String> = None;
        for ((event_id, json), depth) in events.iter().zip(1..) {
            let event: Value = serde_json::from_str(json).unwrap();
            assert_eq!(event["depth"], depth);
            assert_eq!(ids(&event, "prev_events").first(), before);
            before = Some(event_id);
        }
        let extremities = server.rows::<(String,)>(
            "SELECT extremities FROM rooms_rooms WHERE room_id = $1",
            params![&room],
        );
        let extremities: Vec<(String, String, u64)> =
            serde_json::from_str(&extremities[0].0).unwrap();
        assert_eq!(extremities.len(), 1);
        assert_eq!(&extremities[0].0, before.unwrap());
    }
}

/// Plays the room from its events alone, as another server would.
#[test]
fn every_event_is_allowed_by_its_own_past() {
    for version in SUPPORTED {
        let server = server();
        let room = busy_room(&server, version);
        let rules = Version::named(version).unwrap();
        let mut known: HashMap<String, std::sync::Arc<StoredEvent>> = HashMap::new();
        let mut state = State::default();
        let mut first = None;
        for (event_id, json) in stored(&server, &room) {
            let event = std::sync::Arc::new(StoredEvent::parse(&event_id, &json, false).unwrap());
            let value: Value = serde_json::from_str(&json).unwrap();
            let mut auth: State =
                ids(&value, "auth_events").iter().map(|id| known[id].clone()).collect();
            if let (true, Some(create)) = (rules.room_id_is_hash(), first.clone()) {
                auth.insert(create);
            }
            let decision = decide(&rules, &event, &auth, &state, Some(&state));
            assert_eq!(decision, Decision::Allow, "version {version}: {json}");
            first.get_or_insert_with(|| event.clone());
            known.insert(event_id, event.clone());
            state.insert(event);
        }
    }
}

#[test]
fn refused_by_the_present_is_a_soft_failure() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": "11"}));
    let _ = server.join(BOB, &room).ok();
    let message = server.text(BOB, &room, "hello");
    let _ = server.about(ALICE, "ban", &room, BOB).ok();
    let version = Version::named("11").unwrap();
    let (mut before, mut current, mut event) = (State::default(), State::default(), None);
    for (event_id, json) in stored(&server, &room) {
        let parsed = std::sync::Arc::new(StoredEvent::parse(&event_id, &json, false).unwrap());
        if event_id == message {
            event = Some(parsed);
            continue;
        }
        if event.is_none() {
            before.insert(parsed.clone());
        }
        current.insert(parsed);
    }
    let event = event.unwrap();
    let auth: State = before
        .events()
        .filter(|e| {
            use ruma::state_res::Event as _;
            event.auth_events().any(|id| id.as_str() == e.id())
        })
        .cloned()
        .collect();
    assert_eq!(decide(&version, &event, &auth, &before, None), Decision::Allow);
    let decision = decide(&version, &event, &auth, &before, Some(&current));
    assert!(matches!(decision, Decision::SoftFail(_)), "{decision:?}");
    let decision = decide(&version, &event, &auth, &current, None);
    assert!(matches!(decision, Decision::Reject(_)), "{decision:?}");
}

/// State groups say what the current state and its deltas say.
#[test]
fn state_groups_agree_with_the_timeline() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    for n in 0..130 {
        let key = format!("k{}", n % 7);
        let _ = server.put_state(ALICE, &room, "org.example", &key, &json!({"n": n})).ok();
        if n % 10 == 0 {
            server.text(ALICE, &room, &format!("m{n}"));
        }
    }
    let rows = server.rows::<(String, Option<String>, String, Option<i64>, Option<i64>)>(
        "SELECT type, state_key, event_id, state_before, state_after FROM rooms_events
         WHERE room_id = $1 ORDER BY position",
        params![&room],
    );
    let mut state: BTreeMap<(String, String), String> = BTreeMap::new();
    for (kind, key, event_id, before, after) in rows {
        assert_eq!(resolved(before.unwrap()), state);
        if let Some(key) = key {
            state.insert((kind, key), event_id);
        }
        assert_eq!(resolved(after.unwrap()), state);
    }
    let full: Vec<(i64,)> = server
        .rows("SELECT COUNT(group_id) AS n FROM rooms_state_groups WHERE group_id = base", vec![]);
    assert_eq!(full[0].0, 3, "one at first and one for each fifty");
}

fn resolved(group: i64) -> BTreeMap<(String, String), String> {
    let entries = tessera_plugin_rooms::store::state_at::resolve(group, &[]).unwrap();
    entries.into_iter().map(|(kind, key, event_id)| ((kind, key), event_id)).collect()
}
