//! Alice with two devices, bob with one; they share a room. Carol shares none.

use serde_json::{Value, json};
use tessera_plugin_keys::Plugin;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, FromRow, position};
use tessera_test_host::{PluginUnderTest, TestAnswer, TestHost};

pub(crate) const ALICE: &str = "@alice:hs1";
pub(crate) const BOB: &str = "@bob:hs1";
pub(crate) const CAROL: &str = "@carol:hs1";
pub(crate) const ROOM: &str = "!room:hs1";

/// As much of `accounts` as is read.
const ACCOUNTS: PluginUnderTest = PluginUnderTest {
    name: "accounts",
    manifest: "name = \"accounts\"\nversion = \"0.1.0\"\ndescription = \"fixture\"\n\
        [storage]\nexposes = [\"accounts_v2_devices\"]\n\
        [topics]\nemits = [\"accounts.sessions\", \"accounts.users\"]\n",
    migrations: &[(
        "0001_init",
        "CREATE TABLE accounts_devices (user_id text NOT NULL, device_id text NOT NULL, display_name text,
           position bigint NOT NULL, PRIMARY KEY (user_id, device_id));
         CREATE VIEW accounts_v2_devices AS SELECT user_id, device_id, display_name, position FROM accounts_devices;",
    )],
};

/// As much of `rooms` as is read.
const ROOMS: PluginUnderTest = PluginUnderTest {
    name: "rooms",
    manifest: "name = \"rooms\"\nversion = \"0.1.0\"\ndescription = \"fixture\"\n\
        [storage]\nexposes = [\"rooms_v1_membership_changes\", \"rooms_v1_memberships\"]\n",
    migrations: &[(
        "0001_init",
        "CREATE TABLE rooms_memberships (room_id text NOT NULL, user_id text NOT NULL, membership text NOT NULL,
           PRIMARY KEY (room_id, user_id));
         CREATE TABLE rooms_changes (position bigint NOT NULL PRIMARY KEY, room_id text NOT NULL, user_id text NOT NULL,
           membership text NOT NULL, prev_membership text NOT NULL);
         CREATE VIEW rooms_v1_memberships AS SELECT room_id, user_id, membership FROM rooms_memberships;
         CREATE VIEW rooms_v1_membership_changes AS
           SELECT position, room_id, user_id, membership, prev_membership FROM rooms_changes;",
    )],
};

pub(crate) struct Server {
    pub(crate) host: TestHost,
}

pub(crate) fn server() -> Server {
    server_with(&json!({}))
}

pub(crate) fn server_with(config: &Value) -> Server {
    let host = TestHost::builder()
        .plugin_in(".")
        .plugin(ACCOUNTS)
        .plugin(ROOMS)
        .config("keys", config)
        .start();
    let server = Server { host };
    for (user, device) in [(ALICE, "A1"), (ALICE, "A2"), (BOB, "B1"), (CAROL, "C1")] {
        server.device(user, device);
    }
    server.member(ROOM, ALICE, "join");
    server.member(ROOM, BOB, "join");
    let _ = server.host.wakes();
    server
}

/// Another of the threads of a test.
pub(crate) fn on_this_thread(host: &TestHost) {
    host.install();
    host.act_as("keys");
}

impl Server {
    /// A new device.
    pub(crate) fn device(&self, user: &str, device: &str) {
        self.host.acting("accounts", || {
            let mut batch = Batch::new();
            let at = batch.take_positions(1);
            batch
                .run(
                    "INSERT INTO accounts_devices (user_id, device_id, position) VALUES ($1, $2, $3)",
                    params![user, device, position(at)],
                )
                .commit()
                .unwrap();
        });
    }

    /// Takes a device away without a word.
    pub(crate) fn remove(&self, user: &str, device: &str) {
        self.host.acting("accounts", || {
            let sql = "DELETE FROM accounts_devices WHERE user_id = $1 AND device_id = $2";
            Batch::new().run(sql, params![user, device]).commit().unwrap();
        });
    }

    /// Takes a device away, and tells so.
    pub(crate) fn log_out(&self, user: &str, device: &str) {
        self.remove(user, device);
        let payload = json!({"user_id": user, "change": "logout", "device_id": device});
        self.tell("accounts.sessions", &payload);
    }

    /// What accounts tells of a user.
    pub(crate) fn tell(&self, topic: &str, payload: &Value) {
        let user = payload["user_id"].as_str().unwrap();
        self.host.acting("accounts", || {
            Batch::new().emit(topic, user, payload.to_string()).commit().unwrap();
        });
    }

    pub(crate) fn deliver(&self) -> usize {
        self.host.deliver::<Plugin>("keys", "accounts.sessions")
            + self.host.deliver::<Plugin>("keys", "accounts.users")
    }

    pub(crate) fn member(&self, room: &str, user: &str, membership: &str) {
        self.host.acting("rooms", || {
            let before: Option<(String,)> = storage::query(
                "SELECT membership FROM rooms_memberships WHERE room_id = $1 AND user_id = $2",
                params![room, user],
            )
            .unwrap()
            .first()
            .unwrap();
            let before = before.map(|(membership,)| membership).unwrap_or_default();
            let mut batch = Batch::new();
            let at = batch.take_positions(1);
            batch
                .run(
                    "INSERT INTO rooms_memberships (room_id, user_id, membership) VALUES ($1, $2, $3) \
                     ON CONFLICT (room_id, user_id) DO UPDATE SET membership = excluded.membership",
                    params![room, user, membership],
                )
                .run(
                    "INSERT INTO rooms_changes (position, room_id, user_id, membership, prev_membership) \
                     VALUES ($1, $2, $3, $4, $5)",
                    params![position(at), room, user, membership, before],
                )
                .commit()
                .unwrap();
        });
    }

    pub(crate) fn ask(
        &self,
        (user, device): (&str, &str),
        (method, route): (&str, &str),
        placeholders: &[(&str, &str)],
        query: &str,
        body: &Value,
    ) -> TestAnswer {
        let mut request = self.host.request(method, route).user(user).device(device);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap();
            request = request.query(name, value);
        }
        for (name, value) in placeholders {
            request = request.param(name, value);
        }
        if !matches!(method, "GET" | "DELETE") {
            request = request.json(body);
        }
        request.send::<Plugin>()
    }

    /// POST without placeholders.
    pub(crate) fn post(&self, who: (&str, &str), route: &str, body: &Value) -> TestAnswer {
        self.ask(who, ("POST", route), &[], "", body)
    }

    /// The keys of users as somebody sees them.
    pub(crate) fn query(&self, viewer: &str, users: &[&str]) -> Value {
        let users: serde_json::Map<String, Value> =
            users.iter().map(|user| ((*user).to_owned(), json!([]))).collect();
        self.post((viewer, "?"), "query", &json!({"device_keys": users})).ok()
    }

    /// The token that /sync would give out now.
    pub(crate) fn token(&self) -> String {
        format!("s{}", self.host.horizon())
    }

    /// Whom `viewer` is told of since then: changed and left.
    pub(crate) fn changes(&self, viewer: &str, since: &str) -> (Vec<String>, Vec<String>) {
        let query = format!("from={since}&to={}", self.token());
        let answer = self.ask((viewer, "?"), ("GET", "changes"), &[], &query, &Value::Null).ok();
        let list = |name: &str| {
            let users = answer[name].as_array().unwrap().iter();
            users.map(|user| user.as_str().unwrap().to_owned()).collect()
        };
        (list("changed"), list("left"))
    }

    /// Puts a user into so many rooms at once.
    pub(crate) fn in_rooms(&self, user: &str, count: u32) {
        self.host.acting("rooms", || {
            let rows = (0..count).map(|n| params![format!("!{n}:hs1"), user]).collect();
            let sql = "INSERT INTO rooms_memberships (room_id, user_id, membership) VALUES ($1, $2, 'join')";
            Batch::new().run_many(sql, rows).commit().unwrap();
        });
    }

    /// Makes a device for each of so many new users, `@n:hs1`.
    pub(crate) fn many(&self, count: u32) {
        self.host.acting("accounts", || {
            let mut batch = Batch::new();
            let at = batch.take_positions(1);
            let rows =
                (0..count).map(|n| params![format!("@{n}:hs1"), "D", position(at)]).collect();
            let sql =
                "INSERT INTO accounts_devices (user_id, device_id, position) VALUES ($1, $2, $3)";
            batch.run_many(sql, rows).commit().unwrap();
        });
    }

    pub(crate) fn rows<T: FromRow>(&self, sql: &str) -> Vec<T> {
        storage::query(sql, vec![]).unwrap().all().unwrap()
    }
}

/// Device keys that nobody has signed.
pub(crate) fn device_keys(user: &str, device: &str) -> Value {
    json!({
        "user_id": user, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {format!("curve25519:{device}"): "c", format!("ed25519:{device}"): "e"},
        "signatures": {user: {format!("ed25519:{device}"): "s"}},
    })
}
