//! Tenants come and go while others are under load, and the others notice nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::json;
use tessera_tests::api::{self, Session};

use super::{ALPHA, BETA, Hosted, Place};

const GAMMA: &str = "gamma.example";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_on_sqlite_come_and_go_beside_a_busy_one() {
    come_and_go(Place::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_on_postgresql_come_and_go_beside_a_busy_one() {
    come_and_go(Place::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_in_nodes_come_and_go_beside_a_busy_one() {
    come_and_go(Place::Nodes).await;
}

/// Load on the neighbours; every request must be answered well.
struct Neighbours {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Neighbours {
    async fn start(hosted: &Hosted) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::new();
        for tenant in [ALPHA, BETA] {
            let user = hosted.user(tenant, "busy").await;
            let room = user.create_room(&json!({"preset": "public_chat"})).await.unwrap();
            let (stop, done) = (stop.clone(), done.clone());
            tasks.push(tokio::spawn(async move {
                let mut since = user.sync_token().await.unwrap();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let sent = user.text(&room, &format!("n{n}"), "busy").await.unwrap();
                    let sync = user.sync(Some(&since), Duration::from_secs(5), "").await.unwrap();
                    let events = api::timeline(&sync, &room);
                    assert!(
                        events.iter().any(|event| event["event_id"] == sent.as_str()),
                        "{sync}"
                    );
                    since = api::string(&sync, "next_batch").unwrap();
                    done.fetch_add(2, Ordering::Relaxed);
                }
            }));
        }
        Self { stop, done, tasks }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let done = self.done.load(Ordering::Relaxed);
        println!("{done} requests of the neighbours");
        assert!(done > 20, "only {done} requests: there was no load");
    }
}

async fn come_and_go(place: Place) {
    let hosted = Hosted::start(place, "", &[], |testing| testing).await;
    let neighbours = Neighbours::start(&hosted).await;
    answers(&hosted, 404).await;

    hosted.tenant(&["add", GAMMA]).await;
    answers(&hosted, 200).await;
    let user = hosted.user(GAMMA, "gamma").await;
    let room = user.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    let event = user.text(&room, "one", "to be kept").await.unwrap();
    assert!(hosted.tenant_json(&["list"]).await.to_string().contains(GAMMA));
    let twice = hosted.server().try_tool(&["tenant", "add", GAMMA]).await.unwrap();
    assert!(!twice.status.success(), "added twice");

    // Suspended: a clear answer, a parked poll ends; resumed: as before.
    let since = user.sync_token().await.unwrap();
    let polling = user.clone();
    let poll = tokio::spawn(async move {
        polling.call(Method::GET, &format!("/sync?timeout=60000&since={since}"), None).await
    });
    hosted.tenant(&["suspend", GAMMA]).await;
    answers(&hosted, 503).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), poll).await;
    ended.expect("a poll outlived the suspension").unwrap().unwrap();
    hosted.tenant(&["resume", GAMMA]).await;
    answers(&hosted, 200).await;
    user.text(&room, "two", "sent after").await.unwrap();

    // Exported while it is written to; what was there before the export is in it.
    let file = hosted.data().join("gamma.tessera");
    let path = file.to_str().unwrap().to_owned();
    let (writer, where_to) = (user.clone(), room.clone());
    let writing = tokio::spawn(async move {
        for n in 0..30 {
            writer.text(&where_to, &format!("during-{n}"), "during the export").await.unwrap();
        }
    });
    hosted.tenant(&["export", GAMMA, &path]).await;
    writing.await.unwrap();
    assert!(file.metadata().unwrap().len() > 0);

    // Removed only when asked for by name or told not to ask.
    let unsure = hosted.server().try_tool(&["tenant", "remove", GAMMA]).await.unwrap();
    assert!(!unsure.status.success(), "removed without being asked");
    user.get("/account/whoami").await.unwrap();
    hosted.tenant(&["remove", GAMMA, "--yes", "--no-export"]).await;
    answers(&hosted, 404).await;
    assert!(!hosted.tenant_json(&["list"]).await.to_string().contains(GAMMA));

    // A new tenant of the name knows nothing of the old one.
    hosted.tenant(&["add", GAMMA]).await;
    let answer = user.call(Method::GET, "/account/whoami", None).await.unwrap();
    assert_eq!(answer.status, 401, "{answer:?}");
    let stranger = hosted.user(GAMMA, "gamma").await;
    let answer =
        stranger.call(Method::GET, &format!("/rooms/{room}/event/{event}"), None).await.unwrap();
    assert!(answer.status >= 400, "{answer:?}");
    hosted.tenant(&["remove", GAMMA, "--yes"]).await;

    // The import brings back everything: tokens, rooms, events, the signing key.
    hosted.tenant(&["import", &path]).await;
    let found = user.get(&format!("/rooms/{room}/event/{event}")).await.unwrap();
    assert_eq!(found["content"]["body"], "to be kept");
    assert_eq!(user.text(&room, "one", "to be kept").await.unwrap(), event, "the same transaction");
    user.text(&room, "three", "goes on").await.unwrap();
    Session::login(&hosted.http, &hosted.url(GAMMA), "gamma").await.unwrap();

    neighbours.end().await;
    let log = hosted.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// The tenant's answer is this: at the process that was told at once, at the others as soon as they know.
async fn answers(hosted: &Hosted, status: u16) {
    for (index, url) in hosted.urls(GAMMA).into_iter().enumerate() {
        let url = format!("{url}/_matrix/client/versions");
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let answer = api::request(&hosted.http, Method::GET, &url, None, None).await.unwrap();
            if answer.status == status {
                break;
            }
            assert!(index > 0 && Instant::now() < until, "{url} wanted {status}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn an_export_of_one_engine_is_imported_into_the_other() {
    for (from, to) in [(Place::Sqlite, Place::Postgres), (Place::Postgres, Place::Sqlite)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("moved.tessera");
        let path = file.to_str().unwrap();
        let (event, room, token) = {
            let hosted = Hosted::start(from, "", &[], |testing| testing).await;
            hosted.tenant(&["add", GAMMA]).await;
            let user = hosted.user(GAMMA, "mover").await;
            let room = user.create_room(&json!({"preset": "public_chat"})).await.unwrap();
            let event = user.text(&room, "one", "moved").await.unwrap();
            hosted.tenant(&["export", GAMMA, path]).await;
            (event, room, user)
        };
        let hosted = Hosted::start(to, "", &[], |testing| testing).await;
        hosted.tenant(&["import", path]).await;
        let user = token.at(&hosted.url(GAMMA));
        let found = user.get(&format!("/rooms/{room}/event/{event}")).await.unwrap();
        assert_eq!(found["content"]["body"], "moved", "{from:?} to {to:?}");
        user.text(&room, "two", "goes on").await.unwrap();
    }
}
