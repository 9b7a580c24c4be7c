//! Tenants sleep, and wake.

use std::sync::Arc;

use tessera_storage::{Database, DatabaseConfig, Wake};

use super::{data, held, kill_hard, serve, state, status, stop, tool, until};
use crate::tool::Tool;

struct Nobody;

impl Wake for Nobody {
    fn committed(&self, _: &[String], _: u64) {}
}

const SLEEPY: &str = "[sleep]\nafter = \"500ms\"\n";

/// Sets a timer of the plug-in in the database of a tenant that is not open.
fn set_timer(tool: &Tool, tenant: &str, in_ms: u64) {
    let path = data(tool, &format!("tenants/{tenant}/database.sqlite"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = DatabaseConfig::default();
        let database = Database::open(&path, config, Arc::new(Nobody)).await.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let due = u64::try_from(now.as_millis()).unwrap() + in_ms;
        database.timer_set("nothing", "far", due, "").await.unwrap();
        database.close().await;
    });
}

#[test]
fn a_tenant_that_nobody_uses_gives_everything_back() {
    let tool = tool(SLEEPY);
    let server = serve(&tool);
    // Once to and fro: what the process makes once is there then.
    assert_eq!(status(&server, "a.example"), 200);
    until("a sleeps", || state(&tool, "a.example") == "asleep");
    let before = held(&server);
    for host in ["a.example", "b.example"] {
        assert_eq!(status(&server, host), 200);
    }
    assert!(held(&server).0 > before.0, "nothing was opened");
    until("both sleep", || {
        state(&tool, "a.example") == "asleep" && state(&tool, "b.example") == "asleep"
    });
    // Threads for blocking work end by themselves a while after.
    until("files and threads are given back", || {
        let now = held(&server);
        now.0 <= before.0 && now.1 <= before.1
    });
    assert_eq!(status(&server, "a.example"), 200, "it wakes again");
    stop(server);
}

#[test]
fn a_sleeper_wakes_for_its_timer() {
    let tool = tool(SLEEPY);
    let server = serve(&tool);
    assert_eq!(status(&server, "a.example"), 200);
    stop(server);
    set_timer(&tool, "a.example", 6_000);
    let server = serve(&tool);
    assert_eq!(status(&server, "a.example"), 200);
    until("it sleeps before the timer is due", || state(&tool, "a.example") == "asleep");
    until("it wakes for the timer", || state(&tool, "a.example") == "awake");
    stop(server);
}

#[test]
fn a_sleeper_wakes_for_a_timer_that_became_due_while_the_server_was_down() {
    let tool = tool(SLEEPY);
    let server = serve(&tool);
    assert_eq!(status(&server, "a.example"), 200);
    stop(server);
    set_timer(&tool, "a.example", 2_000);
    // Seen once, so that the host knows of it.
    let server = serve(&tool);
    assert_eq!(status(&server, "a.example"), 200);
    stop(server);
    std::thread::sleep(std::time::Duration::from_millis(2_000));
    let server = serve(&tool);
    until("it wakes for the timer", || state(&tool, "a.example") == "awake");
    assert_eq!(state(&tool, "b.example"), "asleep");
    stop(server);
}

#[test]
fn after_a_crash_those_that_were_awake_are_woken() {
    let tool = tool("");
    let server = serve(&tool);
    assert_eq!(status(&server, "b.example"), 200);
    kill_hard(server);
    let server = serve(&tool);
    until("b is woken", || state(&tool, "b.example") == "awake");
    assert_eq!(state(&tool, "a.example"), "asleep");
    stop(server);
}

#[test]
fn of_more_than_may_be_awake_the_one_used_longest_ago_sleeps() {
    let tool = tool("[sleep]\nawake-max = 1\n");
    let server = serve(&tool);
    assert_eq!(status(&server, "a.example"), 200);
    assert_eq!(status(&server, "b.example"), 200);
    until("a sleeps", || state(&tool, "a.example") == "asleep");
    assert_eq!(state(&tool, "b.example"), "awake");
    stop(server);
}
