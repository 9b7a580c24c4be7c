//! What is done at one node is seen at the others.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tessera_tests::{
    api::{self, Session},
    cluster::{Cluster, Layout},
    http,
    server::Options,
    server::Server,
};
use tokio::sync::watch;

use crate::{
    load::{self, Line},
    verify,
};

#[tokio::test]
async fn one_process_serves_from_postgresql() {
    let services = tessera_tests::cluster::Services::shared().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tessera.toml");
    let testing = tessera_tests::binary::testing_config()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .unwrap_or_default();
    std::fs::write(&config, format!("{testing}\n{}", services.storage())).unwrap();
    let options = Options { config: Some(config), ..Options::testing().unwrap() };
    let mut server = Server::start_with(options).await.unwrap();
    let client = http::client().unwrap();
    let user = Session::register(&client, &server.url(), "postgres").await.unwrap();
    let room = user.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    let event = user.text(&room, "one", "kept").await.unwrap();
    server.kill9().await.unwrap();
    server.boot().await.unwrap();
    let found = user.get(&format!("/rooms/{room}/event/{event}")).await.unwrap();
    assert_eq!(found["content"]["body"], "kept");
    assert_eq!(user.text(&room, "one", "kept").await.unwrap(), event);
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'rooms%'";
    let tables: u32 = services.database.sql(tables).unwrap().trim().parse().unwrap();
    assert!(tables > 0, "nothing was kept in PostgreSQL");
}

#[tokio::test]
async fn what_one_node_is_told_the_others_know_and_wake_for() {
    let cluster = Cluster::start(&Layout::ring(3)).await.unwrap();
    let client = http::client().unwrap();
    let urls = cluster.urls();
    let alice = Session::register(&client, &urls[0], "alice").await.unwrap();
    // Registered at the second, the token is good at the third.
    let bob = Session::register(&client, &urls[1], "bob").await.unwrap().at(&urls[2]);
    let room = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    bob.join(&room).await.unwrap();

    // A poll at each node, woken by a message at each.
    for (n, url) in urls.iter().enumerate() {
        let mut polls = Vec::new();
        for reader in &urls {
            let (bob, room) = (bob.at(reader), room.clone());
            let since = bob.sync_token().await.unwrap();
            polls.push(tokio::spawn(async move { wait_for_text(&bob, &room, since).await }));
        }
        let sent = alice.at(url).text(&room, &format!("wake-{n}"), "wake up").await.unwrap();
        for poll in polls {
            assert_eq!(poll.await.unwrap(), sent, "sent at node {n}");
        }
    }

    // Logged out at one, gone at all (answers of the authenticator are kept at most 5 s).
    bob.post("/logout", &json!({})).await.unwrap();
    for url in &urls {
        let gone = refused_within(&bob.at(url), Duration::from_secs(10)).await;
        assert!(gone, "the token still works at {url}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_loop_over_all_nodes_tells_each_event_once_in_order() {
    let cluster = Cluster::start(&Layout::ring(3)).await.unwrap();
    let gateway = cluster.gateway().await.unwrap();
    let client = http::client().unwrap();
    let urls = cluster.urls();
    // Each poll of this one is answered by another node.
    let reader = Session::register(&client, &gateway.url(), "reader").await.unwrap();
    let mut rooms = Vec::new();
    for _ in 0..2 {
        let options =
            json!({"preset": "public_chat", "power_level_content_override": {"state_default": 0}});
        rooms.push(reader.create_room(&options).await.unwrap());
    }
    let (stop, stopping) = watch::channel(false);
    let (_generation, generation) = watch::channel(0);
    let mut senders = Vec::new();
    for index in 0..3 {
        let user = Session::register(&client, &urls[index], &format!("s{index}")).await.unwrap();
        for room in &rooms {
            user.join(room).await.unwrap();
        }
        let line = Line::to_many(&user, &urls, index);
        senders.push((line, index));
    }
    let since = reader.sync_token().await.unwrap();
    let line = Line::to_one(reader.clone(), generation);
    let reading = tokio::spawn(load::read(line, since, rooms.clone()));
    let senders: Vec<_> = senders
        .into_iter()
        .map(|(line, index)| tokio::spawn(load::send(line, index, rooms.clone(), stopping.clone())))
        .collect();
    tokio::time::sleep(Duration::from_secs(6)).await;
    stop.send(true).unwrap();
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.push(sender.await.unwrap());
    }
    reader.text(&rooms[0], "the-last", load::LAST).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(60), reading).await;
    verify::told(&told.expect("the reader never saw the end").unwrap(), &acknowledged);
}

#[tokio::test]
async fn many_senders_at_all_nodes_write_one_history() {
    let cluster = Cluster::start(&Layout::replicas(2)).await.unwrap();
    let client = http::client().unwrap();
    let urls = cluster.urls();
    let owner = Session::register(&client, &urls[0], "owner").await.unwrap();
    let room = owner.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    let tasks: Vec<_> = (0..6)
        .map(|index| {
            let (owner, room) = (owner.at(&urls[index % urls.len()]), room.clone());
            tokio::spawn(async move {
                for n in 0..20 {
                    owner.text(&room, &format!("s{index}-{n}"), "text").await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut pages = Vec::new();
    for url in &urls {
        let page = owner.at(url).get(&format!("/rooms/{room}/messages?dir=b&limit=200")).await;
        let page = page.unwrap();
        let events = page["chunk"].as_array().unwrap();
        let texts = events.iter().filter(|event| event["type"] == "m.room.message");
        assert_eq!(texts.count(), 120, "at {url}");
        let ids: Vec<_> = events.iter().map(|event| event["event_id"].clone()).collect();
        pages.push(ids);
    }
    assert_eq!(pages[0], pages[1], "both nodes tell the same history in the same order");
}

/// The id of the first message after `since`.
async fn wait_for_text(user: &Session, room: &str, mut since: String) -> String {
    loop {
        let answer = user.sync(Some(&since), Duration::from_secs(30), "").await.unwrap();
        let mut events = api::timeline(&answer, room).iter();
        if let Some(text) = events.find(|event| event["type"] == "m.room.message") {
            return text["event_id"].as_str().unwrap().to_owned();
        }
        since = api::string(&answer, "next_batch").unwrap();
    }
}

async fn refused_within(user: &Session, patience: Duration) -> bool {
    let ask = async {
        while user.call(Method::GET, "/account/whoami", None).await.unwrap().status != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(patience, ask).await.is_ok()
}
