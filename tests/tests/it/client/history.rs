//! What was said before: pages, context, relations, threads, times.

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::Session;

use super::Front;

fn ids(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().map(|event| event["event_id"].as_str().unwrap_or_default()).collect()
}

async fn refused(user: &Session, path: &str, status: u16, code: &str) {
    let answer = user.call(Method::GET, path, None).await.unwrap();
    assert_eq!((answer.status, answer.errcode()), (status, code), "{path}");
}

/// A GET behind `/_matrix/client`, as `/v1/…`.
async fn get(front: &Front, user: &Session, path: &str) -> (u16, Value) {
    let path = format!("/_matrix/client{path}");
    let answer = front.request(Method::GET, &path, Some(&user.token), None).await;
    (answer.status, answer.body)
}

async fn room(front: &Front) -> (Session, Session, String, Vec<String>) {
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({ "preset": "public_chat" })).await.unwrap();
    bob.join(&room).await.unwrap();
    let mut sent = Vec::new();
    for n in 0..6 {
        sent.push(alice.text(&room, &n.to_string(), &format!("message {n}")).await.unwrap());
    }
    (alice, bob, room, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_back_to_the_beginning_and_forward_again() {
    let front = Front::get().await;
    let (_, bob, room, sent) = room(&front).await;
    let path = format!("/rooms/{room}/messages");
    let first = bob.get(&format!("{path}?dir=b&limit=4")).await.unwrap();
    assert_eq!(ids(&first["chunk"]), [&*sent[5], &*sent[4], &*sent[3], &*sent[2]]);
    let mut from = first["end"].as_str().map(str::to_owned);
    let mut all = Vec::new();
    while let Some(at) = from {
        let page = bob.get(&format!("{path}?dir=b&limit=4&from={at}")).await.unwrap();
        all.extend(page["chunk"].as_array().unwrap().iter().cloned());
        from = page["end"].as_str().map(str::to_owned);
    }
    assert_eq!(all.last().unwrap()["type"], "m.room.create");
    let lazy = "%7B%22lazy_load_members%22%3Atrue%2C%22types%22%3A%5B%22m.room.message%22%5D%7D";
    let forward = bob.get(&format!("{path}?dir=f&limit=3&filter={lazy}")).await.unwrap();
    assert_eq!(ids(&forward["chunk"]), [&*sent[0], &*sent[1], &*sent[2]]);
    assert_eq!(forward["state"].as_array().unwrap().len(), 1, "the speaker");
    let carol = front.user("carol").await;
    refused(&carol, &format!("{path}?dir=b"), 403, "M_FORBIDDEN").await;
    refused(&bob, &path, 400, "M_MISSING_PARAM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_with_what_is_around_it() {
    let front = Front::get().await;
    let (_, bob, room, sent) = room(&front).await;
    let path = format!("/rooms/{room}/context/{}?limit=2", sent[3]);
    let body = bob.get(&path).await.unwrap();
    assert_eq!(body["event"]["event_id"], sent[3]);
    assert_eq!(ids(&body["events_before"]), [&*sent[2]]);
    assert_eq!(ids(&body["events_after"]), [&*sent[4]]);
    assert!(body["state"].as_array().unwrap().iter().any(|event| event["type"] == "m.room.create"));
    refused(&bob, &format!("/rooms/{room}/context/$nosuch"), 404, "M_NOT_FOUND").await;
    refused(&front.user("carol").await, &path, 403, "M_FORBIDDEN").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_and_threads_are_listed_and_bundled() {
    let front = Front::get().await;
    let (alice, bob, room, sent) = room(&front).await;
    let send = async |user: &Session, txn: &str, kind: &str, content: Value| -> String {
        let path = format!("/rooms/{room}/send/{kind}/{txn}");
        user.put(&path, &content).await.unwrap()["event_id"].as_str().unwrap().to_owned()
    };
    let relate = |kind: &str, to: &str| json!({ "rel_type": kind, "event_id": to });
    let root = &sent[0];
    let mut reaction = json!({ "m.relates_to": relate("m.annotation", root) });
    reaction["m.relates_to"]["key"] = json!("+1");
    let reaction = send(&bob, "r", "m.reaction", reaction).await;
    let reply = json!({ "msgtype": "m.text", "body": "in a thread", "m.relates_to": relate("m.thread", root) });
    let reply = send(&bob, "t", "m.room.message", reply).await;
    let edit = json!({
        "msgtype": "m.text", "body": "* edited", "m.new_content": { "msgtype": "m.text", "body": "edited" },
        "m.relates_to": relate("m.replace", &sent[1]),
    });
    let edit = send(&alice, "e", "m.room.message", edit).await;

    let base = format!("/v1/rooms/{room}/relations/{root}");
    let (_, all) = get(&front, &bob, &base).await;
    assert_eq!(ids(&all["chunk"]), [&*reply, &*reaction]);
    let (_, threads) = get(&front, &bob, &format!("{base}/m.thread?recurse=true")).await;
    assert_eq!(ids(&threads["chunk"]), [&*reply]);
    assert_eq!(threads["recursion_depth"], 3);
    let (_, kinds) = get(&front, &bob, &format!("{base}/m.annotation/m.reaction?dir=f")).await;
    assert_eq!(ids(&kinds["chunk"]), [&*reaction]);
    let carol = front.user("carol").await;
    for path in
        [base.clone(), format!("{base}/m.thread"), format!("{base}/m.annotation/m.reaction")]
    {
        let (status, body) = get(&front, &carol, &path).await;
        assert_eq!((status, &body["errcode"]), (403, &json!("M_FORBIDDEN")), "{path}");
    }

    let path = format!("/v1/rooms/{room}/threads");
    let (_, body) = get(&front, &alice, &format!("{path}?include=participated")).await;
    assert_eq!(ids(&body["chunk"]), [root.as_str()], "alice wrote the root");
    let thread = &body["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    assert_eq!((&thread["count"], &thread["latest_event"]["event_id"]), (&json!(1), &json!(reply)));
    let (status, body) = get(&front, &carol, &path).await;
    assert_eq!((status, &body["errcode"]), (403, &json!("M_FORBIDDEN")));

    let page = bob.get(&format!("/rooms/{room}/messages?dir=f&limit=100")).await.unwrap();
    let chunk = page["chunk"].as_array().unwrap();
    let edited = chunk.iter().find(|event| event["event_id"] == sent[1].as_str()).unwrap();
    assert_eq!(edited["unsigned"]["m.relations"]["m.replace"]["event_id"], edit);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_their_time() {
    let front = Front::get().await;
    let (_, bob, room, sent) = room(&front).await;
    let page = bob.get(&format!("/rooms/{room}/messages?dir=b&limit=2")).await.unwrap();
    let at = page["chunk"][1]["origin_server_ts"].as_i64().unwrap();
    let path = format!("/v1/rooms/{room}/timestamp_to_event?dir=f&ts={at}");
    let (_, body) = get(&front, &bob, &path).await;
    assert_eq!(body["origin_server_ts"], at);
    assert!(sent.iter().any(|id| body["event_id"] == id.as_str()), "{body}");
    let far = format!("/v1/rooms/{room}/timestamp_to_event?dir=f&ts=99999999999999");
    let (status, body) = get(&front, &bob, &far).await;
    assert_eq!((status, &body["errcode"]), (404, &json!("M_NOT_FOUND")));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_shown_as_the_room_says() {
    let front = Front::get().await;
    let (alice, carol) = (front.user("alice").await, front.user("carol").await);
    for (setting, before, stranger) in
        [("joined", false, false), ("shared", true, false), ("world_readable", true, true)]
    {
        let state = json!({
            "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": setting },
        });
        let options = json!({ "preset": "public_chat", "initial_state": [state] });
        let room = alice.create_room(&options).await.unwrap();
        let id = alice.text(&room, "1", "early").await.unwrap();
        let path = format!("/rooms/{room}/messages?dir=b&limit=50");
        let peek = carol.call(Method::GET, &path, None).await.unwrap();
        assert_eq!(peek.status == 200, stranger, "{setting}");
        carol.join(&room).await.unwrap();
        let page = carol.get(&path).await.unwrap();
        assert_eq!(ids(&page["chunk"]).contains(&id.as_str()), before, "{setting}");
        carol.post(&format!("/rooms/{room}/leave"), &json!({})).await.unwrap();
        let late = alice.text(&room, "2", "late").await.unwrap();
        let page = carol.get(&path).await.unwrap();
        assert_eq!(ids(&page["chunk"]).contains(&late.as_str()), stranger, "{setting}");
    }
}
