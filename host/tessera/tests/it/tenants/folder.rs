//! Tenants of a server that is stopped, and what an end by force leaves.

use std::{fs, sync::Arc};

use tessera_storage::{
    Batch, Database, DatabaseConfig, SessionGrant, Statement, Value as Sql, Wake,
};

use super::{data, offline, serve, status, stop, tenant, tenant_json, tool};
use crate::tool::Tool;

struct Nobody;

impl Wake for Nobody {
    fn committed(&self, _: &[String], _: u64) {}
}

#[test]
fn tenants_are_added_and_removed_while_no_server_runs() {
    let tool = tool("");
    offline(&tool, &["add", "c.example", "--set", "nothing.key=1"]).well();
    offline(&tool, &["add", "c.example"]).refused(&["there is a tenant `c.example` already"]);
    offline(&tool, &["add", "d.example", "--plugin", "other"]).refused(&["no plug-in `other`"]);
    offline(&tool, &["add", "d.example", "--host", "a.example"]).refused(&["one of `a.example`"]);
    let list = tenant_json(&tool, &["list"]);
    let names: Vec<&str> =
        list.as_array().unwrap().iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.example", "b.example", "c.example"]);
    assert_eq!(list[2]["state"], "down");
    assert!(offline(&tool, &["show", "c.example"]).well().out.contains("down"));
    offline(&tool, &["suspend", "a.example"]).well();

    let server = serve(&tool);
    assert_eq!(status(&server, "c.example"), 200);
    assert_eq!(status(&server, "a.example"), 503);
    stop(server);

    offline(&tool, &["remove", "a.example", "--yes"]).refused(&["stands in the descriptor"]);
    offline(&tool, &["remove", "c.example", "--yes", "--no-export"]).well();
    assert!(!data(&tool, "tenants/c.example").exists());
    offline(&tool, &["show", "c.example"]).refused(&["there is no tenant `c.example`"]);
}

#[test]
fn keys_of_an_older_folder_are_kept() {
    let tool = tool("");
    tool.file("data/format", "1\n");
    let line = "ed25519:a_1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
    tool.file("data/keys/a.example", line);
    tool.file("data/keys/code-cache", [7; 32]);
    let server = serve(&tool);
    assert_eq!(status(&server, "a.example"), 200);
    assert_eq!(fs::read_to_string(data(&tool, "keys/tenants/a.example")).unwrap(), line);
    assert!(!data(&tool, "keys/a.example").exists());
    assert!(data(&tool, "keys/code-cache").exists());
    assert_eq!(fs::read_to_string(data(&tool, "format")).unwrap(), "2\n");
    stop(server);
}

/// Notes in the host database that what lies under this name was not finished.
fn note_debris(tool: &Tool, name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = data(tool, "host.sqlite");
        let config = DatabaseConfig::default();
        let database = Database::open(&path, config, Arc::new(Nobody)).await.unwrap();
        let grant = SessionGrant { plugin: "registry".to_owned(), ..SessionGrant::default() };
        let session = database.session(grant);
        let insert = Statement {
            sql: "INSERT INTO registry_debris (name, node) VALUES ($1, $2)".to_owned(),
            rows: vec![vec![Sql::Text(name.to_owned()), Sql::Text(String::new())]],
            expect: Some(1),
        };
        session.commit(Batch { statements: vec![insert], ..Batch::default() }).await.unwrap();
        drop(session);
        database.close().await;
    });
}

#[test]
fn what_a_crash_left_half_made_is_removed_at_the_next_start() {
    let tool = tool("");
    let server = serve(&tool);
    stop(server);
    let paths = [
        "tenants/half.example/database.sqlite",
        "blobs/half.example/ab/cd",
        "keys/tenants/half.example",
    ];
    for path in paths {
        tool.file(&format!("data/{path}"), "half");
    }
    tool.file("data/tenants/other.example/database.sqlite", "");
    note_debris(&tool, "half.example");
    let server = serve(&tool);
    for path in paths {
        assert!(!data(&tool, path).exists(), "{path}");
    }
    assert!(data(&tool, "tenants/other.example").exists());
    stop(server);
}

#[test]
fn data_from_before_outlive_an_addition_that_fails() {
    let tool = tool("");
    let server = serve(&tool);
    let path = "tenants/old.example/database.sqlite";
    tool.file(&format!("data/{path}"), "no database, but somebody's");
    tenant(&tool, &["add", "old.example"]).refused(&["does not start"]);
    assert!(data(&tool, path).exists());
    stop(server);
    let server = serve(&tool);
    assert!(data(&tool, path).exists(), "nor does the next start remove them");
    stop(server);
}

#[test]
fn no_debris_of_a_tenant_that_is_there_is_removed() {
    let tool = tool("");
    stop(serve(&tool));
    offline(&tool, &["add", "c.example"]).well();
    let path = "tenants/c.example/database.sqlite";
    tool.file(&format!("data/{path}"), "");
    note_debris(&tool, "c.example");
    offline(&tool, &["list"]).well();
    assert!(data(&tool, path).exists());
}
