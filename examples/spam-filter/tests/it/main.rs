//! The module on the native host: its own table on the real storage, a clock that the test moves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use serde_json::json;
use spam_filter::SpamFilter;
use tessera_sdk::bindings::lifecycle::exports::tessera::plugin::lifecycle::Guest as _;
use tessera_sdk::hooks::RequestInfo;
use tessera_sdk::module::event_policy::{Guest, Objection, Origin};
use tessera_test_host::TestHost;

const ALICE: &str = "@alice:hs1";
const TEXT: &str = "Buy my fine carpets";

fn host(config: serde_json::Value) -> TestHost {
    let defaults =
        json!({"copies": 2, "window-s": 60, "min-length": 8, "pretend": false, "trusted": []});
    let mut merged = defaults.as_object().unwrap().clone();
    merged.extend(config.as_object().unwrap().clone());
    TestHost::builder()
        .plugin_in(".")
        .config("spam-filter", &serde_json::Value::Object(merged))
        .start()
}

fn send_as(sender: &str, admin: bool, text: &str) -> Result<(), Objection> {
    let event = json!({"type": "m.room.message", "content": {"body": text}}).to_string();
    let request =
        RequestInfo { id: String::new(), remote: String::new(), user_agent: String::new() };
    let origin = Origin {
        sender: sender.to_owned(),
        room_id: "!r:hs1".to_owned(),
        local: true,
        admin,
        request,
    };
    SpamFilter::check_event(event, origin)
}

fn send(text: &str) -> Result<(), Objection> {
    send_as(ALICE, false, text)
}

#[test]
fn same_text_is_refused_once_it_is_enough() {
    let _host = host(json!({}));
    assert!(send(TEXT).is_ok() && send("buy  MY fine\ncarpets").is_ok());
    let Err(Objection::Refuse(refusal)) = send(TEXT) else { panic!("it was let through") };
    assert_eq!((refusal.status, refusal.errcode.as_str()), (403, "M_FORBIDDEN"));
    assert!(send("Something else").is_ok());
    assert!(send_as("@bob:hs1", false, TEXT).is_ok(), "each user is counted alone");
}

#[test]
fn short_texts_trusted_users_and_administrators_pass() {
    let _host = host(json!({"trusted": ["@bot:hs1"]}));
    for _ in 0..5 {
        assert!(send("ok").is_ok());
        assert!(send_as("@bot:hs1", false, TEXT).is_ok());
        assert!(send_as(ALICE, true, TEXT).is_ok());
    }
}

#[test]
fn pretending_is_told_to_the_server() {
    let _host = host(json!({"pretend": true}));
    let outcomes = [send(TEXT), send(TEXT), send(TEXT)];
    assert!(matches!(outcomes, [Ok(()), Ok(()), Err(Objection::Pretend)]), "{outcomes:?}");
}

#[test]
fn window_ends_and_the_timer_forgets() {
    let host = host(json!({}));
    SpamFilter::start().unwrap();
    assert!(send(TEXT).is_ok() && send(TEXT).is_ok() && send(TEXT).is_err());
    host.advance(60_001);
    assert!(send(TEXT).is_ok(), "a new window has begun");
    host.advance(60_001);
    assert_eq!(host.fire_timers::<SpamFilter>("spam-filter"), 1);
    let left = tessera_sdk::storage::query("SELECT sender FROM spamfilter_texts", vec![]).unwrap();
    assert!(left.rows.is_empty(), "{left:?}");
    assert_eq!(host.next_timer(), Some(host.now_ms() + 60_000), "and it will forget again");
}

#[test]
fn administrators_see_and_forgive() {
    let host = host(json!({}));
    for _ in 0..4 {
        let _ = send(TEXT);
    }
    let ask = |method, route| host.request(method, route).user("@admin:hs1").mark("admin");
    let seen = ask("GET", "refusals").send::<SpamFilter>().json();
    assert_eq!(seen["refusals"][0]["user_id"], ALICE);
    assert_eq!(seen["refusals"][0]["times"], 2);
    let forgive = || ask("DELETE", "forgive").param("userId", ALICE).send::<SpamFilter>();
    assert_eq!(forgive().status(), 200);
    assert_eq!(forgive().status(), 404);
    assert!(send(TEXT).is_ok());
}

#[test]
fn others_do_not_see() {
    let host = host(json!({}));
    let answer = host.request("GET", "refusals").user(ALICE).send::<SpamFilter>();
    assert_eq!(answer.status(), 403);
}
