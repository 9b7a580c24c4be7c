//! `tessera:services/push`

use serde_json::{Value, json};
use tessera_plugin_push::Plugin;
use tessera_sdk::bindings::push::exports::tessera::services::push::{Error, Guest};

use crate::world::*;

#[test]
fn rules_of_one_who_changed_nothing_are_the_defaults() {
    let _world = world();
    let content: Value = serde_json::from_str(&Plugin::rules(ALICE.to_owned()).unwrap()).unwrap();
    assert_eq!(content["global"]["override"][0]["rule_id"], ".m.rule.master");
    assert_eq!(content["global"]["sender"], json!([]));
    assert!(Plugin::rules("nobody".to_owned()).is_err());
}

#[test]
fn rules_of_the_view_are_those_of_the_service() {
    let world = world();
    world.mute(BOB);
    let row: Option<(String, i64)> = tessera_sdk::storage::query(
        "SELECT content, position FROM push_v1_rules WHERE user_id = $1",
        tessera_sdk::params![BOB],
    )
    .unwrap()
    .first()
    .unwrap();
    assert_eq!(row.unwrap().0, Plugin::rules(BOB.to_owned()).unwrap());
}

#[test]
fn actions_of_a_rule_are_set_for_a_user() {
    let _world = world();
    let set = |kind: &str, rule: &str, actions: &str| {
        Plugin::set_actions(ALICE.to_owned(), kind.to_owned(), rule.to_owned(), actions.to_owned())
    };
    assert_eq!(set("underride", ".m.rule.message", "[]"), Ok(()));
    let content: Value = serde_json::from_str(&Plugin::rules(ALICE.to_owned()).unwrap()).unwrap();
    let rules = content["global"]["underride"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["rule_id"] == ".m.rule.message").unwrap();
    assert_eq!(rule["actions"], json!([]));
    assert_eq!(set("underride", "none", "[]"), Err(Error::NotFound));
    for (kind, actions) in [("other", "[]"), ("underride", "{}"), ("underride", "[1]")] {
        assert!(
            matches!(set(kind, ".m.rule.message", actions), Err(Error::Refused(_))),
            "{kind} {actions}"
        );
    }
}
