//! Rooms whose graph forks: whatever the order in which events arrive, the state is that of the graph.

use std::collections::BTreeMap;

use serde_json::json;
use tessera_plugin_rooms::receive::Outcome;
use tessera_plugin_rooms::store::state_at;
use tessera_sdk::params;

use crate::harness::{Server, server};
use crate::peer::{Names, Peer, XIA, YAN, ZOE, names};

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

fn group(id: i64) -> Names {
    let entries = state_at::resolve(id, &[]).unwrap().into_iter();
    entries.map(|(kind, key, id)| ((kind, key), id)).collect()
}

fn current(server: &Server, room: &str) -> Names {
    let rows = server.rows::<(String, String, String, String, i64)>(
        "SELECT s.type, s.state_key, s.event_id, e.event_id, e.position FROM rooms_v1_current_state s
         JOIN rooms_events e ON e.position = s.position WHERE s.room_id = $1",
        params![room],
    );
    let entry = |(kind, key, id, at, _): (String, String, String, String, i64)| {
        assert_eq!(id, at, "the position is that of the event");
        ((kind, key), id)
    };
    rows.into_iter().map(entry).collect()
}

fn ends(server: &Server, room: &str) -> Vec<String> {
    let row: Vec<(String,)> =
        server.rows("SELECT extremities FROM rooms_rooms WHERE room_id = $1", params![room]);
    let ends: Vec<(String, String, u64)> = serde_json::from_str(&row[0].0).unwrap();
    let mut ends: Vec<String> = ends.into_iter().map(|(id, ..)| id).collect();
    ends.sort();
    ends
}

/// Everything that is stored of a room says the same as the graph does.
fn check(server: &Server, peer: &Peer) -> Names {
    let room = peer.room();
    let now = current(server, room);
    let ends = ends(server, room);
    assert_eq!(now, names(&peer.state_of(&ends)), "resolved directly");
    let row: Vec<(i64, i64, i64)> = server.rows(
        "SELECT state_group, state_base, state_chain FROM rooms_rooms WHERE room_id = $1",
        params![room],
    );
    assert_eq!(group(row[0].0), now, "the group of the room");
    let chain = state_at::chains(&[row[0].0]).unwrap().remove(&row[0].0).unwrap();
    assert_eq!((chain.base, i64::try_from(chain.links.len()).unwrap() - 1), (row[0].1, row[0].2));

    // The groups of each event.
    let rows = server.rows::<(String, Option<i64>, Option<i64>, bool)>(
        "SELECT event_id, state_before, state_after, rejected FROM rooms_events WHERE room_id = $1 AND outlier = FALSE",
        params![room],
    );
    for (id, before, after, rejected) in rows {
        let node = peer.node(&id);
        assert_eq!(rejected, node.rejected, "{}", node.json);
        assert_eq!(
            group(before.unwrap()),
            names(&peer.state_of(&node.prevs)),
            "before {}",
            node.json
        );
        assert_eq!(group(after.unwrap()), names(&node.after), "after {}", node.json);
    }

    // The changes of the state, one after another, lead to what it is.
    let deltas = server.rows::<(String, String, Option<String>, Option<String>)>(
        "SELECT type, state_key, event_id, prev_event_id FROM rooms_v1_state_deltas WHERE room_id = $1
         ORDER BY position",
        params![room],
    );
    let begun: Vec<(i64,)> = server.rows(
        "SELECT state_before FROM rooms_events WHERE room_id = $1 AND outlier = FALSE ORDER BY position LIMIT 1",
        params![room],
    );
    let mut replayed = group(begun[0].0);
    for (kind, key, new, old) in deltas {
        let before = match new {
            Some(id) => replayed.insert((kind, key), id),
            None => replayed.remove(&(kind, key)),
        };
        assert_eq!(before, old);
    }
    assert_eq!(replayed, now);

    // Memberships are those of the state; who is not in it any more has left.
    let rows = server.rows::<(String, String, String)>(
        "SELECT user_id, membership, event_id FROM rooms_v1_memberships WHERE room_id = $1",
        params![room],
    );
    for (user, membership, event_id) in rows {
        match now.get(&("m.room.member".to_owned(), user.clone())) {
            Some(id) => {
                assert_eq!(*id, event_id);
                let json: serde_json::Value = serde_json::from_str(&peer.node(id).json).unwrap();
                assert_eq!(json["content"]["membership"], membership);
            }
            None => assert_eq!(membership, "leave", "{user}"),
        }
    }
    let newest = server.rows::<(String, String)>(
        "SELECT c.user_id, c.membership FROM rooms_v1_membership_changes c WHERE c.room_id = $1 ORDER BY c.position",
        params![room],
    );
    let newest: BTreeMap<String, String> = newest.into_iter().collect();
    for (kind, user) in now.keys() {
        if kind == "m.room.member" {
            assert_eq!(newest[user], server.membership(room, user));
        }
    }
    now
}

#[test]
fn two_ends_are_resolved_and_merged_by_what_is_sent_here() {
    for version in ["1", "6", "10", "11", "12"] {
        let server = server();
        let mut peer = Peer::new(version);
        peer.join();
        let base = peer.last();
        let one = peer.topic(&[&base], ZOE, "one");
        let two = peer.topic(&[&base], YAN, "two");
        assert_eq!(peer.give(&[&one, &two]), [Outcome::Accepted, Outcome::Accepted], "{version}");
        assert_eq!(ends(&server, peer.room()).len(), 2);
        let now = check(&server, &peer);
        let _ = server.join(crate::harness::ALICE, peer.room()).ok();
        let sent = server.text(crate::harness::ALICE, peer.room(), "hello");
        assert_eq!(ends(&server, peer.room()), [sent]);
        let joined = server.events(peer.room()).into_iter().rev().nth(1).unwrap();
        assert_eq!(joined["prev_events"].as_array().unwrap().len(), 2, "the join merged them");
        let topic = ("m.room.topic".to_owned(), String::new());
        assert_eq!(current(&server, peer.room())[&topic], now[&topic]);
    }
}

#[test]
fn ban_that_arrives_late_takes_back_what_the_banned_did() {
    let server = server();
    let mut peer = Peer::new("11");
    peer.join();
    let base = peer.last();
    let topic = peer.topic(&[&base], YAN, "mine");
    let talk = peer.text(&[&topic], YAN, "mine");
    let ban = peer.member(&[&base], ZOE, YAN, "ban");
    assert_eq!(peer.give(&[&topic, &talk, &ban]), vec![Outcome::Accepted; 3]);
    let now = check(&server, &peer);
    assert!(!now.contains_key(&("m.room.topic".to_owned(), String::new())));
    assert_eq!(server.membership(peer.room(), YAN), "ban");
    let delta: Vec<(Option<String>, Option<String>)> = server.rows(
        "SELECT d.event_id, d.prev_event_id FROM rooms_v1_state_deltas d JOIN rooms_events e ON e.position = d.position
         WHERE e.event_id = $1 AND d.type = 'm.room.topic'",
        params![&ban],
    );
    assert_eq!(delta, [(None, Some(topic.clone()))], "the ban took the topic away");
    // What the event does not say itself is told by a topic of its own.
    let told = server.host.messages("rooms.resolved");
    let change = json!({"type": "m.room.topic", "state_key": "", "prev_event_id": topic});
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["event_id"], ban);
    assert_eq!(told[0]["changes"], json!([change]));
    // What the banned say on their branch is kept and not shown.
    let more = peer.text(&[&talk], YAN, "still here");
    assert!(matches!(peer.give(&[&more])[0], Outcome::SoftFailed(_)));
    let shown: Vec<(bool,)> =
        server.rows("SELECT stream FROM rooms_v1_events WHERE event_id = $1", params![&more]);
    assert_eq!(shown, [(false,)]);
    check(&server, &peer);
}

#[test]
fn join_that_a_resolution_takes_away_is_a_leave() {
    let server = server();
    let mut peer = Peer::new("10");
    peer.join();
    let base = peer.last();
    let join = peer.member(&[&base], "@eve:hs3", "@eve:hs3", "join");
    let rules =
        peer.add(&[&base], ZOE, "m.room.join_rules", Some(""), json!({"join_rule": "invite"}));
    assert_eq!(peer.give(&[&join, &rules]), vec![Outcome::Accepted; 2]);
    check(&server, &peer);
    assert_eq!(server.membership(peer.room(), "@eve:hs3"), "leave");
    let told = server.host.messages("rooms.resolved");
    let change = json!({"type": "m.room.member", "state_key": "@eve:hs3", "prev_event_id": join});
    assert_eq!(told[0]["changes"], json!([change]));
}

/// An event somewhere in the graph. Peaceful ones undo nothing.
fn random_event(peer: &mut Peer, dice: &mut Dice, number: usize, peaceful: bool) {
    let from = if dice.roll(4) == 0 { 12 } else { 4 };
    let recent: Vec<String> = peer.order.iter().rev().take(from).cloned().collect();
    let recent: Vec<String> =
        recent.into_iter().filter(|id| peer.order[5..].contains(id)).collect();
    let mut prevs: Vec<String> = Vec::new();
    for _ in 0..=dice.roll(3) {
        let pick = recent[dice.roll(recent.len())].clone();
        if !prevs.contains(&pick) {
            prevs.push(pick);
        }
    }
    let prevs: Vec<&str> = prevs.iter().map(String::as_str).collect();
    let user = [ZOE, YAN, XIA][dice.roll(3)];
    let guest = format!("@guest{}:hs3", dice.roll(4));
    match dice.roll(if peaceful { 5 } else { 9 }) {
        0 | 1 => peer.text(&prevs, user, &format!("m{number}")),
        2 => peer.topic(&prevs, [ZOE, YAN][dice.roll(2)], &format!("t{number}")),
        3 => peer.member(&prevs, &guest, &guest, "join"),
        4 => peer.add(
            &prevs,
            ZOE,
            "org.example",
            Some(&format!("k{}", dice.roll(3))),
            json!({"n": number}),
        ),
        5 => peer.member(
            &prevs,
            [ZOE, YAN][dice.roll(2)],
            [YAN, XIA, &guest][dice.roll(3)],
            ["ban", "leave"][dice.roll(2)],
        ),
        6 => peer.add(
            &prevs,
            [ZOE, YAN][dice.roll(2)],
            "m.room.power_levels",
            Some(""),
            json!({"users": {ZOE: 100, YAN: ([0, 50, 100][dice.roll(3)])}}),
        ),
        7 => peer.member(&prevs, user, user, ["join", "leave"][dice.roll(2)]),
        _ => peer.add(
            &prevs,
            ZOE,
            "m.room.join_rules",
            Some(""),
            json!({"join_rule": (["invite", "public"][dice.roll(2)])}),
        ),
    };
}

/// Hands all events over in some order in which each comes after those that it follows, in batches of some size.
fn deliver(peer: &Peer, dice: &mut Dice) -> usize {
    let mut open: Vec<String> = peer.order[6..].to_vec();
    let mut known: Vec<String> = peer.order[..6].to_vec();
    let mut soft = 0;
    while !open.is_empty() {
        let mut batch: Vec<String> = Vec::new();
        for _ in 0..=dice.roll(6) {
            let ready: Vec<String> = open
                .iter()
                .filter(|id| peer.node(id).prevs.iter().all(|prev| known.contains(prev)))
                .cloned()
                .collect();
            let Some(id) = (!ready.is_empty()).then(|| ready[dice.roll(ready.len())].clone())
            else {
                break;
            };
            open.retain(|other| *other != id);
            known.push(id.clone());
            batch.push(id);
        }
        let ids: Vec<&str> = batch.iter().map(String::as_str).collect();
        for (id, outcome) in ids.iter().zip(peer.give(&ids)) {
            let rejected = matches!(outcome, Outcome::Rejected(_));
            assert_eq!(rejected, peer.node(id).rejected, "{outcome:?} {}", peer.node(id).json);
            soft += usize::from(matches!(outcome, Outcome::SoftFailed(_)));
        }
        // Again: nothing comes of it.
        assert_eq!(peer.give(&ids[..1]), [Outcome::Duplicate]);
    }
    soft
}

#[test]
fn peaceful_graphs_come_out_alike_in_every_order() {
    for (seed, version) in [(1, "2"), (2, "6"), (3, "11"), (4, "12")] {
        let mut dice = Dice(seed);
        let mut peer = Peer::new(version);
        for number in 0..40 {
            random_event(&mut peer, &mut dice, number, true);
        }
        let mut states: Vec<Names> = Vec::new();
        for _ in 0..3 {
            let server = server();
            peer.join();
            assert_eq!(deliver(&peer, &mut dice), 0, "nothing is refused by the present");
            states.push(check(&server, &peer));
        }
        assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "version {version}");
    }
}

#[test]
fn graphs_full_of_strife_are_what_their_ends_resolve_to() {
    let (mut rejected, mut soft) = (0, 0);
    for (seed, version) in [(11, "1"), (12, "2"), (13, "9"), (14, "11"), (15, "12"), (16, "12")] {
        let mut dice = Dice(seed);
        let mut peer = Peer::new(version);
        for number in 0..50 {
            random_event(&mut peer, &mut dice, number, false);
        }
        rejected += peer.nodes.values().filter(|node| node.rejected).count();
        for _ in 0..2 {
            let server = server();
            peer.join();
            soft += deliver(&peer, &mut dice);
            check(&server, &peer);
        }
    }
    assert!(rejected > 10 && soft > 10, "{rejected} {soft}");
}

#[test]
fn chains_of_groups_stay_short_on_every_branch() {
    let server = server();
    let mut peer = Peer::new("11");
    peer.join();
    let mut ends = [peer.last(), peer.last()];
    for n in 0..70 {
        for (end, by) in ends.iter_mut().zip([ZOE, YAN]) {
            let key = format!("{by}{}", n % 5);
            // A key that begins with @ is its user's.
            let next =
                peer.add(&[end.as_str()], by, "org.example", Some(&key[1..]), json!({"n": n}));
            assert_eq!(peer.give(&[&next]), [Outcome::Accepted]);
            *end = next;
        }
    }
    check(&server, &peer);
    let groups: Vec<(i64,)> = server.rows("SELECT group_id FROM rooms_state_groups", vec![]);
    let ids: Vec<i64> = groups.into_iter().map(|(id,)| id).collect();
    let longest = state_at::chains(&ids).unwrap().values().map(|chain| chain.links.len()).max();
    assert!(longest.unwrap() <= 54, "{longest:?}");
}

#[test]
fn more_ends_than_an_event_may_follow_are_merged_in_steps() {
    let server = server();
    let peer = Peer::new("11");
    peer.join();
    let _ = server.join(crate::harness::ALICE, peer.room()).ok();
    let joined = server.events(peer.room()).pop().unwrap();
    assert_eq!(joined["type"], "m.room.member");
    let mut adopted = Peer::new("11");
    adopted.adopt(&server, peer.room());
    // In the order of their positions the state comes first, then what followed it.
    let base = adopted.last();
    let peer = &mut adopted;
    for n in 0..45 {
        let id = peer.topic(&[&base], ZOE, &format!("t{n}"));
        assert_eq!(peer.give(&[&id]), [Outcome::Accepted]);
    }
    assert_eq!(ends(&server, peer.room()).len(), 45);
    let sent = server.text(crate::harness::ALICE, peer.room(), "all together");
    assert_eq!(ends(&server, peer.room()), [sent]);
    for event in server.events(peer.room()) {
        assert!(event["prev_events"].as_array().unwrap().len() <= 20);
    }
    let hidden = server.rows::<(bool,)>(
        "SELECT stream FROM rooms_v1_events WHERE room_id = $1 AND type = 'org.matrix.dummy_event'",
        params![peer.room()],
    );
    assert_eq!(hidden, [(false,), (false,)]);
    let now = current(&server, peer.room());
    let last = peer.last();
    assert_eq!(now[&("m.room.topic".to_owned(), String::new())], last, "the newest of them");
}

#[test]
fn ends_that_others_heap_up_are_merged_by_the_server_itself() {
    let server = server();
    let mut peer = Peer::new("11");
    peer.join();
    let _ = server.join(crate::harness::ALICE, peer.room()).ok();
    let base = peer.last();
    for n in 0..75 {
        let id = peer.topic(&[&base], ZOE, &format!("t{n}"));
        assert_eq!(peer.give(&[&id]), [Outcome::Accepted]);
    }
    let left = ends(&server, peer.room());
    assert!(left.len() <= 51, "{}", left.len());
    let topic = ("m.room.topic".to_owned(), String::new());
    assert_eq!(current(&server, peer.room())[&topic], peer.last(), "the newest of them");
    // However many branches rest on a full state, a group is read by what it rests on.
    let groups: Vec<(i64,)> =
        server.rows("SELECT MAX(group_id) AS n FROM rooms_state_groups", vec![]);
    let _ = server.host.rows();
    let _ = state_at::resolve(groups[0].0, &["m.room.topic".to_owned()]).unwrap();
    let rows = server.host.rows();
    assert!(rows < 30, "{rows}");
}
