//! The endpoints of push rules.

use serde_json::{Value, json};

use crate::world::*;

fn global(world: &World, user: &str) -> Value {
    world.request(user, "GET", "rules-global", &[], None).ok()
}

fn order(world: &World, kind: &str) -> Vec<String> {
    let rules = global(world, ALICE)[kind].clone();
    let rules = rules.as_array().unwrap();
    rules.iter().map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
}

fn put(world: &World, id: &str, query: &[(&str, &str)]) -> tessera_test_host::TestAnswer {
    let mut params = vec![("kind", "content"), ("ruleId", id)];
    params.extend_from_slice(query);
    let body = json!({ "pattern": id, "actions": ["notify"] });
    world.request(ALICE, "PUT", "rule", &params, Some(&body))
}

#[test]
fn defaults_are_there_from_the_start() {
    let world = world();
    let all = world.request(ALICE, "GET", "rules", &[], None).ok();
    assert_eq!(all["global"], global(&world, ALICE));
    let ids = order(&world, "override");
    for id in [".m.rule.master", ".m.rule.invite_for_me", ".m.rule.is_user_mention"] {
        assert!(ids.iter().any(|known| known == id), "{id}");
    }
    assert_eq!(all["global"]["content"], json!([]));
}

#[test]
fn a_rule_is_made_told_switched_off_and_deleted() {
    let world = world();
    put(&world, "cake", &[]).ok();
    let params = [("kind", "content"), ("ruleId", "cake")];
    let expected = json!({ "rule_id": "cake", "pattern": "cake", "actions": ["notify"], "default": false, "enabled": true });
    assert_eq!(world.request(ALICE, "GET", "rule", &params, None).ok(), expected);
    let off = json!({ "enabled": false });
    world.request(ALICE, "PUT", "rule-enabled", &params, Some(&off)).ok();
    assert_eq!(world.request(ALICE, "GET", "rule-enabled", &params, None).ok(), off);
    let loud =
        json!({ "actions": ["notify", { "set_tweak": "sound", "value": "bing" }, "dont_notify"] });
    world.request(ALICE, "PUT", "rule-actions", &params, Some(&loud)).ok();
    assert_eq!(world.request(ALICE, "GET", "rule-actions", &params, None).ok(), loud);
    put(&world, "cake", &[]).ok();
    assert_eq!(
        world.request(ALICE, "GET", "rule-enabled", &params, None).ok(),
        off,
        "a change keeps it"
    );
    world.request(ALICE, "DELETE", "rule", &params, None).ok();
    let gone = (404, "M_NOT_FOUND".to_owned());
    assert_eq!(world.request(ALICE, "GET", "rule", &params, None).error(), gone);
    assert_eq!(world.request(ALICE, "DELETE", "rule", &params, None).error(), gone);
    for route in ["rule-enabled", "rule-actions"] {
        assert_eq!(world.request(ALICE, "GET", route, &params, None).error(), gone);
    }
    assert_eq!(world.request(ALICE, "PUT", "rule-enabled", &params, Some(&off)).error(), gone);
    assert_eq!(world.request(ALICE, "PUT", "rule-actions", &params, Some(&loud)).error(), gone);
}

#[test]
fn new_rules_come_first_or_where_they_are_put() {
    let world = world();
    for id in ["a", "b", "c"] {
        put(&world, id, &[]).ok();
    }
    assert_eq!(order(&world, "content"), ["c", "b", "a"]);
    put(&world, "d", &[("?after", "b")]).ok();
    assert_eq!(order(&world, "content"), ["c", "b", "d", "a"]);
    put(&world, "e", &[("?before", "c")]).ok();
    assert_eq!(order(&world, "content"), ["e", "c", "b", "d", "a"]);
    // Moved to the very end and back, and placed between two.
    put(&world, "e", &[("?after", "a")]).ok();
    assert_eq!(order(&world, "content"), ["c", "b", "d", "a", "e"]);
    put(&world, "e", &[("?after", "c"), ("?before", "d")]).ok();
    assert_eq!(order(&world, "content"), ["c", "b", "e", "d", "a"]);
    put(&world, "b", &[]).ok();
    assert_eq!(order(&world, "content"), ["c", "b", "e", "d", "a"], "a change moves nothing");
    let crossed = put(&world, "x", &[("?after", "a"), ("?before", "c")]);
    assert_eq!(crossed.error(), (400, "M_INVALID_PARAM".to_owned()));
    let unknown = put(&world, "x", &[("?after", "nope")]);
    assert_eq!(unknown.error(), (400, "M_UNKNOWN".to_owned()));
    let itself = put(&world, "c", &[("?after", "c")]);
    assert_eq!(itself.error(), (400, "M_UNKNOWN".to_owned()));
    let default = put(&world, "x", &[("?before", ".m.rule.master")]);
    assert_eq!(default.error(), (400, "M_INVALID_PARAM".to_owned()));
    assert_eq!(order(&world, "content"), ["c", "b", "e", "d", "a"]);
}

#[test]
fn own_overrides_come_after_master_and_before_the_other_defaults() {
    let world = world();
    world.rule(ALICE, "override", "mine", &json!({ "actions": [], "conditions": [] })).ok();
    world.rule(ALICE, "underride", "mine", &json!({ "actions": [] })).ok();
    let ids = order(&world, "override");
    assert_eq!(ids[..2], [".m.rule.master", "mine"]);
    assert_eq!(order(&world, "underride")[0], "mine");
}

#[test]
fn default_rules_can_be_switched_and_changed_but_not_deleted_or_made() {
    let world = world();
    let params = [("kind", "override"), ("ruleId", ".m.rule.master")];
    world.request(ALICE, "PUT", "rule-enabled", &params, Some(&json!({ "enabled": true }))).ok();
    assert_eq!(global(&world, ALICE)["override"][0]["enabled"], true);
    assert_eq!(global(&world, BOB)["override"][0]["enabled"], false);
    let bad = (400, "M_INVALID_PARAM".to_owned());
    assert_eq!(world.request(ALICE, "DELETE", "rule", &params, None).error(), bad);
    let body = json!({ "actions": [] });
    assert_eq!(world.rule(ALICE, "override", ".mine", &body).error(), bad);
}

#[test]
fn bad_rules_are_refused() {
    let world = world();
    let ok = json!({ "actions": ["notify"], "pattern": "x" });
    let long = "x".repeat(1025);
    let many = json!({ "actions": vec!["notify"; 65], "pattern": "x" });
    let cases = [
        ("loud", "x", ok.clone(), "M_INVALID_PARAM"),
        ("content", "a/b", ok.clone(), "M_INVALID_PARAM"),
        ("content", "a\\b", ok.clone(), "M_INVALID_PARAM"),
        ("content", "", ok.clone(), "M_INVALID_PARAM"),
        ("content", &long, ok.clone(), "M_INVALID_PARAM"),
        ("content", "x", json!({ "actions": [] }), "M_MISSING_PARAM"),
        ("content", "x", json!({ "pattern": "x" }), "M_MISSING_PARAM"),
        ("content", "x", json!({ "pattern": "", "actions": [] }), "M_INVALID_PARAM"),
        ("content", "x", json!({ "pattern": "x", "actions": ["shout"] }), "M_INVALID_PARAM"),
        (
            "content",
            "x",
            json!({ "pattern": "x", "actions": [{ "set_tweak": 7 }] }),
            "M_INVALID_PARAM",
        ),
        ("content", "x", json!({ "pattern": "x", "actions": [null] }), "M_INVALID_PARAM"),
        ("content", "x", json!({ "pattern": 7, "actions": [] }), "M_BAD_JSON"),
        ("content", "x", json!([1]), "M_BAD_JSON"),
        ("content", "x", many, "M_INVALID_PARAM"),
        ("room", "x", ok.clone(), "M_INVALID_PARAM"),
        ("sender", "x", ok, "M_INVALID_PARAM"),
        ("override", "x", json!({ "actions": [], "conditions": [{}] }), "M_INVALID_PARAM"),
        (
            "override",
            "x",
            json!({ "actions": [], "conditions": [{ "kind": "event_match" }] }),
            "M_INVALID_PARAM",
        ),
    ];
    for (kind, id, body, code) in cases {
        let answer = world.rule(ALICE, kind, id, &body);
        assert_eq!(answer.error(), (400, code.to_owned()), "{kind} {id} {body}");
    }
    let params = [("kind", "content"), ("ruleId", "x")];
    for route in ["rule-enabled", "rule-actions"] {
        let answer = world.request(ALICE, "PUT", route, &params, Some(&json!({})));
        assert_eq!(answer.error(), (400, "M_MISSING_PARAM".to_owned()));
    }
    let malformed = world.host.request("PUT", "rule").param("kind", "content").param("ruleId", "x");
    let malformed = malformed.user(ALICE).bytes(b"{").send::<tessera_plugin_push::Plugin>();
    assert_eq!(malformed.error(), (400, "M_NOT_JSON".to_owned()));
}

#[test]
fn unknown_conditions_are_kept_and_never_match() {
    let world = world_with_room();
    let rule =
        json!({ "actions": [], "conditions": [{ "kind": "org.example.moon", "phase": "full" }] });
    world.rule(BOB, "override", "moon", &rule).ok();
    assert_eq!(global(&world, BOB)["override"][1]["conditions"], rule["conditions"]);
    world.say(ALICE, "x");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
}

#[test]
fn rules_are_limited() {
    let world = world();
    let pattern = "x".repeat(1000);
    let body = json!({ "pattern": pattern, "actions": [] });
    let refused = (0..600)
        .map(|n| world.rule(ALICE, "content", &n.to_string(), &body))
        .find(|a| a.status() != 200);
    assert_eq!(refused.expect("a cap").error(), (413, "M_TOO_LARGE".to_owned()));
}

#[test]
fn a_change_wakes_the_user_and_survives_a_rival() {
    let world = world();
    let _ = world.host.wakes();
    world.host.before_next_commit(|host| {
        host.install();
        host.act_as("push");
        let body = json!({ "pattern": "b", "actions": [] });
        let rule = host.request("PUT", "rule").param("kind", "content").param("ruleId", "b");
        rule.user(ALICE).json(&body).send::<tessera_plugin_push::Plugin>().ok();
    });
    put(&world, "a", &[]).ok();
    assert_eq!(order(&world, "content"), ["a", "b"]);
    assert_eq!(world.host.wakes(), [format!("user:{ALICE}"), format!("user:{ALICE}")]);
}

#[test]
fn a_rule_for_an_alias_is_kept_and_applies_to_nothing() {
    let world = world_with_room();
    let body = json!({ "actions": ["notify"] });
    for (id, query) in
        [("#a:hs1", vec![]), ("#b:hs1", vec![("?after", "#a:hs1")]), ("!r:hs1", vec![])]
    {
        let mut params = vec![("kind", "room"), ("ruleId", id)];
        params.extend(query);
        world.request(BOB, "PUT", "rule", &params, Some(&body)).ok();
    }
    let params = [("kind", "room"), ("ruleId", "#b:hs1")];
    assert_eq!(world.request(BOB, "GET", "rule", &params, None).ok()["rule_id"], "#b:hs1");
    let off = json!({ "enabled": false });
    world.request(BOB, "PUT", "rule-enabled", &params, Some(&off)).ok();
    assert_eq!(world.request(BOB, "GET", "rule-enabled", &params, None).ok(), off);
    let all = world.request(BOB, "GET", "rule", &[("kind", "room"), ("ruleId", "")], None).ok();
    let ids: Vec<&Value> = all.as_array().unwrap().iter().map(|rule| &rule["rule_id"]).collect();
    assert_eq!(ids, ["!r:hs1", "#a:hs1", "#b:hs1"]);
    world.say(ALICE, "still counted");
    world.deliver();
    assert_eq!(world.unread(BOB), (1, 0));
    world.request(BOB, "DELETE", "rule", &params, None).ok();
    assert_eq!(world.request(BOB, "GET", "rule", &params, None).error().0, 404);
}
