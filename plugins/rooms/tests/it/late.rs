//! Who may see events that did not follow the ends of the room: by their own past, not by when they came.

use serde_json::json;
use tessera_plugin_rooms::receive::Outcome;
use tessera_sdk::params;

use crate::harness::{ALICE, BOB, CAROL, Server, server};
use crate::peer::{Peer, XIA, YAN, ZOE};

/// User, before, after of the rows of an event.
type Rows = Vec<(String, String, String)>;

fn late(server: &Server, event_id: &str) -> Rows {
    server.rows(
        "SELECT l.user_id, l.value_before, l.value_after FROM rooms_v1_late_events l
         JOIN rooms_v1_events e ON e.position = l.position AND e.room_id = l.room_id
         WHERE e.event_id = $1 ORDER BY l.user_id",
        params![event_id],
    )
}

fn row(user: &str, before: &str, after: &str) -> (String, String, String) {
    (user.to_owned(), before.to_owned(), after.to_owned())
}

/// A room whose history is for those who were there; Alice is in it. Its last event, too.
fn joined_history(server: &Server) -> (Peer, String) {
    let mut peer = Peer::new("11");
    peer.join();
    let base = peer.last();
    let setting = json!({"history_visibility": "joined"});
    let setting = peer.add(&[&base], ZOE, "m.room.history_visibility", Some(""), setting);
    let alice = peer.member(&[&setting], ALICE, ALICE, "join");
    assert_eq!(peer.give(&[&setting, &alice]), vec![Outcome::Accepted; 2]);
    assert_eq!(server.membership(peer.room(), ALICE), "join");
    (peer, alice)
}

#[test]
fn who_joined_before_an_event_came_but_after_it_was_sent_does_not_see_it() {
    let server = server();
    let (mut peer, base) = joined_history(&server);
    let before = peer.text(&[&base], ZOE, "before");
    let more = peer.text(&[&before], ZOE, "more of it");
    let _ = server.join(BOB, peer.room()).ok();
    assert_eq!(peer.give(&[&before, &more]), vec![Outcome::Accepted; 2]);
    for id in [&before, &more] {
        assert_eq!(late(&server, id), [row(BOB, "leave", "leave")]);
        assert_eq!(server.read(BOB, peer.room(), id).status(), 404);
        let seen = server.read(ALICE, peer.room(), id).ok();
        assert_eq!(seen["unsigned"]["membership"], "join");
    }
    let after = server.text(ALICE, peer.room(), "after");
    assert_eq!(late(&server, &after), []);
    let _ = server.read(BOB, peer.room(), &after).ok();
}

#[test]
fn who_left_before_an_event_came_but_after_it_was_sent_sees_it() {
    let server = server();
    let (mut peer, base) = joined_history(&server);
    let before = peer.text(&[&base], ZOE, "before");
    let _ = server.leave(ALICE, peer.room()).ok();
    assert_eq!(peer.give(&[&before]), [Outcome::Accepted]);
    assert_eq!(late(&server, &before), [row(ALICE, "join", "join")]);
    let _ = server.read(ALICE, peer.room(), &before).ok();
}

#[test]
fn setting_of_an_events_own_past_counts() {
    let server = server();
    let mut peer = Peer::new("11");
    peer.join();
    let base = peer.last();
    let open = peer.text(&[&base], YAN, "while it was shared");
    let setting = json!({"history_visibility": "joined"});
    let setting = peer.add(&[&base], ZOE, "m.room.history_visibility", Some(""), setting);
    let closed = peer.text(&[&setting], YAN, "afterwards");
    assert_eq!(peer.give(&[&setting, &closed, &open]), vec![Outcome::Accepted; 3]);
    assert_eq!(late(&server, &closed), []);
    assert_eq!(late(&server, &open), [row("", "shared", "shared")]);
    let _ = server.join(BOB, peer.room()).ok();
    let _ = server.read(BOB, peer.room(), &open).ok();
    assert_eq!(server.read(BOB, peer.room(), &closed).status(), 404);
    // The other way round: a change that came late by itself, before and after it.
    let hidden = json!({"history_visibility": "invited"});
    let change = peer.add(&[&base], ZOE, "m.room.history_visibility", Some(""), hidden);
    assert_eq!(peer.give(&[&change]), [Outcome::Accepted]);
    let told = late(&server, &change);
    assert!(told.contains(&row("", "shared", "invited")), "{told:?}");
}

#[test]
fn join_outside_of_an_events_past_opens_shared_history() {
    let server = server();
    let mut peer = Peer::new("11");
    peer.join();
    let base = peer.last();
    let before = peer.text(&[&base], ZOE, "before");
    let _ = server.join(BOB, peer.room()).ok();
    assert_eq!(peer.give(&[&before]), [Outcome::Accepted]);
    assert_eq!(late(&server, &before), [row(BOB, "leave", "leave")]);
    let seen = server.read(BOB, peer.room(), &before).ok();
    assert_eq!(seen["unsigned"]["membership"], "leave");
    assert_eq!(server.read(CAROL, peer.room(), &before).status(), 404);
}

#[test]
fn forks_during_which_nobody_here_comes_or_goes_leave_no_rows() {
    let server = server();
    let (mut peer, base) = joined_history(&server);
    let one = peer.topic(&[&base], YAN, "one");
    let two = peer.topic(&[&base], ZOE, "two");
    let eve = peer.member(&[&two], "@eve:hs3", "@eve:hs3", "join");
    let talk = peer.text(&[&one], XIA, "talk");
    let both = peer.text(&[&talk, &eve], XIA, "both");
    assert_eq!(peer.give(&[&one, &two, &eve, &talk, &both]), vec![Outcome::Accepted; 5]);
    // A new name is no coming or going either.
    server.profile(ALICE, Some("A."), None);
    let _ = server.put_state(
        ALICE,
        peer.room(),
        "m.room.member",
        ALICE,
        &json!({"membership": "join", "displayname": "A."}),
    );
    let talk = peer.text(&[&both], XIA, "talk");
    assert_eq!(peer.give(&[&talk]), [Outcome::Accepted]);
    let rows = server.rows::<(i64,)>("SELECT count(*) AS n FROM rooms_late", vec![]);
    assert_eq!(rows, [(0,)]);
}

#[test]
fn past_on_another_full_state_is_compared_too_and_large_changes_are_one_row() {
    let server = server();
    let (mut peer, base) = joined_history(&server);
    let hello = peer.text(&[&base], ZOE, "hello");
    // More than fit on one full state, and more than have rows of their own.
    let mut last = base.clone();
    let mut joins = Vec::new();
    for n in 0..205 {
        let who = format!("@m{n}:hs1");
        last = peer.member(&[&last], &who, &who, "join");
        joins.push(last.clone());
    }
    let few: Vec<&str> = joins[..60].iter().map(String::as_str).collect();
    for page in few.chunks(50) {
        assert!(peer.give(page).iter().all(|outcome| *outcome == Outcome::Accepted));
    }
    assert_eq!(peer.give(&[&hello]), [Outcome::Accepted]);
    assert_eq!(late(&server, &hello).len(), 60);
    assert_eq!(server.read("@m3:hs1", peer.room(), &hello).status(), 404);

    let rest: Vec<&str> = joins[60..].iter().map(String::as_str).collect();
    for page in rest.chunks(50) {
        assert!(peer.give(page).iter().all(|outcome| *outcome == Outcome::Accepted));
    }
    let more = peer.text(&[&hello], ZOE, "more");
    assert_eq!(peer.give(&[&more]), [Outcome::Accepted]);
    assert_eq!(late(&server, &more), [row("*", "leave", "leave")]);
    for user in ["@m3:hs1", "@m200:hs1"] {
        assert_eq!(server.read(user, peer.room(), &more).status(), 404);
    }
}

#[test]
fn redaction_in_force_is_seen_by_its_own_past() {
    let server = server();
    let (mut peer, base) = joined_history(&server);
    let text = peer.text(&[&base], XIA, "secret");
    let body = json!({"redacts": text});
    let redaction = peer.add(&[&text], ZOE, "m.room.redaction", None, body);
    let given: Vec<String> = crate::peer::names(&peer.node(&text).after).into_values().collect();
    let got = tessera_plugin_rooms::receive::receive_with_state(
        peer.room(),
        "11",
        "hs2",
        &peer.json(&redaction),
        &given,
    );
    assert_eq!(got.unwrap().1, Outcome::Accepted);
    let _ = server.join(BOB, peer.room()).ok();
    assert_eq!(peer.give(&[&text]), [Outcome::Accepted]);
    assert_eq!(late(&server, &text), [row(BOB, "leave", "leave")]);
    assert_eq!(late(&server, &redaction), [row(BOB, "leave", "leave")]);
}
