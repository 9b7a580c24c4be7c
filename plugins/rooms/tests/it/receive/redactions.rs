//! Redactions of other servers: what they redact, and when.

use super::*;

#[test]
fn redaction_waits_for_what_it_redacts() {
    for version in ["2", "6", "11", "12"] {
        let (server, mut peer) = joined(version);
        let base = peer.last();
        let text = peer.text(&[&base], XIA, "secret");
        let redact = |peer: &mut Peer, by: &str| {
            peer.add(
                &[&base],
                by,
                "m.room.redaction",
                None,
                json!({"redacts": text, "reason": "r"}),
            )
        };
        let (by_none, by_power) = (redact(&mut peer, "@none:hs9"), redact(&mut peer, ZOE));
        assert!(matches!(peer.give(&[&by_none])[0], Outcome::Rejected(_)), "not in the room");
        assert_eq!(peer.give(&[&by_power]), [Outcome::Accepted]);
        assert_eq!(shown(&server, &by_power), Some(false), "version {version}");
        let told = server.host.messages("rooms.events").len();
        assert_eq!(peer.give(&[&text]), [Outcome::Accepted]);
        assert_eq!(server.event(&text)["content"], json!({}));
        assert_eq!(shown(&server, &by_power), Some(true));
        assert_eq!(server.host.messages("rooms.events").len(), told + 2, "both are told");
        let order: Vec<(String,)> = server.rows(
            "SELECT event_id FROM rooms_v1_events WHERE room_id = $1 AND stream = TRUE ORDER BY position DESC LIMIT 2",
            params![peer.room()],
        );
        assert_eq!(order, [(by_power.clone(),), (text.clone(),)]);
        let by: Vec<(Option<String>,)> = server
            .rows("SELECT redacted_by FROM rooms_v1_events WHERE event_id = $1", params![&text]);
        assert_eq!(by, [(Some(by_power),)]);
    }
}

#[test]
fn redaction_takes_power_or_the_senders_server() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let zoes = peer.text(&[&base], ZOE, "a");
    let xias = peer.text(&[&zoes], XIA, "b");
    let redact = |peer: &mut Peer, by: &str, what: &str| {
        let last = peer.last();
        peer.add(&[&last], by, "m.room.redaction", None, json!({"redacts": what}))
    };
    let eve = peer.member(&[&xias], "@eve:hs3", "@eve:hs3", "join");
    let not = redact(&mut peer, XIA, &zoes);
    let same = redact(&mut peer, "@eve:hs3", &xias);
    assert_eq!(peer.give(&[&zoes, &xias, &eve, &not, &same]), vec![Outcome::Accepted; 5]);
    assert_eq!(server.event(&zoes)["content"]["body"], "a");
    assert_eq!(shown(&server, &not), Some(false));
    assert_eq!(server.event(&xias)["content"], json!({}));
    assert_eq!(shown(&server, &same), Some(true));
}

#[test]
fn redaction_is_of_the_event_that_its_room_version_names_and_of_no_other() {
    for version in ["11", "12"] {
        let (server, mut peer) = joined(version);
        let base = peer.last();
        let own = peer.text(&[&base], XIA, "mine");
        let levels = peer.order[2].clone();
        let content = json!({"redacts": levels, "reason": "r"});
        let id = peer.add(&[&own], XIA, "m.room.redaction", None, content);
        // The other place for it names an event that she may redact; the hashes are right.
        let forged = peer.forge(&id, "redacts", json!(own));
        assert_eq!(peer.give(&[&own]), [Outcome::Accepted]);
        let before = server.event(&levels);
        let got = receive(peer.room(), "hs3", &[forged]).unwrap();
        assert_eq!(got[0].1, Outcome::Accepted);
        assert_eq!(server.event(&levels), before, "version {version}");
        assert_eq!(server.event(&own)["content"]["body"], "mine");
        assert_eq!(shown(&server, &got[0].0), Some(false), "it is held");
    }
}

#[test]
fn redaction_of_an_event_without_a_place_holds_when_it_gets_one() {
    for first in ["event", "redaction"] {
        let (server, mut peer) = joined("11");
        let base = peer.last();
        let topic = peer.topic(&[&base], ZOE, "secret");
        let content = json!({"redacts": topic});
        let redaction = peer.add(&[&base], ZOE, "m.room.redaction", None, content);
        let outlier = || {
            let got = receive_outliers(peer.room(), "11", &[peer.json(&topic)]).unwrap();
            assert_eq!(got[0].1, Outcome::Accepted);
        };
        if first == "event" {
            outlier();
            assert_eq!(peer.give(&[&redaction]), [Outcome::Accepted]);
        } else {
            assert_eq!(peer.give(&[&redaction]), [Outcome::Accepted]);
            outlier();
        }
        assert_eq!(server.event(&topic)["content"], json!({}), "{first} first");
        assert_eq!(peer.give(&[&topic]), [Outcome::Accepted]);
        assert_eq!(server.event(&topic)["content"], json!({}), "{first} first");
        let by: Vec<(Option<String>, bool)> = server.rows(
            "SELECT redacted_by, stream FROM rooms_v1_events WHERE event_id = $1",
            params![&topic],
        );
        assert_eq!(by, [(Some(redaction.clone()), true)]);
        assert_eq!(shown(&server, &redaction), Some(true));
        let found = storage::search("messages", "secret", None, 10, 0).unwrap();
        assert!(found.is_empty(), "{first} first");
    }
}

#[test]
fn redactions_of_those_who_may_not_do_not_hide_one_of_who_may() {
    let (server, mut peer) = joined("11");
    let base = peer.last();
    let text = peer.text(&[&base], YAN, "secret");
    let mut all = Vec::new();
    for n in 0..12 {
        let content = json!({"redacts": text, "n": n});
        all.push(peer.add(&[&base], XIA, "m.room.redaction", None, content));
    }
    all.push(peer.add(&[&base], ZOE, "m.room.redaction", None, json!({"redacts": text})));
    for id in &all {
        assert_eq!(peer.give(&[id]), [Outcome::Accepted]);
    }
    assert_eq!(peer.give(&[&text]), [Outcome::Accepted]);
    assert_eq!(server.event(&text)["content"], json!({}));
    assert_eq!(shown(&server, all.last().unwrap()), Some(true));
    let left: Vec<(i64,)> =
        server.rows("SELECT COUNT(*) AS n FROM rooms_held_redactions", params![]);
    assert_eq!(left, [(0,)]);
}
