//! A server with users alice, bob, carol and dave on `hs1`.

use serde_json::{Value, json};
use tessera_plugin_rooms::Plugin;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, FromRow};
use tessera_test_host::{PluginUnderTest, TestAnswer, TestHost};

pub(crate) const ALICE: &str = "@alice:hs1";
pub(crate) const BOB: &str = "@bob:hs1";
pub(crate) const CAROL: &str = "@carol:hs1";

/// As much of `accounts` as is read.
const ACCOUNTS: PluginUnderTest = PluginUnderTest {
    name: "accounts",
    manifest: "name = \"accounts\"\nversion = \"0.1.0\"\ndescription = \"fixture\"\n\
        [storage]\nexposes = [\"accounts_v1_profiles\", \"accounts_v1_users\", \"accounts_v1_account_data\",
          \"accounts_v1_devices\", \"accounts_v1_restricted\", \"accounts_v1_server_notices\"]\n\
        [topics]\nemits = [\"accounts.profiles\", \"accounts.users\"]\n",
    migrations: &[(
        "0001_init",
        "CREATE TABLE accounts_profiles (user_id text PRIMARY KEY, displayname text, avatar_url text,
           guest boolean NOT NULL DEFAULT FALSE, deactivated boolean NOT NULL DEFAULT FALSE);
         CREATE TABLE accounts_held (user_id text PRIMARY KEY, deactivated boolean, locked boolean, suspended boolean);
         CREATE TABLE accounts_notices (user_id text PRIMARY KEY, room_id text NOT NULL);
         CREATE TABLE accounts_devices (user_id text, device_id text);
         CREATE VIEW accounts_v1_devices AS SELECT user_id, device_id FROM accounts_devices;
         CREATE VIEW accounts_v1_restricted AS SELECT user_id, deactivated, locked, suspended FROM accounts_held;
         CREATE VIEW accounts_v1_server_notices AS SELECT user_id, room_id FROM accounts_notices;
         CREATE TABLE accounts_data (user_id text, room_id text, type text, content text);
         CREATE VIEW accounts_v1_profiles AS SELECT user_id, displayname, avatar_url FROM accounts_profiles;
         CREATE VIEW accounts_v1_users AS SELECT user_id, guest, deactivated FROM accounts_profiles;
         CREATE VIEW accounts_v1_account_data AS SELECT user_id, room_id, type, content FROM accounts_data;",
    )],
};

pub(crate) struct Server {
    pub(crate) host: TestHost,
}

pub(crate) fn server() -> Server {
    configured(&json!({}))
}

/// A server with this section of `rooms` in its descriptor.
pub(crate) fn configured(config: &Value) -> Server {
    let host = TestHost::builder().plugin_in(".").plugin(ACCOUNTS).config("rooms", config).start();
    let server = Server { host };
    server.profile(ALICE, Some("Alice"), Some("mxc://hs1/alice"));
    let _ = server.host.calls();
    server
}

impl Server {
    pub(crate) fn profile(&self, user: &str, name: Option<&str>, avatar: Option<&str>) {
        self.host.acting("accounts", || {
            let payload = json!({"user_id": user, "displayname": name, "avatar_url": avatar});
            Batch::new()
                .run(
                    "INSERT INTO accounts_profiles (user_id, displayname, avatar_url) VALUES ($1, $2, $3)
                     ON CONFLICT (user_id) DO UPDATE SET displayname = excluded.displayname,
                       avatar_url = excluded.avatar_url",
                    params![user, name, avatar],
                )
                .emit("accounts.profiles", user, payload.to_string())
                .commit()
                .unwrap();
        });
    }

    /// POST or PUT with a JSON body.
    pub(crate) fn ask(
        &self,
        user: &str,
        method: &str,
        route: &str,
        placeholders: &[(&str, &str)],
        body: &Value,
    ) -> TestAnswer {
        let mut request = self.host.request(method, route).user(user).device("DEV");
        for (name, value) in placeholders {
            request = request.param(name, value);
        }
        if method != "GET" {
            request = request.json(body);
        }
        request.send::<Plugin>()
    }

    pub(crate) fn create(&self, user: &str, body: &Value) -> String {
        let answer = self.ask(user, "POST", "create-room", &[], body).ok();
        answer["room_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn join(&self, user: &str, room: &str) -> TestAnswer {
        self.ask(user, "POST", "join", &[("roomIdOrAlias", room)], &json!({}))
    }

    pub(crate) fn send(
        &self,
        user: &str,
        room: &str,
        kind: &str,
        txn: &str,
        body: &Value,
    ) -> TestAnswer {
        let placeholders = [("roomId", room), ("eventType", kind), ("txnId", txn)];
        self.ask(user, "PUT", "send", &placeholders, body)
    }

    pub(crate) fn text(&self, user: &str, room: &str, body: &str) -> String {
        let content = json!({"msgtype": "m.text", "body": body});
        event_id(&self.send(user, room, "m.room.message", body, &content))
    }

    pub(crate) fn put_state(
        &self,
        user: &str,
        room: &str,
        kind: &str,
        key: &str,
        body: &Value,
    ) -> TestAnswer {
        let placeholders = [("roomId", room), ("eventType", kind), ("stateKey", key)];
        self.ask(user, "PUT", "put-state", &placeholders, body)
    }

    /// invite, kick, ban, unban of somebody.
    pub(crate) fn about(&self, user: &str, act: &str, room: &str, target: &str) -> TestAnswer {
        self.ask(user, "POST", act, &[("roomId", room)], &json!({"user_id": target}))
    }

    pub(crate) fn leave(&self, user: &str, room: &str) -> TestAnswer {
        self.ask(user, "POST", "leave", &[("roomId", room)], &json!({}))
    }

    pub(crate) fn get(&self, user: &str, route: &str, placeholders: &[(&str, &str)]) -> TestAnswer {
        self.ask(user, "GET", route, placeholders, &Value::Null)
    }

    pub(crate) fn read(&self, user: &str, room: &str, event_id: &str) -> TestAnswer {
        self.get(user, "event", &[("roomId", room), ("eventId", event_id)])
    }

    pub(crate) fn redact(&self, user: &str, room: &str, event_id: &str, txn: &str) -> TestAnswer {
        let placeholders = [("roomId", room), ("eventId", event_id), ("txnId", txn)];
        self.ask(user, "PUT", "redact", &placeholders, &json!({"reason": "no"}))
    }

    pub(crate) fn membership(&self, room: &str, user: &str) -> String {
        let rows = self.rows::<(String,)>(
            "SELECT membership FROM rooms_memberships WHERE room_id = $1 AND user_id = $2",
            params![room, user],
        );
        rows.into_iter().next().map(|(membership,)| membership).unwrap_or_default()
    }

    pub(crate) fn rows<T: FromRow>(&self, sql: &str, params: Vec<storage::Value>) -> Vec<T> {
        storage::query(sql, params).unwrap().all().unwrap()
    }

    /// Every stored event of a room in order.
    pub(crate) fn events(&self, room: &str) -> Vec<Value> {
        self.rows::<(String,)>(
            "SELECT json FROM rooms_events WHERE room_id = $1 ORDER BY position",
            params![room],
        )
        .into_iter()
        .map(|(json,)| serde_json::from_str(&json).unwrap())
        .collect()
    }

    pub(crate) fn event(&self, event_id: &str) -> Value {
        let rows = self.rows::<(String,)>(
            "SELECT json FROM rooms_events WHERE event_id = $1",
            params![event_id],
        );
        serde_json::from_str(&rows[0].0).unwrap()
    }
}

pub(crate) fn event_id(answer: &TestAnswer) -> String {
    answer.ok()["event_id"].as_str().unwrap().to_owned()
}
