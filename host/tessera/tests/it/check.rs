//! Descriptors that are wrong, and what the flags say.

use crate::tool::{CORE_MODULE, Tool, component, first_party, without_first_party};

/// A descriptor with one plug-in of ours in place of those of the embedded default.
fn only_a() -> String {
    without_first_party()
        + "[http]\ndefault-authenticator = \"none\"\n[plugins.a]\ngrants = \"asked\"\n"
}

#[test]
fn a_wrong_key_is_named_with_file_line_and_what_is_allowed() {
    let tool = Tool::new();
    tool.file("tessera.toml", "[server]\ndatta = \"x\"\n");
    tool.run(&["check", "--config", "tessera.toml"]).refused(&[
        "tessera.toml:2:1: server.datta: unknown key `datta`",
        "allowed: blobs, data, keys, plugins, welcome",
        "did you mean `data`?",
    ]);
}

#[test]
fn a_descriptor_that_is_not_there_is_named() {
    Tool::new()
        .run(&["run", "--config", "nowhere.toml"])
        .refused(&["cannot read the descriptor nowhere.toml", "No such file"]);
}

/// Nodes with what they need.
fn nodes() -> String {
    let (front, back): (Vec<_>, Vec<_>) =
        first_party().into_iter().partition(|name| name == "accounts" || name == "sync");
    format!(
        "[nodes.front]\nrun = {front:?}\n[nodes.back]\nrun = {back:?}\n\
         [bus]\nengine = \"nats\"\nservers = [\"nats://127.0.0.1:1\"]\n\
         [storage]\nengine = \"postgres\"\n"
    )
}

#[test]
fn which_node_a_process_is_must_be_said_and_be_true() {
    let tool = Tool::new();
    tool.file("tessera.toml", nodes());
    let run = ["run", "--config", "tessera.toml", "--listen", "127.0.0.1:0"];
    tool.run(&run).refused(&["which of them this process is with --node NAME", "back, front"]);
    tool.run(&[&run[..], &["--node", "side"]].concat())
        .refused(&["--node side: the descriptor has no such node", "there are: back, front"]);
    tool.run(&["run", "--node", "front"]).refused(&["the descriptor has no `[nodes]`"]);
}

#[test]
fn a_database_elsewhere_must_be_named_and_is_shown_without_its_password() {
    let tool = Tool::new();
    tool.file("tessera.toml", nodes());
    let run = ["run", "--config", "tessera.toml", "--listen", "127.0.0.1:0", "--metrics", "off"];
    let run = [&run[..], &["--node", "front"]].concat();
    tool.run(&run).refused(&["needs to know where", "TESSERA_STORAGE_URL"]);
    let url = "url = \"postgres://me:secret@127.0.0.1:1/db\"\n";
    tool.file("tessera.toml", nodes() + url);
    let ended = tool.run(&run);
    ended.refused(&["cannot use the PostgreSQL database postgres://me:…@127.0.0.1:1/db"]);
    assert!(!format!("{ended:?}").contains("secret"), "{ended:?}");
}

#[test]
fn a_plugin_file_that_is_not_there_is_named_with_what_is() {
    let tool = Tool::new();
    tool.file("plugins/other.wasm", "");
    for command in ["check", "run"] {
        tool.run(&[command, "--plugins", "plugins", "--listen", "127.0.0.1:0"]).refused(&[
            "plug-in `accounts`: there is no file plugins/accounts.wasm",
            "plugins holds other.wasm",
            "enabled = false",
        ]);
    }
}

#[test]
fn a_good_descriptor_is_said_to_be_good() {
    let tool = Tool::new();
    tool.file("tessera.toml", only_a());
    tool.file("plugins/a.wasm", component("name = \"a\"\nversion = \"1.2.3\""));
    let arguments = ["--config", "tessera.toml", "--plugins", "plugins"];
    let checked = tool.run(&[&["check"], &arguments[..]].concat());
    assert_eq!(checked.well().out, "good: 1 plug-ins for localhost\n");
    let listed = tool.run(&[&["plugin", "list"], &arguments[..]].concat());
    assert!(listed.well().out.starts_with("a 1.2.3  "), "{listed:?}");
    assert!(listed.out.contains("push  switched off"), "{listed:?}");
}

#[test]
fn the_ready_made_descriptors_are_good() {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tool = Tool::new();
    let plugins = first_party();
    for plugin in &plugins {
        let manifest = repository.join("plugins").join(plugin).join("plugin.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        tool.file(&format!("plugins/{plugin}.wasm"), component(&manifest));
    }
    for (descriptor, said) in [
        ("default", "for localhost"),
        ("testing", "for localhost"),
        ("one-process", "for example.org"),
        ("three-nodes", "for example.org on 3 nodes"),
        ("nine-nodes", "for example.org on 9 nodes"),
        ("many-tenants", "for 2 tenants"),
    ] {
        let path = repository.join("config").join(format!("{descriptor}.toml"));
        let path = path.to_str().unwrap();
        let ended = tool.run(&["check", "--config", path, "--plugins", "plugins"]);
        let said = format!("good: {} plug-ins {said}\n", plugins.len());
        assert_eq!(ended.well().out, said, "{descriptor}");
        assert_eq!(ended.err, "", "{descriptor}");
    }
    // Each that lies there is among them.
    assert_eq!(std::fs::read_dir(repository.join("config")).unwrap().count(), 6);
}

#[test]
fn what_is_no_component_is_told_apart() {
    for (bytes, said) in [
        (b"hello".to_vec(), "not a WebAssembly component"),
        (CORE_MODULE.to_vec(), "a core WebAssembly module, not a component"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "no manifest"),
        (component("name = \"a\""), "the key `version` is missing"),
        (component("name = \"b\"\nversion = \"1.0.0\""), "write `[plugins.b]`"),
    ] {
        let tool = Tool::new();
        tool.file("tessera.toml", only_a());
        tool.file("plugins/a.wasm", bytes);
        tool.run(&["check", "--config", "tessera.toml", "--plugins", "plugins"])
            .refused(&[said, "a.wasm"]);
    }
}

#[test]
fn a_file_of_another_digest_is_refused() {
    let tool = Tool::new();
    let digest = "0".repeat(64);
    tool.file("tessera.toml", format!("{}sha256 = \"{digest}\"", only_a()));
    tool.file("plugins/a.wasm", component("name = \"a\"\nversion = \"1.0.0\""));
    tool.run(&["check", "--config", "tessera.toml", "--plugins", "plugins"])
        .refused(&["is not the file that `[plugins.a] sha256` names", &digest]);
}

#[test]
fn a_rate_class_that_is_not_there_is_warned_of() {
    let tool = Tool::new();
    tool.file("tessera.toml", only_a());
    tool.file("plugins/a.wasm", component(&route("a", "rate = \"x\"")));
    let ended = tool.run(&["check", "--config", "tessera.toml", "--plugins", "plugins"]);
    assert!(ended.well().err.contains("there is no [rates.x]"), "{ended:?}");
}

#[test]
fn an_authenticator_that_nobody_offers_is_named() {
    let tool = Tool::new();
    tool.file("tessera.toml", only_a());
    tool.file("plugins/a.wasm", component(&route("a", "auth = \"key\"")));
    tool.run(&["check", "--config", "tessera.toml", "--plugins", "plugins"])
        .refused(&["the route `r` of plug-in a", "`key`"]);
}

#[test]
fn routes_of_two_plugins_that_clash_are_both_named() {
    let tool = Tool::new();
    tool.file("tessera.toml", format!("{}[plugins.b]\ngrants = \"asked\"\n", only_a()));
    tool.file("plugins/a.wasm", component(&route("a", "")));
    tool.file("plugins/b.wasm", component(&route("b", "")));
    tool.run(&["check", "--config", "tessera.toml", "--plugins", "plugins"]).refused(&[
        "GET /r",
        "plug-in a",
        "plug-in b",
    ]);
}

#[test]
fn a_view_that_nobody_exposes_is_named_and_a_topic_that_nobody_emits_is_warned_of() {
    let tool = Tool::new();
    tool.file("tessera.toml", only_a());
    let arguments = ["check", "--config", "tessera.toml", "--plugins", "plugins"];
    let manifest = "name = \"a\"\nversion = \"1.0.0\"\n";
    let reads = format!("{manifest}[storage]\nreads = [\"b_v1_x\"]\nexposes = [\"a_v1_y\"]");
    tool.file("plugins/a.wasm", component(&reads));
    tool.run(&arguments).refused(&[
        "plug-in `a` reads the view `b_v1_x`, which no loaded plug-in exposes",
        "exposed are: a_v1_y",
    ]);
    let consumes = format!("{manifest}[[topics.consumes]]\ntopic = \"b.x\"");
    tool.file("plugins/a.wasm", component(&consumes));
    let ended = tool.run(&arguments);
    assert!(ended.well().err.contains("consumes the topic `b.x`"), "{ended:?}");
}

fn route(name: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\nversion = \"1.0.0\"\n[[http.routes]]\nid = \"r\"\nmethods = [\"GET\"]\npaths = [\"/r\"]\n{more}"
    )
}

#[test]
fn the_default_descriptor_that_is_printed_is_good() {
    let tool = Tool::new();
    let printed = tool.run(&["config", "default"]);
    assert!(printed.well().out.contains("[tenant]"));
    tool.file("tessera.toml", &printed.out);
    tool.run(&["check", "--config", "tessera.toml", "--plugins", "."])
        .refused(&["plug-in `accounts`: there is no file"]);
}

#[test]
fn a_wrong_flag_is_explained() {
    for (arguments, said) in [
        (["run", "--listen", "localhost:8008"], "is no address to listen on"),
        (["run", "--server-name", "a b"], "is no host name"),
        (["run", "--metrics", "on"], "is no address to listen on"),
    ] {
        let ended = Tool::new().run(&arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(said), "{ended:?}");
    }
}

#[test]
fn schemas_are_written() {
    let tool = Tool::new();
    tool.run(&["schema", "--out", "docs/schema"]).well();
    for name in ["plugin", "tessera"] {
        let text =
            std::fs::read_to_string(tool.path().join(format!("docs/schema/{name}.schema.json")));
        let schema: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
        assert_eq!(schema["type"], "object");
    }
}

#[test]
fn what_is_asked_and_not_allowed_is_named_with_the_command_that_allows_it() {
    let tool = Tool::new();
    let least = only_a().replace("grants = \"asked\"", "grants = { serve = \"*\" }");
    tool.file("tessera.toml", least);
    let manifest = route("a", "\n[grants]\nfetch = [\"https://example.org\"]\nsign = true");
    tool.file("plugins/a.wasm", component(&manifest));
    let ended = tool.run(&["check", "--config", "tessera.toml", "--plugins", "plugins"]);
    let line = "missing: may fetch: https://example.org; may sign in the name of the server. \
                To allow it: tessera plugin grant a fetch=https://example.org sign";
    assert!(ended.well().err.contains(line), "{ended:?}");
}
