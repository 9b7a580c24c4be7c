//! What is left of a room after history, or all of it, went.

use serde_json::json;
use tessera_plugin_rooms::Plugin;
use tessera_plugin_rooms::receive::{Missing, Outcome};
use tessera_plugin_rooms::store::{idle, purge};
use tessera_sdk::bindings::rooms::exports::tessera::services::rooms::Guest;
use tessera_sdk::{params, storage};

use crate::harness::{ALICE, BOB, CAROL, Server, server};
use crate::peer::{Peer, YAN, ZOE};

fn count(server: &Server, table: &str) -> i64 {
    server.rows::<(i64,)>(&format!("SELECT COUNT(*) AS n FROM {table}"), vec![])[0].0
}

fn position(server: &Server, id: &str) -> i64 {
    server.rows::<(i64,)>("SELECT position FROM rooms_events WHERE event_id = $1", params![id])[0].0
}

fn all(room: &str, before: i64, delete_local: bool) -> usize {
    let (mut from, mut slices) = (0, 1);
    while let Some(next) = purge::history(room, from, before, delete_local).unwrap() {
        from = next;
        slices += 1;
    }
    slices
}

fn shown(server: &Server, id: &str) -> Option<bool> {
    let rows: Vec<(bool,)> =
        server.rows("SELECT stream FROM rooms_v1_events WHERE event_id = $1", params![id]);
    rows.first().map(|(shown,)| *shown)
}

/// Every group that an event or the room has is whole.
fn whole(server: &Server) {
    let broken = server.rows::<(i64,)>(
        "SELECT e.position FROM rooms_events e WHERE e.outlier = FALSE AND NOT EXISTS
           (SELECT g.group_id FROM rooms_state_groups g JOIN rooms_state_groups b ON b.group_id = g.base
            WHERE g.group_id = e.state_after)",
        vec![],
    );
    assert_eq!(broken, []);
    let broken = server.rows::<(i64,)>(
        "SELECT g.group_id FROM rooms_state_groups g WHERE g.prev_group IS NOT NULL AND NOT EXISTS
           (SELECT p.group_id FROM rooms_state_groups p WHERE p.group_id = g.prev_group)",
        vec![],
    );
    assert_eq!(broken, []);
    let strays = server.rows::<(i64,)>(
        "SELECT s.group_id FROM rooms_state_entries s WHERE NOT EXISTS
           (SELECT g.group_id FROM rooms_state_groups g WHERE g.group_id = s.group_id)",
        vec![],
    );
    assert_eq!(strays, []);
}

#[test]
fn history_goes_with_what_belongs_to_it_and_the_room_goes_on() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": "11"}));
    let _ = server.join(BOB, &room).ok();
    let mut texts = Vec::new();
    for n in 0..130 {
        let text = server.text(ALICE, &room, &format!("word{n}"));
        let _ = server.put_state(ALICE, &room, "org.example", &format!("k{n}"), &json!({})).ok();
        if n % 10 == 0 {
            let body = json!({"m.relates_to":
                {"rel_type": "m.annotation", "event_id": text, "key": "+"}});
            let _ = server.send(BOB, &room, "m.reaction", &format!("r{n}"), &body).ok();
        }
        texts.push(text);
    }
    let before = position(&server, &texts[120]);
    let groups = count(&server, "rooms_state_groups");
    // Events of this server stay unless they are to go, too.
    let _ = all(&room, before, false);
    assert_eq!(shown(&server, &texts[3]), Some(true));
    assert_eq!(count(&server, "rooms_state_groups"), groups);
    whole(&server);

    let slices = all(&room, before, true);
    assert!(slices > 3, "{slices}");
    assert_eq!(shown(&server, &texts[3]), None);
    assert_eq!(shown(&server, &texts[120]), Some(true));
    assert_eq!(server.read(ALICE, &room, &texts[3]).status(), 404);
    assert_eq!(count(&server, "rooms_relations"), 1);
    assert_eq!(storage::search("messages", "word3", None, 10, 0).unwrap().len(), 0);
    assert_eq!(storage::search("messages", "word125", None, 10, 0).unwrap().len(), 1);
    let left = count(&server, "rooms_state_groups");
    assert!(left < 80, "{left} of {groups} groups are left");
    whole(&server);
    let timeline: Vec<(i64,)> = server.rows(
        "SELECT position FROM rooms_v1_events WHERE room_id = $1 AND stream = TRUE AND position < $2",
        params![&room, before],
    );
    assert_eq!(timeline, [], "reading backwards ends there");

    // The state is as it was, and the room goes on.
    let state = Plugin::state(room.clone(), Vec::new()).unwrap();
    assert!(state.len() > 135, "{}", state.len());
    let at = Plugin::state_at(texts[120].clone(), false, Vec::new()).unwrap();
    assert!(at.len() > 125);
    let _ = server.leave(BOB, &room).ok();
    let _ = server.join(BOB, &room).ok();
    let last = server.text(BOB, &room, "goes on");
    assert_eq!(shown(&server, &last), Some(true));
    // Again: nothing is left to do.
    let _ = server.host.calls();
    let events = count(&server, "rooms_events");
    let _ = all(&room, before, true);
    assert_eq!(count(&server, "rooms_events"), events);
}

#[test]
fn ends_of_the_room_and_what_they_follow_stay() {
    let server = server();
    let mut peer = Peer::new("11");
    peer.join();
    let base = peer.last();
    let old = peer.text(&[&base], ZOE, "old");
    let topic = peer.topic(&[&old], ZOE, "topic");
    let one = peer.text(&[&topic], ZOE, "one");
    let two = peer.text(&[&topic], YAN, "two");
    assert_eq!(peer.give(&[&old, &topic, &one, &two]), vec![Outcome::Accepted; 4]);
    let _ = all(peer.room(), i64::MAX, true);
    assert_eq!(shown(&server, &old), None);
    for id in [&topic, &one, &two] {
        assert_eq!(shown(&server, id), Some(true));
    }
    whole(&server);
    // What comes on top of what went is asked for; the rest goes on.
    let stray = peer.text(&[&old], ZOE, "stray");
    let needs = Missing { prev_events: vec![old.clone()], ..Missing::default() };
    assert_eq!(peer.give(&[&stray]), [Outcome::Needs(needs)]);
    let next = peer.topic(&[&one, &two], ZOE, "next");
    assert_eq!(peer.give(&[&next]), [Outcome::Accepted]);
    let _ = server.join(ALICE, peer.room()).ok();
    assert_eq!(Plugin::auth_chain(peer.room().to_owned(), vec![next]).unwrap().len(), 3);
}

#[test]
fn writer_that_looked_before_is_placed_anew() {
    let server = server();
    let mut peer = Peer::new("11");
    peer.join();
    let base = peer.last();
    let old = peer.text(&[&base], ZOE, "old");
    let fork = peer.topic(&[&old], ZOE, "fork");
    let mut last = old.clone();
    let mut given = vec![old.clone()];
    for n in 0..3 {
        last = peer.text(&[&last], ZOE, &format!("{n}"));
        given.push(last.clone());
    }
    let ids: Vec<&str> = given.iter().map(String::as_str).collect();
    assert_eq!(peer.give(&ids), vec![Outcome::Accepted; 4]);
    let room = peer.room().to_owned();
    server.host.before_next_commit(move |host| {
        let host = host.clone();
        let rival = std::thread::spawn(move || {
            host.install();
            host.act_as("rooms");
            all(&room, i64::MAX, true)
        });
        let _ = rival.join().unwrap();
    });
    assert!(matches!(peer.give(&[&fork])[0], Outcome::Needs(_)));
    whole(&server);
}

#[test]
fn whole_room_goes_and_others_stay() {
    let server = server();
    let keep = server.create(ALICE, &json!({"preset": "public_chat"}));
    let kept = server.text(ALICE, &keep, "kept");
    let tables = [
        "rooms_rooms",
        "rooms_events",
        "rooms_memberships",
        "rooms_membership_changes",
        "rooms_current_state",
        "rooms_state_deltas",
        "rooms_state_groups",
        "rooms_state_entries",
        "rooms_auth_edges",
        "rooms_relations",
        "rooms_transactions",
        "rooms_late",
        "rooms_followed",
        "rooms_held_redactions",
        "rooms_idle_groups",
    ];
    let counts = || tables.map(|table| count(&server, table));
    let before = counts();
    let mut peer = Peer::new("11");
    peer.join();
    let base = peer.last();
    let setting = json!({"history_visibility": "joined"});
    let setting = peer.add(&[&base], ZOE, "m.room.history_visibility", Some(""), setting);
    let late = peer.text(&[&base], ZOE, "late");
    let more = peer.topic(&[&late], ZOE, "more");
    let waits = json!({"redacts": "$none"});
    let waits = peer.add(&[&more], ZOE, "m.room.redaction", None, waits);
    let _ = server.join(BOB, peer.room()).ok();
    assert_eq!(peer.give(&[&setting, &late, &more, &waits]), vec![Outcome::Accepted; 4]);
    for n in 0..600 {
        let _ = server.text(BOB, peer.room(), &format!("gone{n}"));
    }
    let mut slices = 0;
    while !purge::room(peer.room()).unwrap() {
        slices += 1;
        assert!(slices < 20);
    }
    assert!(slices > 2, "{slices}");
    assert_eq!(counts(), before);
    assert_eq!(storage::search("messages", "gone7", None, 10, 0).unwrap().len(), 0);
    assert!(purge::room(peer.room()).unwrap());
    let _ = server.read(ALICE, &keep, &kept).ok();
    // It may begin anew.
    peer.join();
    assert_eq!(server.membership(peer.room(), ZOE), "join");
}

#[test]
fn who_left_reads_the_state_of_then_after_history_has_gone() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "private_chat", "name": "Then"}));
    for user in [BOB, CAROL] {
        let _ = server.about(ALICE, "invite", &room, user).ok();
        let _ = server.join(user, &room).ok();
    }
    let _ = server.about(ALICE, "kick", &room, BOB).ok();
    let _ = server.put_state(ALICE, &room, "m.room.name", "", &json!({"name": "Now"})).ok();
    let _ = server.leave(CAROL, &room).ok();
    let asked = |route: &str, key: &str, more: &[(&str, &str)]| {
        let mut placeholders = vec![("roomId", room.as_str())];
        placeholders.extend(more);
        let answer = server.get(BOB, route, &placeholders).ok();
        let list = if key.is_empty() { answer } else { answer[key].clone() };
        let mut ids: Vec<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    let name = || {
        let name = [("roomId", room.as_str()), ("eventType", "m.room.name"), ("stateKey", "")];
        server.get(BOB, "get-state-event", &name).ok()
    };
    let before = (asked("get-state", "", &[]), asked("members", "chunk", &[]), name());
    assert_eq!((before.1.len(), &before.2), (3, &json!({"name": "Then"})));
    let _ = server.text(ALICE, &room, "last");
    let last = server.text(ALICE, &room, "very last");
    let _ = all(&room, position(&server, &last), true);
    let gone = server.rows::<(Option<i64>,)>(
        "SELECT e.state_after FROM rooms_membership_changes c JOIN rooms_events e ON e.position = c.position
         WHERE c.user_id = $1 AND c.membership = 'leave'",
        params![BOB],
    );
    assert_eq!(gone, [(None,)]);
    assert_eq!((asked("get-state", "", &[]), asked("members", "chunk", &[]), name()), before);
}

#[test]
fn large_groups_go_bit_by_bit() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": "11"}));
    for n in 0..110 {
        let _ = server.text(ALICE, &room, &format!("{n}"));
    }
    let _ = server.put_state(ALICE, &room, "m.room.topic", "", &json!({"topic": "old"})).ok();
    let topic = server.put_state(ALICE, &room, "m.room.topic", "", &json!({"topic": "new"})).ok();
    let topic = position(&server, topic["event_id"].as_str().unwrap());
    // A group that nothing rests on, of as many entries as a large room's.
    let stray = topic + 1_000;
    let fill = |group: i64| {
        server.host.acting("rooms", || {
            storage::Batch::new()
                .run(
                    "INSERT INTO rooms_state_groups (group_id, room_id, prev_group, base) VALUES ($1, $2, NULL, $1)",
                    params![group, &room],
                )
                .run(
                    "INSERT INTO rooms_state_entries (group_id, type, state_key, event_id)
                     SELECT $1, a.event_id, b.event_id, a.event_id FROM rooms_events a CROSS JOIN rooms_events b",
                    params![group],
                )
                .commit()
                .unwrap();
        });
    };
    fill(stray);
    let entries = || {
        let sql = "SELECT COUNT(*) AS n FROM rooms_state_entries WHERE group_id = $1";
        server.rows::<(i64,)>(sql, params![stray])[0].0
    };
    let most = 10_000;
    let slice = |from: i64| purge::history(&room, from, topic, false).unwrap();
    let full = entries();
    assert!(full > most, "{full}");
    let from = slice(-(stray + 1)).unwrap();
    assert_eq!(entries(), full - most);
    let mut from = Some(from);
    while let Some(at) = from {
        from = slice(at);
    }
    assert_eq!(entries(), 0);
    whole(&server);
    fill(stray);
    assert!(!purge::room(&room).unwrap(), "closes it");
    assert!(!purge::room(&room).unwrap());
    assert_eq!(entries(), full - most);
    while !purge::room(&room).unwrap() {}
    assert_eq!(count(&server, "rooms_state_entries") + count(&server, "rooms_state_groups"), 0);
}

#[test]
fn groups_of_forks_that_healed_are_not_kept() {
    let server = server();
    let mut peer = Peer::new("11");
    peer.join();
    let mut base = peer.last();
    for n in 0..40 {
        let one = peer.topic(&[&base], ZOE, &format!("one {n}"));
        let two = peer.add(&[&base], YAN, "org.example", Some(""), json!({"n": n}));
        base = peer.text(&[&one, &two], ZOE, "both");
        assert_eq!(peer.give(&[&one, &two, &base]), vec![Outcome::Accepted; 3]);
    }
    server.host.advance(idle::AGE_MS + 1);
    while server.host.fire_timers::<Plugin>("rooms") > 0 {
        server.host.advance(idle::AGE_MS + 1);
    }
    let unused = server.rows::<(i64,)>(
        "SELECT g.group_id FROM rooms_state_groups g WHERE NOT EXISTS (SELECT e.position FROM rooms_events e
           WHERE e.state_before = g.group_id OR e.state_after = g.group_id)
         AND NOT EXISTS (SELECT n.group_id FROM rooms_state_groups n WHERE n.prev_group = g.group_id)
         AND NOT EXISTS (SELECT r.room_id FROM rooms_rooms r WHERE r.state_group = g.group_id)",
        vec![],
    );
    assert_eq!(unused, []);
    // Each round: one group for each state event and one for what they come to.
    assert!(count(&server, "rooms_state_groups") <= 2 + 40 * 3);
}
