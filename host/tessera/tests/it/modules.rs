//! Modules that are installed, allowed and removed by command: offline, and on a running server.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    run::{self, FREE},
    tool::{Ended, Tool, component},
};

const MODULE: &str = "name = \"greeter\"\nversion = \"0.2.0\"\ndescription = \"Says hello\"\n\
    [grants]\nfetch = [\"https://*\"]\nsign = true\n\
    [limits]\nmemory = \"1GiB\"\n\
    [config.schema]\ntype = \"object\"\nadditionalProperties = false\n\
    [config.schema.properties]\nwords = { type = \"array\", items = { type = \"string\" } }";

fn tool() -> Tool {
    let tool = run::tool();
    tool.file("greeter.wasm", component(MODULE));
    tool
}

fn plugin(tool: &Tool, words: &[&str]) -> Ended {
    let mut all = vec!["plugin"];
    all.extend(words);
    all.extend(["--config", "tessera.toml", "--plugins", "plugins", "--data", "data"]);
    tool.run(&all)
}

fn listed(tool: &Tool) -> Value {
    let list = plugin(tool, &["list", "--json"]);
    let list: Vec<Value> = serde_json::from_str(&list.well().out).unwrap();
    list.into_iter().find(|plugin| plugin["name"] == "greeter").unwrap_or_default()
}

/// From the first look to its end; `running`: with a server that must take up each step.
fn life(tool: &Tool, running: bool) {
    let runs = || {
        let status = plugin(tool, &["status", "--json"]);
        let status: Vec<Value> = serde_json::from_str(&status.well().out).unwrap();
        status.iter().any(|plugin| plugin["name"] == "greeter")
    };
    plugin(tool, &["install", "greeter.wasm"]).refused(&[
        "nobody can be asked",
        "--yes",
        "--grant",
    ]);
    plugin(tool, &["install", "greeter.wasm", "--grant", "fetch=http://a.example"])
        .refused(&["does not ask for `fetch=http://a.example`", "fetch=https://* sign"]);
    plugin(tool, &["install", "greeter.wasm", "--yes", "--sha256", &"0".repeat(64)])
        .refused(&["is not the file that --sha256 names"]);
    plugin(tool, &["install", "greeter.wasm", "--yes", "--set", "words=[1]"])
        .refused(&["words.1: this is 1; expected: string"]);
    plugin(tool, &["install", "greeter.wasm", "--yes", "--set", "wods=[]"])
        .refused(&["wods: unknown key; expected: words"]);
    assert_eq!(listed(tool), Value::Null, "what was refused has left nothing");

    let install = [
        "install",
        "greeter.wasm",
        "--grant",
        "fetch=https://a.example",
        "--set",
        "words=[\"hi\"]",
    ];
    let installed = plugin(tool, &install);
    for said in [
        "greeter 0.2.0",
        "It sets limits of its own ([plugins.greeter.limits] cuts them):\n  memory: 1GiB instead of ",
        "about       Says hello",
        "signature   not signed",
        "It asks for this, and gets nothing that you do not allow:\n  may fetch: https://*\n  may sign in the name of the server\n",
        "installed greeter 0.2.0\n  may fetch: https://a.example\n",
    ] {
        assert!(installed.well().out.contains(said), "{said} is not in {installed:?}");
    }
    let entry = listed(tool);
    assert_eq!(entry["from"], "installed");
    assert_eq!(entry["allowed"], serde_json::json!(["may fetch: https://a.example"]));
    assert_eq!(entry["missing"][1], "may sign in the name of the server");
    assert!(!running || runs());
    plugin(tool, &install).refused(&["there is a plug-in `greeter` already", "plugin swap"]);

    let granted = plugin(tool, &["grant", "greeter", "sign"]);
    assert!(granted.well().out.contains("may sign in the name of the server"), "{granted:?}");
    plugin(tool, &["grant", "greeter", "passwords"]).refused(&["does not ask for `passwords`"]);
    plugin(tool, &["grant", "greeter", "signs"]).refused(&["`signs` is no grant"]);
    plugin(tool, &["grant", "nobody", "sign"]).refused(&["there is no plug-in `nobody`"]);
    let revoked = plugin(tool, &["revoke", "greeter", "fetch=https://a.example"]);
    assert!(revoked.well().out.starts_with("greeter 0.2.0 is allowed:\n  may sign"), "{revoked:?}");
    plugin(tool, &["revoke", "greeter", "fetch=*"]).refused(&["is not allowed `fetch=*`"]);
}

fn end(tool: &Tool) {
    assert_eq!(listed(tool)["allowed"], serde_json::json!(["may sign in the name of the server"]));
    plugin(tool, &["remove", "nothing", "--yes"]).refused(&["was not installed by command"]);
    plugin(tool, &["remove", "greeter", "--yes"]).well();
    plugin(tool, &["remove", "greeter", "--yes"]).refused(&["there is no plug-in `greeter`"]);
    assert_eq!(listed(tool), Value::Null);
}

#[test]
fn a_module_is_installed_allowed_and_removed_while_no_server_runs() {
    let tool = tool();
    let written = fs::read(tool.path().join("tessera.toml")).unwrap();
    life(&tool, false);
    end(&tool);
    assert_eq!(fs::read(tool.path().join("tessera.toml")).unwrap(), written);
}

#[test]
fn a_running_server_takes_each_change_up_and_keeps_it_over_a_restart() {
    let tool = tool();
    let server = run::start(run::command(&tool, &FREE));
    life(&tool, true);
    drop(server);
    let server = run::start(run::command(&tool, &FREE));
    assert!(run::line(&server.banner, "Plug-ins:").contains("greeter 0.2.0"), "{}", server.banner);
    end(&tool);
    let status = plugin(&tool, &["status"]);
    assert!(!status.well().out.contains("greeter"), "{status:?}");
}

#[test]
fn where_signatures_are_required_an_unsigned_module_is_refused() {
    let tool = tool();
    let text = fs::read_to_string(tool.path().join("tessera.toml")).unwrap();
    tool.file("tessera.toml", format!("{text}\n[modules]\nrequire-signature = true\n"));
    plugin(&tool, &["install", "greeter.wasm", "--yes"])
        .refused(&["not signed", "[modules] require-signature"]);
}

#[test]
fn order_of_hooks_is_kept_and_names_only_plugins_that_are_there() {
    let tool = tool();
    plugin(&tool, &["order", "tessera:hooks/event-policy", "nothing"]).well();
    let kept = fs::read_to_string(tool.path().join("data/modules.toml")).unwrap();
    assert!(kept.contains("\"tessera:hooks/event-policy\" = [\"nothing\"]"), "{kept}");
    plugin(&tool, &["order", "tessera:hooks/event-policy", "other"])
        .refused(&["there is no plug-in `other`"]);
}

#[test]
fn a_file_of_changes_that_is_damaged_is_named() {
    let tool = tool();
    tool.file("data/modules.toml", "[server]\n");
    plugin(&tool, &["list"]).refused(&["modules.toml", "`[server]`", "plugins and hooks"]);
}

#[test]
fn limits_are_shown_of_a_module_that_asks_for_nothing_else() {
    let tool = tool();
    let manifest = "name = \"quiet\"\nversion = \"1.0.0\"\ndescription = \"\"\"one\n  signature   signed by us\"\"\"\n\
        limits = { hook = \"9s\", memory = \"2GiB\" }";
    tool.file("quiet.wasm", component(manifest));
    let installed = plugin(&tool, &["install", "quiet.wasm", "--yes"]);
    for said in [
        "  about       one\u{fffd}  signature   signed by us\n  signature   not signed\n",
        "cuts them):\n  memory: 2GiB instead of ",
        "\n  hook: 9s instead of ",
        "\nIt asks for nothing.\n",
    ] {
        assert!(installed.well().out.contains(said), "{said} is not in {installed:?}");
    }
    tool.file("wider.wasm", component(&manifest.replace("1.0.0", "1.0.1").replace("2GiB", "3GiB")));
    plugin(&tool, &["swap", "quiet", "wider.wasm"]).refused(&["nobody can be asked"]);
    let swapped = plugin(&tool, &["swap", "quiet", "wider.wasm", "--yes"]);
    let said = "It sets other limits than the version before ([plugins.quiet.limits] cuts them):\n  memory: 3GiB instead of 2GiB\n";
    assert!(swapped.well().out.contains(said), "{swapped:?}");
}

#[test]
fn a_swap_that_fails_leaves_the_watch_over_the_one_before() {
    let tool = tool();
    let text = fs::read_to_string(tool.path().join("tessera.toml")).unwrap();
    tool.file("tessera.toml", format!("{text}\nswap.watch = \"4s\"\n"));
    let next = "name = \"nothing\"\nversion = \"1.2.4\"";
    tool.file("next.wasm", component(next));
    let picky = "[config.schema]\ntype = \"object\"\nrequired = [\"words\"]\n\
        [config.schema.properties]\nwords = { type = \"string\" }";
    tool.file("picky.wasm", component(&format!("{next}\n{picky}")));
    let mut command = run::command(&tool, &FREE);
    command.stderr(fs::File::create(tool.path().join("log")).unwrap());
    let _server = run::start(command);
    plugin(&tool, &["swap", "nothing", "next.wasm", "--yes"]).well();
    plugin(&tool, &["swap", "nothing", "picky.wasm", "--yes"]).refused(&["words"]);
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let log = fs::read_to_string(tool.path().join("log")).unwrap();
        if log.contains("did well while it was watched") {
            return;
        }
        assert!(Instant::now() < end, "nobody watches it any more:\n{log}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
