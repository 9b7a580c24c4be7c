//! POST /search.

use reqwest::Method;
use serde_json::{Value, json};

use super::Front;

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_by_their_words() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let word = front.name("needle").replace('-', "");
    let room = alice.create_room(&json!({ "preset": "public_chat" })).await.unwrap();
    bob.join(&room).await.unwrap();
    let mut sent = Vec::new();
    for n in 0..3 {
        sent.push(alice.text(&room, &n.to_string(), &format!("{word} number {n}")).await.unwrap());
    }
    let criteria = |limit: u32| -> Value {
        json!({ "search_categories": { "room_events": {
            "search_term": word, "order_by": "recent", "filter": { "limit": limit },
            "event_context": { "before_limit": 1, "after_limit": 1, "include_profile": true },
            "include_state": true, "groupings": { "group_by": [{ "key": "room_id" }] },
        } } })
    };
    let body = bob.post("/search", &criteria(2)).await.unwrap();
    let found = &body["search_categories"]["room_events"];
    let results = found["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["result"]["event_id"], sent[2]);
    assert_eq!(results[1]["result"]["event_id"], sent[1]);
    assert_eq!(results[1]["context"]["events_after"][0]["event_id"], sent[2]);
    assert!(results[1]["context"]["profile_info"][&*alice.user_id].is_object());
    assert_eq!(found["count"], 3);
    assert!(found["state"][&room].is_array());
    assert_eq!(found["groups"]["room_id"][&room]["results"].as_array().unwrap().len(), 2);
    let next = found["next_batch"].as_str().unwrap();
    let body = bob.post(&format!("/search?next_batch={next}"), &criteria(2)).await.unwrap();
    let found = &body["search_categories"]["room_events"];
    assert_eq!(found["results"][0]["result"]["event_id"], sent[0]);
    assert!(found.get("next_batch").is_none());

    let carol = front.user("carol").await;
    let body = carol.post("/search", &criteria(2)).await.unwrap();
    assert_eq!(body["search_categories"]["room_events"]["results"], json!([]));
    let body = json!({ "search_categories": { "room_events": {} } });
    let answer = carol.call(Method::POST, "/search", Some(&body)).await.unwrap();
    assert_eq!((answer.status, answer.errcode()), (400, "M_MISSING_PARAM"));
}
