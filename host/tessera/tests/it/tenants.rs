//! Many tenants in one process, with a plug-in that does nothing.

mod folder;
mod moving;
mod sleeping;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    run::{FREE, Server, command, get_of, kill, start},
    tool::{Ended, Tool, component, without_first_party},
};

/// Behind [`without_first_party`].
const DESCRIPTOR: &str = "
[http]
default-authenticator = \"none\"
native-route = true
drain = \"2s\"
[plugins.nothing]
grants = \"asked\"
[tenants.\"a.example\"]
[tenants.\"b.example\"]
hosts = [\"b.example\", \"*.b.example\"]
";

/// A folder whose server has the tenants `a.example` and `b.example`.
fn tool(more: &str) -> Tool {
    let tool = Tool::new();
    tool.file("tessera.toml", without_first_party() + DESCRIPTOR + more);
    tool.file("plugins/nothing.wasm", component("name = \"nothing\"\nversion = \"1.2.3\""));
    tool
}

fn serve(tool: &Tool) -> Server {
    start(command(tool, &FREE))
}

/// `tessera tenant …` on the folder.
fn tenant(tool: &Tool, arguments: &[&str]) -> Ended {
    let place = ["--config", "tessera.toml", "--plugins", "plugins", "--data", "data"];
    tool.run(&[&["tenant"], arguments, &place].concat())
}

fn tenant_json(tool: &Tool, arguments: &[&str]) -> Value {
    let ended = tenant(tool, &[arguments, &["--json"]].concat());
    serde_json::from_str(&ended.well().out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// The state of each tenant by name.
fn state(tool: &Tool, name: &str) -> String {
    let list = tenant_json(tool, &["list"]);
    let found = list.as_array().unwrap().iter().find(|line| line["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))["state"].as_str().unwrap().to_owned()
}

/// The status of a request for a host.
fn status(server: &Server, host: &str) -> u16 {
    let answer = get_of(server.address, host, "/_tessera/native");
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
}

/// Looks until it is so.
fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn stop(mut server: Server) {
    kill(&server, "-TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

fn data(tool: &Tool, path: &str) -> PathBuf {
    tool.path().join("data").join(path)
}

#[test]
fn tenants_on_one_listener_are_told_apart_by_host() {
    let tool = tool("");
    let server = serve(&tool);
    assert!(server.banner.contains("a.example, b.example"), "{}", server.banner);
    assert_eq!([state(&tool, "a.example"), state(&tool, "b.example")], ["asleep", "asleep"]);
    for (host, code) in [
        ("B.example:8448", 200),
        ("chat.b.example", 200),
        ("b.example.", 200),
        ("c.example", 404),
        ("127.0.0.1", 404),
        ("chat.a.example", 404),
    ] {
        assert_eq!(status(&server, host), code, "{host}");
    }
    assert_eq!([state(&tool, "a.example"), state(&tool, "b.example")], ["asleep", "awake"]);
    assert_eq!(status(&server, "a.example"), 200);
    assert_eq!(state(&tool, "a.example"), "awake");
    let unknown = get_of(server.address, "c.example", "/");
    assert!(unknown.contains("M_"), "{unknown}");
    stop(server);
}

#[test]
fn tenants_are_added_and_removed_while_the_server_runs() {
    let tool = tool("");
    let server = serve(&tool);
    assert_eq!(status(&server, "c.example"), 404);
    tenant(&tool, &["add", "c.example", "--host", "c.example", "--host", "*.c.example"]).well();
    assert_eq!(status(&server, "x.c.example"), 200);
    let shown = tenant_json(&tool, &["show", "c.example"]);
    assert_eq!(shown["origin"], "made");
    assert_eq!(shown["state"], "awake");
    assert_eq!(shown["status"][0]["name"], "nothing");
    assert!(tenant(&tool, &["show", "c.example"]).well().out.contains("nothing 1.2.3"));
    tenant(&tool, &["add", "c.example"]).refused(&["there is a tenant `c.example` already"]);
    tenant(&tool, &["add", "d.example", "--host", "*.B.example"])
        .refused(&["the host `*.b.example` is one of `b.example`"]);
    tenant(&tool, &["add", "d.example", "--plugin", "nothing,other"])
        .refused(&["there is no plug-in `other`; loaded are: nothing"]);

    tenant(&tool, &["remove", "c.example"]).refused(&["its name was not typed"]);
    assert_eq!(status(&server, "c.example"), 200);
    assert!(data(&tool, "tenants/c.example").is_dir());
    tenant(&tool, &["remove", "c.example", "--yes", "--no-export"]).well();
    assert_eq!(status(&server, "c.example"), 404);
    for path in ["tenants/c.example", "blobs/c.example", "keys/tenants/c.example"] {
        assert!(!data(&tool, path).exists(), "{path}");
    }
    tenant(&tool, &["show", "c.example"]).refused(&["there is no tenant `c.example`"]);
    tenant(&tool, &["remove", "a.example", "--yes"])
        .refused(&["`a.example` stands in the descriptor ([tenants.\"a.example\"])"]);
    stop(server);
}

#[test]
fn added_tenants_are_there_after_a_restart() {
    let tool = tool("");
    let server = serve(&tool);
    tenant(&tool, &["add", "c.example"]).well();
    tenant(&tool, &["suspend", "b.example"]).well();
    stop(server);
    let server = serve(&tool);
    assert_eq!(status(&server, "c.example"), 200);
    assert_eq!(status(&server, "b.example"), 503);
    stop(server);
}

#[test]
fn a_lone_tenant_answers_every_host_until_there_is_another() {
    let tool = Tool::new();
    let alone = DESCRIPTOR.split("[tenants.").next().unwrap();
    tool.file("tessera.toml", without_first_party() + alone);
    tool.file("plugins/nothing.wasm", component("name = \"nothing\"\nversion = \"1.2.3\""));
    let server = serve(&tool);
    assert_eq!(status(&server, "whatever.example"), 200);
    tenant(&tool, &["add", "c.example", "--host", "localhost"])
        .refused(&["the host `localhost` is one of `localhost`"]);
    let added = tenant(&tool, &["add", "c.example"]);
    assert!(added.well().out.contains("`localhost` answered to every host until now"), "{added:?}");
    assert_eq!(status(&server, "whatever.example"), 404);
    assert_eq!(status(&server, "localhost:1"), 200);
    assert_eq!(status(&server, "c.example"), 200);
    tenant(&tool, &["remove", "c.example", "--yes", "--no-export"]).well();
    assert_eq!(status(&server, "whatever.example"), 200);
    stop(server);
}

#[test]
fn a_suspended_tenant_answers_nobody_until_it_is_resumed() {
    let tool = tool("");
    let server = serve(&tool);
    assert_eq!(status(&server, "a.example"), 200);
    tenant(&tool, &["suspend", "a.example"]).well();
    assert_eq!(state(&tool, "a.example"), "suspended");
    assert_eq!(status(&server, "a.example"), 503);
    assert_eq!(status(&server, "b.example"), 200);
    let again = tenant(&tool, &["suspend", "a.example"]);
    assert_eq!(again.well().out, "a.example suspended already\n");
    tenant(&tool, &["resume", "a.example"]).well();
    assert_eq!(status(&server, "a.example"), 200);
    stop(server);
}

#[test]
fn tools_name_the_tenant_where_there_are_several() {
    let tool = tool("");
    let server = serve(&tool);
    let place = ["--config", "tessera.toml", "--data", "data"];
    let ask = |more: &[&str]| tool.run(&[more, &place].concat());
    ask(&["topics"]).refused(&["there are several tenants; name one with --server-name NAME"]);
    ask(&["plugin", "status", "--server-name", "a.example"]).refused(&["`a.example` is asleep"]);
    let topics = ask(&["topics", "--server-name", "a.example"]);
    assert_eq!(topics.well().out, "no plug-in consumes a topic\n");
    ask(&["plugin", "status", "--server-name", "a.example"]).well();
    stop(server);
}

#[test]
fn quotas_are_shown_and_requests_over_them_refused() {
    let tool = tool("[quotas]\nrows = 1000\n");
    let server = serve(&tool);
    let add = ["add", "c.example", "--quota", "requests-per-second=1", "--quota", "bytes=1GiB"];
    tenant(&tool, &add).well();
    let codes: Vec<u16> = (0..4).map(|_| status_of(&server, "c.example")).collect();
    assert!(codes.contains(&429), "{codes:?}");
    assert_ne!(status_of(&server, "b.example"), 429, "a neighbour is unharmed");
    let shown = tenant_json(&tool, &["show", "c.example"]);
    assert_eq!(shown["quotas"]["rows"], 1000);
    assert_eq!(shown["quotas"]["bytes"], "1GiB");
    assert!(shown["used"]["bytes"].as_u64().unwrap() > 0, "{shown}");
    assert_eq!(shown["blob-bytes"], 0);
    let text = tenant(&tool, &["show", "c.example"]).well().out.clone();
    assert!(text.contains("0 of 1000"), "{text}");
    tenant(&tool, &["add", "d.example", "--quota", "cpus=1"])
        .refused(&["--quota", "unknown field `cpus`"]);
    stop(server);
}

/// The status of a request that a plug-in would answer.
fn status_of(server: &Server, host: &str) -> u16 {
    let answer = get_of(server.address, host, "/nowhere");
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
}

/// A program's end by force.
fn kill_hard(mut server: Server) {
    server.child.kill().unwrap();
    server.child.wait().unwrap();
}

/// `tessera tenant …` where no server runs.
fn offline(tool: &Tool, arguments: &[&str]) -> Ended {
    assert!(!data(tool, "admin.sock").exists());
    tenant(tool, arguments)
}

/// Open files and threads of a process.
fn held(server: &Server) -> (usize, usize) {
    let count = |what: &str| {
        let folder = format!("/proc/{}/{what}", server.child.id());
        std::fs::read_dir(folder).unwrap().count()
    };
    (count("fd"), count("task"))
}
