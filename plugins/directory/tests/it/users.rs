//! The user directory.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{ALICE, BOB, CAROL, Server, configured, server};

fn search(server: &Server, user: &str, term: &str) -> Vec<String> {
    let answer = server.post(user, "search-users", &json!({"search_term": term})).ok();
    assert_eq!(answer["limited"], false);
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|found| found["user_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn those_who_share_a_room_or_are_in_a_public_one_are_found() {
    let server = server();
    server.user(ALICE, Some("Alice Miller"), false);
    server.user(BOB, Some("Bob O'Connor"), false);
    server.user(CAROL, None, false);
    server.deliver();
    assert!(search(&server, ALICE, "bob").is_empty());
    let room = server.create(ALICE, &json!({"invite": [BOB]}));
    assert!(search(&server, ALICE, "bob").is_empty(), "an invite is no membership");
    server.join(BOB, &room);
    for term in ["bob", "BO", "conn", "o'connor", "@bob:hs1", "bob conn"] {
        assert_eq!(search(&server, ALICE, term), [BOB], "{term}");
    }
    for term in ["ob", "bob x", "", "@"] {
        assert!(search(&server, ALICE, term).is_empty(), "{term}");
    }
    assert!(
        search(&server, ALICE, "alice").is_empty(),
        "one's own private room shows oneself to nobody"
    );
    assert!(search(&server, CAROL, "bob").is_empty());
    server.create(BOB, &json!({"preset": "public_chat"}));
    assert_eq!(search(&server, CAROL, "bob"), [BOB]);
    let readable = json!([{"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}]);
    server.create(ALICE, &json!({"initial_state": readable}));
    assert_eq!(search(&server, CAROL, "mill"), [ALICE]);
    assert_eq!(search(&server, ALICE, "mill"), [ALICE], "as others see her");
}

#[test]
fn renamed_and_deactivated_users_are_found_as_they_are() {
    let server = server();
    server.user(BOB, Some("Robert"), false);
    server.deliver();
    server.create(BOB, &json!({"preset": "public_chat"}));
    assert_eq!(search(&server, ALICE, "rob"), [BOB]);
    server.user(BOB, Some("Bobby"), false);
    server.deliver();
    assert!(search(&server, ALICE, "rob").is_empty());
    let answer = server.post(ALICE, "search-users", &json!({"search_term": "bobby"})).ok();
    assert_eq!(answer["results"], json!([{"user_id": BOB, "display_name": "Bobby"}]));
    server.user(BOB, None, true);
    assert!(search(&server, ALICE, "bob").is_empty(), "at once");
    server.deliver();
    assert!(search(&server, ALICE, "bob").is_empty());
}

#[test]
fn answer_is_cut_at_the_limit_and_exact_names_come_first() {
    let server = configured(&json!({"user-directory": "all"}));
    for n in 0..12 {
        server.user(&format!("@sam{n:02}:hs1"), Some("Sam the somewhat longer named"), false);
    }
    server.user("@sam:hs1", None, false);
    server.deliver();
    let ask = |body: Value| server.post(ALICE, "search-users", &body).ok();
    let answer = ask(json!({"search_term": "sam"}));
    assert_eq!(answer["results"].as_array().unwrap().len(), 10);
    assert_eq!(answer["limited"], true);
    assert_eq!(answer["results"][0]["user_id"], "@sam:hs1");
    let answer = ask(json!({"search_term": "sam", "limit": 13}));
    assert_eq!(answer["results"].as_array().unwrap().len(), 13);
    assert_eq!(answer["limited"], false);
    let bad = server.post(ALICE, "search-users", &json!({}));
    assert_eq!(bad.error(), (400, "M_MISSING_PARAM".to_owned()));
    let bad = server.post(ALICE, "search-users", &json!({"search_term": 1}));
    assert_eq!(bad.error(), (400, "M_BAD_JSON".to_owned()));
}

#[test]
fn directory_can_be_off() {
    let server = configured(&json!({"user-directory": "off"}));
    server.user(BOB, None, false);
    server.deliver();
    server.create(BOB, &json!({"preset": "public_chat"}));
    assert!(search(&server, ALICE, "bob").is_empty());
}

#[test]
fn modules_hide_users() {
    let server = configured(&json!({"user-directory": "all"}));
    server.user("@spam1:hs1", Some("Buy"), false);
    server.user("@spam2:hs1", None, false);
    server.deliver();
    server.host.services(|services| {
        services.hooks.hide_from_directory = Some(Arc::new(|_, profiles, viewer| {
            assert_eq!(viewer, ALICE);
            let buys = profiles.iter().filter(|p| p.displayname.as_deref() == Some("Buy"));
            buys.map(|profile| profile.user.clone()).collect()
        }));
    });
    assert_eq!(search(&server, ALICE, "spam"), ["@spam2:hs1"]);
}
