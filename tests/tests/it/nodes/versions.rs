//! Two versions of one plug-in side by side, as in a rolling upgrade.

use std::fs;

use serde_json::{Value, json};
use tessera_tests::{
    api::Session,
    binary,
    cluster::{Cluster, Layout},
    http,
};

#[tokio::test]
async fn two_nodes_run_two_versions_of_one_plugin() {
    let mut cluster = Cluster::prepare(&Layout::replicas(2)).unwrap();
    // The second node reads a descriptor that differs in one thing: the file of rooms.
    let newer = cluster.folder().join("rooms-next.wasm");
    fs::write(&newer, with_version("rooms", "0.1.0", "0.1.7")).unwrap();
    let text = fs::read_to_string(cluster.config()).unwrap();
    let config = cluster.folder().join("next.toml");
    fs::write(&config, format!("{text}\n[plugins.rooms]\nsource = {newer:?}\n")).unwrap();
    cluster.nodes[1].options_mut().config = Some(config);
    cluster.boot().await.unwrap();

    let client = http::client().unwrap();
    let urls = cluster.urls();
    let user = Session::register(&client, &urls[0], "upgrade").await.unwrap();
    let room = user.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    for n in 0..10 {
        let (here, there) = (user.at(&urls[n % 2]), user.at(&urls[(n + 1) % 2]));
        let sent = here.text(&room, &format!("txn-{n}"), "text").await.unwrap();
        there.get(&format!("/rooms/{room}/event/{sent}")).await.unwrap();
    }
    let said = cluster.nodes[0].tool(&["nodes", "--json"]).await.unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let text = said.to_string();
    assert!(text.contains("0.1.0") && text.contains("0.1.7"), "{said:#}");

    // The older node goes on alone, then the newer one does.
    cluster.nodes[1].kill9().await.unwrap();
    user.at(&urls[0]).text(&room, "old", "of the old one").await.unwrap();
    cluster.boot().await.unwrap();
    cluster.nodes[0].kill9().await.unwrap();
    user.at(&urls[1]).text(&room, "new", "of the new one").await.unwrap();
}

/// A plug-in's file whose manifest tells another version.
fn with_version(plugin: &str, from: &str, to: &str) -> Vec<u8> {
    let mut bytes = fs::read(binary::plugins().unwrap().join(format!("{plugin}.wasm"))).unwrap();
    // The same length, so that the section around it stays as it is.
    assert_eq!(from.len(), to.len());
    let (from, to) = (format!("\nversion = \"{from}\"\n"), format!("\nversion = \"{to}\"\n"));
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from.as_bytes()))
        .collect();
    assert_eq!(places.len(), 1, "{plugin}: {from:?} is there {} times", places.len());
    bytes[places[0]..places[0] + to.len()].copy_from_slice(to.as_bytes());
    bytes
}
