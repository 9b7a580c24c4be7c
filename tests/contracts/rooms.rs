//! `rooms`: the event graph. Functions, views (`docs/views.md`) and the topic `rooms.events`.

use serde_json::{Value, json};

use crate::world::{Pair, World, syncs};

suite!(
    "rooms",
    [
        each_event_is_stored_once_and_told_in_order,
        an_event_is_sent_on_behalf_of_a_user,
        what_a_user_may_not_send_is_refused_on_their_behalf_too,
        the_state_before_and_after_an_event_is_given,
        a_changed_profile_reaches_the_rooms,
        memberships_and_their_changes_are_shown,
        state_deltas_say_what_was_there_before,
        relations_and_transactions_are_shown,
        a_redacted_event_is_pruned_in_the_view,
    ]
);

async fn events(world: &World, room: &str) -> Vec<Value> {
    let sql = "SELECT event_id, position, type, sender, stream, rejected FROM rooms_v1_events \
               WHERE room_id = $1 ORDER BY position";
    world.rows(sql, &[json!(room)]).await
}

async fn each_event_is_stored_once_and_told_in_order(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    for n in 0..5 {
        alice.text(&room, &format!("a{n}"), "from alice").await.unwrap();
        bob.text(&room, &format!("b{n}"), "from bob").await.unwrap();
    }
    let rows = events(&world, &room).await;
    let told = world
        .hears("rooms.events", |heard| {
            let of_room: Vec<(String, i64)> = heard
                .iter()
                .filter(|it| it["key"] == room.as_str())
                .map(|it| {
                    let payload = &it["payload"];
                    let at = it["position"].as_i64().unwrap() + payload["offset"].as_i64().unwrap();
                    (payload["event_id"].as_str().unwrap().to_owned(), at)
                })
                .collect();
            (of_room.len() >= rows.len()).then_some(of_room)
        })
        .await;
    let stored: Vec<(String, i64)> = rows
        .iter()
        .map(|row| {
            (row["event_id"].as_str().unwrap().to_owned(), row["position"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(told, stored, "the same events at the same positions, in the same order");
    assert!(rows.iter().all(|row| row["stream"] == true && row["rejected"] == false), "{rows:?}");
}

async fn an_event_is_sent_on_behalf_of_a_user(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let since = bob.sync_token().await.unwrap();
    let content = json!({"msgtype": "m.text", "body": "on her behalf"}).to_string();
    let arguments = json!([alice.user_id.as_ref(), room, "m.room.message", null, content]);
    let id = world.ok("rooms.send-as", &arguments).await;
    let told = |sync: &Value| {
        let events = sync["rooms"]["join"][&room]["timeline"]["events"].as_array()?;
        events.iter().find(|event| event["event_id"] == id).cloned()
    };
    let (event, _) = syncs(&bob, &since, told).await;
    assert_eq!(event["sender"], alice.user_id.as_ref());
    assert_eq!(event["content"]["body"], "on her behalf");
    let topic = json!({"topic": "new"}).to_string();
    let arguments = json!([alice.user_id.as_ref(), room, "m.room.topic", "", topic]);
    world.ok("rooms.send-as", &arguments).await;
    let state = bob.get(&format!("/rooms/{room}/state/m.room.topic")).await.unwrap();
    assert_eq!(state["topic"], "new");
}

async fn what_a_user_may_not_send_is_refused_on_their_behalf_too(world: World) {
    let Pair { bob, room, .. } = world.pair().await;
    let carol = world.user("carol").await;
    let before = events(&world, &room).await.len();
    let text = json!({"msgtype": "m.text", "body": "x"}).to_string();
    let topic = json!({"topic": "x"}).to_string();
    for (user, room, kind, key, content) in [
        (carol.user_id.as_ref(), room.as_str(), "m.room.message", Value::Null, &text),
        (bob.user_id.as_ref(), room.as_str(), "m.room.topic", json!(""), &topic),
    ] {
        let error = world.error("rooms.send-as", &json!([user, room, kind, key, content])).await;
        assert!(error.contains("Refused") && error.contains("M_FORBIDDEN"), "{error}");
    }
    let arguments = json!([bob.user_id.as_ref(), "!none:hs1", "m.room.message", null, text]);
    let error = world.error("rooms.send-as", &arguments).await;
    assert!(error.contains("NotFound") || error.contains("Refused"), "{error}");
    assert_eq!(events(&world, &room).await.len(), before);
}

async fn the_state_before_and_after_an_event_is_given(world: World) {
    let Pair { alice, room, .. } = world.pair().await;
    let path = format!("/rooms/{room}/state/m.room.topic");
    let id = |answer: Value| answer["event_id"].as_str().unwrap().to_owned();
    let first = id(alice.put(&path, &json!({"topic": "one"})).await.unwrap());
    let second = id(alice.put(&path, &json!({"topic": "two"})).await.unwrap());
    let topics = json!(["m.room.topic"]);
    let topic = |state: Value| {
        let entries = state.as_array().unwrap().clone();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0]["event_id"].as_str().unwrap().to_owned()
    };
    let before = world.ok("rooms.state-at", &json!([second, false, topics])).await;
    assert_eq!(topic(before), first);
    let after = world.ok("rooms.state-at", &json!([second, true, topics])).await;
    assert_eq!(topic(after), second);
    let all = world.ok("rooms.state-at", &json!([second, true, []])).await;
    let kinds: Vec<&str> =
        all.as_array().unwrap().iter().map(|entry| entry["type"].as_str().unwrap()).collect();
    for kind in ["m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.topic"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    assert_eq!(kinds.iter().filter(|kind| **kind == "m.room.member").count(), 2);
    assert!(world.error("rooms.state-at", &json!(["$none", true, []])).await.contains("NotFound"));
}

async fn a_changed_profile_reaches_the_rooms(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let since = bob.sync_token().await.unwrap();
    world.ok("rooms.profile-changed", &json!([alice.user_id.as_ref(), "New", null])).await;
    let told = |sync: &Value| {
        let events = sync["rooms"]["join"][&room]["timeline"]["events"].as_array()?;
        events.iter().find(|event| event["content"]["displayname"] == "New").cloned()
    };
    let (event, _) = syncs(&bob, &since, told).await;
    assert_eq!(event["state_key"], alice.user_id.as_ref());
    let sql = "SELECT display_name FROM rooms_v1_memberships WHERE room_id = $1 AND user_id = $2";
    let rows = world.rows(sql, &[json!(room), json!(alice.user_id.as_ref())]).await;
    assert_eq!(rows, [json!({"display_name": "New"})]);
}

async fn memberships_and_their_changes_are_shown(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    bob.post(&format!("/rooms/{room}/leave"), &json!({})).await.unwrap();
    let invite = json!({"user_id": bob.user_id.as_ref()});
    alice.post(&format!("/rooms/{room}/invite"), &invite).await.unwrap();
    let sql = "SELECT membership, sender, forgotten, stripped_state, position FROM rooms_v1_memberships \
               WHERE room_id = $1 AND user_id = $2";
    let user = [json!(room), json!(bob.user_id.as_ref())];
    let rows = world.rows(sql, &user).await;
    assert_eq!(rows.len(), 1, "one row for each room and user: {rows:?}");
    let row = &rows[0];
    assert_eq!((&row["membership"], &row["forgotten"]), (&json!("invite"), &json!(false)));
    assert_eq!(row["sender"], alice.user_id.as_ref());
    let stripped: Value = serde_json::from_str(row["stripped_state"].as_str().unwrap()).unwrap();
    let kinds: Vec<&Value> = stripped.as_array().unwrap().iter().map(|it| &it["type"]).collect();
    assert!(kinds.contains(&&json!("m.room.create")), "{kinds:?}");
    let sql = "SELECT membership, prev_membership, position FROM rooms_v1_membership_changes \
               WHERE room_id = $1 AND user_id = $2 ORDER BY position";
    let changes = world.rows(sql, &user).await;
    let steps: Vec<(&str, &str)> = changes
        .iter()
        .map(|it| (it["prev_membership"].as_str().unwrap(), it["membership"].as_str().unwrap()))
        .collect();
    assert_eq!(steps, [("", "join"), ("join", "leave"), ("leave", "invite")]);
    assert_eq!(changes[2]["position"], row["position"]);
}

async fn state_deltas_say_what_was_there_before(world: World) {
    let Pair { alice, room, .. } = world.pair().await;
    let path = format!("/rooms/{room}/state/m.room.topic");
    let first = alice.put(&path, &json!({"topic": "one"})).await.unwrap()["event_id"].clone();
    let second = alice.put(&path, &json!({"topic": "two"})).await.unwrap()["event_id"].clone();
    let sql = "SELECT event_id, prev_event_id FROM rooms_v1_state_deltas \
               WHERE room_id = $1 AND type = $2 AND state_key = $3 ORDER BY position";
    let rows = world.rows(sql, &[json!(room), json!("m.room.topic"), json!("")]).await;
    let expected = [
        json!({"event_id": first, "prev_event_id": null}),
        json!({"event_id": second, "prev_event_id": first}),
    ];
    assert_eq!(rows, expected);
    let sql = "SELECT event_id FROM rooms_v1_current_state WHERE room_id = $1 AND type = $2 AND state_key = $3";
    let rows = world.rows(sql, &[json!(room), json!("m.room.topic"), json!("")]).await;
    assert_eq!(rows, [json!({"event_id": second})]);
}

async fn relations_and_transactions_are_shown(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let event = alice.text(&room, "t-1", "one").await.unwrap();
    let content =
        json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": "+"}});
    let path = format!("/rooms/{room}/send/m.reaction/t-2");
    let reaction = bob.put(&path, &content).await.unwrap()["event_id"].clone();
    let sql = "SELECT event_id, rel_type, agg_key, type, sender FROM rooms_v1_relations WHERE relates_to = $1";
    let expected = json!({
        "event_id": reaction, "rel_type": "m.annotation", "agg_key": "+", "type": "m.reaction",
        "sender": bob.user_id.as_ref(),
    });
    assert_eq!(world.rows(sql, &[json!(event)]).await, [expected]);
    let sql = "SELECT user_id, device_id, txn_id FROM rooms_v1_transactions WHERE event_id = $1";
    let expected = json!({
        "user_id": alice.user_id.as_ref(), "device_id": alice.device_id.as_ref(), "txn_id": "t-1",
    });
    assert_eq!(world.rows(sql, &[json!(event)]).await, [expected]);
}

async fn a_redacted_event_is_pruned_in_the_view(world: World) {
    let Pair { alice, room, .. } = world.pair().await;
    let event = alice.text(&room, "1", "a secret").await.unwrap();
    let path = format!("/rooms/{room}/redact/{event}/2");
    let redaction = alice.put(&path, &json!({})).await.unwrap()["event_id"].clone();
    let sql = "SELECT json, redacted_by FROM rooms_v1_events WHERE event_id = $1";
    let rows = world.rows(sql, &[json!(event)]).await;
    assert_eq!(rows[0]["redacted_by"], redaction);
    assert!(!rows[0]["json"].as_str().unwrap().contains("a secret"), "{rows:?}");
}
