//! What can be found: aliases, public rooms, spaces, previews, users.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Answer, Session};

use super::Front;

fn assert_error(answer: &Answer, status: u16, errcode: &str) {
    assert_eq!((answer.status, answer.errcode()), (status, errcode), "{}", answer.body);
}

/// A request at a path of `/_matrix/client/v1`.
async fn v1(front: &Front, session: &Session, path: &str) -> Answer {
    let path = format!("/_matrix/client/v1{path}");
    front.request(Method::GET, &path, Some(&session.token), None).await
}

fn ids(rooms: &Value) -> Vec<&str> {
    rooms.as_array().unwrap().iter().map(|room| room["room_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn aliases_come_and_go() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    let server = alice.user_id.split_once(':').unwrap().1;
    let alias = format!("#{}:{server}", front.name("alias"));
    let path = format!("/directory/room/{}", alias.replace('#', "%23"));
    let none = front.request(Method::GET, &format!("/_matrix/client/v3{path}"), None, None).await;
    assert_error(&none, 404, "M_NOT_FOUND");
    let target = json!({"room_id": room});
    alice.put(&path, &target).await.unwrap();
    let taken = alice.call(Method::PUT, &path, Some(&target)).await.unwrap();
    assert_error(&taken, 409, "M_UNKNOWN");
    let found = bob.get(&path).await.unwrap();
    assert_eq!(found, json!({"room_id": room, "servers": [server]}));
    let listed = alice.get(&format!("/rooms/{room}/aliases")).await.unwrap();
    assert_eq!(listed, json!({"aliases": [alias]}));
    let hidden = bob.call(Method::GET, &format!("/rooms/{room}/aliases"), None).await.unwrap();
    assert_error(&hidden, 403, "M_FORBIDDEN");
    let canonical = format!("/rooms/{room}/state/m.room.canonical_alias");
    alice.put(&canonical, &json!({"alias": alias, "alt_aliases": [alias]})).await.unwrap();
    let other = bob.call(Method::DELETE, &path, None).await.unwrap();
    assert_error(&other, 403, "M_FORBIDDEN");
    alice.call(Method::DELETE, &path, None).await.unwrap().ok().unwrap();
    assert_eq!(alice.get(&canonical).await.unwrap(), json!({}), "no name that leads nowhere");
    let gone = alice.call(Method::DELETE, &path, None).await.unwrap();
    assert_error(&gone, 404, "M_NOT_FOUND");
}

#[tokio::test]
async fn public_rooms_are_listed_and_filtered() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let name = front.name("Listed");
    let room = alice.create_room(&json!({"preset": "public_chat", "name": name})).await.unwrap();
    let space =
        json!({"name": name, "visibility": "public", "creation_content": {"type": "m.space"}});
    let space = alice.create_room(&space).await.unwrap();
    let path = format!("/directory/list/room/{room}");
    assert_eq!(bob.get(&path).await.unwrap()["visibility"], "private");
    let wish = json!({"visibility": "public"});
    let other = bob.call(Method::PUT, &path, Some(&wish)).await.unwrap();
    assert_error(&other, 403, "M_FORBIDDEN");
    alice.put(&path, &wish).await.unwrap();
    assert_eq!(bob.get(&path).await.unwrap()["visibility"], "public");
    let none = bob.call(Method::GET, "/directory/list/room/!none:x", None).await.unwrap();
    assert_error(&none, 404, "M_NOT_FOUND");

    let search = async |types: Value| {
        let filter = json!({"generic_search_term": name, "room_types": types});
        bob.post("/publicRooms", &json!({"filter": filter, "limit": 1})).await.unwrap()
    };
    assert_eq!(ids(&search(json!([null])).await["chunk"]), [room.as_str()]);
    assert_eq!(ids(&search(json!(["m.space"])).await["chunk"]), [space.as_str()]);
    let first = search(json!(null)).await;
    assert_eq!(first["total_room_count_estimate"], 2);
    assert!(first["next_batch"].is_string());
    let list =
        front.request(Method::GET, "/_matrix/client/v3/publicRooms?limit=1", None, None).await;
    assert_eq!(list.ok().unwrap()["chunk"].as_array().unwrap().len(), 1);
    let path = "/_matrix/client/v3/publicRooms?since=x";
    assert_error(&front.request(Method::GET, path, None, None).await, 400, "M_INVALID_PARAM");
    let bad = bob.call(Method::POST, "/publicRooms", Some(&json!({"since": "x"}))).await.unwrap();
    assert_error(&bad, 400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn spaces_and_previews_tell_of_rooms() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let space =
        json!({"preset": "public_chat", "name": "Space", "creation_content": {"type": "m.space"}});
    let space = alice.create_room(&space).await.unwrap();
    let open = alice.create_room(&json!({"preset": "public_chat", "name": "Open"})).await.unwrap();
    let closed = alice.create_room(&json!({})).await.unwrap();
    for room in [&open, &closed] {
        let path = format!("/rooms/{space}/state/m.space.child/{room}");
        alice.put(&path, &json!({"via": ["localhost"]})).await.unwrap();
    }
    let told = v1(&front, &bob, &format!("/rooms/{space}/hierarchy")).await.ok().unwrap();
    assert_eq!(ids(&told["rooms"]), [space.as_str(), open.as_str()]);
    assert_eq!(told["rooms"][0]["children_state"].as_array().unwrap().len(), 2);
    let old =
        format!("/_matrix/client/unstable/org.matrix.msc2946/rooms/{space}/hierarchy?limit=1");
    let told = front.request(Method::GET, &old, Some(&bob.token), None).await.ok().unwrap();
    assert!(told["next_batch"].is_string());
    let hidden = v1(&front, &bob, &format!("/rooms/{closed}/hierarchy")).await;
    assert_error(&hidden, 403, "M_FORBIDDEN");

    let told = v1(&front, &bob, &format!("/room_summary/{open}")).await.ok().unwrap();
    assert_eq!((&told["name"], &told["membership"]), (&json!("Open"), &json!("leave")));
    let path = format!("/_matrix/client/unstable/im.nheko.summary/summary/{open}");
    let told = front.request(Method::GET, &path, None, None).await.ok().unwrap();
    assert_eq!(told["num_joined_members"], 1);
    let hidden = v1(&front, &bob, &format!("/room_summary/{closed}")).await;
    assert_error(&hidden, 404, "M_NOT_FOUND");
}

#[tokio::test]
async fn users_are_found_once_they_are_met() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let name = front.name("Rosalind");
    let path = format!("/profile/{}/displayname", bob.user_id);
    bob.put(&path, &json!({"displayname": name})).await.unwrap();
    let room = alice.create_room(&json!({"invite": [&*bob.user_id]})).await.unwrap();
    bob.join(&room).await.unwrap();
    let term = json!({"search_term": name});
    // The index hears of the name a moment later.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let found = loop {
        let answer = alice.post("/user_directory/search", &term).await.unwrap();
        if answer["results"] != json!([]) {
            break answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "not found: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(found["results"][0]["user_id"], &*bob.user_id);
    assert_eq!(found["results"][0]["display_name"], name.as_str());
    assert_eq!(found["limited"], false);
    let carol = front.user("carol").await;
    let nothing = carol.post("/user_directory/search", &term).await.unwrap();
    assert_eq!(nothing["results"], json!([]));
    let bad = carol.call(Method::POST, "/user_directory/search", Some(&json!({}))).await.unwrap();
    assert_error(&bad, 400, "M_MISSING_PARAM");

    let mutual = v1(&front, &alice, &format!("/mutual_rooms?user_id={}", bob.user_id)).await;
    assert_eq!(mutual.ok().unwrap(), json!({"joined": [room], "count": 1}));
    let own = v1(&front, &alice, &format!("/mutual_rooms?user_id={}", alice.user_id)).await;
    assert_error(&own, 400, "M_INVALID_PARAM");
}
