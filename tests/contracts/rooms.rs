//! `rooms`: the event graph. Functions, views (`docs/views.md`) and the topic `rooms.events`.

use serde_json::{Value, json};

use crate::peer::{Peer, ROOM, VERSION, YAN, ZOE};
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
        a_room_is_joined_through_another_server,
        forks_resolve_and_what_is_refused_is_not_shown,
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

/// What became of events that are handed over: `[event id, outcome, …]` each.
async fn receive(world: &World, peer: &Peer, ids: &[&String]) -> Vec<Value> {
    let events: Vec<String> = ids.iter().map(|id| peer.json(id)).collect();
    let got = world.ok("rooms.receive", &json!([ROOM, "hs2", events])).await;
    got.as_array().unwrap().clone()
}

/// The server knows the room by its state before Yan's join, and that join.
async fn join_through(world: &World, peer: &Peer) {
    let (last, state) = (&peer.order[4], &peer.order[..4]);
    let known = json!([ROOM, VERSION, "hs2", peer.json(last), state]);
    let needs = world.ok("rooms.receive-with-state", &known).await;
    assert_eq!((&needs[0], &needs[1], &needs[2]), (&json!(last), &json!("needs"), &json!([])));
    let mut wanted: Vec<Value> = needs[3].as_array().unwrap().clone();
    wanted.sort_by_key(Value::to_string);
    let mut ids: Vec<Value> = state.iter().map(|id| json!(id)).collect();
    ids.sort_by_key(Value::to_string);
    assert_eq!(wanted, ids);
    // In any order.
    let events: Vec<String> = state.iter().rev().map(|id| peer.json(id)).collect();
    let got = world.ok("rooms.receive-outliers", &json!([ROOM, VERSION, events])).await;
    assert!(got.as_array().unwrap().iter().all(|one| one[1] == "accepted"), "{got}");
    let got = world.ok("rooms.receive-with-state", &known).await;
    assert_eq!(got, json!([last, "accepted"]));
    assert_eq!(world.ok("rooms.receive-with-state", &known).await, json!([last, "duplicate"]));
}

async fn a_room_is_joined_through_another_server(world: World) {
    let alice = world.user("alice").await;
    let mut peer = Peer::new();
    let error = world.error("rooms.receive", &json!([ROOM, "hs2", []])).await;
    assert!(error.contains("NotFound"), "{error}");
    let version = json!(["!other:hs2", "99", []]);
    let error = world.error("rooms.receive-outliers", &version).await;
    assert!(error.contains("M_UNSUPPORTED_ROOM_VERSION"), "{error}");
    join_through(&world, &peer).await;
    let rooms = "SELECT version, creator FROM rooms_v1_rooms WHERE room_id = $1";
    let rows = world.rows(rooms, &[json!(ROOM)]).await;
    assert_eq!(rows, [json!({"version": VERSION, "creator": ZOE})]);
    let members =
        "SELECT user_id, membership FROM rooms_v1_memberships WHERE room_id = $1 ORDER BY user_id";
    let member = |user: &str| json!({"user_id": user, "membership": "join"});
    assert_eq!(world.rows(members, &[json!(ROOM)]).await, [member(YAN), member(ZOE)]);
    let shown: Vec<bool> =
        events(&world, ROOM).await.iter().map(|row| row["stream"] == true).collect();
    assert_eq!(shown.iter().filter(|shown| **shown).count(), 1, "the state before is no timeline");

    // Clients here are in it like in any other.
    alice.join(ROOM).await.unwrap();
    let since = alice.sync_token().await.unwrap();
    let join = world
        .rows(
            "SELECT event_id, json FROM rooms_v1_events WHERE room_id = $1 AND sender = $2",
            &[json!(ROOM), json!(alice.user_id.as_ref())],
        )
        .await;
    let joined: Value = serde_json::from_str(join[0]["json"].as_str().unwrap()).unwrap();
    assert_eq!(joined["prev_events"], json!([peer.order[4]]));
    let last = peer.last();
    let text = peer.text(&[&last], ZOE, "hello");
    let got = receive(&world, &peer, &[&text]).await;
    assert_eq!(got, [json!([text, "accepted"])]);
    let told = |sync: &Value| {
        let events = sync["rooms"]["join"][ROOM]["timeline"]["events"].as_array()?;
        events.iter().find(|event| event["event_id"] == text).cloned()
    };
    let (event, _) = syncs(&alice, &since, told).await;
    assert_eq!(event["content"]["body"], "hello");

    let mut chain = peer.order[..4].to_vec();
    chain.push(peer.order[4].clone());
    chain.sort();
    chain.retain(|id| *id != peer.order[3] && *id != peer.order[4]);
    // Zoe's message rests on the room, her membership and the levels.
    assert_eq!(world.ok("rooms.auth-chain", &json!([ROOM, [text, "$none"]])).await, json!(chain));
    let allows = async |server: &str| world.ok("rooms.acl-allows", &json!([ROOM, server])).await;
    assert_eq!(allows("hs3").await, true);
    let rules = json!({"allow": ["*"], "deny": ["hs3"]});
    let acl = peer.add(&[&text], ZOE, "m.room.server_acl", Some(""), rules);
    assert_eq!(receive(&world, &peer, &[&acl]).await, [json!([acl, "accepted"])]);
    assert_eq!((allows("hs3").await, allows("hs2").await), (json!(false), json!(true)));
    let denied = peer.text(&[&acl], ZOE, "by another way");
    let events = json!([ROOM, "hs3", [peer.json(&denied)]]);
    let got = world.ok("rooms.receive", &events).await;
    assert_eq!(got[0][1], "rejected", "{got}");
}

async fn forks_resolve_and_what_is_refused_is_not_shown(world: World) {
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let mut peer = Peer::new();
    join_through(&world, &peer).await;
    let base = peer.last();
    let setting = json!({"history_visibility": "joined"});
    let setting = peer.add(&[&base], ZOE, "m.room.history_visibility", Some(""), setting);
    assert_eq!(receive(&world, &peer, &[&setting]).await[0][1], "accepted");
    alice.join(ROOM).await.unwrap();

    // Two branches, each with a topic; on one Yan is banned by then.
    let ban = json!({"membership": "ban"});
    let topic = peer.topic(&[&setting], YAN, "of Yan");
    let stray = peer.text(&[&topic], YAN, "still here");
    let ban = peer.add(&[&setting], ZOE, "m.room.member", Some(YAN), ban);
    let bad = peer.topic(&[&setting], "@xia:hs3", "no member");
    let lost = peer.text(&[&ban], ZOE, "lost");
    let next = peer.text(&[&lost], ZOE, "next");
    let got = receive(&world, &peer, &[&topic, &bad, &next, &ban, &topic, &stray]).await;
    let outcomes: Vec<&Value> = got.iter().map(|one| &one[1]).collect();
    let expected = ["accepted", "rejected", "needs", "accepted", "duplicate", "soft-failed"];
    assert_eq!(outcomes, expected, "{got:?}");
    assert_eq!(got[2][2], json!([lost]));
    assert_eq!(receive(&world, &peer, &[&lost, &next]).await[1], json!([next, "accepted"]));
    let rows = events(&world, ROOM).await;
    let row = |id: &String| {
        let row = rows.iter().find(|row| row["event_id"] == *id).unwrap();
        (row["stream"] == true, row["rejected"] == true)
    };
    assert_eq!(
        [row(&topic), row(&bad), row(&stray)],
        [(true, false), (false, true), (false, false)]
    );
    // The ban took Yan's topic away, and says so.
    let state = "SELECT event_id FROM rooms_v1_current_state WHERE room_id = $1 AND type = $2";
    assert_eq!(world.rows(state, &[json!(ROOM), json!("m.room.topic")]).await, Vec::<Value>::new());
    let deltas = "SELECT d.event_id, d.prev_event_id FROM rooms_v1_state_deltas d
         JOIN rooms_v1_events e ON e.position = d.position WHERE e.event_id = $1 AND d.type = $2";
    let rows = world.rows(deltas, &[json!(ban), json!("m.room.topic")]).await;
    assert_eq!(rows, [json!({"event_id": null, "prev_event_id": topic})]);
    let told =
        world.hears("rooms.resolved", |heard| heard.first().map(|it| it["payload"].clone())).await;
    let change = json!({"type": "m.room.topic", "state_key": "", "prev_event_id": topic});
    assert_eq!((&told["event_id"], &told["changes"]), (&json!(ban), &json!([change])));

    // What was sent before Bob's join and came after it is not for Bob.
    let late = peer.text(&[&next], ZOE, "late");
    bob.join(ROOM).await.unwrap();
    assert_eq!(receive(&world, &peer, &[&late]).await[0][1], "accepted");
    let view = "SELECT l.user_id, l.value_before FROM rooms_v1_late_events l
         JOIN rooms_v1_events e ON e.position = l.position WHERE e.event_id = $1 AND l.user_id = $2";
    let bobs = json!(bob.user_id.as_ref());
    let rows = world.rows(view, &[json!(late), bobs.clone()]).await;
    assert_eq!(rows, [json!({"user_id": bobs, "value_before": "leave"})]);
    let path = format!("/rooms/{ROOM}/event/{late}");
    assert!(bob.get(&path).await.is_err());
    // What is sent here joins the ends.
    let sent = alice.text(ROOM, "t", "all together").await.unwrap();
    let view = "SELECT json FROM rooms_v1_events WHERE event_id = $1";
    let json = world.rows(view, &[json!(sent)]).await;
    let event: Value = serde_json::from_str(json[0]["json"].as_str().unwrap()).unwrap();
    assert_eq!(event["prev_events"].as_array().unwrap().len(), 2, "{event}");
}
