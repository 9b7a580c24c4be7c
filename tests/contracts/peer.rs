//! Another server's graph of a room of version 11, made by hand: what `rooms.receive` takes.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const ZOE: &str = "@zoe:hs2";
pub(crate) const YAN: &str = "@yan:hs2";
pub(crate) const ROOM: &str = "!peer:hs2";
pub(crate) const VERSION: &str = "11";

/// Events by id, as JSON, and what their auth events are picked from.
#[derive(Default)]
pub(crate) struct Peer {
    events: BTreeMap<String, Value>,
    pub(crate) order: Vec<String>,
}

/// Spec: appendices, Canonical JSON.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let pair = |(key, value): (&String, &Value)| {
                format!("{}:{}", Value::from(key.as_str()), canonical(value))
            };
            format!("{{{}}}", sorted.into_iter().map(pair).collect::<Vec<_>>().join(","))
        }
        Value::Array(list) => {
            format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

fn hash(value: &Value) -> Vec<u8> {
    Sha256::digest(canonical(value).as_bytes()).to_vec()
}

/// What a redaction leaves of the content. Spec: room version 11, Redactions.
fn kept(kind: &str, content: &Value) -> Value {
    let keys: &[&str] = match kind {
        "m.room.create" => return content.clone(),
        "m.room.member" => &["membership"],
        "m.room.join_rules" => &["join_rule"],
        "m.room.history_visibility" => &["history_visibility"],
        "m.room.power_levels" => &["users"],
        _ => &[],
    };
    let of = content.as_object().unwrap();
    let kept = of.iter().filter(|(key, _)| keys.contains(&key.as_str()));
    Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>())
}

impl Peer {
    /// A public room of Zoe's with Yan in it, who has power.
    pub(crate) fn new() -> Self {
        let mut peer = Self::default();
        let create =
            peer.add(&[], ZOE, "m.room.create", Some(""), json!({"room_version": VERSION}));
        let zoe = peer.member(&[&create], ZOE, "join");
        let users = json!({"users": {ZOE: 100, YAN: 50}});
        let levels = peer.add(&[&zoe], ZOE, "m.room.power_levels", Some(""), users);
        let rule = json!({"join_rule": "public"});
        let rules = peer.add(&[&levels], ZOE, "m.room.join_rules", Some(""), rule);
        peer.member(&[&rules], YAN, "join");
        peer
    }

    pub(crate) fn json(&self, id: &str) -> String {
        self.events[id].to_string()
    }

    pub(crate) fn last(&self) -> String {
        self.order.last().unwrap().clone()
    }

    /// The newest of a kind that an event rests on.
    fn newest(&self, kind: &str, key: &str) -> Option<String> {
        let of =
            |id: &&String| self.events[*id]["type"] == kind && self.events[*id]["state_key"] == key;
        self.order.iter().rev().find(of).cloned()
    }

    pub(crate) fn add(
        &mut self,
        prevs: &[&str],
        by: &str,
        kind: &str,
        key: Option<&str>,
        content: Value,
    ) -> String {
        let mut rests =
            vec![("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", by)];
        if kind == "m.room.member" {
            if content["membership"] == "join" {
                rests.push(("m.room.join_rules", ""));
            }
            rests.extend(key.map(|user| ("m.room.member", user)));
        }
        let mut auth: Vec<String> =
            rests.into_iter().filter_map(|(kind, key)| self.newest(kind, key)).collect();
        auth.sort();
        auth.dedup();
        let depths = prevs.iter().map(|id| self.events[*id]["depth"].as_u64().unwrap());
        let depth = depths.max().unwrap_or(0) + 1;
        let mut event = json!({
            "type": kind, "room_id": ROOM, "sender": by, "content": content, "depth": depth,
            "prev_events": prevs, "auth_events": auth, "origin_server_ts": 1_000 + self.order.len(),
        });
        if let Some(key) = key {
            event["state_key"] = json!(key);
        }
        event["hashes"] = json!({"sha256": STANDARD_NO_PAD.encode(hash(&event))});
        let mut redacted = event.clone();
        redacted["content"] = kept(kind, &event["content"]);
        let id = format!("${}", URL_SAFE_NO_PAD.encode(hash(&redacted)));
        event["signatures"] = json!({});
        self.events.insert(id.clone(), event);
        self.order.push(id.clone());
        id
    }

    pub(crate) fn member(&mut self, prevs: &[&str], who: &str, membership: &str) -> String {
        self.add(prevs, who, "m.room.member", Some(who), json!({"membership": membership}))
    }

    pub(crate) fn topic(&mut self, prevs: &[&str], by: &str, topic: &str) -> String {
        self.add(prevs, by, "m.room.topic", Some(""), json!({"topic": topic}))
    }

    pub(crate) fn text(&mut self, prevs: &[&str], by: &str, body: &str) -> String {
        self.add(prevs, by, "m.room.message", None, json!({"msgtype": "m.text", "body": body}))
    }
}
