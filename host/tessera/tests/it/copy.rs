//! `tessera storage copy`, between SQLite and PostgreSQL.

use tessera_test_services::TestDatabase;

use crate::{
    run::{FREE, command, get, kill, start, tool},
    tool::Tool,
};

fn copy(tool: &Tool, from: &str, to: &str) -> crate::tool::Ended {
    tool.run(&["storage", "copy", "--from", from, "--to", to])
}

/// Starts the server on its folder, asks it something and stops it.
fn serves(tool: &Tool, more: &[&str]) {
    let mut server = start(command(tool, &[&FREE[..], more].concat()));
    assert!(get(server.address, "/nowhere").contains("M_UNRECOGNIZED"));
    kill(&server, "-TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn tenants_go_to_postgresql_and_back_and_never_over_others() {
    let database = TestDatabase::new().unwrap();
    let tool = tool();
    serves(&tool, &[]);
    let there = copy(&tool, "data", database.url());
    let said = &there.well().out;
    assert!(said.contains("tenant `localhost`: "), "{said}");
    assert!(said.contains("the list of tenants: "), "{said}");
    copy(&tool, "data", database.url())
        .refused(&["has the list of tenants already", "nothing was copied"]);
    // The data folder still has the keys; the databases in it are not looked at any more.
    let url = format!("[storage]\nengine = \"postgres\"\nurl = {:?}\n", database.url());
    let before = std::fs::read_to_string(tool.path().join("tessera.toml")).unwrap();
    tool.file("tessera.toml", before + &url);
    std::fs::remove_dir_all(tool.path().join("data/tenants")).unwrap();
    serves(&tool, &[]);
    copy(&tool, database.url(), "back").well();
    assert!(tool.path().join("back/tenants/localhost/database.sqlite").is_file());
    assert!(tool.path().join("back/host.sqlite").is_file());
    let left: Vec<_> = std::fs::read_dir(tool.path().join("back/tenants")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    copy(&tool, database.url(), "back").refused(&["already"]);
}

#[test]
fn what_cannot_be_copied_is_named_and_passwords_are_not() {
    let tool = tool();
    copy(&tool, "data", "data").refused(&["the same place"]);
    copy(&tool, "nowhere", "data").refused(&["there is no data folder nowhere"]);
    let ended = copy(&tool, "postgres://me:secret@127.0.0.1:1/db", "data");
    ended.refused(&["cannot use postgres://me:…@127.0.0.1:1/db"]);
    assert!(!format!("{ended:?}").contains("secret"), "{ended:?}");
    let server = start(command(&tool, &FREE));
    copy(&tool, "data", "other").refused(&["a server runs on the data folder data; stop it first"]);
    drop(server);
    tool.run(&["storage", "copy", "--from", "data", "--to", "other", "--tenant", "x.example"])
        .refused(&["there is no tenant `x.example` in data (there are: localhost)"]);
}
