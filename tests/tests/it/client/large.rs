//! A room of a thousand: what is asked of it stays small and right.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::Session;

use super::Front;

/// Users who really are there; the others have an invitation.
const JOINED: usize = 24;
const INVITED: usize = 1_000 - JOINED - 1;

fn members(body: &Value) -> usize {
    body["chunk"].as_array().map_or(0, Vec::len)
}

/// The part of a room in an answer of /sync.
fn part<'a>(body: &'a Value, room: &str) -> &'a Value {
    &body["rooms"]["join"][room]
}

/// All of them ask at once.
async fn all_post(users: &[Session], path: &str) {
    let mut tasks = tokio::task::JoinSet::new();
    for user in users {
        let (user, path) = (user.clone(), path.to_owned());
        tasks.spawn(async move { user.post(&path, &json!({})).await.map(drop) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousand_members_are_counted_listed_and_not_dragged_along() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let server = alice.user_id.split_once(':').unwrap().1.to_owned();
    let invite: Vec<String> =
        (0..INVITED).map(|n| format!("@{}:{server}", front.name(&format!("m{n}")))).collect();
    // So many are invited with the room, the others one by one.
    let (first, rest) = invite.split_at(200);
    let options = json!({"preset": "public_chat", "invite": first});
    let room = alice.create_room(&options).await.unwrap();
    for user in rest {
        let path = format!("/rooms/{room}/invite");
        alice.post(&path, &json!({"user_id": user})).await.unwrap();
    }
    let mut users = Vec::new();
    for n in 0..JOINED {
        users.push(front.user(&format!("joined{n}")).await);
    }
    all_post(&users, &format!("/rooms/{room}/join")).await;

    let joined = alice.get(&format!("/rooms/{room}/members?membership=join")).await.unwrap();
    assert_eq!(members(&joined), JOINED + 1);
    let invited = alice.get(&format!("/rooms/{room}/members?membership=invite")).await.unwrap();
    assert_eq!(members(&invited), INVITED);
    let all = alice.get(&format!("/rooms/{room}/members")).await.unwrap();
    assert_eq!(members(&all), 1_000);
    let there = alice.get(&format!("/rooms/{room}/joined_members")).await.unwrap();
    assert_eq!(there["joined"].as_object().unwrap().len(), JOINED + 1);
    let outsider = front.user("outsider").await;
    for path in ["members", "joined_members", "state"] {
        let path = format!("/rooms/{room}/{path}");
        let answer = outsider.call(Method::GET, &path, None).await.unwrap();
        assert_eq!((answer.status, answer.errcode()), (403, "M_FORBIDDEN"), "{path}");
    }

    // Who asks for no more members than speak gets few of them.
    let lazy = "&filter=%7B%22room%22%3A%7B%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%2C%22timeline%22%3A%7B%22limit%22%3A5%7D%7D%7D";
    let bob = users.first().unwrap();
    let body = bob.sync(None, Duration::ZERO, lazy).await.unwrap();
    let told = part(&body, &room);
    let state = told["state"]["events"].as_array().unwrap();
    let few = state.iter().filter(|event| event["type"] == "m.room.member").count();
    assert!(few <= 12, "{few} members");
    assert_eq!(told["summary"]["m.joined_member_count"], JOINED + 1);
    assert_eq!(told["summary"]["m.invited_member_count"], INVITED);
    assert_eq!(told["summary"]["m.heroes"].as_array().unwrap().len(), 5);

    // What is said reaches all of them, and nothing else comes with it.
    let since = body["next_batch"].as_str().unwrap().to_owned();
    let said = alice.text(&room, "said", "to all of you").await.unwrap();
    let mut since = Some(since);
    let news = loop {
        let body = bob.sync(since.as_deref(), Duration::from_secs(20), lazy).await.unwrap();
        since = body["next_batch"].as_str().map(str::to_owned);
        let timeline = part(&body, &room)["timeline"]["events"].clone();
        let timeline = timeline.as_array().cloned().unwrap_or_default();
        if timeline.iter().any(|event| event["event_id"] == said.as_str()) {
            break body;
        }
    };
    let state = part(&news, &room)["state"]["events"].as_array().map_or(0, Vec::len);
    assert!(state <= 2, "{state} state events");

    // Everybody may leave at once.
    all_post(&users, &format!("/rooms/{room}/leave")).await;
    let there = alice.get(&format!("/rooms/{room}/joined_members")).await.unwrap();
    assert_eq!(there["joined"].as_object().unwrap().len(), 1);
    let at = format!("/rooms/{room}/members?membership=leave");
    assert_eq!(members(&alice.get(&at).await.unwrap()), JOINED);
}
