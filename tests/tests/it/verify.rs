//! What must hold after the kills.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use serde_json::Value;
use tessera_tests::api::Session;

use crate::load::{Acknowledged, Told, message};

/// Everything acknowledged is in its room once, in order per sender, and nothing is there twice.
pub(crate) async fn history(reader: &Session, rooms: &[String], acknowledged: &[Acknowledged]) {
    let mut stored = Vec::new();
    for room in rooms {
        stored.extend(read_room(reader, room).await);
    }
    exactly_once(&stored, acknowledged, "history");
    for room in rooms {
        in_order(&read_room(reader, room).await, acknowledged, "history");
    }
}

/// The reader was told of everything acknowledged once, in order per sender.
pub(crate) fn told(told: &[Told], acknowledged: &[Acknowledged]) {
    exactly_once(told, acknowledged, "sync");
    let by_body: Vec<_> = told.iter().map(|t| (t.event_id.as_str(), t.body.as_str())).collect();
    // The rooms are told one after the other in an answer, so the order is looked at by room: even and odd numbers.
    for parity in [0, 1] {
        let room: Vec<Told> = by_body
            .iter()
            .filter(|(_, body)| parse(body).is_some_and(|(_, n)| n % 2 == parity))
            .map(|(id, body)| Told { event_id: (*id).into(), body: (*body).into() })
            .collect();
        in_order(&room, acknowledged, "sync");
    }
}

/// State and account data have the last acknowledged value.
pub(crate) async fn values(room: &str, acknowledged: &[Acknowledged]) {
    for sender in acknowledged {
        let user = &sender.user;
        let state = user
            .get(&format!("/rooms/{room}/state/org.example.counter/s{}", sender.index))
            .await
            .unwrap();
        assert_eq!(state["n"], sender.value, "state of sender {}", sender.index);
        let path = format!("/user/{}/account_data/org.example.counter", user.user_id);
        assert_eq!(
            user.get(&path).await.unwrap()["n"],
            sender.value,
            "account data of sender {}",
            sender.index
        );
    }
}

/// The user's unread counts add up to `messages`, as soon as the durable topic has brought all of them.
pub(crate) async fn unread(user: &Session, messages: usize) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let sync = user.sync(None, Duration::ZERO, "").await.unwrap();
        let rooms = sync["rooms"]["join"].as_object().unwrap();
        let count = |room: &Value| room["unread_notifications"]["notification_count"].as_u64();
        let unread: u64 = rooms.values().filter_map(count).sum();
        if unread == messages as u64 {
            return;
        }
        assert!(
            Instant::now() < until && unread < messages as u64,
            "{} messages, but {unread} unread ones for {}",
            messages,
            user.user_id
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// All messages of a room, oldest first.
async fn read_room(reader: &Session, room: &str) -> Vec<Told> {
    let mut events = Vec::new();
    let mut from = String::new();
    loop {
        let page =
            reader.get(&format!("/rooms/{room}/messages?dir=b&limit=500{from}")).await.unwrap();
        events.extend(page["chunk"].as_array().unwrap().iter().filter_map(message));
        match page["end"].as_str() {
            Some(end) => from = format!("&from={end}"),
            None => break,
        }
    }
    events.reverse();
    events
}

fn exactly_once(found: &[Told], acknowledged: &[Acknowledged], place: &str) {
    let mut ids = HashSet::new();
    let mut by_body: HashMap<&str, &str> = HashMap::new();
    for event in found {
        assert!(
            ids.insert(&event.event_id),
            "{place}: {} ({}) is there twice",
            event.event_id,
            event.body
        );
        let before = by_body.insert(&event.body, &event.event_id);
        assert_eq!(
            before, None,
            "{place}: {:?} was sent once and is there as two events",
            event.body
        );
    }
    for (body, event_id) in acknowledged.iter().flat_map(|a| &a.events) {
        assert_eq!(
            by_body.get(body.as_str()).copied(),
            Some(event_id.as_str()),
            "{place}: {body:?} was acknowledged"
        );
    }
}

fn in_order(found: &[Told], acknowledged: &[Acknowledged], place: &str) {
    for sender in acknowledged {
        let numbers: Vec<u64> = found
            .iter()
            .filter_map(|t| parse(&t.body))
            .filter(|(s, _)| *s == sender.index)
            .map(|(_, n)| n)
            .collect();
        assert!(
            numbers.is_sorted(),
            "{place}: sender {} is out of order: {numbers:?}",
            sender.index
        );
    }
}

/// Sender and number of a body such as `s3 n41`.
fn parse(body: &str) -> Option<(usize, u64)> {
    let (sender, number) = body.split_once(' ')?;
    Some((sender.strip_prefix('s')?.parse().ok()?, number.strip_prefix('n')?.parse().ok()?))
}
