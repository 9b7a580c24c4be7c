//! What the descriptor leaves of what a manifest asks, and what manifests need of it.

use tessera_manifest::{Descriptor, Grants, Limits, PluginManifest};

fn manifest(text: &str) -> PluginManifest {
    PluginManifest::parse("plugin.toml", text).unwrap()
}

fn grants(text: &str) -> Grants {
    let text = format!("[plugins.a]\ngrants = {text}");
    let descriptor = Descriptor::parse("tessera.toml", &text).unwrap();
    descriptor.plugins.values().next().unwrap().grants.clone()
}

#[test]
fn asked_allows_everything_that_is_asked() {
    let grants = grants("\"asked\"");
    assert!(grants.allows_call(&"a:b/c".parse().unwrap()));
    assert!(grants.allows_read(&"rooms_v1_events".parse().unwrap()));
    assert!(grants.allows_fetch("https", "example.org", Some(443)));
}

#[test]
fn a_list_that_is_there_cuts_and_one_that_is_absent_does_not() {
    let grants = grants("{ call = [\"a:b/c\"], fetch = [] }");
    assert!(grants.allows_call(&"a:b/c".parse().unwrap()));
    assert!(!grants.allows_call(&"a:b/d".parse().unwrap()));
    assert!(!grants.allows_fetch("https", "example.org", Some(443)));
    assert!(grants.allows_read(&"rooms_v1_events".parse().unwrap()));
}

#[test]
fn limits_are_taken_from_the_first_place_that_says_something() {
    let over = Limits { rows: Some(1), ..Limits::default() };
    let below = Limits { rows: Some(2), instances: Some(3), ..Limits::default() };
    let both = over.over(&below);
    assert_eq!((both.rows, both.instances, both.memory), (Some(1), Some(3), None));
}

#[test]
fn a_rate_class_that_is_not_there_is_named_with_its_route() {
    let a = manifest(
        "name = \"a\"\nversion = \"1.0.0\"\n[[http.routes]]\nid = \"r\"\nmethods = [\"GET\"]\npaths = [\"/r\"]\nauth = \"none\"\nrate = \"fast\"",
    );
    let error = Descriptor::default().check_manifests([&a].into_iter()).unwrap_err();
    assert!(error.contains("plug-in `a`, route `r`: no rate class `fast`"), "{error}");
}

#[test]
fn an_authenticator_that_nobody_offers_is_named_with_its_route() {
    let a = manifest(
        "name = \"a\"\nversion = \"1.0.0\"\n[[http.routes]]\nid = \"r\"\nmethods = [\"GET\"]\npaths = [\"/r\"]\nauth = \"key\"",
    );
    let error = Descriptor::default().check_manifests([&a].into_iter()).unwrap_err();
    assert!(error.contains("no loaded plug-in offers the authenticator `key`"), "{error}");
    let b =
        manifest("name = \"b\"\nversion = \"1.0.0\"\n[authenticators.key]\nreads = \"head+body\"");
    Descriptor::default().check_manifests([&a, &b].into_iter()).unwrap();
}
