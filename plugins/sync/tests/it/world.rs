//! A server whose tables a test fills row by row: the real ones of `rooms` and `presence`, fixtures for the others.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde_json::{Value, json};
use tessera_plugin_sync::Plugin;
use tessera_sdk::http::WakeReason;
use tessera_sdk::params;
use tessera_sdk::services::rooms::Found;
use tessera_sdk::storage::{self, Batch, position};
use tessera_test_host::{PluginUnderTest, TestAnswer, TestHost};

pub(crate) const ALICE: &str = "@alice:hs1";
pub(crate) const BOB: &str = "@bob:hs1";
pub(crate) const CAROL: &str = "@carol:hs1";
pub(crate) const ROOM: &str = "!room:hs1";

const ACCOUNTS: &str = r#"
name = "accounts"
version = "0.1.0"
description = "fixture"
[storage]
exposes = ["accounts_v1_account_data", "accounts_v1_devices", "accounts_v1_erased", "accounts_v1_filters"]
"#;

const ACCOUNTS_TABLES: &str = "
CREATE TABLE accounts_account_data (user_id text NOT NULL, room_id text NOT NULL, type text NOT NULL,
  content text NOT NULL, position bigint NOT NULL, PRIMARY KEY (user_id, room_id, type));
CREATE INDEX accounts_account_data_position ON accounts_account_data (user_id, position);
CREATE TABLE accounts_filters (user_id text NOT NULL, filter_id text NOT NULL, json text NOT NULL,
  PRIMARY KEY (user_id, filter_id));
CREATE TABLE accounts_devices (user_id text NOT NULL, device_id text NOT NULL, position bigint NOT NULL,
  PRIMARY KEY (user_id, device_id));
CREATE TABLE accounts_erased (user_id text PRIMARY KEY);
CREATE VIEW accounts_v1_erased AS SELECT user_id FROM accounts_erased;
CREATE VIEW accounts_v1_devices AS SELECT user_id, device_id, position FROM accounts_devices;
CREATE VIEW accounts_v1_account_data AS SELECT user_id, room_id, type, content, position
  FROM accounts_account_data;
CREATE VIEW accounts_v1_filters AS SELECT user_id, filter_id, json FROM accounts_filters;
";

const PUSH: &str = r#"
name = "push"
version = "0.1.0"
description = "fixture"
[storage]
exposes = ["push_v1_counts", "push_v2_progress", "push_v1_rules"]
"#;

const PUSH_TABLES: &str = "
CREATE TABLE push_counts (user_id text NOT NULL, room_id text NOT NULL, thread_id text NOT NULL,
  notification_count bigint NOT NULL, highlight_count bigint NOT NULL, position bigint NOT NULL,
  PRIMARY KEY (user_id, room_id, thread_id));
CREATE INDEX push_counts_position ON push_counts (user_id, position);
CREATE TABLE push_rooms (room_id text NOT NULL PRIMARY KEY, position bigint NOT NULL);
CREATE TABLE push_rules (user_id text NOT NULL PRIMARY KEY, content text NOT NULL, position bigint NOT NULL);
CREATE VIEW push_v1_counts AS SELECT user_id, room_id, thread_id, notification_count, highlight_count, position
  FROM push_counts;
CREATE VIEW push_v2_progress AS SELECT room_id, position FROM push_rooms;
CREATE VIEW push_v1_rules AS SELECT user_id, content, position FROM push_rules;
";

/// Room, type and state key.
type Slot = (String, String, String);

/// One server.
pub(crate) struct World {
    pub(crate) host: TestHost,
    state: RefCell<HashMap<Slot, (String, Value)>>,
    events: Cell<u32>,
}

/// An event to store.
#[derive(Clone)]
pub(crate) struct Event<'a> {
    pub(crate) room: &'a str,
    pub(crate) sender: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) state_key: Option<&'a str>,
    pub(crate) content: Value,
}

pub(crate) fn world() -> World {
    world_with(&json!({}))
}

/// A server with a configuration of this plug-in.
pub(crate) fn world_with(config: &Value) -> World {
    let host = TestHost::builder()
        .plugin_in(".")
        .plugin_in("../rooms")
        .plugin(PluginUnderTest {
            name: "accounts",
            manifest: ACCOUNTS,
            migrations: &[("0001_init", ACCOUNTS_TABLES)],
        })
        .plugin_in("../presence")
        .plugin(PluginUnderTest {
            name: "push",
            manifest: PUSH,
            migrations: &[("0001_init", PUSH_TABLES)],
        })
        .plugin_in("../keys")
        .config("sync", config)
        .start();
    host.services(|services| {
        services.push_rules =
            std::sync::Arc::new(|_, _| Ok(json!({ "global": { "override": [] } }).to_string()));
        services.search_rooms = std::sync::Arc::new(|host, words, rooms, newest, limit, offset| {
            let search = if newest { storage::search_newest } else { storage::search };
            let hits =
                host.acting("rooms", || search("messages", words, Some(rooms), limit, offset));
            let found =
                |hit: storage::Hit| Found { event_id: hit.key, room_id: hit.group, rank: hit.rank };
            Ok(hits.unwrap().into_iter().map(found).collect())
        });
    });
    World { host, state: RefCell::default(), events: Cell::new(0) }
}

/// A room that alice has made, with bob in it.
pub(crate) fn world_with_room() -> World {
    let world = world();
    world.create(ROOM, ALICE);
    world.join(ROOM, BOB);
    world
}

impl World {
    /// Stores an event as `rooms` would; its id.
    pub(crate) fn event(&self, event: &Event<'_>) -> String {
        self.events_of(std::slice::from_ref(event)).pop().unwrap()
    }

    /// Stores many in one commit.
    pub(crate) fn events_of(&self, events: &[Event<'_>]) -> Vec<String> {
        let mut batch = Batch::new();
        let first = batch.take_positions(events.len().try_into().unwrap());
        let mut ids = Vec::new();
        for (offset, event) in (first..).zip(events) {
            let n = self.events.get();
            self.events.set(n + 1);
            let id = format!("$e{n}");
            batch = self.write(batch, offset, &id, event);
            ids.push(id);
        }
        self.host.acting("rooms", || batch.commit()).unwrap();
        ids
    }

    fn write(&self, mut batch: Batch, at: u32, id: &str, event: &Event<'_>) -> Batch {
        let Event { room, sender, kind, state_key, content } = event.clone();
        let ts = self.host.now_ms();
        let mut json = json!({
            "type": kind, "sender": sender, "room_id": room, "content": content,
            "origin_server_ts": ts, "depth": 1, "auth_events": [], "prev_events": [],
        });
        if let Some(key) = state_key {
            json["state_key"] = key.into();
        }
        batch = batch
            .run(
                "INSERT INTO rooms_events (position, event_id, room_id, type, state_key, sender, origin_ts, depth, json) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8)",
                params![position(at), id, room, kind, state_key, sender, ts, json.to_string()],
            )
            .wake(format!("room:{room}"));
        let text = ["body", "name", "topic"].iter().find_map(|field| content[field].as_str());
        if let Some(text) = text {
            batch = batch.text("messages", id, room, Some(text.to_owned()));
        }
        let relation = &content["m.relates_to"];
        if let Some(parent) = relation["event_id"].as_str() {
            let (rel, key) = (relation["rel_type"].as_str().unwrap(), relation["key"].as_str());
            batch = batch.run(
                "INSERT INTO rooms_relations (event_id, position, room_id, relates_to, rel_type, agg_key, type, sender) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                params![id, position(at), room, parent, rel, key.unwrap_or(""), kind, sender],
            );
        }
        let Some(key) = state_key else { return batch };
        let slot = (room.to_owned(), kind.to_owned(), key.to_owned());
        let before = self.state.borrow_mut().insert(slot, (id.to_owned(), content.clone()));
        let before_id = before.as_ref().map(|(id, _)| id.clone());
        batch = batch
            .run(
                "INSERT INTO rooms_current_state (room_id, type, state_key, event_id, position) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (room_id, type, state_key) DO UPDATE SET event_id = excluded.event_id, \
                 position = excluded.position",
                params![room, kind, key, id, position(at)],
            )
            .run(
                "INSERT INTO rooms_state_deltas (position, room_id, type, state_key, event_id, prev_event_id) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
                params![position(at), room, kind, key, id, before_id],
            );
        if kind != "m.room.member" {
            return batch;
        }
        let membership = content["membership"].as_str().unwrap();
        let before = before.and_then(|(_, old)| old["membership"].as_str().map(str::to_owned));
        let stripped = json!([{ "type": "m.room.name", "state_key": "", "sender": sender, "content": { "name": "N" } }]);
        let stripped = matches!(membership, "invite" | "knock").then(|| stripped.to_string());
        batch
            .run(
                "INSERT INTO rooms_memberships (room_id, user_id, membership, event_id, sender, position, stripped_state) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (room_id, user_id) DO UPDATE \
                 SET membership = excluded.membership, event_id = excluded.event_id, sender = excluded.sender, \
                 position = excluded.position, stripped_state = excluded.stripped_state, forgotten = FALSE",
                params![room, key, membership, id, sender, position(at), stripped],
            )
            .run(
                "INSERT INTO rooms_membership_changes (position, room_id, user_id, membership, prev_membership, event_id) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
                params![position(at), room, key, membership, before.unwrap_or_default(), id],
            )
            .wake(format!("user:{key}"))
    }

    /// A room with create event, its creator and power levels: three events. Push is never behind in it.
    pub(crate) fn create(&self, room: &str, creator: &str) {
        self.progress(room, i64::MAX);
        self.state(room, creator, "m.room.create", "", json!({ "room_version": "11" }));
        self.join(room, creator);
        self.state(room, creator, "m.room.power_levels", "", json!({}));
    }

    pub(crate) fn state(
        &self,
        room: &str,
        sender: &str,
        kind: &str,
        key: &str,
        content: Value,
    ) -> String {
        self.event(&Event { room, sender, kind, state_key: Some(key), content })
    }

    pub(crate) fn member(&self, room: &str, sender: &str, user: &str, membership: &str) -> String {
        self.state(room, sender, "m.room.member", user, json!({ "membership": membership }))
    }

    pub(crate) fn join(&self, room: &str, user: &str) -> String {
        self.member(room, user, user, "join")
    }

    pub(crate) fn leave(&self, room: &str, user: &str) -> String {
        self.member(room, user, user, "leave")
    }

    pub(crate) fn say(&self, room: &str, sender: &str, text: &str) -> String {
        self.send(room, sender, json!({ "msgtype": "m.text", "body": text }))
    }

    pub(crate) fn send(&self, room: &str, sender: &str, content: Value) -> String {
        self.event(&Event { room, sender, kind: "m.room.message", state_key: None, content })
    }

    /// Who may read what was said before they came.
    pub(crate) fn visibility(&self, room: &str, sender: &str, how: &str) -> String {
        let content = json!({ "history_visibility": how });
        self.state(room, sender, "m.room.history_visibility", "", content)
    }

    /// A redaction; gives its id.
    pub(crate) fn redact(&self, room: &str, sender: &str, id: &str) -> String {
        let content = json!({ "redacts": id });
        let event = Event { room, sender, kind: "m.room.redaction", state_key: None, content };
        let redaction = self.event(&event);
        self.run(
            "rooms",
            "UPDATE rooms_events SET redacted_by = $1 WHERE event_id = $2",
            tessera_sdk::params![&redaction, id],
            "",
        );
        redaction
    }

    /// Runs one statement of a plug-in; `$P` in it stands for a new position.
    pub(crate) fn run(&self, plugin: &str, sql: &str, params: Vec<storage::Value>, wake: &str) {
        let mut batch = Batch::new();
        let mut params = params;
        let mut sql = sql.to_owned();
        if sql.contains("$P") {
            let first = batch.take_positions(1);
            params.push(position(first));
            sql = sql.replace("$P", &format!("${}", params.len()));
        }
        self.host.acting(plugin, || batch.run(&sql, params).wake(wake).commit()).unwrap();
    }

    pub(crate) fn account_data(&self, user: &str, room: &str, kind: &str, content: &Value) {
        self.run(
            "accounts",
            "INSERT INTO accounts_account_data (user_id, room_id, type, content, position) \
             VALUES ($1, $2, $3, $4, $P) ON CONFLICT (user_id, room_id, type) \
             DO UPDATE SET content = excluded.content, position = excluded.position",
            params![user, room, kind, content.to_string()],
            &format!("user:{user}"),
        );
    }

    pub(crate) fn receipt(&self, room: &str, user: &str, kind: &str, thread: &str, event: &str) {
        self.run(
            "presence",
            "INSERT INTO presence_receipts (room_id, user_id, type, thread_id, event_id, event_position, ts, position) \
             VALUES ($1, $2, $3, $4, $5, 1, 7, $P) ON CONFLICT (room_id, user_id, type, thread_id) \
             DO UPDATE SET event_id = excluded.event_id, position = excluded.position",
            params![room, user, kind, thread, event],
            &format!("room:{room}"),
        );
    }

    pub(crate) fn typing(&self, room: &str, user: &str, until_ms: u64) {
        self.run(
            "presence",
            "INSERT INTO presence_typing (room_id, user_id, until_ms, position) VALUES ($1, $2, $3, $P) \
             ON CONFLICT (room_id, user_id) DO UPDATE SET until_ms = excluded.until_ms, position = excluded.position",
            params![room, user, until_ms],
            &format!("room:{room}"),
        );
    }

    pub(crate) fn presence(&self, user: &str, presence: &str) {
        self.run(
            "presence",
            "INSERT INTO presence_status (user_id, presence, last_active_ms, currently_active, position) \
             VALUES ($1, $2, 0, FALSE, $P) ON CONFLICT (user_id) \
             DO UPDATE SET presence = excluded.presence, position = excluded.position",
            params![user, presence],
            &format!("user:{user}"),
        );
    }

    pub(crate) fn counts(&self, user: &str, room: &str, thread: &str, n: i64, highlights: i64) {
        self.run(
            "push",
            "INSERT INTO push_counts (user_id, room_id, thread_id, notification_count, highlight_count, position) \
             VALUES ($1, $2, $3, $4, $5, $P) ON CONFLICT (user_id, room_id, thread_id) \
             DO UPDATE SET notification_count = excluded.notification_count, \
             highlight_count = excluded.highlight_count, position = excluded.position",
            params![user, room, thread, n, highlights],
            &format!("user:{user}"),
        );
    }

    /// A message to a device; `get` asks as device `D`.
    pub(crate) fn to_device(&self, user: &str, device: &str, kind: &str, n: u32) {
        self.run(
            "keys",
            "INSERT INTO keys_to_device (user_id, device_id, position, sender, type, content) \
             VALUES ($1, $2, $P, $3, $4, $5)",
            params![user, device, BOB, kind, json!({ "n": n }).to_string()],
            &format!("user:{user}"),
        );
    }

    /// The user's devices have changed.
    pub(crate) fn devices_changed(&self, user: &str, wake: &str) {
        self.run(
            "keys",
            "INSERT INTO keys_device_lists (user_id, position) VALUES ($1, $P) \
             ON CONFLICT (user_id) DO UPDATE SET position = excluded.position",
            params![user],
            &format!("user:{wake}"),
        );
    }

    /// Push has evaluated the room up to this position.
    pub(crate) fn progress(&self, room: &str, at: i64) {
        self.run(
            "push",
            "INSERT INTO push_rooms (room_id, position) VALUES ($1, $2) \
             ON CONFLICT (room_id) DO UPDATE SET position = excluded.position",
            params![room, at],
            "push.progress",
        );
    }

    /// Sends a GET to the plug-in.
    pub(crate) fn get(
        &self,
        user: &str,
        route: &str,
        params: &[(&str, &str)],
        query: &[(&str, &str)],
    ) -> TestAnswer {
        let _ = self.host.calls();
        let mut request = self.host.request("GET", route).user(user).device("D");
        for (name, value) in params {
            request = request.param(name, value);
        }
        for (name, value) in query {
            request = request.query(name, value);
        }
        request.send::<Plugin>()
    }

    /// Sends a POST to the plug-in.
    pub(crate) fn post(
        &self,
        user: &str,
        route: &str,
        query: &[(&str, &str)],
        body: &Value,
    ) -> TestAnswer {
        let _ = self.host.calls();
        let mut request = self.host.request("POST", route).user(user).device("D").json(body);
        for (name, value) in query {
            request = request.query(name, value);
        }
        request.send::<Plugin>()
    }

    pub(crate) fn sync(&self, user: &str, query: &[(&str, &str)]) -> Value {
        self.get(user, "sync", &[], query).whole::<Plugin>()
    }

    pub(crate) fn since(&self, user: &str, since: &str) -> Value {
        self.sync(user, &[("since", since)])
    }

    pub(crate) fn room_get(&self, user: &str, route: &str, query: &[(&str, &str)]) -> TestAnswer {
        self.get(user, route, &[("roomId", ROOM)], query)
    }

    pub(crate) fn resume(&self, answer: &TestAnswer, reason: WakeReason) -> TestAnswer {
        let _ = self.host.calls();
        answer.resume::<Plugin>(reason)
    }
}

/// Where an answer stops.
pub(crate) fn token(body: &Value) -> String {
    body["next_batch"].as_str().unwrap().to_owned()
}

/// Ids of a list of events.
pub(crate) fn ids(events: &Value) -> Vec<&str> {
    events
        .as_array()
        .map(|list| list.iter().map(|e| e["event_id"].as_str().unwrap()).collect())
        .unwrap_or_default()
}

/// Types of a list of events.
pub(crate) fn types(events: &Value) -> Vec<&str> {
    events
        .as_array()
        .map(|list| list.iter().map(|e| e["type"].as_str().unwrap()).collect())
        .unwrap_or_default()
}

/// A room of the section `join`.
pub(crate) fn joined<'a>(body: &'a Value, room: &str) -> &'a Value {
    &body["rooms"]["join"][room]
}
