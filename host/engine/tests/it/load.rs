//! What is no plug-in is refused with a reason.

use tessera_engine::{LoadError, Plugin};

use crate::support::{PRELUDE, WIT, component, engine, manifest, packed, with_section};

const FIRE: &str = r#"
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (call $ok))
"#;

fn load(bytes: &[u8]) -> Result<Plugin, LoadError> {
    let dir = tempfile::tempdir().unwrap();
    Plugin::load(&engine(dir.path(), &prometheus::Registry::new()), "x.wasm", bytes)
}

fn refused(bytes: &[u8]) -> String {
    load(bytes).unwrap_err().to_string()
}

#[test]
fn text_is_no_component() {
    assert!(refused(b"hello").contains("not a WebAssembly component"));
}

#[test]
fn a_core_module_is_no_component() {
    let module = wat::parse_str(format!("(module {PRELUDE})")).unwrap();
    assert!(matches!(load(&module), Err(LoadError::CoreModule)));
}

#[test]
fn a_component_without_manifest_is_refused() {
    assert!(matches!(load(&component(WIT, "timer", FIRE)), Err(LoadError::NoManifest)));
}

#[test]
fn a_wrong_manifest_is_refused_with_its_key() {
    let bytes = with_section(
        component(WIT, "timer", FIRE),
        "tessera:manifest",
        manifest("x", "colour = 1").as_bytes(),
    );
    assert!(refused(&bytes).contains("colour"));
}

#[test]
fn a_bare_import_is_named() {
    let bytes = with_section(
        wat::parse_str(r#"(component (import "go" (func)))"#).unwrap(),
        "tessera:manifest",
        manifest("x", "").as_bytes(),
    );
    let LoadError::Imports(names) = load(&bytes).unwrap_err() else { panic!("loaded") };
    assert_eq!(names, ["go"]);
}

#[test]
fn a_capability_that_does_not_exist_is_named() {
    let text = r#"(component
        (import "tessera:host/teleport@0.1.0" (instance (export "go" (func))))
        (import "wasi:nn/tensor@0.2.0" (instance (export "go" (func)))))"#;
    let bytes = with_section(
        wat::parse_str(text).unwrap(),
        "tessera:manifest",
        manifest("x", "").as_bytes(),
    );
    let LoadError::Imports(names) = load(&bytes).unwrap_err() else { panic!("loaded") };
    assert_eq!(names, ["tessera:host/teleport@0.1.0", "wasi:nn/tensor@0.2.0"]);
}

#[test]
fn http_of_wasi_may_be_imported_since_guests_of_some_languages_always_do() {
    let text = r#"(component
        (import "wasi:http/types@0.2.0" (instance
            (export "fields" (type (sub resource)))
            (export "go" (func)))))"#;
    let bytes = with_section(
        wat::parse_str(text).unwrap(),
        "tessera:manifest",
        manifest("x", "").as_bytes(),
    );
    load(&bytes).unwrap();
}

#[test]
fn routes_need_the_http_interface() {
    let routes = "[[http.routes]]\nid = \"a\"\nmethods = [\"GET\"]\npaths = [\"/a\"]";
    let text = refused(&packed("x", routes, "timer", FIRE));
    assert!(text.contains("[[http.routes]]") && text.contains("tessera:plugin/http"), "{text}");
}

#[test]
fn bytes_may_not_pass_between_plugins() {
    let code = r#"
        (func (export "demo:services/bytes@0.1.0#send") (param i32 i32) (result i32) (i32.const 0))
    "#;
    let text = refused(&packed("x", "", "sends-bytes", code));
    assert!(text.contains("demo:services/bytes@0.1.0") && text.contains("`send`"), "{text}");
    assert!(text.contains("list<u8>"), "{text}");
}

#[test]
fn a_service_error_needs_the_hosts_two_cases() {
    let code = r#"
        (func (export "demo:services/poor@0.1.0#send") (param i32 i32) (result i32) (i32.const 0))
    "#;
    let text = refused(&packed("x", "", "sends-poor", code));
    assert!(text.contains("`send`") && text.contains("variant"), "{text}");
}

#[test]
fn inspect_shows_the_contract() {
    let inspection = load(&packed("x", "", "timer", FIRE)).unwrap().inspect();
    assert_eq!(inspection.name, "x");
    assert_eq!(inspection.exports.len(), 1);
    assert_eq!(inspection.exports[0].name, "tessera:plugin/timer@0.1.0");
    assert_eq!(inspection.exports[0].functions, ["fire"]);
    assert!(inspection.size > 100);
}

#[test]
fn what_the_tools_of_a_language_export_for_themselves_is_no_contract() {
    let text = r#"(component
        (core module $m (func (export "init")))
        (core instance $i (instantiate $m))
        (func $init (canon lift (core func $i "init")))
        (instance $exports (export "init" (func $init)))
        (export "exports" (instance $exports)))"#;
    let bytes = with_section(
        wat::parse_str(text).unwrap(),
        "tessera:manifest",
        manifest("x", "").as_bytes(),
    );
    load(&bytes).unwrap();
}
