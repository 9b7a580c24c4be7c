//! A room with 10,000 members: what one event costs is counted in calls and rows, which do not depend on the machine.

use std::collections::BTreeSet;

use serde_json::json;
use tessera_plugin_rooms::core::resolve::Known;
use tessera_plugin_rooms::receive::{Outcome, receive_with_state};
use tessera_plugin_rooms::store::{auth, state_at};
use tessera_sdk::{params, storage};

use crate::harness::{ALICE, BOB, CAROL, Server, server};

const MEMBERS: usize = 10_000;

/// Makes a room look as if many had joined: the rows that their joins would have left.
fn crowd(server: &Server, room: &str) {
    let row: Vec<(i64,)> =
        server.rows("SELECT state_base FROM rooms_rooms WHERE room_id = $1", params![room]);
    let base = row[0].0;
    let auth: Vec<(String,)> = server.rows(
        "SELECT event_id FROM rooms_current_state WHERE room_id = $1
           AND type IN ('m.room.create', 'm.room.power_levels', 'm.room.join_rules')",
        params![room],
    );
    for chunk in (0..MEMBERS).collect::<Vec<_>>().chunks(1_000) {
        let mut batch = storage::Batch::new();
        batch.take_positions(1_000);
        let (mut events, mut entries, mut current, mut members) = (vec![], vec![], vec![], vec![]);
        let mut edges = vec![];
        for (offset, n) in (0..).zip(chunk) {
            let (user, id) = (format!("@m{n}:hs1"), format!("$m{n}"));
            let json = json!({
                "type": "m.room.member", "state_key": user, "sender": user, "room_id": room,
                "content": {"membership": "join"}, "origin_server_ts": 1, "depth": 5,
                "prev_events": [], "auth_events": [], "hashes": {"sha256": ""},
            });
            let place = || storage::position(offset);
            events.push(vec![
                place(),
                storage::Value::Text(id.clone()),
                storage::Value::Text(room.to_owned()),
                storage::Value::Text(user.clone()),
                storage::Value::Text(json.to_string()),
                storage::Value::Integer(base),
            ]);
            entries.push(params![base, &user, &id]);
            edges.extend(auth.iter().map(|(auth,)| params![&id, auth]));
            current.push(vec![
                storage::Value::Text(room.to_owned()),
                storage::Value::Text(user.clone()),
                storage::Value::Text(id.clone()),
                place(),
            ]);
            members.push(vec![
                storage::Value::Text(room.to_owned()),
                storage::Value::Text(user),
                storage::Value::Text(id),
                place(),
            ]);
        }
        batch
            .run_many(
                "INSERT INTO rooms_events (position, event_id, room_id, type, state_key, sender, origin_ts, depth,
                   json, state_before, state_after) VALUES ($1, $2, $3, 'm.room.member', $4, $4, 1, 5, $5, $6, $6)",
                events,
            )
            .run_many(
                "INSERT INTO rooms_state_entries (group_id, type, state_key, event_id)
                 VALUES ($1, 'm.room.member', $2, $3)",
                entries,
            )
            .run_many(
                "INSERT INTO rooms_current_state (room_id, type, state_key, event_id, position)
                 VALUES ($1, 'm.room.member', $2, $3, $4)",
                current,
            )
            .run_many(
                "INSERT INTO rooms_memberships (room_id, user_id, membership, event_id, sender, position)
                 VALUES ($1, $2, 'join', $3, $2, $4)",
                members,
            )
            .run_many(auth::INSERT_EDGE, edges)
            .commit()
            .unwrap();
    }
}

fn entries(server: &Server) -> i64 {
    server.rows::<(i64,)>("SELECT COUNT(*) AS n FROM rooms_state_entries", vec![])[0].0
}

#[test]
fn event_in_a_room_of_ten_thousand_costs_what_it_costs_in_a_small_one() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": "11"}));
    crowd(&server, &room);
    let members: Vec<(i64,)> = server.rows(
        "SELECT COUNT(*) AS n FROM rooms_v1_memberships WHERE room_id = $1 AND membership = 'join'",
        params![&room],
    );
    assert_eq!(members[0].0, i64::try_from(MEMBERS).unwrap() + 1);
    let _ = server.host.calls();
    server.text(ALICE, &room, "hello");
    assert_eq!(server.host.calls(), 2, "a message");
    let before = entries(&server);
    let _ = server.host.calls();
    let _ = server.join(BOB, &room).ok();
    assert!(server.host.calls() <= 4, "a join");
    assert_eq!(entries(&server), before + 1, "the state is not copied");

    let _ = server.host.calls();
    let _ = server.put_state(ALICE, &room, "m.room.topic", "", &json!({"topic": "t"})).ok();
    assert_eq!(server.host.calls(), 2, "a state event");

    // A state that was is read by its types.
    let last: Vec<(i64,)> =
        server.rows("SELECT state_group FROM rooms_rooms WHERE room_id = $1", params![&room]);
    let _ = server.host.calls();
    let some = state_at::resolve(last[0].0, &["m.room.topic".to_owned()]).unwrap();
    assert_eq!((server.host.calls(), some.len()), (1, 1));
    let whole = state_at::resolve(last[0].0, &[]).unwrap();
    assert!(server.host.calls() == 1 && whole.len() > MEMBERS);
}

#[test]
fn full_copy_of_the_state_is_made_once_in_fifty() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": "11"}));
    crowd(&server, &room);
    let copies = || -> i64 {
        server.rows::<(i64,)>(
            "SELECT COUNT(*) AS n FROM rooms_state_groups WHERE group_id = base",
            vec![],
        )[0]
        .0
    };
    let before = copies();
    for n in 0..60 {
        let _ = server.host.calls();
        let _ = server.put_state(ALICE, &room, "org.example", "", &json!({"n": n})).ok();
        assert_eq!(server.host.calls(), 2, "the database makes the copy by itself");
    }
    assert!(copies() - before <= 2, "{}", copies() - before);
}

#[test]
fn fork_in_a_large_room_reads_what_it_changed() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": "11"}));
    crowd(&server, &room);
    let mut peer = crate::peer::Peer::new("11");
    peer.adopt(&server, &room);
    let base = peer.last();
    let one = peer.member(&[&base], "@one:hs2", "@one:hs2", "join");
    let two = peer.member(&[&base], "@two:hs3", "@two:hs3", "join");
    assert_eq!(peer.give(&[&one]), [Outcome::Accepted]);
    let before = entries(&server);
    let _ = server.host.calls();
    assert_eq!(peer.give(&[&two]), [Outcome::Accepted]);
    let calls = server.host.calls();
    assert!(calls <= 20, "{calls} calls to resolve a fork");
    assert!(entries(&server) - before <= 3, "no state is copied");
    let there: BTreeSet<String> = ["@one:hs2", "@two:hs3"]
        .into_iter()
        .filter(|user| server.membership(&room, user) == "join")
        .map(str::to_owned)
        .collect();
    assert_eq!(there.len(), 2);
    let _ = server.host.calls();
    let _ = server.join(CAROL, &room).ok();
    assert!(server.host.calls() <= 4, "what merges them costs no more than elsewhere");
}

#[test]
fn full_states_of_two_branches_are_compared_by_the_database() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": "11"}));
    crowd(&server, &room);
    let mut peer = crate::peer::Peer::new("11");
    peer.adopt(&server, &room);
    let base = peer.last();
    let zoe = peer.member(&[&base], crate::peer::ZOE, crate::peer::ZOE, "join");
    assert_eq!(peer.give(&[&zoe]), [Outcome::Accepted]);
    // More changes than fit on one full state.
    let branch = |peer: &mut crate::peer::Peer, name: &str| {
        let mut last = zoe.clone();
        for n in 0..52 {
            let who = format!("@{name}{n}:hs2");
            last = peer.member(&[&last], &who, &who, "join");
        }
        last
    };
    let ends = [branch(&mut peer, "a"), branch(&mut peer, "b")];
    let joins: Vec<String> = peer.order[peer.order.len() - 104..].to_vec();
    for join in &joins {
        assert_eq!(peer.give(&[join]), [Outcome::Accepted]);
    }
    let bases: Vec<(i64,)> = server.rows(
        "SELECT DISTINCT g.base FROM rooms_state_groups g JOIN rooms_events e ON e.state_after = g.group_id
         WHERE e.event_id IN ($1)",
        params![ends.to_vec()],
    );
    assert_eq!(bases.len(), 2);
    let _ = server.host.rows();
    let text = peer.text(&[&ends[0], &ends[1]], crate::peer::ZOE, "merge");
    assert_eq!(peer.give(&[&text]), [Outcome::Accepted]);
    let rows = server.host.rows();
    assert!(rows < 2_000, "{rows} rows to join two branches");
    assert_eq!(server.membership(&room, "@a51:hs2"), "join");
    assert_eq!(server.membership(&room, "@b51:hs2"), "join");
}

#[test]
fn what_ten_thousand_rest_on_is_found_in_one_statement() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": "11"}));
    crowd(&server, &room);
    let row: Vec<(i64, String)> = server.rows(
        "SELECT r.state_base, s.event_id FROM rooms_rooms r JOIN rooms_current_state s ON s.room_id = r.room_id
         WHERE r.room_id = $1 AND s.type = 'm.room.create'",
        params![&room],
    );
    let (base, create) = row[0].clone();
    let open = [create.clone(), "$none".to_owned()];
    let _ = server.host.calls();
    let found = auth::rested_on(Some(base), Vec::new(), &[], &open).unwrap();
    assert_eq!((server.host.calls(), found), (1, vec![create]));
    let ids: Vec<String> = (0..1_000).map(|n| format!("$m{n}")).collect();
    let mut known = Known::new();
    auth::load_chain(&ids, &mut known).unwrap();
    assert_eq!(server.host.calls(), 1);
    // The members, and what they all rest on: the beginning of the room.
    assert!((1_003..1_010).contains(&known.len()), "{}", known.len());
}

/// Members from elsewhere whose events are known, made by the database: `$x1`, `$x2`, …
fn strangers(room: &str, count: usize) {
    let [start, middle, end] = [
        r#"{"auth_events":[],"content":{"membership":"join"},"depth":5,"hashes":{"sha256":""},"origin_server_ts":1,"prev_events":[],"sender":"@x"#,
        r#":hs3","state_key":"@x"#,
        r#":hs3","type":"m.room.member"}"#,
    ];
    storage::Batch::new()
        .run(
            "INSERT INTO rooms_events (position, event_id, room_id, type, state_key, sender, origin_ts, depth,
               json, outlier, stream)
             SELECT 0 - q.i, '$x' || CAST(q.i AS text), $1, 'm.room.member', '@x' || CAST(q.i AS text) || ':hs3',
               '@x' || CAST(q.i AS text) || ':hs3', 1, 5,
               $3 || CAST(q.i AS text) || $4 || CAST(q.i AS text) || $5, TRUE, FALSE
             FROM (WITH RECURSIVE n(i) AS (SELECT 1 AS i UNION ALL SELECT n.i + 1 FROM n WHERE n.i < $2)
               SELECT i FROM n) q",
            params![room, u32::try_from(count).unwrap(), start, middle, end],
        )
        .commit()
        .unwrap();
}

#[test]
fn room_with_more_entries_than_one_query_gives_is_joined_and_goes_on() {
    const MANY: usize = 51_000;
    let server = server();
    let mut peer = crate::peer::Peer::new("11");
    let room = peer.room().to_owned();
    strangers(&room, MANY);
    let known: Vec<String> = peer.order[..5].iter().map(|id| peer.json(id)).collect();
    let _ = tessera_plugin_rooms::receive::receive_outliers(&room, "11", &known).unwrap();
    let mut state = peer.order[..5].to_vec();
    state.extend((1..=MANY).map(|n| format!("$x{n}")));
    let begun = std::time::Instant::now();
    let join = peer.json(&peer.order[5]);
    let got = receive_with_state(&room, "11", "hs2", &join, &state).unwrap();
    println!("join of a room of {MANY}: {:?}", begun.elapsed());
    assert_eq!(got.1, Outcome::Accepted);
    let members = || {
        server.rows::<(i64, i64)>(
            "SELECT COUNT(*) AS n, COUNT(DISTINCT m.user_id) AS u FROM rooms_v1_membership_changes m
             WHERE m.room_id = $1 AND m.membership = 'join'",
            params![&room],
        )[0]
    };
    let all = i64::try_from(MANY).unwrap() + 3;
    assert_eq!(members(), (all, all));
    let _ = server.join(ALICE, &room).ok();
    // A gap that is closed by a state: it is compared with what is here.
    let base = peer.last();
    let lost = peer.topic(&[&base], crate::peer::ZOE, "lost");
    let next = peer.text(&[&lost], crate::peer::ZOE, "next");
    let _ =
        tessera_plugin_rooms::receive::receive_outliers(&room, "11", &[peer.json(&lost)]).unwrap();
    state.extend([peer.order[5].clone(), lost.clone()]);
    let begun = std::time::Instant::now();
    let got = receive_with_state(&room, "11", "hs2", &peer.json(&next), &state).unwrap();
    println!("a gap in it: {:?}", begun.elapsed());
    assert_eq!(got.1, Outcome::Accepted);
    let topic: Vec<(String,)> = server.rows(
        "SELECT event_id FROM rooms_v1_current_state WHERE room_id = $1 AND type = 'm.room.topic'",
        params![&room],
    );
    assert_eq!(topic, [(lost,)]);
    assert_eq!(server.membership(&room, ALICE), "join");
    assert_eq!(server.membership(&room, "@x50999:hs3"), "join");
    // From the beginning again, the room being known: nobody joins twice.
    assert_eq!(members(), (all + 1, all + 1));
}

/// A history of messages, made by the database.
fn history(room: &str, count: usize) {
    storage::Batch::new()
        .run(
            "INSERT INTO rooms_events (position, event_id, room_id, type, sender, origin_ts, depth, json,
               state_before, state_after)
             SELECT q.i - $2 - 1, '$h' || CAST(q.i AS text), $1, 'm.room.message', '@alice:hs1', q.i, 5, '{}',
               r.state_group, r.state_group
             FROM (WITH RECURSIVE n(i) AS (SELECT 1 AS i UNION ALL SELECT n.i + 1 FROM n WHERE n.i < $2)
               SELECT i FROM n) q CROSS JOIN rooms_rooms r WHERE r.room_id = $1",
            params![room, u32::try_from(count).unwrap()],
        )
        .commit()
        .unwrap();
}

#[test]
fn what_is_read_does_not_grow_with_the_history() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "room_version": "11"}));
    crowd(&server, &room);
    history(&room, 100_000);
    let measured = |name: &str, work: &mut dyn FnMut()| -> (usize, usize) {
        let _ = (server.host.calls(), server.host.rows());
        let begun = std::time::Instant::now();
        work();
        let cost = (server.host.calls(), server.host.rows());
        println!("{name}: {} calls, {} rows, {:?}", cost.0, cost.1, begun.elapsed());
        cost
    };
    let few = |(calls, rows): (usize, usize), most: (usize, usize)| {
        assert!(calls <= most.0 && rows <= most.1, "{calls} calls, {rows} rows");
    };
    few(measured("send", &mut || drop(server.text(ALICE, &room, "hello"))), (2, 10));
    few(measured("join", &mut || drop(server.join(BOB, &room).ok())), (5, 25));
    let topic = json!({"topic": "t"});
    let put = || server.put_state(ALICE, &room, "m.room.topic", "", &topic).ok();
    few(measured("state change", &mut || drop(put())), (2, 15));
    let path = [("roomId", room.as_str())];
    let all = MEMBERS + 40;
    few(measured("state", &mut || drop(server.get(ALICE, "get-state", &path).ok())), (4, all));
    few(measured("members", &mut || drop(server.get(ALICE, "members", &path).ok())), (4, all));
    let at = || {
        let request = server.host.request("GET", "members").user(ALICE).param("roomId", &room);
        drop(request.query("at", "s100").send::<tessera_plugin_rooms::Plugin>().ok());
    };
    // The ids of all, and the events of all.
    few(measured("members at", &mut || at()), (20, 2 * all));
    let mut peer = crate::peer::Peer::new("11");
    peer.adopt(&server, &room);
    let base = peer.last();
    let one = peer.member(&[&base], "@one:hs2", "@one:hs2", "join");
    let two = peer.member(&[&base], "@two:hs3", "@two:hs3", "join");
    let talk = peer.text(&[&one], "@one:hs2", "talk");
    few(measured("received", &mut || drop(peer.give(&[&one]))), (8, 40));
    few(measured("received fork", &mut || drop(peer.give(&[&two]))), (20, 150));
    few(measured("on a branch", &mut || drop(peer.give(&[&talk]))), (12, 80));
}
