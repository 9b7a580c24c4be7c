//! The row of a room that lists read: kept by commits, and mended where they have not.

use serde_json::json;
use tessera_plugin_rooms::{Plugin, filling};
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, Value};

use crate::harness::{ALICE, BOB, CAROL, Server, server};
use crate::peer::{Peer, YAN, ZOE};

type Numbers = (bool, i64, i64, i64, i64, Option<i64>);
type Text = Option<String>;
type Texts = (Text, Text, Text, Text, Text, Text, Text, bool, Text, Text, Text);

fn row(server: &Server, room: &str) -> (Vec<Numbers>, Vec<Texts>) {
    let of = |columns: &str| format!("SELECT {columns} FROM rooms_about WHERE room_id = $1");
    let numbers = of("published, joined, joined_local, invited, state_events, state_group");
    let texts = of("name, canonical_alias, room_type, encryption, join_rule, guest_access,
        history_visibility, federatable, name_words, alias_words, topic_words");
    (server.rows(&numbers, params![room]), server.rows(&texts, params![room]))
}

fn run(sql: &str, values: Vec<Value>) {
    let _ = Batch::new().run(sql, values).commit().unwrap();
}

/// The row is what it would be if it were written anew.
fn is_true(server: &Server, room: &str) {
    let kept = row(server, room);
    let group: Vec<(i64,)> =
        server.rows("SELECT state_group FROM rooms_rooms WHERE room_id = $1", params![room]);
    assert_eq!(kept.0[0].5, Some(group[0].0), "it is not taken for out of date");
    run("DELETE FROM rooms_about WHERE room_id = $1", params![room]);
    filling::fill(room).unwrap();
    assert_eq!(kept, row(server, room));
}

/// The timer goes through all rooms once.
fn pass(server: &Server) {
    filling::soon().unwrap();
    assert_eq!(server.host.fire_timers::<Plugin>("rooms"), 1, "the public list");
    server.host.advance(1_000);
    assert_eq!(server.host.fire_timers::<Plugin>("rooms"), 1, "all rooms");
}

#[test]
fn room_that_begins_with_a_state_of_another_server_has_its_row() {
    for version in ["11", "12"] {
        let server = server();
        let mut peer = Peer::new(version);
        peer.join();
        let room = peer.room().to_owned();
        let (numbers, texts) = row(&server, &room);
        assert_eq!((numbers[0].1, numbers[0].2, numbers[0].4), (3, 0, 6));
        assert_eq!(texts[0].4.as_deref(), Some("public"), "the join rule");
        is_true(&server, &room);
        // Branches, and what joins them.
        let base = peer.last();
        let topic = peer.topic(&[&base], YAN, "Cats");
        let one = peer.member(&[&base], "@one:hs2", "@one:hs2", "join");
        let two = peer.member(&[&base], "@two:hs3", "@two:hs3", "join");
        for event in [&topic, &one, &two] {
            let _ = peer.give(&[event]);
            is_true(&server, &room);
        }
        let merge = peer.text(&[&topic, &one, &two], ZOE, "all");
        let _ = peer.give(&[&merge]);
        let _ = server.join(ALICE, &room).ok();
        assert_eq!(row(&server, &room).0[0].1, 6);
        is_true(&server, &room);
    }
}

#[test]
fn what_nodes_of_older_versions_leave_out_is_mended() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "name": "Cats"}));
    let unknown = server.create(ALICE, &json!({"name": "Dogs"}));
    run("DELETE FROM rooms_about WHERE room_id = $1", params![&unknown]);
    let before = row(&server, &room);
    let _ = server.join(BOB, &room).ok();
    // As if such a node had let Bob in.
    run(
        "UPDATE rooms_about SET joined = 1, joined_local = 1, state_events = state_events - 1, state_group = $2
         WHERE room_id = $1",
        params![&room, before.0[0].5],
    );
    assert_eq!(row(&server, &room), before);
    let _ = server.join(CAROL, &room).ok();
    assert_eq!(row(&server, &room), before, "nothing is added to a wrong number");
    pass(&server);
    assert_eq!(row(&server, &room).0[0].1, 3);
    is_true(&server, &room);
    assert_eq!(row(&server, &unknown).1[0].0.as_deref(), Some("Dogs"));
    // It comes again: soon, where there was something to do.
    assert_eq!(server.host.next_timer(), Some(server.host.now_ms() + filling::AGAIN_MS));
    pass(&server);
    assert_eq!(server.host.next_timer(), Some(server.host.now_ms() + filling::QUIET_MS));
}

#[test]
fn room_that_cannot_be_counted_holds_up_no_other() {
    let server = server();
    let mut rooms: Vec<String> =
        (0..3).map(|n| server.create(ALICE, &json!({"name": n.to_string()}))).collect();
    rooms.sort();
    run("DELETE FROM rooms_about WHERE published = FALSE", params![]);
    run(
        "UPDATE rooms_events SET json = '' WHERE room_id = $1 AND type = 'm.room.name'",
        params![&rooms[0]],
    );
    pass(&server);
    let there: Vec<bool> = rooms.iter().map(|room| !row(&server, room).0.is_empty()).collect();
    assert_eq!(there, [false, true, true]);
    assert_eq!(server.host.next_timer(), Some(server.host.now_ms() + filling::AGAIN_MS));
}

#[test]
fn rooms_of_the_public_list_are_counted_first() {
    let server = server();
    let listed = server.create(ALICE, &json!({"visibility": "public"}));
    let other = server.create(ALICE, &json!({}));
    run("DELETE FROM rooms_about WHERE joined = 1", params![]);
    filling::soon().unwrap();
    server.host.fire_timers::<Plugin>("rooms");
    assert_eq!((row(&server, &listed).0.len(), row(&server, &other).0.len()), (1, 0));
}

#[test]
fn room_that_leaves_the_public_list_meanwhile_stays_out_of_it() {
    let server = server();
    let room = server.create(ALICE, &json!({"visibility": "public"}));
    run("UPDATE rooms_about SET state_group = 0 WHERE room_id = $1", params![&room]);
    let listed = room.clone();
    server.host.before_next_commit(move |host| {
        let host = host.clone();
        let unlist = std::thread::spawn(move || {
            host.install();
            host.act_as("rooms");
            let request = host.request("PUT", "put-visibility").user(ALICE);
            let request = request.param("roomId", &listed).json(&json!({"visibility": "private"}));
            let _ = request.send::<Plugin>().ok();
        });
        unlist.join().unwrap();
    });
    filling::fill(&room).unwrap();
    assert!(!row(&server, &room).0[0].0);
    is_true(&server, &room);
    // Another way out of it: the room is replaced.
    let old = server.create(ALICE, &json!({"visibility": "public", "room_version": "11"}));
    let to = json!({"new_version": "12"});
    let _ = server.ask(ALICE, "POST", "upgrade", &[("roomId", &old)], &to).ok();
    let listed: Vec<(String,)> = server.rows("SELECT room_id FROM rooms_v1_public", params![]);
    assert!(listed.len() == 1 && listed[0].0 != old, "the new one is listed");
}

#[test]
fn redacted_name_is_told_no_more() {
    let server = server();
    let body = json!({"name": "Old", "topic": "Secret", "room_version": "11"});
    let room = server.create(ALICE, &body);
    let event = |kind: &str| {
        let sql = "SELECT event_id FROM rooms_events WHERE room_id = $1 AND type = $2";
        server.rows::<(String,)>(sql, params![&room, kind])[0].0.clone()
    };
    let old = event("m.room.name");
    let _ = server.put_state(ALICE, &room, "m.room.name", "", &json!({"name": "New"})).ok();
    let _ = server.redact(ALICE, &room, &old, "1").ok();
    assert_eq!(row(&server, &room).1[0].0.as_deref(), Some("New"), "another is in force");
    let _ = server.redact(ALICE, &room, &event("m.room.topic"), "2").ok();
    assert_eq!(row(&server, &room).1[0].10, None);
    is_true(&server, &room);

    let mut peer = Peer::new("11");
    peer.join();
    let topic = peer.topic(&[&peer.last()], ZOE, "Secret");
    let content = json!({"redacts": topic});
    let redaction = peer.add(&[&topic], ZOE, "m.room.redaction", None, content);
    let _ = peer.give(&[&topic]);
    assert_eq!(row(&server, peer.room()).1[0].10.as_deref(), Some("secret"));
    let _ = peer.give(&[&redaction]);
    assert_eq!(row(&server, peer.room()).1[0].10, None);
    is_true(&server, peer.room());
}
