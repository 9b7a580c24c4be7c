//! What the descriptor leaves of what a manifest asks.

use tessera_manifest::{Descriptor, Grants, Limits};

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
