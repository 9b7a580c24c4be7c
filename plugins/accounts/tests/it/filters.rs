use serde_json::{Value, json};

use crate::words::{ask, ask_as, builder, start};

const CREATE: &str = "filter-create userId=@ann:hs1";

#[test]
fn filter_is_kept_and_the_same_has_the_same_id() {
    let host = start();
    let filter = json!({ "room": { "timeline": { "limit": 5 } } });
    let first = ask(&host, "POST", CREATE, filter.clone()).ok()["filter_id"].clone();
    assert_eq!(ask(&host, "POST", CREATE, filter.clone()).ok()["filter_id"], first);
    assert_ne!(ask(&host, "POST", CREATE, json!({})).ok()["filter_id"], first);
    let path = format!("filter userId=@ann:hs1 filterId={}", first.as_str().unwrap());
    assert_eq!(ask(&host, "GET", &path, Value::Null).ok(), filter);
}

#[test]
fn bad_filters_are_refused() {
    let host = start();
    for filter in [
        json!([]),
        json!({ "room": 1 }),
        json!({ "room": { "rooms": "x" } }),
        json!({ "event_format": "other" }),
        json!({ "room": { "timeline": { "limit": -1 } } }),
        json!({ "presence": "not_an_object" }),
        json!({ "room": { "timeline": { "types": [0] } } }),
        json!({ "room": { "rooms": ["not_a_room_id"] } }),
        json!({ "room": { "timeline": { "rooms": ["not_a_room_id"] } } }),
        json!({ "room": { "state": { "not_rooms": ["not_a_room_id"] } } }),
        json!({ "room": { "timeline": { "senders": ["not_a_sender_id"] } } }),
        json!({ "presence": { "not_senders": ["not_a_sender_id"] } }),
    ] {
        let answer = ask(&host, "POST", CREATE, filter.clone());
        assert_eq!(answer.error(), (400, "M_BAD_JSON".to_owned()), "{filter}");
    }
}

#[test]
fn filter_may_name_rooms_of_every_version_and_old_users() {
    let host = start();
    let filter = json!({
        "room": {
            "rooms": ["!old:hs1", "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"],
            "timeline": { "senders": ["@Old Name:hs1"], "types": ["m.*"] },
        },
    });
    ask(&host, "POST", CREATE, filter).ok();
}

#[test]
fn unknown_and_anothers_filters_are_not_given() {
    let host = start();
    let path = "filter userId=@ann:hs1 filterId=1";
    assert_eq!(ask(&host, "GET", path, Value::Null).error(), (404, "M_NOT_FOUND".to_owned()));
    let answer = ask_as(&host, "@bob:hs1", "B", "GET", path, Value::Null);
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn openid_token_is_given_to_the_user_alone() {
    let host = start();
    let token = ask(&host, "POST", "openid userId=@ann:hs1", json!({})).ok();
    assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(token["matrix_server_name"], "hs1");
    assert!(token["access_token"].is_string());
    let answer = ask(&host, "POST", "openid userId=@bob:hs1", json!({}));
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn what_the_server_offers_is_told() {
    let host = start();
    let versions = ask(&host, "GET", "versions", Value::Null).ok();
    assert!(versions["versions"].as_array().unwrap().contains(&json!("v1.12")));
    let capabilities = ask(&host, "GET", "capabilities", Value::Null).ok();
    assert_eq!(capabilities["capabilities"]["m.room_versions"]["default"], "12");
    let flows = ask(&host, "GET", "login-types", Value::Null).ok();
    assert_eq!(
        flows,
        json!({ "flows": [
            { "type": "m.login.password" },
            { "type": "m.login.token", "get_login_token": true },
        ] })
    );
    assert_eq!(ask(&host, "GET", "well-known", Value::Null).error().0, 404);
    assert_eq!(ask(&host, "GET", "threepids", Value::Null).ok(), json!({ "threepids": [] }));
    assert_eq!(ask(&host, "GET", "turn-server", Value::Null).ok(), json!({}));
    assert_eq!(ask(&host, "GET", "protocols", Value::Null).ok(), json!({}));
    let host = builder().config("accounts", &json!({ "base-url": "https://m.hs1" })).start();
    let told = ask(&host, "GET", "well-known", Value::Null).ok();
    assert_eq!(told["m.homeserver"]["base_url"], "https://m.hs1");
}
