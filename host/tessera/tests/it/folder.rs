//! Data folders that cannot be taken, and questions where no server runs.

use std::{fs::File, io::Write};

use crate::tool::Tool;

fn taken(tool: &Tool) -> File {
    std::fs::create_dir_all(tool.path().join("data")).unwrap();
    let mut lock = File::create(tool.path().join("data/lock")).unwrap();
    write!(lock, "4711").unwrap();
    lock.try_lock().unwrap();
    lock
}

#[test]
fn a_folder_in_use_is_refused_and_the_process_named() {
    let tool = Tool::new();
    let _lock = taken(&tool);
    tool.run(&["run", "--data", "data", "--listen", "127.0.0.1:0"]).refused(&[
        "the data folder data is in use by another server (process 4711)",
        "--data DIR",
    ]);
}

#[test]
fn a_folder_of_a_newer_version_is_refused() {
    let tool = Tool::new();
    tool.file("data/format", "99\n");
    tool.run(&["run", "--data", "data", "--listen", "127.0.0.1:0"])
        .refused(&["is of version 99, written by a newer Tessera"]);
}

#[test]
fn a_folder_whose_version_is_nonsense_is_refused() {
    let tool = Tool::new();
    tool.file("data/format", "one\n");
    tool.run(&["run", "--data", "data", "--listen", "127.0.0.1:0"])
        .refused(&["`one`, which is no version of a data folder"]);
}

#[test]
fn a_version_that_a_crash_cut_off_is_written_again() {
    let tool = Tool::new();
    tool.file("data/format", "");
    // Refused for what comes after.
    tool.run(&["topics", "--data", "data"]).refused(&["no database of `localhost`"]);
    assert_eq!(std::fs::read_to_string(tool.path().join("data/format")).unwrap(), "2\n");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let tool = Tool::new();
    tool.file("data", "a file");
    tool.run(&["run", "--data", "data", "--listen", "127.0.0.1:0"])
        .refused(&["cannot make the data folder data"]);
}

#[test]
fn topics_of_no_folder_are_not_looked_for() {
    Tool::new()
        .run(&["topics", "--data", "nowhere"])
        .refused(&["there is no data folder nowhere", "--data DIR"]);
}

#[test]
fn topics_of_another_server_name_are_not_looked_for() {
    let tool = Tool::new();
    std::fs::create_dir_all(tool.path().join("data/tenants/other")).unwrap();
    tool.run(&["topics", "--data", "data"]).refused(&[
        "no database of `localhost`",
        "there are: other",
        "--server-name NAME",
    ]);
}

#[test]
fn topics_of_a_held_folder_without_a_socket_say_what_is_missing() {
    let tool = Tool::new();
    let _lock = taken(&tool);
    tool.run(&["topics", "--data", "data"])
        .refused(&["cannot reach the running server", "admin.sock"]);
}

#[test]
fn status_without_a_server_says_so() {
    Tool::new()
        .run(&["plugin", "status", "--data", "nowhere"])
        .refused(&["no server runs on the data folder nowhere"]);
}

#[test]
fn dead_letters_must_be_named() {
    let ended = Tool::new().run(&["topics", "drop", "a"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}
