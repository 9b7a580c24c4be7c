//! `tessera topics` on the folder of a server that is stopped.

use std::sync::Arc;

use tessera_storage::{Batch, Database, DatabaseConfig, Message, SessionGrant, Wake};

use crate::tool::Tool;

struct Nobody;

impl Wake for Nobody {
    fn committed(&self, _: &[String], _: u64) {}
}

/// A folder whose consumer `b` gave up on three messages of `a.x`.
fn tool_with_dead_letters() -> Tool {
    let tool = Tool::new();
    let path = tool.path().join("data/tenants/localhost/database.sqlite");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = DatabaseConfig::default();
        let database = Database::open(&path, config, Arc::new(Nobody)).await.unwrap();
        database.register_consumer("a.x", "b").await.unwrap();
        let session =
            database.session(SessionGrant { plugin: "a".to_owned(), ..SessionGrant::default() });
        for number in 1..=3 {
            let message = Message {
                topic: "a.x".to_owned(),
                key: format!("key {number}"),
                payload: format!("payload {number}"),
            };
            let batch = Batch { messages: vec![message], ..Batch::default() };
            session.commit(batch).await.unwrap();
            database.fail("b", number, "it was no use", None).await.unwrap();
        }
        drop(session);
        database.close().await;
    });
    tool
}

fn topics(tool: &Tool, more: &[&str]) -> crate::tool::Ended {
    tool.run(&[&["topics", "--data", "data"], more].concat())
}

#[test]
fn dead_letters_are_listed_with_what_went_wrong() {
    let tool = tool_with_dead_letters();
    let listed = topics(&tool, &[]);
    assert!(listed.well().out.starts_with("a.x → b: 0 waiting, 3 dead\n"), "{listed:?}");
    assert!(listed.out.contains("dead letter 2 of b: topic a.x, key key 2, 1 attempts"));
    assert!(listed.out.contains("it was no use"));
    assert!(!listed.out.contains("payload 2"));
    assert!(topics(&tool, &["list", "--payloads"]).well().out.contains("payload 2"));
}

#[test]
fn dead_letters_are_retried_and_dropped() {
    let tool = tool_with_dead_letters();
    assert_eq!(topics(&tool, &["retry", "b", "1"]).well().out, "1 to be delivered again\n");
    assert_eq!(topics(&tool, &["drop", "b", "2"]).well().out, "1 dropped\n");
    let listed = topics(&tool, &[]);
    assert!(listed.well().out.starts_with("a.x → b: 1 waiting, 1 dead\n"), "{listed:?}");
    assert!(!listed.out.contains("dead letter 1 of b"), "{listed:?}");
    assert!(!listed.out.contains("dead letter 2 of b"), "{listed:?}");
    assert!(listed.out.contains("dead letter 3 of b"), "{listed:?}");
    assert_eq!(topics(&tool, &["drop", "b", "--all"]).well().out, "1 dropped\n");
    let listed = topics(&tool, &[]);
    assert_eq!(listed.well().out, "a.x → b: 1 waiting, 0 dead\n", "the one put back is kept");
}

#[test]
fn a_dead_letter_that_is_not_there_is_named() {
    let tool = tool_with_dead_letters();
    topics(&tool, &["drop", "b", "1", "99"])
        .refused(&["`b` has no dead letter 99 (done for 1 others)"]);
    topics(&tool, &["drop", "c", "1"]).refused(&["no plug-in `c` consumes topics here", "b"]);
}
