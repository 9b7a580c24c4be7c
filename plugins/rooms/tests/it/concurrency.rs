//! Several senders in one room at once.

use std::collections::BTreeSet;

use serde_json::json;
use tessera_plugin_rooms::Plugin;
use tessera_sdk::params;
use tessera_test_host::TestHost;

use crate::harness::{ALICE, BOB, Server, event_id, server};

fn send(host: &TestHost, room: &str, user: &str, body: &str) -> String {
    let content = json!({"msgtype": "m.text", "body": body});
    let request = host.request("PUT", "send").user(user).device("D").param("roomId", room);
    let request = request.param("eventType", "m.room.message").param("txnId", body).json(&content);
    event_id(&request.send::<Plugin>())
}

fn on_this_thread(host: &TestHost) {
    host.install();
    host.act_as("rooms");
}

#[test]
fn lost_race_is_run_again_on_what_is_there_now() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let other = room.clone();
    let (told, first) = std::sync::mpsc::channel();
    // Another sender gets in between reading and committing.
    server.host.before_next_commit(move |host| {
        let host = host.clone();
        let sender = std::thread::spawn(move || {
            on_this_thread(&host);
            // The first sender holds the lock; whoever has waited long enough goes on without.
            send(&host, &other, ALICE, "in between")
        });
        told.send(sender.join().unwrap()).unwrap();
    });
    let _ = server.host.calls();
    let second = server.text(ALICE, &room, "first tried");
    let first = first.recv().unwrap();
    assert_eq!(server.host.calls(), 6, "two rounds and the rival's one");
    let event = server.event(&second);
    assert_eq!(event["prev_events"], json!([first]));
}

#[test]
fn decision_is_made_anew_when_the_room_has_changed() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.join(BOB, &room).ok();
    let other = room.clone();
    server.host.before_next_commit(move |host| {
        let host = host.clone();
        let ban = std::thread::spawn(move || {
            on_this_thread(&host);
            let server = Server { host };
            server.about(ALICE, "ban", &other, BOB).status()
        });
        assert_eq!(ban.join().unwrap(), 200);
    });
    let answer = server.send(BOB, &room, "m.room.message", "t", &json!({"body": "x"}));
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn crowd_makes_one_line() {
    let server = server();
    let room = server.create(ALICE, &json!({"room_version": "11"}));
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let (host, room) = (server.host.clone(), room.clone());
            std::thread::spawn(move || {
                on_this_thread(&host);
                (0..10).map(|m| send(&host, &room, ALICE, &format!("{n}-{m}"))).collect::<Vec<_>>()
            })
        })
        .collect();
    let sent: Vec<Vec<String>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let all: BTreeSet<&String> = sent.iter().flatten().collect();
    assert_eq!(all.len(), 80);
    let stored: Vec<(String, i64)> = server.rows(
        "SELECT event_id, depth FROM rooms_events WHERE room_id = $1 AND type = 'm.room.message' ORDER BY position",
        params![&room],
    );
    let depths: Vec<i64> = stored.iter().map(|(_, depth)| *depth).collect();
    assert!(depths.windows(2).all(|pair| pair[1] == pair[0] + 1));
    for own in sent {
        let places: Vec<usize> = own
            .iter()
            .map(|id| stored.iter().position(|(known, _)| known == id).unwrap())
            .collect();
        assert!(places.is_sorted(), "in order per sender");
    }
}

#[test]
fn same_transaction_at_once_makes_one_event() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let (host, room) = (server.host.clone(), room.clone());
            std::thread::spawn(move || {
                on_this_thread(&host);
                send(&host, &room, ALICE, "once")
            })
        })
        .collect();
    let ids: BTreeSet<String> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    let count = server.events(&room).iter().filter(|e| e["type"] == "m.room.message").count();
    assert_eq!(count, 1);
}
