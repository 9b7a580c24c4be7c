//! A server whose tables a test fills row by row, as `rooms` and `presence` would, messages included.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde_json::{Value, json};
use tessera_plugin_push::Plugin;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, position};
use tessera_test_host::{TestAnswer, TestHost};

pub(crate) const ALICE: &str = "@alice:hs1";
pub(crate) const BOB: &str = "@bob:hs1";
pub(crate) const CAROL: &str = "@carol:hs1";
pub(crate) const ROOM: &str = "!room:hs1";

/// One server.
pub(crate) struct World {
    pub(crate) host: TestHost,
    memberships: RefCell<HashMap<(String, String), String>>,
    events: Cell<u32>,
}

/// An event that was stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) position: u64,
}

pub(crate) fn world() -> World {
    world_with(&json!({}))
}

/// With the operator's configuration of `push`.
pub(crate) fn world_with(config: &Value) -> World {
    let host = TestHost::builder()
        .plugin_in(".")
        .plugin_in("../rooms")
        .plugin_in("../accounts")
        .plugin_in("../presence")
        .config("push", config)
        .start();
    World { host, memberships: RefCell::default(), events: Cell::new(0) }
}

/// A room that alice has made, with bob and carol in it; all of it evaluated.
pub(crate) fn world_with_room() -> World {
    room_in(world())
}

/// The same in a world.
pub(crate) fn room_in(world: World) -> World {
    world.create(ROOM, ALICE);
    world.join(ROOM, BOB);
    world.join(ROOM, CAROL);
    world.deliver();
    world
}

pub(crate) fn mention(user: &str) -> Value {
    json!({ "msgtype": "m.text", "body": "you there", "m.mentions": { "user_ids": [user] } })
}

pub(crate) fn threaded(root: &str) -> Value {
    json!({ "msgtype": "m.text", "body": "in a thread",
        "m.relates_to": { "rel_type": "m.thread", "event_id": root } })
}

impl World {
    /// Stores an event as `rooms` would and emits its message.
    pub(crate) fn event(
        &self,
        room: &str,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: &Value,
    ) -> Stored {
        let n = self.events.get();
        self.events.set(n + 1);
        let id = format!("$e{n}");
        let mut batch = Batch::new();
        let at = batch.take_positions(1);
        let ts = self.host.now_ms();
        let mut json = json!({
            "type": kind, "sender": sender, "room_id": room, "content": content,
            "origin_server_ts": ts, "depth": 1, "auth_events": [], "prev_events": [],
        });
        let mut payload = json!({
            "event_id": id, "room_id": room, "offset": 0, "type": kind, "sender": sender,
        });
        if let Some(key) = state_key {
            json["state_key"] = key.into();
            payload["state_key"] = key.into();
        }
        batch = batch
            .run(
                "INSERT INTO rooms_events (position, event_id, room_id, type, state_key, sender, origin_ts, depth, json) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8)",
                params![position(at), &id, room, kind, state_key, sender, ts, json.to_string()],
            )
            .emit("rooms.events", room, payload.to_string());
        if kind == "m.room.tombstone" {
            batch = batch.run(
                "INSERT INTO rooms_state_deltas (position, room_id, type, state_key, event_id, prev_event_id) \
                 SELECT $1, r.room_id, 'm.room.tombstone', '', $3, (SELECT s.event_id FROM rooms_current_state s \
                 WHERE s.room_id = $2 AND s.type = 'm.room.tombstone' AND s.state_key = '') \
                 FROM rooms_rooms r WHERE r.room_id = $2",
                params![position(at), room, &id],
            );
        }
        if let Some(key) = state_key {
            batch = batch.run(
                "INSERT INTO rooms_current_state (room_id, type, state_key, event_id, position) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (room_id, type, state_key) DO UPDATE SET event_id = excluded.event_id, \
                 position = excluded.position",
                params![room, kind, key, &id, position(at)],
            );
        }
        if kind == "m.room.member" {
            batch = self.member_row(batch, at, &id, (room, sender, state_key.unwrap()), content);
        }
        let committed = self.host.acting("rooms", || batch.commit()).unwrap();
        Stored { id, position: committed.first_position }
    }

    fn member_row(
        &self,
        batch: Batch,
        at: u32,
        id: &str,
        (room, sender, user): (&str, &str, &str),
        content: &Value,
    ) -> Batch {
        let membership = content["membership"].as_str().unwrap();
        let slot = (room.to_owned(), user.to_owned());
        let before = self.memberships.borrow_mut().insert(slot, membership.to_owned());
        batch
            .run(
                "INSERT INTO rooms_memberships (room_id, user_id, membership, event_id, sender, position, display_name) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (room_id, user_id) DO UPDATE \
                 SET membership = excluded.membership, event_id = excluded.event_id, sender = excluded.sender, \
                 position = excluded.position, display_name = excluded.display_name",
                params![room, user, membership, id, sender, position(at), content["displayname"].as_str()],
            )
            .run(
                "INSERT INTO rooms_membership_changes (position, room_id, user_id, membership, prev_membership, event_id) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
                params![position(at), room, user, membership, before.unwrap_or_default(), id],
            )
    }

    /// A room with create event, its creator and power levels: three events.
    pub(crate) fn create(&self, room: &str, creator: &str) {
        self.host
            .acting("rooms", || {
                Batch::new()
                    .run(
                        "INSERT INTO rooms_rooms (room_id, version, creator, position, revision, extremities, depth, \
                         state_group, state_base, state_chain, created_ms) \
                         VALUES ($1, '11', $2, 0, 1, '[]', 1, 0, 0, 0, 0)",
                        params![room, creator],
                    )
                    .commit()
            })
            .unwrap();
        self.state(room, creator, "m.room.create", "", &json!({ "room_version": "11" }));
        self.join(room, creator);
        let levels = json!({ "users": { creator: 100 } });
        self.state(room, creator, "m.room.power_levels", "", &levels);
    }

    pub(crate) fn state(
        &self,
        room: &str,
        sender: &str,
        kind: &str,
        key: &str,
        content: &Value,
    ) -> Stored {
        self.event(room, sender, kind, Some(key), content)
    }

    pub(crate) fn member(&self, room: &str, sender: &str, user: &str, membership: &str) -> Stored {
        let content = json!({ "membership": membership, "displayname": "Some One" });
        self.state(room, sender, "m.room.member", user, &content)
    }

    /// Changes a membership by a resolution that came with a message of alice, without an event of its own.
    pub(crate) fn resolve(&self, room: &str, user: &str, membership: &str) {
        let event = self.event(room, ALICE, "m.room.message", None, &json!({ "body": "forked" }));
        let slot = (room.to_owned(), user.to_owned());
        let before = self.memberships.borrow_mut().insert(slot, membership.to_owned());
        let batch = Batch::new()
            .run(
                "UPDATE rooms_memberships SET membership = $3, position = $4 WHERE room_id = $1 AND user_id = $2",
                params![room, user, membership, event.position],
            )
            .run(
                "INSERT INTO rooms_membership_changes (position, room_id, user_id, membership, prev_membership, event_id) \
                 VALUES ($1, $2, $3, $4, $5, '$old')",
                params![event.position, room, user, membership, before.unwrap_or_default()],
            );
        self.host.acting("rooms", || batch.commit()).unwrap();
    }

    /// A leave of a member that state resolution does not put in force.
    pub(crate) fn leave_in_vain(&self, room: &str, user: &str) {
        let event = self.member(room, user, user, "leave");
        self.memberships.borrow_mut().insert((room.to_owned(), user.to_owned()), "join".to_owned());
        let batch = Batch::new()
            .run(
                "UPDATE rooms_memberships SET membership = 'join' WHERE room_id = $1 AND user_id = $2",
                params![room, user],
            )
            .run(
                "DELETE FROM rooms_membership_changes WHERE position = $1",
                params![event.position],
            );
        self.host.acting("rooms", || batch.commit()).unwrap();
    }

    pub(crate) fn fire_timers(&self) -> usize {
        self.host.fire_timers::<Plugin>("push")
    }

    pub(crate) fn join(&self, room: &str, user: &str) -> Stored {
        self.member(room, user, user, "join")
    }

    /// Many who joined long ago, without their events.
    pub(crate) fn join_all(&self, room: &str, users: impl Iterator<Item = String>) {
        let mut batch = Batch::new();
        let users: Vec<String> = users.collect();
        let first = batch.take_positions(u32::try_from(users.len()).unwrap());
        let rows: Vec<_> = (first..)
            .zip(&users)
            .map(|(n, user)| params![room, user, "join", format!("$of{n}"), position(n), ""])
            .collect();
        let batch = batch
            .run_many(
                "INSERT INTO rooms_memberships (room_id, user_id, membership, event_id, sender, position, display_name) \
                 VALUES ($1, $2, $3, $4, $2, $5, $6)",
                rows.clone(),
            )
            .run_many(
                "INSERT INTO rooms_membership_changes (position, room_id, user_id, membership, prev_membership, event_id) \
                 VALUES ($5, $1, $2, $3, $6, $4)",
                rows,
            );
        self.host.acting("rooms", || batch.commit()).unwrap();
    }

    /// Gives users a rule for the room with these actions (JSON), written as their clients would have.
    pub(crate) fn rules_of(&self, users: impl Iterator<Item = (String, &'static str)>) {
        const PATTERN: &str = "@pattern:hs1";
        self.mute(PATTERN);
        let sql = "SELECT content FROM push_rules WHERE user_id = $1";
        let (content,): (String,) =
            storage::query(sql, params![PATTERN]).unwrap().first().unwrap().unwrap();
        let content: Value = serde_json::from_str(&content).unwrap();
        let mut batch = Batch::new();
        let at = position(batch.take_positions(1));
        let rows = users.map(|(user, actions)| {
            let mut content = content.clone();
            content["global"]["room"][0]["actions"] = serde_json::from_str(actions).unwrap();
            let content = content.to_string().replace(PATTERN, &user);
            params![user, content, at.clone()]
        });
        let sql = "INSERT INTO push_rules (user_id, content, position) VALUES ($1, $2, $3)";
        let batch = batch.run_many(sql, rows.collect());
        self.host.acting("push", || batch.commit()).unwrap();
    }

    pub(crate) fn say(&self, sender: &str, text: &str) -> Stored {
        self.send(sender, &json!({ "msgtype": "m.text", "body": text }))
    }

    pub(crate) fn send(&self, sender: &str, content: &Value) -> Stored {
        self.event(ROOM, sender, "m.room.message", None, content)
    }

    /// A receipt as `presence` would store it; `thread` empty for all.
    pub(crate) fn receipt(&self, user: &str, thread: &str, event: &Stored) {
        let mut batch = Batch::new();
        let at = batch.take_positions(1);
        let payload = json!({
            "user_id": user, "room_id": ROOM, "thread_id": thread, "event_id": event.id,
            "event_position": event.position,
        });
        let batch = batch
            .run(
                "INSERT INTO presence_receipts (room_id, user_id, type, thread_id, event_id, event_position, ts, position) \
                 VALUES ($1, $2, 'm.read', $3, $4, $5, 7, $6) ON CONFLICT (room_id, user_id, type, thread_id) \
                 DO UPDATE SET event_id = excluded.event_id, event_position = excluded.event_position, \
                 position = excluded.position",
                params![ROOM, user, thread, &event.id, event.position, position(at)],
            )
            .emit("presence.receipts", user, payload.to_string());
        self.host.acting("presence", || batch.commit()).unwrap();
    }

    /// Lets the plug-in take everything that waits.
    pub(crate) fn deliver(&self) {
        self.deliver_events();
        self.deliver_receipts();
    }

    pub(crate) fn deliver_events(&self) -> usize {
        self.host.deliver::<Plugin>("push", "rooms.events")
    }

    pub(crate) fn deliver_receipts(&self) -> usize {
        self.host.deliver::<Plugin>("push", "presence.receipts")
    }

    /// Notifications and highlights of the main timeline.
    pub(crate) fn unread(&self, user: &str) -> (i64, i64) {
        self.unread_in(user, "")
    }

    pub(crate) fn unread_in(&self, user: &str, thread: &str) -> (i64, i64) {
        let (n, h, _) = self.count_row(user, thread).unwrap_or_default();
        (n, h)
    }

    /// Notifications, highlights and position of a row of `push_v1_counts`.
    pub(crate) fn count_row(&self, user: &str, thread: &str) -> Option<(i64, i64, i64)> {
        storage::query(
            "SELECT notification_count, highlight_count, position FROM push_v1_counts \
             WHERE user_id = $1 AND room_id = $2 AND thread_id = $3",
            params![user, ROOM, thread],
        )
        .unwrap()
        .first()
        .unwrap()
    }

    pub(crate) fn progress(&self) -> i64 {
        let row: Option<(i64,)> = storage::query(
            "SELECT position FROM push_v2_progress WHERE room_id = $1",
            params![ROOM],
        )
        .unwrap()
        .first()
        .unwrap();
        row.unwrap().0
    }

    pub(crate) fn request(
        &self,
        user: &str,
        method: &str,
        route: &str,
        params: &[(&str, &str)],
        body: Option<&Value>,
    ) -> TestAnswer {
        let mut request = self.host.request(method, route).user(user).device("D");
        for (name, value) in params {
            request = match name.strip_prefix('?') {
                Some(name) => request.query(name, value),
                None => request.param(name, value),
            };
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send::<Plugin>()
    }

    /// Makes or changes a push rule.
    pub(crate) fn rule(&self, user: &str, kind: &str, id: &str, body: &Value) -> TestAnswer {
        self.request(user, "PUT", "rule", &[("kind", kind), ("ruleId", id)], Some(body))
    }

    /// A device of a user, `D`, as all requests have.
    pub(crate) fn device(&self, user: &str) {
        let mut batch = Batch::new();
        let at = position(batch.take_positions(1));
        let sql = "INSERT INTO accounts_devices (user_id, device_id, last_seen_ms, last_seen_ip, position) \
             VALUES ($1, 'D', 0, '', $2)";
        self.host.acting("accounts", || batch.run(sql, params![user, at]).commit()).unwrap();
    }

    /// No notifications of the room for the user, mentions excepted.
    pub(crate) fn mute(&self, user: &str) {
        self.rule(user, "room", ROOM, &json!({ "actions": [] })).ok();
    }
}
