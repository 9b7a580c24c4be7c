//! A server `hs1` with rooms and whom it takes.

use serde_json::{Value, json};
use tessera_plugin_directory::Plugin;
use tessera_plugin_rooms::Plugin as Rooms;
use tessera_sdk::params;
use tessera_sdk::storage::Batch;
use tessera_test_host::{PluginUnderTest, TestAnswer, TestHost};

pub(crate) const ALICE: &str = "@alice:hs1";
pub(crate) const BOB: &str = "@bob:hs1";
pub(crate) const CAROL: &str = "@carol:hs1";

const ACCOUNTS: &str = r#"
name = "accounts"
version = "0.1.0"
description = "fixture"
[storage]
exposes = ["accounts_v1_profiles", "accounts_v1_users", "accounts_v1_account_data"]
[topics]
emits = ["accounts.profiles", "accounts.users"]
"#;

const ACCOUNTS_TABLES: &str = "
CREATE TABLE accounts_users (user_id text PRIMARY KEY, displayname text, avatar_url text,
  created_ms bigint NOT NULL DEFAULT 0, deactivated boolean NOT NULL DEFAULT FALSE,
  guest boolean NOT NULL DEFAULT FALSE, admin boolean NOT NULL DEFAULT FALSE);
CREATE TABLE accounts_data (user_id text, room_id text, type text, content text, position bigint);
CREATE VIEW accounts_v1_profiles AS SELECT user_id, displayname, avatar_url FROM accounts_users;
CREATE VIEW accounts_v1_users AS SELECT user_id, created_ms, deactivated, guest, admin FROM accounts_users;
CREATE VIEW accounts_v1_account_data AS SELECT user_id, room_id, type, content, position FROM accounts_data;
";

pub(crate) struct Server {
    pub(crate) host: TestHost,
}

pub(crate) fn server() -> Server {
    configured(&json!({}))
}

pub(crate) fn configured(config: &Value) -> Server {
    let host = TestHost::builder()
        .plugin_in(".")
        .plugin_in("../rooms")
        .plugin(PluginUnderTest {
            name: "accounts",
            manifest: ACCOUNTS,
            migrations: &[("0001_init", ACCOUNTS_TABLES)],
        })
        .config("directory", config)
        .start();
    Server { host }
}

impl Server {
    /// Sets a user's name, as `accounts` does; nothing is delivered.
    pub(crate) fn user(&self, user: &str, name: Option<&str>, deactivated: bool) {
        self.host.acting("accounts", || {
            Batch::new()
                .run(
                    "INSERT INTO accounts_users (user_id, displayname, deactivated) VALUES ($1, $2, $3)
                     ON CONFLICT (user_id) DO UPDATE SET displayname = excluded.displayname,
                       deactivated = excluded.deactivated",
                    params![user, name, deactivated],
                )
                .emit("accounts.profiles", user, json!({"user_id": user}).to_string())
                .commit()
                .unwrap();
        });
    }

    /// Hands the messages of `accounts` to the plug-in.
    pub(crate) fn deliver(&self) {
        self.host.deliver::<Plugin>("directory", "accounts.profiles");
    }

    /// A request to `rooms`.
    fn rooms(
        &self,
        user: &str,
        method: &str,
        route: &str,
        params: &[(&str, &str)],
        body: &Value,
    ) -> Value {
        self.host.acting("rooms", || {
            let mut request = self.host.request(method, route).user(user).json(body);
            for (name, value) in params {
                request = request.param(name, value);
            }
            request.send::<Rooms>().ok()
        })
    }

    pub(crate) fn create(&self, user: &str, body: &Value) -> String {
        let answer = self.rooms(user, "POST", "create-room", &[], body);
        answer["room_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn join(&self, user: &str, room: &str) {
        self.rooms(user, "POST", "join", &[("roomIdOrAlias", room)], &json!({}));
    }

    pub(crate) fn about(&self, user: &str, act: &str, room: &str, target: &str) {
        self.rooms(user, "POST", act, &[("roomId", room)], &json!({"user_id": target}));
    }

    pub(crate) fn state(&self, user: &str, room: &str, kind: &str, key: &str, body: &Value) {
        let params = [("roomId", room), ("eventType", kind), ("stateKey", key)];
        self.rooms(user, "PUT", "put-state", &params, body);
    }

    pub(crate) fn get(
        &self,
        user: Option<&str>,
        route: &str,
        params: &[(&str, &str)],
        query: &[(&str, &str)],
    ) -> TestAnswer {
        let mut request = self.host.request("GET", route);
        if let Some(user) = user {
            request = request.user(user);
        }
        for (name, value) in params {
            request = request.param(name, value);
        }
        for (name, value) in query {
            request = request.query(name, value);
        }
        request.send::<Plugin>()
    }

    pub(crate) fn post(&self, user: &str, route: &str, body: &Value) -> TestAnswer {
        self.host.request("POST", route).user(user).json(body).send::<Plugin>()
    }
}

/// The `room_id`s of a list of rooms.
pub(crate) fn ids(rooms: &Value) -> Vec<String> {
    let rooms = rooms.as_array().unwrap();
    rooms.iter().map(|room| room["room_id"].as_str().unwrap().to_owned()).collect()
}
