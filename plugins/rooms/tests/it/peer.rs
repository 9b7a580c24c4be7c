//! Another server's graph of a room, built in memory: what `receive` takes, and what is to come of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ruma::state_res::Event as _;
use serde_json::{Value, json};
use tessera_plugin_rooms::core::build::{self, Draft, Extremity, Place};
use tessera_plugin_rooms::core::resolve::{Known, resolve};
use tessera_plugin_rooms::core::{Decision, State, StoredEvent, Version, content, decide};
use tessera_plugin_rooms::receive;

pub(crate) const ZOE: &str = "@zoe:hs2";
pub(crate) const YAN: &str = "@yan:hs2";
pub(crate) const XIA: &str = "@xia:hs3";

/// One event of the graph.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) json: String,
    pub(crate) end: Extremity,
    pub(crate) prevs: Vec<String>,
    pub(crate) after: State,
    pub(crate) rejected: bool,
}

/// A graph.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) version: Version,
    pub(crate) room_id: Option<String>,
    pub(crate) known: Known,
    pub(crate) nodes: HashMap<String, Node>,
    pub(crate) order: Vec<String>,
    creator: String,
    now_ms: u64,
}

pub(crate) type Names = BTreeMap<(String, String), String>;

pub(crate) fn names(state: &State) -> Names {
    let entry = |event: &Arc<StoredEvent>| {
        ((event.kind(), event.state_key().unwrap().to_owned()), event.id().to_owned())
    };
    state.events().map(entry).collect()
}

impl Peer {
    /// A public room of Zoe's with Yan and Xia in it; Yan has power.
    pub(crate) fn new(version: &str) -> Self {
        let version = Version::named(version).unwrap();
        let room_id = (!version.room_id_is_hash()).then(|| "!peer:hs2".to_owned());
        let mut peer = Self {
            version,
            room_id,
            known: Known::new(),
            nodes: HashMap::new(),
            order: Vec::new(),
            creator: ZOE.to_owned(),
            now_ms: 1_000,
        };
        let version = peer.version.name().to_owned();
        let create = json!({"room_version": version, "creator": ZOE});
        let mut last = peer.add(&[], ZOE, "m.room.create", Some(""), create);
        for (by, kind, key, body) in [
            (ZOE, "m.room.member", ZOE, json!({"membership": "join"})),
            (ZOE, "m.room.power_levels", "", json!({"users": {ZOE: 100, YAN: 50}})),
            (ZOE, "m.room.join_rules", "", json!({"join_rule": "public"})),
            (YAN, "m.room.member", YAN, json!({"membership": "join"})),
            (XIA, "m.room.member", XIA, json!({"membership": "join"})),
        ] {
            last = peer.add(&[&last], by, kind, Some(key), body);
        }
        peer
    }

    /// Goes on from a room of the server under test, as far as its events tell (members made up by a test are left out).
    pub(crate) fn adopt(&mut self, server: &crate::harness::Server, room: &str) {
        let fresh = Self::new(self.version.name());
        *self = Self { known: Known::new(), nodes: HashMap::new(), order: Vec::new(), ..fresh };
        self.room_id = Some(room.to_owned());
        let rows: Vec<(String, String)> = server.rows(
            // The ids of those that a test made up are short.
            "SELECT event_id, json FROM rooms_events WHERE room_id = $1 AND length(event_id) > 20
             ORDER BY position",
            tessera_sdk::params![room],
        );
        let mut after = State::default();
        let mut last: Vec<String> = Vec::new();
        for (id, json) in rows {
            let event = StoredEvent::parse(&id, &json, false).unwrap();
            let hash = build::reference_hash(&self.version, &json).unwrap();
            let event = Arc::new(event.with_hash(hash.clone()));
            self.now_ms = self.now_ms.max(u64::from(event.origin_server_ts().get()));
            self.known.insert(event.event_id().clone(), Arc::clone(&event));
            after.insert(Arc::clone(&event));
            let end = Extremity(id.clone(), hash, event.depth());
            let prevs = std::mem::replace(&mut last, vec![id.clone()]);
            let node =
                Node { id: id.clone(), json, end, prevs, after: after.clone(), rejected: false };
            self.nodes.insert(id.clone(), node);
            self.order.push(id);
        }
    }

    pub(crate) fn room(&self) -> &str {
        self.room_id.as_deref().unwrap()
    }

    pub(crate) fn last(&self) -> String {
        self.order.last().unwrap().clone()
    }

    pub(crate) fn node(&self, id: &str) -> &Node {
        &self.nodes[id]
    }

    pub(crate) fn json(&self, id: &str) -> String {
        self.nodes[id].json.clone()
    }

    /// The state after all of these.
    pub(crate) fn state_of(&self, ids: &[String]) -> State {
        let states: Vec<State> = ids.iter().map(|id| self.nodes[id].after.clone()).collect();
        if states.is_empty() {
            State::default()
        } else {
            resolve(&self.version, &states, &self.known).unwrap()
        }
    }

    /// An event that follows these; its id.
    pub(crate) fn add(
        &mut self,
        prevs: &[&str],
        by: &str,
        kind: &str,
        key: Option<&str>,
        mut body: Value,
    ) -> String {
        self.now_ms += 1;
        if let (true, Some(users)) = (self.version.room_id_is_hash(), body.get_mut("users")) {
            users.as_object_mut().unwrap().remove(&self.creator);
        }
        let prevs: Vec<String> = prevs.iter().map(|id| (*id).to_owned()).collect();
        let before = self.state_of(&prevs);
        let ends: Vec<Extremity> = prevs.iter().map(|id| self.nodes[id].end.clone()).collect();
        let mut draft =
            Draft::message(kind, by, content::parse(body.to_string().as_bytes()).unwrap());
        draft.state_key = key.map(str::to_owned);
        if kind == "m.room.redaction" {
            draft.redacts = body["redacts"].as_str().map(str::to_owned);
            draft.content.remove("redacts");
        }
        let chosen = format!("$e{}:{}", self.now_ms, by.split_once(':').unwrap().1);
        let place = Place {
            version: &self.version,
            room_id: self.room_id.as_deref(),
            extremities: &ends,
            state: &before,
            now_ms: self.now_ms,
            chosen_id: Some(&chosen),
        };
        let built = build::build(&place, &draft).unwrap();
        let mut auth: State =
            built.event.auth_events().map(|id| Arc::clone(&self.known[id])).collect();
        if let (true, Some(create)) =
            (self.version.room_id_is_hash(), before.get("m.room.create", ""))
        {
            auth.insert(Arc::clone(create));
        }
        let rejected =
            !matches!(decide(&self.version, &built.event, &auth, &before, None), Decision::Allow);
        let id = built.event.id().to_owned();
        if self.room_id.is_none() {
            self.room_id = Some(tessera_sdk::matrix::room_id_of_create(&id));
        }
        let mut after = before;
        if !rejected {
            after.insert(Arc::clone(&built.event));
        }
        let hash = built.hash.clone();
        let event = StoredEvent::parse(&id, &built.unsigned_json().unwrap(), rejected).unwrap();
        self.known.insert(event.event_id().clone(), Arc::new(event.with_hash(hash)));
        let (json, end) = (built.unsigned_json().unwrap(), built.extremity());
        let node = Node { id: id.clone(), json, end, prevs, after, rejected };
        self.nodes.insert(id.clone(), node);
        self.order.push(id.clone());
        id
    }

    /// An event with another value in a member, its content hash made anew.
    pub(crate) fn forge(&self, id: &str, key: &str, value: Value) -> String {
        let mut event: Value = serde_json::from_str(&self.json(id)).unwrap();
        event[key] = value;
        let object = content::parse(event.to_string().as_bytes()).unwrap();
        let hash = ruma::signatures::content_hash(&object).unwrap().encode();
        event["hashes"] = json!({"sha256": hash});
        event.to_string()
    }

    pub(crate) fn text(&mut self, prevs: &[&str], by: &str, body: &str) -> String {
        self.add(prevs, by, "m.room.message", None, json!({"msgtype": "m.text", "body": body}))
    }

    pub(crate) fn topic(&mut self, prevs: &[&str], by: &str, topic: &str) -> String {
        self.add(prevs, by, "m.room.topic", Some(""), json!({"topic": topic}))
    }

    pub(crate) fn member(
        &mut self,
        prevs: &[&str],
        by: &str,
        who: &str,
        membership: &str,
    ) -> String {
        self.add(prevs, by, "m.room.member", Some(who), json!({"membership": membership}))
    }

    /// Lets the server know the room as it is after its first events, as after a join by Xia.
    pub(crate) fn join(&self) {
        let last = &self.nodes[&self.order[5]];
        let state: Vec<String> = self.order[..5].to_vec();
        let events: Vec<String> = state.iter().map(|id| self.json(id)).collect();
        let version = self.version.name();
        let got = receive::receive_outliers(self.room(), version, &events).unwrap();
        assert!(got.iter().all(|(_, outcome)| *outcome == receive::Outcome::Accepted), "{got:?}");
        let got =
            receive::receive_with_state(self.room(), version, "hs2", &last.json, &state).unwrap();
        assert_eq!(got, (last.id.clone(), receive::Outcome::Accepted));
    }

    /// Hands events over; what became of them.
    pub(crate) fn give(&self, ids: &[&str]) -> Vec<receive::Outcome> {
        let events: Vec<String> = ids.iter().map(|id| self.json(id)).collect();
        let got = receive::receive(self.room(), "hs2", &events).unwrap();
        let told: Vec<&str> = got.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(told, ids);
        got.into_iter().map(|(_, outcome)| outcome).collect()
    }
}
