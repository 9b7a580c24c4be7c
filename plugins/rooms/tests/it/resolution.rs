//! State resolution of versions 1, 2.0 and 2.1 against recorded cases.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ruma::state_res::Event as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tessera_plugin_rooms::core::build::{self, Draft, Extremity, Place};
use tessera_plugin_rooms::core::resolve::{Known, resolve};
use tessera_plugin_rooms::core::{State, Version, content};

#[derive(Deserialize)]
struct Cases {
    base: Vec<Event>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    versions: Vec<String>,
    base: Option<Vec<Event>>,
    events: Vec<Event>,
    ends: Vec<String>,
    #[serde(default)]
    states: Vec<Vec<String>>,
    expect: Vec<String>,
    #[serde(default)]
    whole: bool,
}

#[derive(Deserialize, Clone)]
struct Event {
    id: String,
    sender: String,
    #[serde(rename = "type")]
    kind: String,
    state_key: Option<String>,
    content: Map<String, Value>,
    prev: Option<Vec<String>>,
}

/// A graph built by name.
struct Graph {
    version: Version,
    room_id: Option<String>,
    creator: String,
    known: Known,
    names: HashMap<String, String>,
    ends: HashMap<String, Extremity>,
    after: HashMap<String, State>,
    last: Option<String>,
    now_ms: u64,
}

impl Graph {
    fn new(version: &str) -> Self {
        let version = Version::named(version).unwrap();
        let room_id = (!version.room_id_is_hash()).then(|| "!r:hs1".to_owned());
        Self {
            version,
            room_id,
            creator: String::new(),
            known: Known::new(),
            names: HashMap::new(),
            ends: HashMap::new(),
            after: HashMap::new(),
            last: None,
            now_ms: 0,
        }
    }

    fn state_of(&self, ends: &[String]) -> State {
        let states: Vec<State> = ends.iter().map(|end| self.after[end].clone()).collect();
        if states.is_empty() {
            return State::default();
        }
        resolve(&self.version, &states, &self.known).unwrap()
    }

    fn add(&mut self, event: &Event) {
        self.now_ms += 1;
        let mut content = event.content.clone();
        if event.kind == "m.room.create" {
            self.creator.clone_from(&event.sender);
            content.insert("room_version".to_owned(), json!(self.version.name()));
            content.insert("creator".to_owned(), json!(event.sender));
        }
        if let (true, Some(users)) = (self.version.room_id_is_hash(), content.get_mut("users")) {
            users.as_object_mut().unwrap().remove(&self.creator);
        }
        let prev = event.prev.clone().unwrap_or_else(|| self.last.clone().into_iter().collect());
        let mut state = self.state_of(&prev);
        let ends: Vec<Extremity> = prev.iter().map(|name| self.ends[name].clone()).collect();
        let id = format!("${}:hs1", event.id);
        let content = content::parse(serde_json::to_string(&content).unwrap().as_bytes()).unwrap();
        let draft = Draft {
            kind: event.kind.clone(),
            state_key: event.state_key.clone(),
            sender: event.sender.clone(),
            content,
            redacts: None,
        };
        let place = Place {
            version: &self.version,
            room_id: self.room_id.as_deref(),
            extremities: &ends,
            state: &state,
            now_ms: self.now_ms,
            chosen_id: Some(&id),
        };
        let built = build::build(&place, &draft).unwrap();
        if self.room_id.is_none() {
            self.room_id = Some(tessera_sdk::matrix::room_id_of_create(built.event.id()));
        }
        self.known.insert(built.event.event_id().clone(), Arc::clone(&built.event));
        state.insert(Arc::clone(&built.event));
        self.names.insert(built.event.id().to_owned(), event.id.clone());
        self.ends.insert(event.id.clone(), built.extremity());
        self.after.insert(event.id.clone(), state);
        self.last = Some(event.id.clone());
    }

    fn by_name(&self, name: &str) -> String {
        self.names.iter().find(|(_, known)| *known == name).unwrap().0.clone()
    }

    fn names_of(&self, state: &State) -> BTreeMap<(String, String), String> {
        let entry = |event: &Arc<_>| {
            let event: &tessera_plugin_rooms::core::StoredEvent = event;
            let key = event.state_key().unwrap().to_owned();
            ((event.kind(), key), self.names[event.id()].clone())
        };
        state.events().map(entry).collect()
    }
}

#[test]
fn recorded_cases_come_out_as_recorded() {
    let cases: Cases = serde_json::from_str(include_str!("../cases/resolution.json")).unwrap();
    let mut run = 0;
    for case in &cases.cases {
        for version in &case.versions {
            let mut graph = Graph::new(version);
            let base = case.base.as_ref().unwrap_or(&cases.base);
            for event in base.iter().chain(&case.events) {
                graph.add(event);
            }
            let before = base.last().map(|last| graph.names_of(&graph.after[&last.id]));
            let before = before.unwrap_or_default();
            let mut states: Vec<State> =
                case.ends.iter().map(|end| graph.after[end].clone()).collect();
            for state in &case.states {
                let id = |name: &String| {
                    let id = graph.by_name(name);
                    graph.known.values().find(|event| event.id() == id).unwrap().clone()
                };
                states.push(state.iter().map(id).collect());
            }
            for _ in 0..states.len() {
                // Their order does not matter.
                states.rotate_left(1);
                let resolved = resolve(&graph.version, &states, &graph.known).unwrap();
                let resolved = graph.names_of(&resolved);
                let told: BTreeSet<&str> = resolved
                    .iter()
                    .filter(|(key, name)| case.whole || before.get(*key) != Some(*name))
                    .map(|(_, name)| name.as_str())
                    .collect();
                let expected: BTreeSet<&str> = case
                    .expect
                    .iter()
                    .map(String::as_str)
                    .filter(|name| case.whole || !before.values().any(|known| known == name))
                    .collect();
                assert_eq!(told, expected, "{} in version {version}", case.name);
                let gone: Vec<_> =
                    before.keys().filter(|key| !resolved.contains_key(*key)).collect();
                assert!(case.whole || gone.is_empty(), "{} lost {gone:?}", case.name);
                run += 1;
            }
        }
    }
    assert!(run > 100, "{run}");
}
