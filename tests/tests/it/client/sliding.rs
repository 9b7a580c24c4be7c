//! Simplified sliding sync, in both forms. Requests of one connection go to another node each time.

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::Session;

use super::Front;

const STABLE: &str = "/_matrix/client/v4/sync";
const UNSTABLE: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";

/// One answer; `body` in the form of `/v4/sync`.
async fn ask(front: &Front, user: &Session, body: &Value, pos: Option<&str>) -> Value {
    let mut body = body.clone();
    if let Some(pos) = pos {
        body["pos"] = pos.into();
        body["timeout"] = 5_000.into();
    }
    let answer = front.request(Method::POST, STABLE, Some(&user.token), Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn pos(body: &Value) -> &str {
    body["pos"].as_str().unwrap()
}

/// Asks on until `found` says so; the last answer. Another node may be a moment behind.
async fn until(
    front: &Front,
    user: &Session,
    body: &Value,
    first: &Value,
    found: impl Fn(&Value) -> bool,
) -> Value {
    let mut at = pos(first).to_owned();
    for _ in 0..20 {
        let answer = ask(front, user, body, Some(&at)).await;
        if found(&answer) {
            return answer;
        }
        at = pos(&answer).to_owned();
    }
    panic!("never told");
}

fn list(range: [u64; 2]) -> Value {
    json!({ "lists": { "all": {
        "range": range,
        "timeline_limit": 5,
        "required_state": {
            "include": [{ "type": "m.room.create", "state_key": "" }, { "type": "m.room.topic", "state_key": "" }],
            "lazy_members": true,
        },
    } } })
}

fn bodies(room: &Value) -> Vec<&str> {
    let events = room["timeline"].as_array().map(Vec::as_slice).unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_told_whole_and_then_by_what_is_new() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room =
        alice.create_room(&json!({ "preset": "public_chat", "name": "Here" })).await.unwrap();
    bob.join(&room).await.unwrap();
    let first = ask(&front, &bob, &list([0, 9]), None).await;
    let told = &first["rooms"][&room];
    assert_eq!(
        (told["name"].as_str(), told["initial"].as_bool()),
        (Some("Here"), Some(true)),
        "{first}"
    );
    assert_eq!(
        (told["joined_count"].as_u64(), told["membership"].as_str()),
        (Some(2), Some("join"))
    );
    assert_eq!(told["limited"], true);
    assert_eq!(first["lists"]["all"]["count"], 1);
    let members = told["required_state"].as_array().unwrap();
    assert!(members.iter().any(|e| e["state_key"] == *alice.user_id), "of whom it speaks: {told}");

    alice.text(&room, "1", "hello").await.unwrap();
    let has = |body: &Value| bodies(&body["rooms"][&room]).contains(&"hello");
    let body = until(&front, &bob, &list([0, 9]), &first, has).await;
    let told = &body["rooms"][&room];
    assert!(told.get("initial").is_none() && told.get("name").is_none(), "{told}");
    // A pos leads to pages, too.
    let page = bob.get(&format!("/rooms/{room}/messages?dir=b&limit=1&from={}", pos(&body))).await;
    assert_eq!(page.unwrap()["chunk"][0]["content"]["body"], "hello");

    let path = format!("/rooms/{room}/state/m.room.topic");
    alice.put(&path, &json!({ "topic": "news" })).await.unwrap();
    let has = |body: &Value| {
        let state = body["rooms"][&room]["required_state"].as_array().cloned().unwrap_or_default();
        state.iter().any(|event| event["content"]["topic"] == "news")
    };
    let body = until(&front, &bob, &list([0, 9]), &body, has).await;

    alice.post(&format!("/rooms/{room}/kick"), &json!({ "user_id": *bob.user_id })).await.unwrap();
    let has = |body: &Value| body["rooms"][&room]["membership"] == "leave";
    until(&front, &bob, &list([0, 9]), &body, has).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_form_is_served_by_its_own_names() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({ "preset": "public_chat" })).await.unwrap();
    let invite = json!({ "invite": [*bob.user_id], "name": "There" });
    let invited = alice.create_room(&invite).await.unwrap();
    bob.join(&room).await.unwrap();
    let list = |filters: Value, limit: u64| {
        json!({ "conn_id": "room-list", "txn_id": "t1", "lists": { "l": { "ranges": [[0, 9]], "timeline_limit": limit,
            "required_state": [["m.room.member", "$ME"], ["m.room.member", "$LAZY"]], "filters": filters } } })
    };
    let token = Some(&*bob.token);
    let call = async |path: &str, body: Value| {
        let path = format!("{UNSTABLE}{path}");
        front.request(Method::POST, &path, token, Some(&body)).await
    };
    let first = call("", list(json!({ "is_invite": true }), 1)).await.ok().unwrap();
    assert!(first["rooms"][&invited]["invite_state"].is_array(), "{first}");
    assert_eq!(first["lists"]["l"]["ops"][0]["room_ids"], json!([invited]));
    assert_eq!(first["txn_id"], "t1");
    let first = call("", list(json!({ "is_invite": false }), 1)).await.ok().unwrap();
    let told = &first["rooms"][&room];
    assert_eq!(told["notification_count"], 0, "{first}");
    assert_eq!(told["required_state"].as_array().unwrap().len(), 1);
    assert_eq!(told["heroes"][0]["user_id"], *alice.user_id);
    let query = format!("?pos={}&timeout=2000", pos(&first));
    let more = call(&query, list(json!({ "is_invite": false }), 4)).await.ok().unwrap();
    let told = &more["rooms"][&room];
    assert_eq!(told["unstable_expanded_timeline"], true, "{more}");
    assert_eq!(told["timeline"].as_array().unwrap().len(), 4);

    let refused = call("?pos=s1_2_x", list(json!({}), 1)).await;
    assert_eq!((refused.status, refused.errcode()), (400, "M_UNKNOWN_POS"));
    let refused = front.request(Method::POST, UNSTABLE, None, Some(&json!({}))).await;
    assert_eq!((refused.status, refused.errcode()), (401, "M_MISSING_TOKEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_tell_the_rest() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({ "preset": "public_chat" })).await.unwrap();
    bob.join(&room).await.unwrap();
    let id = alice.text(&room, "1", "read this").await.unwrap();
    let on = json!({ "enabled": true });
    let mut wish = list([0, 9]);
    wish["extensions"] =
        json!({ "to_device": on, "e2ee": on, "account_data": on, "receipts": on, "typing": on });
    let first = ask(&front, &bob, &wish, None).await;
    let extensions = &first["extensions"];
    assert_eq!(extensions["e2ee"]["device_one_time_keys_count"]["signed_curve25519"], 0, "{first}");
    let global = extensions["account_data"]["global"].as_array().unwrap();
    assert!(global.iter().any(|event| event["type"] == "m.push_rules"));

    let user = &alice.user_id;
    let data = format!("/user/{}/rooms/{room}/account_data/org.example", bob.user_id);
    bob.put(&data, &json!({ "n": 1 })).await.unwrap();
    let body = until(&front, &bob, &wish, &first, |body| {
        body["extensions"]["account_data"]["rooms"][&room][0]["content"]["n"] == 1
    });
    let body = body.await;
    alice.post(&format!("/rooms/{room}/receipt/m.read/{id}"), &json!({})).await.unwrap();
    let body = until(&front, &bob, &wish, &body, |body| {
        let content = &body["extensions"]["receipts"]["rooms"][&room]["content"];
        content[&id]["m.read"][&**user].is_object()
    });
    let body = body.await;
    let typing = format!("/rooms/{room}/typing/{user}");
    alice.put(&typing, &json!({ "typing": true, "timeout": 30_000 })).await.unwrap();
    let body = until(&front, &bob, &wish, &body, |body| {
        body["extensions"]["typing"]["rooms"][&room]["content"]["user_ids"] == json!([**user])
    });
    let body = body.await;
    let messages =
        json!({ "messages": { &*bob.user_id: { &*bob.device_id: { "hello": "device" } } } });
    let path = format!("/sendToDevice/org.example/{}", front.name("txn"));
    alice.put(&path, &messages).await.unwrap();
    let body = until(&front, &bob, &wish, &body, |body| {
        body["extensions"]["to_device"]["events"][0]["content"]["hello"] == "device"
    });
    let body = body.await;
    wish["extensions"]["to_device"]["since"] =
        body["extensions"]["to_device"]["next_batch"].clone();
    let mut quick = wish.clone();
    quick["pos"] = body["pos"].clone();
    let answer = front.request(Method::POST, STABLE, Some(&bob.token), Some(&quick)).await;
    assert_eq!(answer.ok().unwrap()["extensions"]["to_device"]["events"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_refused() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    alice.create_room(&json!({})).await.unwrap();
    let first = ask(&front, &alice, &list([0, 9]), None).await;
    let refused = async |user: &Session, body: Value| {
        let answer = front.request(Method::POST, STABLE, Some(&user.token), Some(&body)).await;
        (answer.status, answer.errcode().to_owned())
    };
    let code = |code: &str| (400, code.to_owned());
    let mut others = list([0, 9]);
    others["pos"] = first["pos"].clone();
    assert_eq!(refused(&bob, others).await, code("M_UNKNOWN_POS"));
    assert_eq!(refused(&alice, json!({ "lists": 5 })).await, code("M_BAD_JSON"));
    assert_eq!(refused(&alice, list([9, 0])).await, code("M_INVALID_PARAM"));
    assert_eq!(refused(&alice, json!({ "set_presence": "x" })).await, code("M_INVALID_PARAM"));
}
