//! Two tenants on one listener, with the same names in both: nothing of one is seen in the other.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tessera_tests::api::{self, Session};

use super::{ALPHA, BETA, Hosted, Place};

#[tokio::test]
async fn tenants_on_sqlite_share_nothing_but_the_listener() {
    same_names_in_both(Place::Sqlite).await;
}

#[tokio::test]
async fn tenants_on_postgresql_share_nothing_but_the_listener() {
    same_names_in_both(Place::Postgres).await;
}

#[tokio::test]
async fn tenants_in_nodes_share_nothing_but_the_listener() {
    same_names_in_both(Place::Nodes).await;
}

/// A tenant's people, all with the same names as the other's.
struct Side {
    tenant: &'static str,
    alice: Session,
    bob: Session,
    room: String,
    event: String,
    since: String,
}

async fn settle(hosted: &Hosted, tenant: &'static str) -> Side {
    let alice = hosted.user(tenant, "alice").await;
    let bob = hosted.user(tenant, "bob").await;
    assert_eq!(*alice.user_id, *format!("@alice:{tenant}"));
    let options = json!({"preset": "public_chat", "room_alias_name": "lounge", "name": format!("lounge of {tenant}"), "visibility": "public"});
    let room = alice.create_room(&options).await.unwrap();
    bob.join(&room).await.unwrap();
    let name = format!("/profile/{}/displayname", alice.user_id);
    alice.put(&name, &json!({"displayname": format!("Alice of {tenant}")})).await.unwrap();
    let data = format!("/user/{}/account_data/org.example.note", alice.user_id);
    alice.put(&data, &json!({"note": format!("secret of {tenant}")})).await.unwrap();
    let since = bob.sync_token().await.unwrap();
    // The same transaction id in both.
    let event = alice.text(&room, "txn", &format!("secret of {tenant}")).await.unwrap();
    Side { tenant, alice, bob, room, event, since }
}

async fn same_names_in_both(place: Place) {
    let hosted = Hosted::start(place, "", &[], |testing| testing).await;
    let alpha = settle(&hosted, ALPHA).await;
    let beta = settle(&hosted, BETA).await;
    assert_ne!(alpha.event, beta.event);
    for (own, other) in [(&alpha, &beta), (&beta, &alpha)] {
        own_things_are_found(own).await;
        things_of_the_other_are_not(&hosted, own, other).await;
    }
    unknown_hosts_get_a_clear_answer(&hosted).await;
}

async fn own_things_are_found(own: &Side) {
    let alias = format!("%23lounge:{}", own.tenant);
    let found = own.bob.get(&format!("/directory/room/{alias}")).await.unwrap();
    assert_eq!(found["room_id"], own.room.as_str());
    let sync = own.bob.sync(Some(&own.since), Duration::ZERO, "").await.unwrap();
    let events = api::timeline(&sync, &own.room);
    assert_eq!(events.len(), 1, "{sync}");
    assert_eq!(events[0]["content"]["body"], format!("secret of {}", own.tenant));
    let rooms = own.alice.get("/publicRooms").await.unwrap();
    assert_eq!(rooms["chunk"].as_array().unwrap().len(), 1, "{rooms}");
    assert_eq!(rooms["chunk"][0]["name"], format!("lounge of {}", own.tenant));
}

async fn things_of_the_other_are_not(hosted: &Hosted, own: &Side, other: &Side) {
    // A token of one is none of the other's, by header and by query.
    let there = own.alice.at(&hosted.url(other.tenant));
    let answer = there.call(Method::GET, "/account/whoami", None).await.unwrap();
    assert_eq!((answer.status, answer.errcode()), (401, "M_UNKNOWN_TOKEN"), "{answer:?}");

    // With a token that is good here: ids of the other side lead nowhere.
    let (room, event) = (&other.room, &other.event);
    let data = format!("/user/{}/account_data/org.example.note", other.alice.user_id);
    for path in [
        format!("/rooms/{room}/event/{event}"),
        format!("/rooms/{}/event/{event}", own.room),
        format!("/rooms/{room}/messages?dir=b"),
        format!("/rooms/{room}/state"),
        format!("/rooms/{room}/members"),
        format!("/directory/room/%23lounge:{}", other.tenant),
        data,
    ] {
        let answer = own.alice.call(Method::GET, &path, None).await.unwrap();
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {answer:?}");
        assert!(!answer.body.to_string().contains("secret"), "{path}: {answer:?}");
    }
    let send = format!("/rooms/{room}/send/m.room.message/intruder");
    let message = json!({"msgtype": "m.text", "body": "intruder"});
    let answer = own.alice.call(Method::PUT, &send, Some(&message)).await.unwrap();
    assert!(matches!(answer.status, 403 | 404), "{answer:?}");
    let join = format!("/rooms/{room}/join");
    let answer = own.alice.call(Method::POST, &join, Some(&json!({}))).await.unwrap();
    assert!(answer.status >= 400, "{answer:?}");

    // A sync with the other's token sees only its own side.
    let sync = own.bob.sync(Some(&other.since), Duration::ZERO, "").await.unwrap();
    let text = sync.to_string();
    assert!(
        !text.contains(&other.room) && !text.contains(&format!("secret of {}", other.tenant)),
        "{text}"
    );

    // A log-out here leaves the other's session alone.
    let again = Session::login(&hosted.http, &hosted.url(own.tenant), "alice").await.unwrap();
    again.post("/logout/all", &json!({})).await.unwrap();
    other.alice.get("/account/whoami").await.unwrap_or_else(|error| {
        // The second pass looks from the other side, whose own tokens the first has ended.
        assert_eq!(own.tenant, BETA, "{error:#}");
        json!({})
    });
    let page =
        other.bob.get(&format!("/rooms/{}/messages?dir=b&limit=100", other.room)).await.unwrap();
    assert!(!page.to_string().contains("intruder"), "{page}");
}

async fn unknown_hosts_get_a_clear_answer(hosted: &Hosted) {
    for host in ["gamma.example", "127.0.0.1", "sub.alpha.example", "alpha.example.org"] {
        let url = format!("{}/_matrix/client/versions", hosted.url(host));
        let answer = api::request(&hosted.http, Method::GET, &url, None, None).await.unwrap();
        assert_eq!((answer.status, answer.errcode()), (404, "M_NOT_FOUND"), "{host}: {answer:?}");
    }
    // Case and a dot at the end do not make another host.
    for host in ["ALPHA.example", "alpha.example."] {
        let url = format!("{}/_matrix/client/versions", hosted.url(host));
        let answer = api::request(&hosted.http, Method::GET, &url, None, None).await.unwrap();
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
}
