//! `presence`: typing, receipts and presence. Routes, views (`docs/views.md`) and the topic `presence.receipts`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::Session;

use crate::world::{Pair, World, ephemeral, refused, syncs};

suite!(
    "presence",
    [
        typing_is_told_to_the_room_and_ends_by_itself,
        typing_that_goes_on_is_no_news_and_stopping_is,
        who_may_not_type_is_refused,
        receipts_move_forward_only,
        a_receipt_is_told_to_the_room_once,
        a_private_receipt_is_told_to_its_owner_alone,
        each_thread_has_a_receipt_of_its_own,
        receipts_that_make_no_sense_are_refused,
        read_markers_are_account_data_and_receipts,
        a_receipt_settles_the_unread_count,
        an_acknowledged_receipt_survives_a_kill,
        presence_is_told_to_those_who_share_a_room,
        presence_that_makes_no_sense_is_refused,
        other_services_read_and_set_presence,
    ],
    idle_presence = "idle-presence.wasm"
);

async fn type_(user: &Session, room: &str, body: &Value) -> u16 {
    let path = format!("/rooms/{room}/typing/{}", user.user_id);
    user.call(Method::PUT, &path, Some(body)).await.unwrap().status
}

fn typists(sync: &Value, room: &str) -> Option<Vec<String>> {
    let users = ephemeral(sync, room, "m.typing")?["user_ids"].as_array()?;
    Some(users.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
}

async fn read(user: &Session, room: &str, kind: &str, event: &str, body: &Value) {
    user.post(&format!("/rooms/{room}/receipt/{kind}/{event}"), body).await.unwrap();
}

async fn receipts(world: &World, user: &Session) -> Vec<(String, String, String)> {
    let sql = "SELECT type, thread_id, event_id FROM presence_v1_receipts WHERE user_id = $1 ORDER BY type, thread_id";
    let rows = world.rows(sql, &[json!(user.user_id.as_ref())]).await;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| (text(row, "type"), text(row, "thread_id"), text(row, "event_id")))
        .collect()
}

fn row(kind: &str, thread: &str, event: &str) -> (String, String, String) {
    (kind.to_owned(), thread.to_owned(), event.to_owned())
}

async fn typing_row(world: &World, room: &str) -> (i64, i64) {
    let sql = "SELECT until_ms, position FROM presence_v1_typing WHERE room_id = $1";
    let rows = world.rows(sql, &[json!(room)]).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    (rows[0]["until_ms"].as_i64().unwrap(), rows[0]["position"].as_i64().unwrap())
}

async fn typing_is_told_to_the_room_and_ends_by_itself(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let since = bob.sync_token().await.unwrap();
    assert_eq!(type_(&alice, &room, &json!({"typing": true, "timeout": 1500})).await, 200);
    let (_, began) = typing_row(&world, &room).await;
    let someone = |sync: &Value| typists(sync, &room).filter(|users| !users.is_empty());
    let (users, since) = syncs(&bob, &since, someone).await;
    assert_eq!(users, [alice.user_id.as_ref()]);
    syncs(&bob, &since, |sync| typists(sync, &room).filter(Vec::is_empty)).await;
    let (until, ended) = typing_row(&world, &room).await;
    assert_eq!(until, 0);
    assert!(ended > began, "the end has a position of its own: {began} {ended}");
}

async fn typing_that_goes_on_is_no_news_and_stopping_is(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let since = bob.sync_token().await.unwrap();
    assert_eq!(type_(&alice, &room, &json!({"typing": true, "timeout": 60000})).await, 200);
    let began = typing_row(&world, &room).await;
    assert_eq!(type_(&alice, &room, &json!({"typing": true, "timeout": 90000})).await, 200);
    let went_on = typing_row(&world, &room).await;
    assert_eq!(went_on.1, began.1, "the same position");
    assert!(went_on.0 > began.0, "{began:?} {went_on:?}");
    assert_eq!(type_(&alice, &room, &json!({"typing": false})).await, 200);
    let stopped = typing_row(&world, &room).await;
    assert_eq!(stopped.0, 0);
    assert!(stopped.1 > began.1, "{began:?} {stopped:?}");
    syncs(&bob, &since, |sync| typists(sync, &room).filter(Vec::is_empty)).await;
}

async fn who_may_not_type_is_refused(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let carol = world.user("carol").await;
    let on = json!({"typing": true});
    let of_bob = format!("/rooms/{room}/typing/{}", bob.user_id);
    refused(&alice.call(Method::PUT, &of_bob, Some(&on)).await.unwrap(), 403, "M_FORBIDDEN");
    let outside = format!("/rooms/{room}/typing/{}", carol.user_id);
    refused(&carol.call(Method::PUT, &outside, Some(&on)).await.unwrap(), 403, "M_FORBIDDEN");
    let own = format!("/rooms/{room}/typing/{}", alice.user_id);
    let wrong = alice.call(Method::PUT, &own, Some(&json!({"typing": "yes"}))).await.unwrap();
    refused(&wrong, 400, "M_BAD_JSON");
}

async fn receipts_move_forward_only(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let first = alice.text(&room, "1", "one").await.unwrap();
    let second = alice.text(&room, "2", "two").await.unwrap();
    read(&bob, &room, "m.read", &second, &json!({})).await;
    read(&bob, &room, "m.read", &first, &json!({})).await;
    read(&bob, &room, "m.read", &second, &json!({})).await;
    assert_eq!(receipts(&world, &bob).await, [row("m.read", "", &second)]);
    let third = alice.text(&room, "3", "three").await.unwrap();
    read(&bob, &room, "m.read", &third, &json!({})).await;
    assert_eq!(receipts(&world, &bob).await, [row("m.read", "", &third)]);
}

async fn a_receipt_is_told_to_the_room_once(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let event = alice.text(&room, "1", "one").await.unwrap();
    let since = alice.sync_token().await.unwrap();
    read(&bob, &room, "m.read", &event, &json!({})).await;
    read(&bob, &room, "m.read", &event, &json!({})).await;
    let told = |sync: &Value| {
        ephemeral(sync, &room, "m.receipt")
            .map(|content| content[&event]["m.read"][bob.user_id.as_ref()].clone())
    };
    let (receipt, _) = syncs(&alice, &since, told).await;
    assert!(receipt["ts"].is_u64(), "{receipt}");
    let later = alice.text(&room, "2", "two").await.unwrap();
    read(&bob, &room, "m.read", &later, &json!({})).await;
    let events = world
        .hears("presence.receipts", |heard| {
            let events: Vec<Value> =
                heard.iter().map(|it| it["payload"]["event_id"].clone()).collect();
            events.contains(&json!(later)).then_some(events)
        })
        .await;
    assert_eq!(events, [json!(event), json!(later)], "one message for each that moved forward");
    let heard = world.heard("presence.receipts").await;
    assert_eq!(heard[0]["key"], bob.user_id.as_ref());
    let (payload, sql) =
        (&heard[0]["payload"], "SELECT position FROM rooms_v1_events WHERE event_id = $1");
    let at = &world.rows(sql, &[json!(event)]).await[0]["position"];
    let expected = json!({
        "user_id": bob.user_id.as_ref(), "room_id": room, "thread_id": "", "event_id": event, "event_position": at,
    });
    assert_eq!(*payload, expected);
}

async fn a_private_receipt_is_told_to_its_owner_alone(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let event = alice.text(&room, "1", "one").await.unwrap();
    let (alices, bobs) = (alice.sync_token().await.unwrap(), bob.sync_token().await.unwrap());
    read(&bob, &room, "m.read.private", &event, &json!({})).await;
    let own = |sync: &Value| {
        let content = ephemeral(sync, &room, "m.receipt")?;
        content[&event]["m.read.private"].get(bob.user_id.as_ref()).cloned()
    };
    syncs(&bob, &bobs, own).await;
    // What comes after it has come to alice, and it has not.
    alice.text(&room, "2", "two").await.unwrap();
    let (answer, _) = syncs(&alice, &alices, |sync| {
        sync["rooms"]["join"].get(&room).map(|room| room.to_string())
    })
    .await;
    assert!(!answer.contains("m.read.private"), "{answer}");
}

async fn each_thread_has_a_receipt_of_its_own(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let root = alice.text(&room, "1", "root").await.unwrap();
    let reply = json!({
        "msgtype": "m.text", "body": "in the thread",
        "m.relates_to": {"rel_type": "m.thread", "event_id": root},
    });
    let path = format!("/rooms/{room}/send/m.room.message/2");
    let reply = alice.put(&path, &reply).await.unwrap()["event_id"].as_str().unwrap().to_owned();
    read(&bob, &room, "m.read", &reply, &json!({"thread_id": root})).await;
    read(&bob, &room, "m.read", &root, &json!({"thread_id": "main"})).await;
    let mut expected = [row("m.read", &root, &reply), row("m.read", "main", &root)];
    expected.sort();
    assert_eq!(receipts(&world, &bob).await, expected);
}

async fn receipts_that_make_no_sense_are_refused(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let event = alice.text(&room, "1", "one").await.unwrap();
    let other = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    let elsewhere = alice.text(&other, "1", "elsewhere").await.unwrap();
    let carol = world.user("carol").await;
    let none = json!({});
    for (user, kind, event, body, status, errcode) in [
        (&bob, "m.seen", &event, &none, 400, "M_INVALID_PARAM"),
        (&bob, "m.read", &elsewhere, &none, 404, "M_NOT_FOUND"),
        (&bob, "m.read", &"$none".to_owned(), &none, 404, "M_NOT_FOUND"),
        (&bob, "m.read", &event, &json!({"thread_id": ""}), 400, "M_INVALID_PARAM"),
        (&bob, "m.read", &event, &json!({"thread_id": "x"}), 400, "M_INVALID_PARAM"),
        (&bob, "m.read", &event, &json!({"thread_id": elsewhere}), 404, "M_NOT_FOUND"),
        (&bob, "m.fully_read", &event, &json!({"thread_id": "main"}), 400, "M_INVALID_PARAM"),
        (&bob, "m.read", &event, &json!([]), 400, "M_BAD_JSON"),
        (&carol, "m.read", &event, &none, 403, "M_FORBIDDEN"),
    ] {
        let path = format!("/rooms/{room}/receipt/{kind}/{event}");
        refused(&user.call(Method::POST, &path, Some(body)).await.unwrap(), status, errcode);
    }
    assert!(receipts(&world, &bob).await.is_empty());
}

async fn read_markers_are_account_data_and_receipts(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let first = alice.text(&room, "1", "one").await.unwrap();
    let second = alice.text(&room, "2", "two").await.unwrap();
    let path = format!("/rooms/{room}/read_markers");
    bob.post(&path, &json!({"m.fully_read": first, "m.read": second, "m.read.private": second}))
        .await
        .unwrap();
    let expected = [row("m.read", "", &second), row("m.read.private", "", &second)];
    assert_eq!(receipts(&world, &bob).await, expected);
    let data = format!("/user/{}/rooms/{room}/account_data/m.fully_read", bob.user_id);
    assert_eq!(bob.get(&data).await.unwrap(), json!({"event_id": first}));
    bob.post(&path, &json!({})).await.unwrap();
    let wrong = bob.call(Method::POST, &path, Some(&json!({"m.read": 5}))).await.unwrap();
    refused(&wrong, 400, "M_BAD_JSON");
    let unknown = bob.call(Method::POST, &path, Some(&json!({"m.read": "$none"}))).await.unwrap();
    refused(&unknown, 404, "M_NOT_FOUND");
}

async fn a_receipt_settles_the_unread_count(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let since = bob.sync_token().await.unwrap();
    let event = alice.text(&room, "1", "one").await.unwrap();
    let count = |sync: &Value| {
        sync["rooms"]["join"][&room]["unread_notifications"]["notification_count"].as_u64()
    };
    let (_, since) = syncs(&bob, &since, |sync| count(sync).filter(|count| *count == 1)).await;
    read(&bob, &room, "m.read", &event, &json!({})).await;
    syncs(&bob, &since, |sync| count(sync).filter(|count| *count == 0)).await;
}

async fn an_acknowledged_receipt_survives_a_kill(mut world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let event = alice.text(&room, "1", "one").await.unwrap();
    read(&bob, &room, "m.read", &event, &json!({})).await;
    world.server.kill9().await.unwrap();
    world.server.boot().await.unwrap();
    assert_eq!(receipts(&world, &bob).await, [row("m.read", "", &event)]);
    world.hears("presence.receipts", |heard| (heard.len() == 1).then_some(())).await;
}

async fn presence_is_told_to_those_who_share_a_room(world: World) {
    let Pair { alice, bob, .. } = world.pair().await;
    let carol = world.user("carol").await;
    let path = format!("/presence/{}/status", alice.user_id);
    assert_eq!(bob.get(&path).await.unwrap(), json!({"presence": "offline"}));
    let since = bob.sync_token().await.unwrap();
    alice.put(&path, &json!({"presence": "online", "status_msg": "here"})).await.unwrap();
    let told = |sync: &Value| {
        let events = sync["presence"]["events"].as_array()?;
        Some(events.iter().find(|it| it["sender"] == alice.user_id.as_ref())?["content"].clone())
    };
    let (content, _) = syncs(&bob, &since, told).await;
    assert_eq!((&content["presence"], &content["status_msg"]), (&json!("online"), &json!("here")));
    let body = bob.get(&path).await.unwrap();
    assert_eq!((&body["presence"], &body["status_msg"]), (&json!("online"), &json!("here")));
    assert_eq!(body["currently_active"], true);
    assert!(body["last_active_ago"].is_u64(), "{body}");
    refused(&carol.call(Method::GET, &path, None).await.unwrap(), 403, "M_FORBIDDEN");
    let sql = "SELECT presence, status_msg, currently_active FROM presence_v1_presence WHERE user_id = $1";
    let rows = world.rows(sql, &[json!(alice.user_id.as_ref())]).await;
    let expected = json!({"presence": "online", "status_msg": "here", "currently_active": true});
    assert_eq!(rows, [expected]);
}

async fn presence_that_makes_no_sense_is_refused(world: World) {
    let Pair { alice, bob, .. } = world.pair().await;
    let path = format!("/presence/{}/status", alice.user_id);
    let online = json!({"presence": "online"});
    refused(&bob.call(Method::PUT, &path, Some(&online)).await.unwrap(), 403, "M_FORBIDDEN");
    for (body, errcode) in [
        (json!({"presence": "asleep"}), "M_INVALID_PARAM"),
        (json!({"presence": "online", "status_msg": "x".repeat(5000)}), "M_INVALID_PARAM"),
        (json!({"status_msg": "x"}), "M_BAD_JSON"),
    ] {
        refused(&alice.call(Method::PUT, &path, Some(&body)).await.unwrap(), 400, errcode);
    }
    let rows = world.rows("SELECT user_id FROM presence_v1_presence", &[]).await;
    assert!(rows.is_empty(), "{rows:?}");
    // A long poll is not disturbed by any of it.
    let since = bob.sync_token().await.unwrap();
    bob.sync(Some(&since), Duration::from_millis(1), "").await.unwrap();
}

async fn other_services_read_and_set_presence(world: World) {
    let Pair { alice, bob, .. } = world.pair().await;
    let user = alice.user_id.as_ref();
    assert_eq!(world.ok("presence.get", &json!([[user]])).await, json!([]), "none was ever told");
    let since = bob.sync_token().await.unwrap();
    world.ok("presence.set", &json!([user, "unavailable", "in a meeting"])).await;
    let expected = json!([{"user": user, "presence": "unavailable", "status_msg": "in a meeting"}]);
    assert_eq!(
        world.ok("presence.get", &json!([[user, "@carol:hs1", "@nobody:hs1"]])).await,
        expected
    );
    let told = |sync: &Value| {
        let events = sync["presence"]["events"].as_array()?;
        events.iter().find(|it| it["sender"] == user).map(|it| it["content"]["presence"].clone())
    };
    assert_eq!(syncs(&bob, &since, told).await.0, "unavailable");
    let error = world.error("presence.set", &json!([user, "asleep", null])).await;
    assert!(error.contains("Refused") && error.contains("M_INVALID_PARAM"), "{error}");
}
