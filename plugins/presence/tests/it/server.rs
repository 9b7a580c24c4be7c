//! Alice and bob in a room with three events; carol outside.

use serde_json::Value;
use tessera_plugin_presence::Plugin;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, FromRow};
use tessera_test_host::{PluginUnderTest, TestAnswer, TestHost};

pub(crate) const ALICE: &str = "@alice:hs1";
pub(crate) const BOB: &str = "@bob:hs1";
pub(crate) const CAROL: &str = "@carol:hs1";
pub(crate) const ROOM: &str = "!room:hs1";

const ROOMS: PluginUnderTest = PluginUnderTest {
    name: "rooms",
    manifest: "name = \"rooms\"\nversion = \"0.1.0\"\ndescription = \"fixture\"\n\
        [storage]\nexposes = [\"rooms_v1_events\", \"rooms_v1_memberships\", \"rooms_v1_relations\"]\n[topics]\nemits = [\"rooms.purged\"]\n",
    migrations: &[(
        "0001_init",
        "CREATE TABLE rooms_events (position bigint PRIMARY KEY, event_id text NOT NULL UNIQUE, room_id text NOT NULL,
           redacted_by text);
         CREATE TABLE rooms_relations (event_id text PRIMARY KEY, relates_to text NOT NULL, rel_type text NOT NULL);
         CREATE VIEW rooms_v1_relations AS SELECT event_id, relates_to, rel_type FROM rooms_relations;
         CREATE TABLE rooms_memberships (room_id text NOT NULL, user_id text NOT NULL, membership text NOT NULL,
           PRIMARY KEY (room_id, user_id));
         CREATE VIEW rooms_v1_events AS SELECT position, event_id, room_id, redacted_by FROM rooms_events;
         CREATE VIEW rooms_v1_memberships AS SELECT room_id, user_id, membership FROM rooms_memberships;",
    )],
};

pub(crate) struct Server {
    pub(crate) host: TestHost,
}

pub(crate) fn server() -> Server {
    server_with(&serde_json::json!({}))
}

pub(crate) fn server_with(config: &Value) -> Server {
    let host = TestHost::builder().plugin_in(".").plugin(ROOMS).config("presence", config).start();
    host.acting("rooms", || {
        Batch::new()
            .run_many(
                "INSERT INTO rooms_events (position, event_id, room_id) VALUES ($1, $2, $3)",
                vec![
                    params![1, "$1", ROOM],
                    params![2, "$2", ROOM],
                    params![3, "$3", ROOM],
                    params![4, "$x", "!other:hs1"],
                ],
            )
            .run_many(
                "INSERT INTO rooms_memberships (room_id, user_id, membership) VALUES ($1, $2, $3)",
                vec![
                    params![ROOM, ALICE, "join"],
                    params![ROOM, BOB, "join"],
                    params![ROOM, CAROL, "leave"],
                ],
            )
            .commit()
    })
    .unwrap();
    let _ = host.wakes();
    Server { host }
}

impl Server {
    pub(crate) fn ask(
        &self,
        user: &str,
        method: &str,
        route: &str,
        params: &[(&str, &str)],
        body: &Value,
    ) -> TestAnswer {
        let mut request = self.host.request(method, route).user(user).device("D");
        for (name, value) in params {
            request = request.param(name, value);
        }
        if method != "GET" {
            request = request.json(body);
        }
        let _ = self.host.calls();
        request.send::<Plugin>()
    }

    pub(crate) fn rows<T: FromRow>(&self, sql: &str) -> Vec<T> {
        storage::query(sql, vec![]).unwrap().all().unwrap()
    }
}
