//! Events of other servers, one by one: `tessera:services/rooms.receive` and what goes with it.

mod redactions;

use std::sync::Arc;

use serde_json::{Value, json};
use tessera_plugin_rooms::Plugin;
use tessera_plugin_rooms::receive::{
    Missing, Outcome, receive, receive_outliers, receive_with_state,
};
use tessera_plugin_rooms::store::{auth, idle};
use tessera_sdk::bindings::rooms::exports::tessera::services::rooms as service;
use tessera_sdk::bindings::rooms::exports::tessera::services::rooms::Guest;
use tessera_sdk::hooks::{Objection, Refusal, background_pace};
use tessera_sdk::{params, storage};

use crate::harness::{ALICE, BOB, Server, server};
use crate::peer::{Peer, XIA, YAN, ZOE};

fn joined(version: &str) -> (Server, Peer) {
    let server = server();
    let peer = Peer::new(version);
    peer.join();
    (server, peer)
}

fn shown(server: &Server, id: &str) -> Option<bool> {
    let rows: Vec<(bool,)> =
        server.rows("SELECT stream FROM rooms_v1_events WHERE event_id = $1", params![id]);
    rows.first().map(|(shown,)| *shown)
}

#[test]
fn room_that_is_joined_through_another_server_is_there_as_a_whole() {
    for version in ["1", "11", "12"] {
        let (server, peer) = joined(version);
        let room = peer.room();
        assert_eq!(server.membership(room, ZOE), "join");
        assert_eq!(server.membership(room, XIA), "join");
        let members: Vec<(String, String)> = server.rows(
            "SELECT user_id, prev_membership FROM rooms_v1_membership_changes WHERE room_id = $1 ORDER BY user_id",
            params![room],
        );
        assert_eq!(members.len(), 3);
        let row: Vec<(String, String)> = server
            .rows("SELECT version, creator FROM rooms_v1_rooms WHERE room_id = $1", params![room]);
        assert_eq!(row, [(version.to_owned(), ZOE.to_owned())]);
        let state: Vec<(String,)> = server
            .rows("SELECT event_id FROM rooms_v1_current_state WHERE room_id = $1", params![room]);
        assert_eq!(state.len(), 6);
        let told = server.host.messages("rooms.events");
        assert_eq!(told.len(), 1, "the state before is no news");
        let _ = server.join(ALICE, room).ok();
        server.text(ALICE, room, "hello");
    }
}

#[test]
fn unknown_events_are_asked_for() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let lost = peer.text(&[&base], ZOE, "lost");
    let next = peer.text(&[&lost], ZOE, "next");
    let prev_events = vec![lost.clone()];
    let needs = Outcome::Needs(Missing { prev_events, ..Missing::default() });
    assert_eq!(peer.give(&[&next]), [needs]);
    assert_eq!(shown(&server, &next), None, "nothing was done");
    assert_eq!(peer.give(&[&lost, &next]), [Outcome::Accepted, Outcome::Accepted]);

    let topic = peer.topic(&[&next], ZOE, "x");
    let lost = peer.member(&[&next], "@eve:hs3", "@eve:hs3", "join");
    let talk = peer.text(&[&lost, &topic], "@eve:hs3", "hi");
    let Outcome::Needs(missing) = &peer.give(&[&talk])[0] else { panic!() };
    assert_eq!(missing.prev_events.len(), 2);
    assert_eq!(missing.auth_events, std::slice::from_ref(&lost));
    // An outlier has no place yet: it is still to be received.
    let _ = peer.give(&[&topic]);
    let got = receive_outliers(peer.room(), "11", &[peer.json(&lost)]).unwrap();
    assert_eq!(got[0].1, Outcome::Accepted);
    assert_eq!(shown(&server, &lost), Some(false));
    let prev_events = vec![lost.clone()];
    assert_eq!(
        peer.give(&[&talk]),
        [Outcome::Needs(Missing { prev_events, ..Missing::default() })]
    );
    assert_eq!(peer.give(&[&lost, &talk]), [Outcome::Accepted, Outcome::Accepted]);
    assert_eq!(shown(&server, &lost), Some(true));
    assert_eq!(server.membership(peer.room(), "@eve:hs3"), "join");
}

#[test]
fn unknown_rooms_and_too_many_events_are_refused() {
    let (_server, mut peer) = joined("11");
    let error = receive("!none:hs2", "hs2", &[]).unwrap_err();
    assert_eq!(error.http_status(), 404);
    let base = peer.last();
    let text = peer.text(&[&base], ZOE, "x");
    let many = vec![peer.json(&text); 51];
    assert_eq!(receive(peer.room(), "hs2", &many).unwrap_err().http_status(), 400);
    let error = receive_outliers("!none:hs2", "99", &[]).unwrap_err();
    assert_eq!(error.errcode(), "M_UNSUPPORTED_ROOM_VERSION");
}

#[test]
fn malformed_events_are_dropped_and_do_not_hold_up_others() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let good = peer.text(&[&base], ZOE, "good");
    let events = ["{".to_owned(), peer.json(&good), json!({"type": "x"}).to_string()];
    let got = receive(peer.room(), "hs2", &events).unwrap();
    assert!(matches!(&got[0], (id, Outcome::Rejected(_)) if id.is_empty()));
    assert_eq!(got[1], (good.clone(), Outcome::Accepted));
    assert!(matches!(&got[2], (_, Outcome::Rejected(_))));
    assert_eq!(shown(&server, &good), Some(true));
}

#[test]
fn event_with_a_wrong_hash_is_taken_redacted() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let text = peer.text(&[&base], ZOE, "true");
    let mut forged: Value = serde_json::from_str(&peer.json(&text)).unwrap();
    forged["content"]["body"] = json!("forged");
    let got = receive(peer.room(), "hs2", &[forged.to_string()]).unwrap();
    // The id is the hash of what redaction leaves.
    assert_eq!(got, [(text.clone(), Outcome::Accepted)]);
    assert_eq!(server.event(&text)["content"], json!({}));
}

#[test]
fn refused_event_is_kept_and_never_shown() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let bad = peer.topic(&[&base], XIA, "no power");
    assert!(matches!(peer.give(&[&bad])[0], Outcome::Rejected(_)));
    assert_eq!(shown(&server, &bad), Some(false));
    let rejected: Vec<(bool,)> =
        server.rows("SELECT rejected FROM rooms_v1_events WHERE event_id = $1", params![&bad]);
    assert_eq!(rejected, [(true,)]);
    assert_eq!(server.read(ALICE, peer.room(), &bad).status(), 404);
    // It is no end of the room, but others may follow it.
    let next = peer.text(&[&bad], ZOE, "next");
    assert_eq!(peer.give(&[&next]), [Outcome::Accepted]);
    let _ = server.join(ALICE, peer.room()).ok();
    let last = server.events(peer.room()).pop().unwrap();
    assert_eq!(
        last["prev_events"],
        json!([next]),
        "what stood before the refused one is passed, too"
    );
    // A second beginning is none.
    let mut create: Value = serde_json::from_str(&peer.json(&peer.order[0])).unwrap();
    create["origin_server_ts"] = json!(77);
    create.as_object_mut().unwrap().remove("hashes");
    let got = receive(peer.room(), "hs2", &[create.to_string()]).unwrap();
    assert!(matches!(got[0].1, Outcome::Rejected(_)));
}

#[test]
fn server_acl_is_enforced_as_it_is_now() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let room = peer.room().to_owned();
    assert!(Plugin::acl_allows(room.clone(), "evil.hs2".to_owned()).unwrap());
    let acl = json!({"allow": ["*"], "deny": ["hs2", "*.evil"]});
    let acl = peer.add(&[&base], ZOE, "m.room.server_acl", Some(""), acl);
    let late = peer.text(&[&acl], ZOE, "late");
    assert_eq!(peer.give(&[&acl])[0], Outcome::Accepted);
    let got = &peer.give(&[&late])[0];
    assert!(matches!(got, Outcome::Rejected(reason) if reason.contains("hs2")), "{got:?}");
    assert_eq!(shown(&server, &late), None, "it is not even kept");
    let got = receive(&room, "hs3", &[peer.json(&late)]).unwrap();
    assert_eq!(got[0].1, Outcome::Accepted, "who hands it over counts");
    for (name, allowed) in [("hs2:8448", false), ("a.evil", false), ("hs3", true)] {
        assert_eq!(Plugin::acl_allows(room.clone(), name.to_owned()).unwrap(), allowed, "{name}");
    }
    assert!(Plugin::acl_allows("!none:x".to_owned(), "a.evil".to_owned()).unwrap());
}

#[test]
fn late_event_that_is_followed_already_is_no_end() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let lost = peer.text(&[&base], ZOE, "lost");
    let next = peer.text(&[&lost], ZOE, "next");
    let state: Vec<String> = crate::peer::names(&peer.node(&lost).after).into_values().collect();
    let give = |state: &[String]| {
        receive_with_state(peer.room(), "11", "hs2", &peer.json(&next), state).unwrap().1
    };
    let mut with_unknown = state.clone();
    with_unknown.push("$unknown".to_owned());
    let auth_events = vec!["$unknown".to_owned()];
    assert_eq!(give(&with_unknown), Outcome::Needs(Missing { auth_events, ..Missing::default() }));
    assert_eq!(give(&state), Outcome::Accepted);
    assert_eq!(give(&state), Outcome::Duplicate);
    let ends = || -> Vec<String> {
        let row: Vec<(String,)> = server
            .rows("SELECT extremities FROM rooms_rooms WHERE room_id = $1", params![peer.room()]);
        let ends: Vec<(String, String, u64)> = serde_json::from_str(&row[0].0).unwrap();
        ends.into_iter().map(|(id, ..)| id).collect()
    };
    assert_eq!(ends(), [base.clone(), next.clone()]);
    assert_eq!(peer.give(&[&lost]), [Outcome::Accepted]);
    assert_eq!(ends(), std::slice::from_ref(&next));
    assert_eq!(shown(&server, &lost), Some(true));
}

#[test]
fn beginning_that_is_received_again_changes_nothing() {
    for version in ["11", "12"] {
        let (server, mut peer) = joined(version);
        let create = peer.order[0].clone();
        assert_eq!(peer.give(&[&create]), [Outcome::Duplicate]);
        let base = peer.last();
        let text = peer.text(&[&base], ZOE, "x");
        assert_eq!(peer.give(&[&text]), [Outcome::Accepted], "version {version}");
        let _ = server.join(ALICE, peer.room()).ok();
    }
}

#[test]
fn event_of_a_state_is_not_turned_into_a_refused_one() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    // Told by its auth events alone it is allowed; its place says something else.
    let ban = peer.member(&[&base], ZOE, XIA, "ban");
    let text = peer.text(&[&base], XIA, "x");
    let bad = peer.forge(&text, "prev_events", json!([ban]));
    assert_eq!(peer.give(&[&ban]), [Outcome::Accepted]);
    let got = receive_outliers(peer.room(), "11", std::slice::from_ref(&bad)).unwrap();
    assert_eq!(got[0].1, Outcome::Accepted);
    let got = receive(peer.room(), "hs2", &[bad]).unwrap();
    assert!(matches!(got[0].1, Outcome::SoftFailed(_)), "{got:?}");
    let row: Vec<(bool, bool)> = server.rows(
        "SELECT rejected, stream FROM rooms_v1_events WHERE event_id = $1",
        params![&got[0].0],
    );
    assert_eq!(row, [(false, false)]);
}

#[test]
fn chosen_id_of_another_rooms_event_takes_nothing_from_it() {
    let (server, peer) = joined("1");
    let room = server.create(ALICE, &json!({"room_version": "1", "preset": "public_chat"}));
    let text = server.text(ALICE, &room, "hello");
    let mut peer = peer;
    let base = peer.last();
    let stolen = peer.text(&[&base], ZOE, "x");
    let stolen = peer.forge(&stolen, "event_id", json!(text));
    let got = receive(peer.room(), "hs2", std::slice::from_ref(&stolen)).unwrap();
    assert!(matches!(&got[0].1, Outcome::Rejected(_)), "{got:?}");
    // Nor where the other one has no place.
    storage::Batch::new()
        .run("UPDATE rooms_events SET outlier = TRUE WHERE event_id = $1", params![&text])
        .commit()
        .unwrap();
    let got = receive(peer.room(), "hs2", &[stolen]).unwrap();
    assert!(matches!(&got[0].1, Outcome::Rejected(_)), "{got:?}");
    assert_eq!(server.event(&text)["content"]["body"], "hello");
}

#[test]
fn text_with_a_nul_holds_nothing_up() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let odd = peer.text(&[&base], ZOE, "left\0right");
    let next = peer.text(&[&odd], ZOE, "next");
    assert_eq!(peer.give(&[&odd, &next]), [Outcome::Accepted, Outcome::Accepted]);
    assert_eq!(server.event(&odd)["content"]["body"], "left\0right");
    for words in ["left", "right", "left\0right"] {
        let found = storage::search("messages", words, None, 10, 0).unwrap();
        assert_eq!(found.len(), 1, "{words:?}");
        assert_eq!(found[0].key, odd);
    }
    let _ = server.join(ALICE, peer.room()).ok();
    let _ = server.text(ALICE, peer.room(), "own\0words");
}

#[test]
fn setting_of_the_past_holds_from_the_join_on() {
    let server = server();
    let mut peer = Peer::new("11");
    let base = peer.last();
    let joined = json!({"history_visibility": "joined"});
    let setting = peer.add(&[&base], ZOE, "m.room.history_visibility", Some(""), joined);
    let text = peer.text(&[&setting], ZOE, "x");
    let state = peer.order[..7].to_vec();
    let events: Vec<String> = state.iter().map(|id| peer.json(id)).collect();
    let _ = receive_outliers(peer.room(), "11", &events).unwrap();
    let got = receive_with_state(peer.room(), "11", "hs2", &peer.json(&text), &state).unwrap();
    assert_eq!(got.1, Outcome::Accepted);
    let told: Vec<(String, bool)> = server.rows(
        "SELECT d.event_id, d.position < e.position FROM rooms_v1_state_deltas d
         CROSS JOIN rooms_v1_events e WHERE e.event_id = $1 AND d.type = 'm.room.history_visibility'",
        params![&text],
    );
    assert_eq!(told, [(setting, true)]);
}

#[test]
fn nobody_here_comes_into_a_room_that_is_shut_down() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let invite = peer.member(&[&base], ZOE, ALICE, "invite");
    let join = peer.member(&[&base], BOB, BOB, "join");
    let theirs = peer.member(&[&base], "@eve:hs3", "@eve:hs3", "join");
    storage::Batch::new()
        .run("UPDATE rooms_rooms SET blocked = TRUE WHERE room_id = $1", params![peer.room()])
        .commit()
        .unwrap();
    let got = peer.give(&[&invite, &join, &theirs]);
    assert!(matches!(&got[0], Outcome::SoftFailed(_)), "{got:?}");
    assert!(matches!(&got[1], Outcome::SoftFailed(_)), "{got:?}");
    assert_eq!(got[2], Outcome::Accepted);
    assert_eq!(shown(&server, &invite), Some(false));
}

#[test]
fn invite_that_is_in_force_again_shows_the_room() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let invite = peer.member(&[&base], YAN, ALICE, "invite");
    // Somebody took it back; on the other branch that somebody had no power any more.
    let kick = peer.member(&[&invite], YAN, ALICE, "leave");
    let levels = json!({"users": {ZOE: 100}});
    let levels = peer.add(&[&invite], ZOE, "m.room.power_levels", Some(""), levels);
    assert_eq!(peer.give(&[&invite, &kick]), vec![Outcome::Accepted; 2]);
    assert_eq!(server.membership(peer.room(), ALICE), "leave");
    assert_eq!(peer.give(&[&levels]), [Outcome::Accepted]);
    let rows: Vec<(String, Option<String>)> = server.rows(
        "SELECT membership, stripped_state FROM rooms_v1_memberships WHERE user_id = $1",
        params![ALICE],
    );
    assert_eq!(rows[0].0, "invite");
    let stripped: Vec<Value> = serde_json::from_str(rows[0].1.as_ref().unwrap()).unwrap();
    assert!(stripped.iter().any(|event| event["type"] == "m.room.create"));
    assert!(stripped.iter().any(|event| event["state_key"] == YAN));
    assert_eq!(stripped.last().unwrap()["state_key"], ALICE);
}

#[test]
fn modules_are_asked_about_events_of_other_servers() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    server.host.services(|services| {
        services.hooks.check_event = Some(Arc::new(|_, event, origin| {
            assert!(!origin.local && origin.sender.ends_with(":hs2"));
            match event {
                e if e.contains("spam") => Err(Objection::Refuse(Refusal {
                    status: 403,
                    errcode: "M_FORBIDDEN".to_owned(),
                    error: "no spam".to_owned(),
                })),
                e if e.contains("hide") => Err(Objection::Pretend),
                _ => Ok(()),
            }
        }));
    });
    let [fine, spam, hide] = ["fine", "spam", "hide"].map(|body| peer.text(&[&base], ZOE, body));
    let got = peer.give(&[&fine, &spam, &hide]);
    assert_eq!(got[0], Outcome::Accepted);
    assert!(matches!(&got[1], Outcome::SoftFailed(reason) if reason == "no spam"));
    assert!(matches!(&got[2], Outcome::SoftFailed(_)));
    assert_eq!((shown(&server, &spam), shown(&server, &hide)), (Some(false), Some(false)));
}

#[test]
fn invite_of_a_user_here_is_asked_about_and_shows_the_room() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    server.host.services(|services| {
        services.hooks.may_be_invited = Some(Arc::new(|_, invitee, event| {
            assert!(event.contains(invitee));
            if invitee == BOB {
                return Err(Refusal {
                    status: 403,
                    errcode: "M_FORBIDDEN".to_owned(),
                    error: "Bob wants no invites".to_owned(),
                });
            }
            Ok(())
        }));
    });
    let alice = peer.member(&[&base], ZOE, ALICE, "invite");
    let bob = peer.member(&[&alice], ZOE, BOB, "invite");
    let got = peer.give(&[&alice, &bob]);
    assert_eq!(got[0], Outcome::Accepted);
    assert!(matches!(&got[1], Outcome::SoftFailed(reason) if reason.contains("Bob")));
    let rows: Vec<(String, String, Option<String>)> = server.rows(
        "SELECT user_id, membership, stripped_state FROM rooms_v1_memberships WHERE membership = 'invite'",
        vec![],
    );
    assert_eq!(rows.len(), 1);
    let stripped: Vec<Value> = serde_json::from_str(rows[0].2.as_ref().unwrap()).unwrap();
    assert!(stripped.iter().any(|event| event["type"] == "m.room.create"));
    assert_eq!(stripped.last().unwrap()["state_key"], ALICE);
    assert!(server.host.wakes().contains(&format!("user:{ALICE}")));
    let _ = server.join(ALICE, peer.room()).ok();
}

#[test]
fn service_tells_what_became_of_each_event() {
    let (_server, mut peer) = joined("11");
    let base = peer.last();
    let lost = peer.text(&[&base], ZOE, "lost");
    let bad = peer.topic(&[&base], XIA, "x");
    let next = peer.text(&[&lost], ZOE, "next");
    let give = |ids: &[&String]| {
        let events = ids.iter().map(|id| peer.json(id)).collect();
        Plugin::receive(peer.room().to_owned(), "hs2".to_owned(), events).unwrap()
    };
    let got = give(&[&next, &bad, &lost, &lost]);
    assert!(
        matches!(&got[0].outcome, service::Outcome::Needs(m) if m.prev_events == [lost.clone()])
    );
    assert!(matches!(&got[1].outcome, service::Outcome::Rejected(_)));
    assert!(matches!(&got[2].outcome, service::Outcome::Accepted));
    assert!(matches!(&got[3].outcome, service::Outcome::Duplicate));
    assert_eq!(got[2].event_id, lost);
    let unknown = Plugin::receive("!none:hs2".to_owned(), "hs2".to_owned(), Vec::new());
    assert!(matches!(unknown, Err(service::Error::NotFound)));
}

/// What an event rests on, by walking from event to event.
fn walked(peer: &Peer, id: &str) -> Vec<String> {
    use ruma::state_res::Event as _;
    let find = |id: &str| peer.known.values().find(|event| event.id() == id).unwrap();
    let mut open: Vec<String> = find(id).auth_events().map(ToString::to_string).collect();
    let mut found = std::collections::BTreeSet::new();
    while let Some(id) = open.pop() {
        if found.insert(id.clone()) {
            open.extend(find(&id).auth_events().map(ToString::to_string));
        }
    }
    found.into_iter().collect()
}

#[test]
fn auth_chain_comes_from_the_index_in_few_calls() {
    let (server, mut peer) = joined("6");
    let mut last = peer.last();
    for n in 0..30 {
        let users = json!({"users": {ZOE: 100, YAN: 50 + n}});
        last = peer.add(&[&last], ZOE, "m.room.power_levels", Some(""), users);
        assert_eq!(peer.give(&[&last]), [Outcome::Accepted]);
    }
    let text = peer.text(&[&last], YAN, "x");
    let _ = peer.give(&[&text]);
    let _ = server.host.calls();
    let chain = auth::chain(peer.room(), std::slice::from_ref(&text)).unwrap();
    assert_eq!(server.host.calls(), 3);
    assert_eq!(chain, walked(&peer, &text));
    assert!(chain.len() > 30);
    // A room from before has no edges: they are made when they are needed.
    storage::Batch::new()
        .run("DELETE FROM rooms_auth_edges", params![])
        .run("UPDATE rooms_rooms SET auth_edges = FALSE", params![])
        .commit()
        .unwrap();
    assert_eq!(auth::chain(peer.room(), std::slice::from_ref(&text)).unwrap(), chain);
    let _ = server.host.calls();
    let _ = Plugin::auth_chain(peer.room().to_owned(), vec![text]).unwrap();
    assert_eq!(server.host.calls(), 3, "once");
}

#[test]
fn groups_that_nothing_rests_on_are_cleaned_up_at_the_pace_that_modules_set() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let (mut one, mut two) = (base.clone(), base);
    for n in 0..12 {
        one = peer.topic(&[&one], ZOE, &format!("one {n}"));
        let key = format!("k{n}");
        two = peer.add(&[&two], YAN, "org.example", Some(&key), json!({}));
        let _ = peer.give(&[&one, &two]);
    }
    let count = |table: &str| -> i64 {
        server.rows::<(i64,)>(&format!("SELECT COUNT(*) AS n FROM {table}"), vec![])[0].0
    };
    let before = (count("rooms_state_groups"), count("rooms_idle_groups"));
    assert!(before.1 > 10, "{before:?}");
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    server.host.services(move |services| {
        services.hooks.background_pace = Some(Arc::new(move |_, job, items, _took| {
            heard.lock().unwrap().push((job.to_owned(), items));
            Some(background_pace::Pace { items: 5, rest_ms: 50 })
        }));
    });
    assert_eq!(server.host.fire_timers::<Plugin>("rooms"), 0, "what is new may still be asked for");
    server.host.advance(idle::AGE_MS + 1);
    let mut goes = 0;
    while server.host.fire_timers::<Plugin>("rooms") > 0 {
        goes += 1;
        server.host.advance(60);
    }
    assert!(goes > 2, "{goes}");
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), goes);
    assert_eq!(asked[0], ("rooms:state-groups".to_owned(), 0));
    assert_eq!(asked[1], ("rooms:state-groups".to_owned(), 5));
    assert!(count("rooms_state_groups") < before.0, "{before:?}");
    // What is left is whole: every state can still be told.
    for (id, node) in &peer.nodes {
        if peer.order[5..].contains(id) {
            let state = Plugin::state_at(id.clone(), true, Vec::new()).unwrap();
            assert_eq!(state.len(), crate::peer::names(&node.after).len());
        }
    }
    let merged = peer.text(&[&one, &two], ZOE, "merge");
    assert_eq!(peer.give(&[&merged]), [Outcome::Accepted]);
}

#[test]
fn event_that_loses_the_race_for_the_room_is_placed_on_what_is_there_now() {
    let (server, mut peer) = joined("11");
    let _ = server.join(ALICE, peer.room()).ok();
    let mut peer_now = Peer::new("11");
    peer_now.adopt(&server, peer.room());
    std::mem::swap(&mut peer, &mut peer_now);
    let base = peer.last();
    let topic = peer.topic(&[&base], ZOE, "theirs");
    let room = peer.room().to_owned();
    let (told, sent) = std::sync::mpsc::channel();
    server.host.before_next_commit(move |host| {
        let host = host.clone();
        let rival = std::thread::spawn(move || {
            host.install();
            host.act_as("rooms");
            Server { host }.text(ALICE, &room, "in between")
        });
        told.send(rival.join().unwrap()).unwrap();
    });
    assert_eq!(peer.give(&[&topic]), [Outcome::Accepted]);
    let sent = sent.recv().unwrap();
    let row: Vec<(String,)> =
        server.rows("SELECT extremities FROM rooms_rooms WHERE room_id = $1", params![peer.room()]);
    let ends: Vec<(String, String, u64)> = serde_json::from_str(&row[0].0).unwrap();
    let ends: Vec<&str> = ends.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(ends, [sent.as_str(), topic.as_str()]);
    let now: Vec<(String,)> = server.rows(
        "SELECT event_id FROM rooms_v1_current_state WHERE room_id = $1 AND type = 'm.room.topic'",
        params![peer.room()],
    );
    assert_eq!(now, [(topic,)]);
}
