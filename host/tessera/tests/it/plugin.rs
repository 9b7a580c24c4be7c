//! `tessera plugin inspect` of files that are no plug-ins.

use crate::tool::{CORE_MODULE, Tool, component};

#[test]
fn a_file_that_is_not_there_is_named() {
    Tool::new()
        .run(&["plugin", "inspect", "nowhere.wasm"])
        .refused(&["cannot read nowhere.wasm", "No such file"]);
}

#[test]
fn what_is_no_component_is_told_apart() {
    for (bytes, said) in [
        (b"hello".to_vec(), "not a WebAssembly component"),
        (CORE_MODULE.to_vec(), "a core WebAssembly module, not a component"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "no manifest"),
        (component("name = \"a\"\nversion = \"1\""), "x.wasm:2:11: version: `1` is no version"),
    ] {
        let tool = Tool::new();
        tool.file("x.wasm", bytes);
        tool.run(&["plugin", "inspect", "x.wasm"]).refused(&["x.wasm", said]);
    }
}

#[test]
fn an_empty_plugin_is_shown() {
    let tool = Tool::new();
    tool.file("x.wasm", component("name = \"a\"\nversion = \"1.2.3\"\ndescription = \"Nothing\""));
    let shown = tool.run(&["plugin", "inspect", "x.wasm"]);
    assert!(shown.well().out.starts_with("a 1.2.3, "), "{shown:?}");
    assert!(shown.out.contains("Nothing"));
    assert!(shown.out.contains("routes: none"));
    let json = tool.run(&["plugin", "inspect", "x.wasm", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.well().out).unwrap();
    assert_eq!(json["name"], "a");
    assert_eq!(json["version"], "1.2.3");
}
