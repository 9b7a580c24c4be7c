//! A hostile plug-in of one tenant tries every capability to reach another: each try is refused or finds nothing, what
//! the host refuses is in its log, and the other tenant is as it was.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::{
    api::{self, Session},
    binary,
};

use super::{ALPHA, BETA, Hosted, Place};

/// What only beta may ever see.
const SECRET: &str = "beta keeps this to itself";

#[tokio::test]
async fn a_hostile_plugin_on_sqlite_reaches_no_neighbour() {
    every_capability(Place::Sqlite).await;
}

#[tokio::test]
async fn a_hostile_plugin_on_postgresql_reaches_no_neighbour() {
    every_capability(Place::Postgres).await;
}

#[tokio::test]
async fn a_hostile_plugin_in_another_node_reaches_no_neighbour() {
    every_capability(Place::Nodes).await;
}

/// The attacker's tenant is alpha; beta runs the same plug-in, so that each key, id and name is the same there.
struct Attack {
    hosted: Hosted,
    victim: Session,
    room: String,
    event: String,
    blob: String,
}

async fn every_capability(place: Place) {
    let attack = Attack::prepare(place).await;
    attack.storage(place).await;
    attack.search_and_locks().await;
    attack.topics().await;
    attack.wake_ups().await;
    attack.cache().await;
    attack.blobs().await;
    attack.services().await;
    attack.timers().await;
    attack.config_and_keys().await;
    attack.limits().await;
    attack.fetch().await;
    attack.front_door().await;
    attack.victim_is_as_before().await;
    attack.refusals_are_logged();
}

impl Attack {
    async fn prepare(place: Place) -> Self {
        let file = binary::fixtures().unwrap().join("hostile-neighbour.wasm");
        let more = format!(
            "[plugins.hostile-neighbour]\nsource = {file:?}\ngrants = \"asked\"\n\n\
             [limits.tries]\nper-second = 0.001\nburst = 2\n"
        );
        // The guard against private addresses stays as it is for operators.
        let hosted = Hosted::start(place, &more, &["hostile-neighbour"], |testing| {
            testing.replace("deny = []", "")
        })
        .await;
        let victim = hosted.user(BETA, "alice").await;
        let room =
            victim.create_room(&json!({"preset": "public_chat", "name": SECRET})).await.unwrap();
        let event = victim.text(&room, "txn", SECRET).await.unwrap();
        let data = format!("/user/{}/account_data/org.example.note", victim.user_id);
        victim.put(&data, &json!({"note": SECRET})).await.unwrap();
        // The same name in alpha, so that what is found there can be told apart.
        hosted.user(ALPHA, "alice").await;
        let mut attack = Self { hosted, victim, room, event, blob: String::new() };
        let later = json!({"key": "note", "note": SECRET, "timer_ms": 600_000});
        let kept = attack.ask(BETA, "keep", &later).await;
        kept["got"]["blob"]
            .as_str()
            .unwrap_or_else(|| panic!("{kept}"))
            .clone_into(&mut attack.blob);
        // The fixture can do what it is to try: else its failures would say nothing.
        for (what, arguments) in [
            ("query", json!({"sql": "SELECT note FROM hostileneighbour_notes"})),
            ("cache", json!({"key": "note"})),
            ("blob-read", json!({"id": attack.blob})),
        ] {
            let got = attack.attempt(BETA, what, &arguments).await;
            assert!(got.to_string().contains(SECRET), "{what} in its own tenant: {got}");
        }
        // The look above took it out of the cache.
        let kept = json!({"key": "note-2", "note": SECRET, "timer_ms": 600_000});
        attack.ask(BETA, "keep", &kept).await;
        attack
    }

    async fn ask(&self, tenant: &str, path: &str, arguments: &Value) -> Value {
        let url = format!("{}/hostile/{path}", self.hosted.url(tenant));
        let body = arguments.to_string().into_bytes();
        let answer =
            api::request(&self.hosted.http, Method::POST, &url, None, Some(body)).await.unwrap();
        assert_eq!(answer.status, 200, "{path} {arguments}: {answer:?}");
        answer.body
    }

    async fn attempt(&self, tenant: &str, what: &str, arguments: &Value) -> Value {
        self.ask(tenant, &format!("try/{what}"), arguments).await
    }

    /// A try of alpha that must bring nothing of beta's, refused or not.
    async fn nothing(&self, what: &str, arguments: &Value) -> Value {
        let got = self.attempt(ALPHA, what, arguments).await;
        let text = got.to_string();
        for stolen in [SECRET, &*self.victim.user_id, self.event.as_str()] {
            // What it said itself may come back in a refusal.
            let said = arguments.to_string().contains(stolen);
            assert!(said || !text.contains(stolen), "{what} {arguments} got {text}");
        }
        got
    }

    /// A try of alpha that the host must refuse.
    async fn refused(&self, what: &str, arguments: &Value) {
        let got = self.nothing(what, arguments).await;
        assert!(got["refused"].is_string(), "{what} {arguments} was not refused: {got}");
    }

    async fn storage(&self, place: Place) {
        // Its own tables hold its own rows only.
        for own in ["hostileneighbour_notes", "rooms_v1_events", "accounts_v1_users"] {
            let got = self.nothing("query", &json!({"sql": format!("SELECT * FROM {own}")})).await;
            assert!(got["got"].is_array(), "{own}: {got}");
        }
        let data = self.hosted.data();
        let mut statements = vec![
            "SELECT * FROM rooms_events".to_owned(),
            "SELECT * FROM accounts_tokens".to_owned(),
            "SELECT * FROM main.rooms_events".to_owned(),
            "SELECT * FROM hostileneighbour_notes; SELECT 1".to_owned(),
            "SELECT * FROM tessera_outbox".to_owned(),
            "INSERT INTO rooms_events SELECT * FROM rooms_events".to_owned(),
            "DELETE FROM rooms_v1_events".to_owned(),
        ];
        let theirs =
            ["beta", "beta_example", "\"beta.example\"", "t_beta_example", "tenant_beta_example"];
        for schema in theirs {
            for table in ["hostileneighbour_notes", "rooms_events", "rooms_v1_events"] {
                statements.push(format!("SELECT * FROM {schema}.{table}"));
                statements.push(format!("UPDATE {schema}.{table} SET note = 'stolen'"));
            }
        }
        match place {
            Place::Sqlite => {
                for file in database_files(&data) {
                    statements.push(format!("ATTACH DATABASE '{file}' AS stolen"));
                    statements.push(format!("VACUUM INTO '{file}.copy'"));
                    statements.push(format!("SELECT readfile('{file}')"));
                }
                statements.extend(
                    [
                        "SELECT * FROM sqlite_master",
                        "SELECT * FROM sqlite_schema",
                        "SELECT * FROM pragma_database_list",
                        "SELECT * FROM dbstat",
                        "PRAGMA database_list",
                        "SELECT load_extension('evil')",
                        "SELECT * FROM temp.sqlite_master",
                    ]
                    .map(str::to_owned),
                );
            }
            Place::Postgres | Place::Nodes => {
                for schema in self.schemas() {
                    for table in ["hostileneighbour_notes", "rooms_events", "accounts_v1_users"] {
                        statements.push(format!("SELECT * FROM {schema}.{table}"));
                        statements.push(format!("SELECT * FROM \"{schema}\".\"{table}\""));
                        statements.push(format!("DELETE FROM {schema}.{table}"));
                        statements.push(format!(
                            "SELECT query_to_xml('select * from {schema}.{table}', true, true, '')"
                        ));
                    }
                    statements.push(format!("SELECT set_config('search_path', '{schema}', false)"));
                    statements.push(format!("SET search_path = {schema}"));
                }
                statements.extend(
                    [
                        "SELECT * FROM pg_catalog.pg_tables",
                        "SELECT * FROM pg_tables",
                        "SELECT * FROM pg_roles",
                        "SELECT * FROM information_schema.tables",
                        "SELECT current_setting('search_path')",
                        "SELECT pg_read_file('postgresql.conf')",
                        "SELECT lo_import('/etc/passwd')",
                        "SELECT dblink('dbname=postgres', 'select 1')",
                        "SELECT pg_sleep(10)",
                        "SET ROLE postgres",
                        "RESET ROLE",
                        "COPY hostileneighbour_notes TO '/tmp/stolen'",
                    ]
                    .map(str::to_owned),
                );
            }
        }
        for sql in statements {
            self.refused("query", &json!({"sql": sql})).await;
            self.refused("commit", &json!({"sql": sql})).await;
        }
    }

    /// Names of PostgreSQL's schemas, from whoever may see them.
    fn schemas(&self) -> Vec<String> {
        let sql =
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'";
        let found = self.hosted.database().sql(sql).unwrap();
        let found: Vec<String> = found.lines().map(str::to_owned).collect();
        assert!(found.len() >= 2, "{found:?}");
        found
    }

    async fn search_and_locks(&self) {
        let got = self.nothing("search", &json!({"words": "beta"})).await;
        assert_eq!(got["got"], json!([]), "{got}");
        // A lock of alpha is none of beta's: both have it at once.
        let keys = json!({"keys": ["the same key"]});
        let (mine, theirs) =
            tokio::join!(self.attempt(ALPHA, "lock", &keys), self.attempt(BETA, "lock", &keys));
        assert_eq!((&mine["got"], &theirs["got"]), (&json!(true), &json!(true)));
    }

    async fn topics(&self) {
        for topic in
            ["rooms.events", "accounts.users", "beta.example/hostile-neighbour.notes", "*", ">"]
        {
            let message = json!({"topic": topic, "key": "note", "payload": "from alpha"});
            self.refused("emit", &message).await;
        }
        // Its own topic comes to its own consumer, not to beta's of the same name.
        let message =
            json!({"topic": "hostile-neighbour.notes", "key": "note", "payload": "from alpha"});
        let got = self.attempt(ALPHA, "emit", &message).await;
        assert!(got.get("got").is_some(), "{got}");
        let heard = json!({"sql": "SELECT source, name, payload FROM hostileneighbour_heard"});
        self.until(ALPHA, &heard, "from alpha").await;
        // Beta heard of its own note and events by now; alpha heard of none of them.
        self.until(BETA, &heard, SECRET).await;
        self.until(BETA, &heard, &self.event).await;
        self.nothing("query", &heard).await;
        let theirs = self.attempt(BETA, "query", &heard).await;
        assert!(!theirs.to_string().contains("from alpha"), "{theirs}");
    }

    /// Waits until a query answers with `text`.
    async fn until(&self, tenant: &str, query: &Value, text: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let got = self.attempt(tenant, "query", query).await;
            if got.to_string().contains(text) {
                return;
            }
            assert!(Instant::now() < until, "{tenant} never heard {text:?}: {got}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn wake_ups(&self) {
        let names: Vec<String> = vec![
            format!("room:{}", self.room),
            format!("user:{}", self.victim.user_id),
            format!("{BETA}/room:{}", self.room),
            "the same topic".to_owned(),
        ];
        // Alpha listens to beta's topics while beta is busy.
        let wait = json!({"topics": names, "timeout_ms": 1500});
        let listening = self.ask(ALPHA, "wait", &wait);
        let busy = async {
            for n in 0..10 {
                self.victim.text(&self.room, &format!("busy-{n}"), "busy").await.unwrap();
                self.attempt(BETA, "notify", &json!({"topics": names})).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let (heard, ()) = tokio::join!(listening, busy);
        assert_eq!(heard["woken"], false, "alpha was woken by beta");
        // Alpha wakes beta's topics while beta listens.
        let listening = self.ask(BETA, "wait", &wait);
        let noise = async {
            for _ in 0..10 {
                self.attempt(ALPHA, "notify", &json!({"topics": names})).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let (heard, ()) = tokio::join!(listening, noise);
        assert_eq!(heard["woken"], false, "beta was woken by alpha");
    }

    async fn cache(&self) {
        for key in ["note", "note-2", "beta.example/note", "beta.example\u{0}note", "../note"] {
            let got = self.nothing("cache", &json!({"key": key})).await;
            assert_eq!(got["got"], Value::Null, "{key}: {got}");
        }
        let theirs = self.attempt(BETA, "cache", &json!({"key": "note-2"})).await;
        assert_eq!(theirs["got"], SECRET, "alpha has removed it");
    }

    async fn blobs(&self) {
        let id = &self.blob;
        for id in [
            id.clone(),
            format!("{BETA}/{id}"),
            format!("../{BETA}/{id}"),
            format!("../../{BETA}/{}/{id}", id.get(..2).unwrap_or_default()),
            "../../keys/beta.example".to_owned(),
            "/etc/passwd".to_owned(),
            String::new(),
        ] {
            let arguments = json!({"id": id});
            self.refused("blob-read", &arguments).await;
            self.refused("blob-stat", &arguments).await;
            self.nothing("blob-delete", &arguments).await;
        }
        let theirs = self.attempt(BETA, "blob-read", &json!({"id": id})).await;
        assert_eq!(theirs["got"], SECRET, "alpha has removed it");
    }

    async fn services(&self) {
        let arguments = |function: &str| {
            json!({
                "function": function, "user": &*self.victim.user_id, "room": self.room, "event": self.event,
                "kind": "org.example.note",
            })
        };
        for function in ["profiles", "account-data", "put-account-data", "filter", "rules"] {
            self.nothing("services", &arguments(function)).await;
        }
        for function in ["state-at", "send-as"] {
            self.refused("services", &arguments(function)).await;
        }
    }

    async fn timers(&self) {
        let soon = json!({"key": "note-3", "note": SECRET, "timer_ms": 1_000});
        self.ask(BETA, "keep", &soon).await;
        for name in ["note", "note-2", "note-3", "beta.example/note-3"] {
            self.nothing("timer-cancel", &json!({"name": name})).await;
        }
        self.attempt(ALPHA, "timer-set", &json!({"name": "note-3", "payload": "alpha's timer"}))
            .await;
        let heard = json!({"sql": "SELECT source, name, payload FROM hostileneighbour_heard WHERE source = 'timer'"});
        self.until(ALPHA, &heard, "alpha's timer").await;
        // Beta's timer of the same name fires with beta's payload, and only there.
        self.until(BETA, &heard, SECRET).await;
        let theirs = self.attempt(BETA, "query", &heard).await;
        assert!(!theirs.to_string().contains("alpha's timer"), "{theirs}");
        self.nothing("query", &heard).await;
    }

    async fn config_and_keys(&self) {
        self.nothing("config", &json!({})).await;
        let mine = self.attempt(ALPHA, "identity", &json!({})).await;
        let theirs = self.attempt(BETA, "identity", &json!({})).await;
        assert_eq!(mine["got"]["tenant"], ALPHA);
        assert_eq!(theirs["got"]["tenant"], BETA);
        assert_ne!(mine["got"]["key"], theirs["got"]["key"], "both sign with one key");
    }

    async fn limits(&self) {
        let take = json!({"class": "tries", "key": "the same key"});
        for _ in 0..5 {
            self.attempt(ALPHA, "take", &take).await;
        }
        self.refused("take", &take).await;
        let theirs = self.attempt(BETA, "take", &take).await;
        assert!(theirs.get("got").is_some(), "alpha has emptied beta's bucket: {theirs}");
    }

    async fn fetch(&self) {
        let port = self.hosted.server().address().port();
        let path = "_matrix/client/v3/publicRooms";
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "0.0.0.0",
            "2130706433",
            "[::ffff:127.0.0.1]",
            "127.1",
        ] {
            let url = format!("http://{host}:{port}/{path}");
            self.refused("fetch", &json!({"url": url})).await;
            self.refused("fetch", &json!({"url": url, "host": BETA})).await;
        }
        // For the reason that matters.
        let url = format!("http://127.0.0.1:{port}/{path}");
        let got = self.nothing("fetch", &json!({"url": url})).await;
        assert!(got["refused"].as_str().is_some_and(|why| why.contains("Refused")), "{got}");
        let around = json!({
            "url": format!("http://{BETA}/{path}"), "connect_to": format!("127.0.0.1:{port}"),
        });
        self.refused("fetch", &around).await;
        for url in
            ["file:///etc/passwd", "ftp://127.0.0.1/", "http://169.254.169.254/latest/meta-data/"]
        {
            self.refused("fetch", &json!({"url": url})).await;
        }
    }

    /// Through the listener, as any client of alpha's may try: the tenant is chosen by Host alone.
    async fn front_door(&self) {
        let path = format!("/_matrix/client/v3/rooms/{}/event/{}", self.room, self.event);
        for (name, value) in [
            ("x-forwarded-host", BETA),
            ("forwarded", "host=beta.example"),
            ("x-tenant", BETA),
            ("x-host", BETA),
        ] {
            let url = format!("{}{path}", self.hosted.url(ALPHA));
            let asked =
                self.hosted.http.get(url).bearer_auth(&*self.victim.token).header(name, value);
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 401, "{name}: {value}");
        }
        // An absolute target that names another host than the header does.
        let address = self.hosted.server().address();
        let request = format!(
            "GET http://{BETA}{path} HTTP/1.1\r\nhost: {ALPHA}\r\nauthorization: Bearer {}\r\n\r\n",
            "none"
        );
        let answer = tessera_tests::raw::exchange(address, request.as_bytes()).await.unwrap();
        assert!(!answer.contains(SECRET), "{answer}");
        // Two hosts in one request are none.
        let request = format!("GET {path} HTTP/1.1\r\nhost: {ALPHA}\r\nhost: {BETA}\r\n\r\n");
        let answer = tessera_tests::raw::exchange(address, request.as_bytes()).await.unwrap();
        assert!(tessera_tests::raw::status(&answer) >= 400, "{answer}");
    }

    async fn victim_is_as_before(&self) {
        let event =
            self.victim.get(&format!("/rooms/{}/event/{}", self.room, self.event)).await.unwrap();
        assert_eq!(event["content"]["body"], SECRET);
        let data = format!("/user/{}/account_data/org.example.note", self.victim.user_id);
        assert_eq!(self.victim.get(&data).await.unwrap()["note"], SECRET);
        let page = format!("/rooms/{}/messages?dir=b&limit=100", self.room);
        let page = self.victim.get(&page).await.unwrap().to_string();
        assert!(!page.contains("intruder"), "{page}");
        let notes = json!({"sql": "SELECT note FROM hostileneighbour_notes"});
        let notes = self.attempt(BETA, "query", &notes).await;
        assert_eq!(notes["got"].as_array().map(Vec::len), Some(3), "{notes}");
    }

    fn refusals_are_logged(&self) {
        let log = self.hosted.log();
        let logged = |word: &str| {
            log.lines().any(|line| {
                line.contains("hostile-neighbour") && line.contains(ALPHA) && line.contains(word)
            })
        };
        for word in ["rooms_events", "127.0.0.1", "refused"] {
            assert!(logged(word), "no line of the log tells of {word:?}:\n{log}");
        }
    }
}

/// The database files below a folder.
fn database_files(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "sqlite" || end == "db") {
                found.push(path.display().to_string());
            }
        }
    }
    assert!(found.len() >= 2, "{found:?}");
    found
}
