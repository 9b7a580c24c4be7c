//! A full disk. A limit on the size of files stands for it: writes fail just so, and it needs no mount.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::json;
use tessera_tests::{
    api::Session,
    binary, http,
    server::{Options, Server},
};

/// Room for a new database with its log, and a few dozen large events; in blocks of 512 bytes.
const BLOCKS: u32 = 16 * 1024;
/// Events of this size fill it quickly.
const BODY: usize = 60_000;

/// A script that runs the server under the limit. The signal that would kill it is ignored, so that writes fail.
fn limited(folder: &Path) -> Options {
    let script = folder.join("limited.sh");
    let server = binary::server().unwrap().canonicalize().unwrap();
    let text = format!(
        "#!/bin/sh\ntrap '' XFSZ\nulimit -f {BLOCKS}\nexec '{}' \"$@\"\n",
        server.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Options { binary: script, ..Options::testing().unwrap() }
}

#[tokio::test]
async fn full_disk_refuses_writes_goes_on_reading_and_loses_nothing() {
    // Whatever is compiled for the first time is compiled without the limit.
    drop(Server::start().await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_with(limited(folder.path())).await.unwrap();
    let http = http::client().unwrap();
    let user = Session::register(&http, &server.url(), "writer").await.unwrap();
    let room = user.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    let body = json!({"msgtype": "m.text", "body": "x".repeat(BODY)});
    let mut acknowledged = Vec::new();
    let refused = loop {
        let path = format!("/rooms/{room}/send/m.room.message/{}", acknowledged.len());
        let answer = user.call(reqwest::Method::PUT, &path, Some(&body)).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        acknowledged.push(answer.text("event_id").to_owned());
        assert!(acknowledged.len() < 2_000, "the limit never told");
    };
    assert!((500..600).contains(&refused.status), "{refused:?}");
    assert!(refused.errcode().starts_with("M_"), "{refused:?}");
    assert!(!acknowledged.is_empty());
    user.get("/account/whoami").await.unwrap();
    user.get(&format!("/rooms/{room}/event/{}", acknowledged[0])).await.unwrap();

    server.kill9().await.unwrap();
    server.options_mut().binary = binary::server().unwrap();
    server.boot().await.unwrap();
    for event_id in &acknowledged {
        user.get(&format!("/rooms/{room}/event/{event_id}")).await.unwrap();
    }
    user.text(&room, "after", "there is room again").await.unwrap();
}
