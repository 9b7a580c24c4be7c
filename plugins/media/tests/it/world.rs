//! A server with media.

use serde_json::Value;
use tessera_plugin_media::Plugin;
use tessera_sdk::bindings::http::exports::tessera::plugin::http::Guest;
use tessera_sdk::blobs;
use tessera_sdk::http::{Body, Outcome, Response, ResponseBody, WakeReason, WireRequest};
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch, FromRow, position};
use tessera_test_host::{PluginUnderTest, TestAnswer, TestHost, TestRequest};

pub(crate) const ALICE: &str = "@alice:hs1";
pub(crate) const BOB: &str = "@bob:hs1";

const ROOMS: PluginUnderTest = PluginUnderTest {
    name: "rooms",
    manifest: "name = \"rooms\"\nversion = \"0.1.0\"\ndescription = \"fixture\"\n\
        [storage]\nexposes = [\"rooms_v1_events\", \"rooms_v1_rooms\", \"rooms_v1_current_state\", \
        \"rooms_v1_memberships\"]\n",
    migrations: &[(
        "0001_init",
        "CREATE TABLE rooms_events (position bigint PRIMARY KEY, event_id text NOT NULL, room_id text NOT NULL,
           type text NOT NULL, state_key text, sender text NOT NULL, origin_ts bigint NOT NULL, json text NOT NULL,
           rejected boolean NOT NULL);
         CREATE VIEW rooms_v1_events AS SELECT position, event_id, room_id, type, state_key, sender, origin_ts, json,
           rejected FROM rooms_events;
         CREATE TABLE rooms_rooms (room_id text PRIMARY KEY);
         CREATE VIEW rooms_v1_rooms AS SELECT room_id FROM rooms_rooms;
         CREATE TABLE rooms_state (room_id text NOT NULL, type text NOT NULL, state_key text NOT NULL,
           event_id text NOT NULL, json text NOT NULL, PRIMARY KEY (room_id, type, state_key));
         CREATE VIEW rooms_v1_current_state AS SELECT room_id, type, state_key, event_id, json FROM rooms_state;
         CREATE TABLE rooms_members (room_id text NOT NULL, user_id text NOT NULL, avatar_url text);
         CREATE VIEW rooms_v1_memberships AS SELECT room_id, user_id, avatar_url FROM rooms_members;",
    )],
};

const ACCOUNTS: PluginUnderTest = PluginUnderTest {
    name: "accounts",
    manifest: "name = \"accounts\"\nversion = \"0.1.0\"\ndescription = \"fixture\"\n\
        [storage]\nexposes = [\"accounts_v1_users\", \"accounts_v1_profiles\"]\n",
    migrations: &[(
        "0001_init",
        "CREATE TABLE accounts_users (user_id text PRIMARY KEY);
         CREATE VIEW accounts_v1_users AS SELECT user_id FROM accounts_users;
         CREATE TABLE accounts_profiles (user_id text PRIMARY KEY, displayname text, avatar_url text);
         CREATE VIEW accounts_v1_profiles AS SELECT user_id, displayname, avatar_url FROM accounts_profiles;
         INSERT INTO accounts_users (user_id) VALUES ('@alice:hs1');
         INSERT INTO accounts_users (user_id) VALUES ('@bob:hs1');",
    )],
};

pub(crate) struct Server {
    pub(crate) host: TestHost,
}

pub(crate) fn server() -> Server {
    server_with(&serde_json::json!({}))
}

/// The manifest's defaults, changed by these.
pub(crate) fn server_with(config: &Value) -> Server {
    let mut all = serde_json::json!({
        "max-upload": 1000, "max-bytes-per-user": 0, "upload-limits": [], "max-pending": 3, "pending-hours": 24,
        "freeze-unauthenticated": "always", "retention-local-days": 0,
        "thumbnail-sizes": [
            { "width": 32, "height": 32, "method": "crop" }, { "width": 320, "height": 240, "method": "scale" },
        ],
        "max-thumbnails": 4, "url-previews": true, "url-preview-blocklist": [],
        "url-preview-max-bytes": 1_000_000, "url-preview-minutes": 60, "url-preview-language": "en",
        "url-preview-total-bytes": 1_000_000, "limits-by-user": [], "retention-by-room": [],
        "retention-from-rooms": false, "retention-from-rooms-min-days": 1,
    });
    for (key, value) in config.as_object().unwrap() {
        all[key] = value.clone();
    }
    let host = TestHost::builder()
        .plugin_in(".")
        .plugin(ROOMS)
        .plugin(ACCOUNTS)
        .config("media", &all)
        .start();
    Server { host }
}

/// An answer and what may be looked at in it.
pub(crate) struct Got {
    pub(crate) answer: TestAnswer,
    outcome: Outcome,
}

impl Got {
    fn of(outcome: Outcome) -> Self {
        Self { answer: TestAnswer::of(outcome.clone()), outcome }
    }

    pub(crate) fn response(&self) -> &Response {
        match &self.outcome {
            Outcome::Done(response) => response,
            Outcome::Park(_) => panic!("parked"),
        }
    }

    /// The bytes of the blob that it carries.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match &self.response().body {
            ResponseBody::Blob(blob) => blobs::read(blob, 0, u32::MAX).unwrap(),
            other => panic!("no blob: {} {other:?}", self.response().status),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.answer.header(name).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> u16 {
        self.answer.status()
    }

    pub(crate) fn error(&self) -> (u16, String) {
        self.answer.error()
    }
}

impl Server {
    pub(crate) fn send(&self, request: WireRequest) -> Got {
        Got::of(Plugin::handle(request))
    }

    /// A request with a body in a blob.
    pub(crate) fn put(&self, request: TestRequest, bytes: &[u8]) -> Got {
        let mut wire = request.build();
        wire.body = Body::Blob(blobs::put(bytes).unwrap());
        self.send(wire)
    }

    pub(crate) fn try_upload(
        &self,
        user: &str,
        bytes: &[u8],
        kind: &str,
        name: Option<&str>,
    ) -> Got {
        let mut request = self.host.request("POST", "upload").user(user);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        if let Some(name) = name {
            request = request.query("filename", name);
        }
        self.put(request, bytes)
    }

    /// Uploads; the media id.
    pub(crate) fn upload(&self, user: &str, bytes: &[u8], kind: &str) -> String {
        id_of(&self.try_upload(user, bytes, kind, None).answer.ok())
    }

    pub(crate) fn create(&self, user: &str) -> Got {
        self.send(self.host.request("POST", "create").user(user).build())
    }

    pub(crate) fn upload_to(&self, user: &str, id: &str, bytes: &[u8]) -> Got {
        let request = self.host.request("PUT", "upload-to").user(user);
        let request = request.param("serverName", "hs1").param("mediaId", id);
        self.put(request.header("content-type", "image/png"), bytes)
    }

    pub(crate) fn at(&self, route: &str, id: &str) -> TestRequest {
        let request = self.host.request("GET", route);
        let request = if route.ends_with("-open") { request } else { request.user(BOB) };
        request.param("serverName", "hs1").param("mediaId", id)
    }

    pub(crate) fn download(&self, id: &str) -> Got {
        self.send(self.at("download", id).build())
    }

    pub(crate) fn thumbnail(&self, id: &str, width: u32, height: u32, method: &str) -> Got {
        let request = self.at("thumbnail", id).query("width", &width.to_string());
        self.send(request.query("height", &height.to_string()).query("method", method).build())
    }

    pub(crate) fn resume(&self, route: &str, parked: &Got, reason: WakeReason) -> Got {
        let state = parked.answer.parked().unwrap().state.clone();
        Got::of(Plugin::resume(route.to_owned(), state, reason, None))
    }

    pub(crate) fn admin(&self, method: &str, route: &str, params: &[(&str, &str)]) -> Got {
        let mut request = self.host.request(method, route).user(ALICE).mark("admin");
        for (name, value) in params {
            request = request.param(name, value);
        }
        self.send(request.build())
    }

    pub(crate) fn sweep(&self) {
        use tessera_sdk::bindings::timer::exports::tessera::plugin::timer::Guest as _;
        Plugin::fire("sweep".to_owned(), String::new()).unwrap();
    }

    /// An event of a room; it is in force if it has a state key. Its id is its number.
    pub(crate) fn event(
        &self,
        room: &str,
        sender: &str,
        kind: &str,
        key: Option<&str>,
        content: &Value,
    ) {
        let event = serde_json::json!({
            "type": kind, "sender": sender, "room_id": room, "state_key": key, "content": content,
        });
        let event = event.to_string();
        let mut ids = self.host.acting("rooms", || {
            let mut batch = Batch::new();
            batch.take_positions(1);
            let batch = batch.run(
                "INSERT INTO rooms_rooms (room_id) VALUES ($1) ON CONFLICT (room_id) DO NOTHING",
                params![room],
            );
            let batch = batch.run(
                "INSERT INTO rooms_events (position, event_id, room_id, type, state_key, sender, origin_ts, json, \
                 rejected) VALUES ($1, 'new', $2, $3, $4, $5, $6, $7, FALSE)",
                params![position(0), room, kind, key, sender, self.host.now_ms(), &event],
            );
            batch.commit().unwrap();
            let sql = "SELECT max(position) AS p FROM rooms_events";
            storage::query(sql, vec![]).unwrap().all::<(i64,)>().unwrap()
        });
        let id = ids.remove(0).0.to_string();
        self.host.acting("rooms", || {
            let mut batch = Batch::new().run(
                "UPDATE rooms_events SET event_id = $1 WHERE event_id = 'new'",
                params![&id],
            );
            if let Some(key) = key {
                batch = batch.run(
                    "INSERT INTO rooms_state (room_id, type, state_key, event_id, json) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (room_id, type, state_key) DO UPDATE SET event_id = excluded.event_id, \
                     json = excluded.json",
                    params![room, kind, key, &id, &event],
                );
            }
            batch.commit().unwrap();
        });
    }

    /// Whoever sends it names a file of this server.
    pub(crate) fn image(&self, room: &str, sender: &str, id: &str) {
        let content = serde_json::json!({ "msgtype": "m.image", "url": format!("mxc://hs1/{id}") });
        self.event(room, sender, "m.room.message", None, &content);
    }

    /// Everything that is due, until nothing is.
    pub(crate) fn timers(&self) {
        while self.host.fire_timers::<Plugin>("media") > 0 {
            self.host.advance(1_000);
        }
    }

    pub(crate) fn rows<T: FromRow>(&self, sql: &str) -> Vec<T> {
        storage::query(sql, vec![]).unwrap().all().unwrap()
    }

    /// Blobs and how many rows name them, as counted and as they are.
    pub(crate) fn counts_hold(&self) {
        let counted: Vec<(String, i64)> =
            self.rows("SELECT blob, users FROM media_blobs WHERE users > 0 ORDER BY blob");
        let real: Vec<(String, i64)> = self.rows(
            "SELECT u.blob, count(*) AS n FROM (SELECT blob FROM media_files WHERE blob IS NOT NULL \
             UNION ALL SELECT blob FROM media_thumbnails) u GROUP BY u.blob ORDER BY u.blob",
        );
        assert_eq!(counted, real);
    }
}

/// The media id of an upload's answer.
pub(crate) fn id_of(answer: &Value) -> String {
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://hs1/").unwrap_or_else(|| panic!("{uri}")).to_owned()
}
