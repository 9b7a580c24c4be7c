//! The user directory.

use std::sync::Arc;

use serde_json::{Value, json};
use tessera_plugin_directory::Plugin;
use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle::Guest as _;
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

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

#[test]
fn users_from_before_the_directory_are_found() {
    let server = configured(&json!({"user-directory": "all"}));
    // Nothing is told of them: they registered before there was anybody to hear it. More than one page.
    for n in 0..205 {
        server.user(&format!("@old{n:03}:hs1"), Some("Early"), n == 7);
    }
    let round = || {
        server.host.advance(1_000);
        server.host.fire_timers::<Plugin>("directory")
    };
    server.host.acting("directory", Plugin::start).unwrap();
    assert_eq!(search(&server, ALICE, "old003"), [""; 0]);
    assert_eq!(round(), 1);
    assert_eq!(search(&server, ALICE, "old003"), ["@old003:hs1"]);
    assert_eq!(search(&server, ALICE, "old204"), [""; 0], "that is another page");
    // A restart goes on where it was.
    server.host.acting("directory", Plugin::start).unwrap();
    while round() > 0 {}
    assert_eq!(search(&server, ALICE, "old204"), ["@old204:hs1"]);
    assert_eq!(search(&server, ALICE, "old007"), [""; 0], "deactivated");
    // It is done once.
    server.user("@later:hs1", None, false);
    server.host.acting("directory", Plugin::start).unwrap();
    while round() > 0 {}
    assert_eq!(search(&server, ALICE, "later"), [""; 0]);
    server.deliver();
    assert_eq!(search(&server, ALICE, "later"), ["@later:hs1"]);
}

#[test]
fn filling_does_not_undo_what_a_message_has_told() {
    let server = configured(&json!({"user-directory": "all"}));
    server.user(BOB, Some("Robert"), false);
    server.host.acting("directory", Plugin::start).unwrap();
    // Between the look at the page and its entries, somebody takes another name and all are told.
    server.host.before_next_commit(|host| {
        host.install();
        host.act_as("accounts");
        Batch::new()
            .run(
                "UPDATE accounts_users SET displayname = $2 WHERE user_id = $1",
                params![BOB, "Bobby"],
            )
            .commit()
            .unwrap();
        host.act_as("directory");
    });
    server.host.advance(1_000);
    server.host.fire_timers::<Plugin>("directory");
    assert_eq!(search(&server, ALICE, "bobby"), [BOB]);
    assert_eq!(search(&server, ALICE, "robert"), [""; 0]);
}
