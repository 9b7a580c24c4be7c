//! What differs between room versions: the rules of events that another server sends, version by version.

use serde_json::{Value, json};
use tessera_plugin_rooms::core::incoming;
use tessera_plugin_rooms::core::version::SUPPORTED;
use tessera_plugin_rooms::receive::Outcome;

use crate::harness::server;
use crate::peer::{Peer, XIA, YAN, ZOE};

/// Which versions take an event that `make` adds to a room of each.
fn taken(make: impl Fn(&mut Peer, &str) -> String) -> Vec<&'static str> {
    let mut taken = Vec::new();
    for version in SUPPORTED {
        let _server = server();
        let mut peer = Peer::new(version);
        peer.join();
        let base = peer.last();
        let id = make(&mut peer, &base);
        let between: Vec<String> =
            peer.order[6..].iter().filter(|other| **other != id).cloned().collect();
        for other in &between {
            assert_eq!(peer.give(&[other])[0], Outcome::Accepted, "version {version}");
        }
        match &peer.give(&[&id])[0] {
            Outcome::Accepted => taken.push(version),
            Outcome::Rejected(_) => {}
            other => panic!("version {version}: {other:?}"),
        }
    }
    taken
}

fn since(version: &str) -> Vec<&'static str> {
    let at = SUPPORTED.iter().position(|known| *known == version).unwrap();
    SUPPORTED[at..].to_vec()
}

fn before(version: &str) -> Vec<&'static str> {
    let at = SUPPORTED.iter().position(|known| *known == version).unwrap();
    SUPPORTED[..at].to_vec()
}

fn levels(peer: &mut Peer, base: &str, by: &str, content: Value) -> String {
    peer.add(&[base], by, "m.room.power_levels", Some(""), content)
}

#[test]
fn power_levels_are_integers_from_version_10() {
    let got = taken(|peer, base| {
        levels(peer, base, ZOE, json!({"users": {ZOE: 100, YAN: 50}, "invite": "50"}))
    });
    assert_eq!(got, before("10"));
}

#[test]
fn notification_levels_are_guarded_from_version_6() {
    let got = taken(|peer, base| {
        let users = json!({ZOE: 100, YAN: 50});
        let high = json!({"users": users, "notifications": {"room": 90}});
        let set = levels(peer, base, ZOE, high);
        levels(peer, &set, YAN, json!({"users": users, "notifications": {"room": 10}}))
    });
    assert_eq!(got, before("6"));
}

#[test]
fn aliases_event_is_special_before_version_6() {
    // Without power, but for one's own server.
    let got = taken(|peer, base| {
        peer.add(&[base], XIA, "m.room.aliases", Some("hs3"), json!({"aliases": []}))
    });
    assert_eq!(got, before("6"));
}

#[test]
fn knocks_come_with_version_7() {
    let got = taken(|peer, base| {
        let rules = json!({"join_rule": "knock"});
        let rules = peer.add(&[base], ZOE, "m.room.join_rules", Some(""), rules);
        peer.member(&[&rules], "@eve:hs3", "@eve:hs3", "knock")
    });
    assert_eq!(got, since("7"));
}

#[test]
fn restricted_joins_come_with_version_8_and_knock_restricted_with_10() {
    for (rule, version) in [("restricted", "8"), ("knock_restricted", "10")] {
        let got = taken(|peer, base| {
            let allow = json!([{"type": "m.room_membership", "room_id": "!other:hs2"}]);
            let rules = json!({"join_rule": rule, "allow": allow});
            let rules = peer.add(&[base], ZOE, "m.room.join_rules", Some(""), rules);
            let join = json!({"membership": "join", "join_authorised_via_users_server": ZOE});
            peer.add(&[&rules], "@eve:hs3", "m.room.member", Some("@eve:hs3"), join)
        });
        assert_eq!(got, since(version), "{rule}");
    }
}

#[test]
fn creators_are_above_all_levels_in_version_12() {
    // Nobody may name the creator there.
    let got = taken(|peer, base| levels(peer, base, ZOE, json!({"users": {YAN: 50}})));
    assert_eq!(got, SUPPORTED);
    let got = taken(|peer, base| {
        let users = json!({YAN: 50});
        let low = levels(peer, base, ZOE, json!({"users": users, "state_default": 100}));
        peer.topic(&[&low], ZOE, "mine")
    });
    assert_eq!(got, ["12"], "elsewhere the creator has what the levels give");
}

#[test]
fn redactions_are_judged_by_the_rules_before_version_3_only() {
    let got = taken(|peer, base| {
        let text = peer.text(&[base], ZOE, "x");
        peer.add(&[&text], XIA, "m.room.redaction", None, json!({"redacts": text}))
    });
    // In the others it is taken and does nothing; the ids of versions 1 and 2 tell the server.
    assert_eq!(got, since("3"));
}

fn read(version: &str, change: impl Fn(&mut Value)) -> Result<String, String> {
    let mut peer = Peer::new(version);
    let base = peer.last();
    let text = peer.text(&[&base], ZOE, "x");
    let mut event: Value = serde_json::from_str(&peer.json(&text)).unwrap();
    change(&mut event);
    incoming::read(&peer.version, peer.room(), &event.to_string())
        .map(|incoming| incoming.event.id().to_owned())
}

#[test]
fn ids_have_the_form_of_their_version() {
    for version in SUPPORTED {
        let id = read(version, |_| {}).unwrap();
        match version {
            "1" | "2" => assert!(id.ends_with(":hs2"), "{id}"),
            // Standard base64 may hold `/` and `+`.
            "3" => assert!(id.len() == 44 && !id.contains(['-', '_', ':']), "{id}"),
            _ => assert!(id.len() == 44 && !id.contains(['/', '+', ':']), "{id}"),
        }
        let without = read(version, |event| {
            event.as_object_mut().unwrap().remove("event_id");
        });
        assert_eq!(without.is_err(), ["1", "2"].contains(&version), "version {version}");
    }
}

#[test]
fn create_event_is_not_named_from_version_12() {
    let name = |version: &str| {
        let peer = Peer::new(version);
        let create = peer.order[0].clone();
        drop(peer);
        read(version, move |event| {
            let list = event["auth_events"].as_array_mut().unwrap();
            if !list.contains(&json!(create)) {
                list.push(json!(create));
            }
        })
    };
    assert!(name("11").is_ok());
    assert!(name("12").is_err());
}

#[test]
fn room_of_version_12_is_its_create_event() {
    let peer = Peer::new("12");
    assert_eq!(peer.room().replacen('!', "$", 1), peer.order[0]);
    let create: Value = serde_json::from_str(&peer.json(&peer.order[0])).unwrap();
    assert!(create.get("room_id").is_none());
    let elsewhere = format!("!{}", "A".repeat(43));
    let got = incoming::read(&peer.version, &elsewhere, &create.to_string());
    assert!(got.unwrap_err().contains("another room"));
}

#[test]
fn depth_is_an_integer_of_canonical_json() {
    for version in SUPPORTED {
        for bad in [json!(-1), json!(1.5), json!("1"), json!(9_007_199_254_740_992_i64)] {
            assert!(read(version, |event| event["depth"] = bad.clone()).is_err(), "{bad}");
        }
        assert!(read(version, |event| event["depth"] = json!(9_007_199_254_740_991_i64)).is_ok());
    }
}
