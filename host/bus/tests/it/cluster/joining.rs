use std::time::Duration;

use serde_json::json;
use tessera_bus::{Cluster, ClusterConfig, ClusterTls, Credentials};

use super::support::{Mortal, own_server, server, until};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_know_one_another_and_what_they_say() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    two.describe(|| json!({ "run": ["rooms"] }));
    until("they know one another", || one.live() == 2 && two.live() == 2).await;
    until("one knows what two runs", || {
        one.nodes().iter().any(|node| node.document == json!({ "run": ["rooms"] }))
    })
    .await;
    let names: Vec<_> = one.nodes().into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["one", "two"]);

    two.set_draining(true);
    until("one knows that two drains", || one.nodes()[1].draining).await;
    let before = *one.changes().borrow();
    two.close().await;
    until("two has left", || one.live() == 1).await;
    assert!(*one.changes().borrow() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_noticed() {
    let Some(server) = server() else { return };
    let one = server.join("one").await;
    let (mortal, config) = (Mortal::new(), server.config("two"));
    let _two = mortal.run(async { Cluster::connect(config).await.unwrap() }).await;
    until("two is there", || one.live() == 2).await;
    mortal.kill();
    until("two is gone", || one.live() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_and_comes_back() {
    let Some(mut server) = own_server() else { return };
    let one = server.join("one").await;
    assert!(one.connection().borrow().connected);
    server.nats().kill();
    until("the loss is told", || !one.connection().borrow().connected).await;
    server.nats().restart().unwrap();
    until("it is connected again", || one.connection().borrow().connected).await;
    assert_eq!(one.connection().borrow().losses, 1);
    assert_eq!(one.live(), 1, "who hears nobody keeps what it knew");
}

#[tokio::test]
async fn errors_name_what_to_do() {
    let quick = Duration::from_millis(200);
    let base = ClusterConfig { connect_timeout: quick, ..ClusterConfig::default() };
    let with = |servers: &str| ClusterConfig { servers: vec![servers.to_owned()], ..base.clone() };
    let missing = std::path::PathBuf::from("no/such/file");
    let cases = [
        // Nobody listens at port 1.
        (with("nats://user:secret@127.0.0.1:1"), "is the NATS server running"),
        (with("http://127.0.0.1"), "nats://HOST:PORT"),
        (ClusterConfig { servers: Vec::new(), ..base.clone() }, "no servers"),
        (ClusterConfig { prefix: "a.b".into(), ..base.clone() }, "prefix"),
        (ClusterConfig { node: "a b".into(), ..base.clone() }, "node name"),
        (
            ClusterConfig { credentials: Credentials::File(missing.clone()), ..base.clone() },
            "credentials file",
        ),
        (
            ClusterConfig { credentials: Credentials::NkeySeed(missing.clone()), ..base.clone() },
            "nkey seed",
        ),
        (
            ClusterConfig {
                tls: ClusterTls { certificate: Some(missing.clone()), ..ClusterTls::default() },
                ..base.clone()
            },
            "belong together",
        ),
        (
            ClusterConfig {
                tls: ClusterTls { ca: Some(missing), ..ClusterTls::default() },
                ..base.clone()
            },
            "no/such/file",
        ),
    ];
    for (config, wanted) in cases {
        let error = Cluster::connect(config).await.err().unwrap().to_string();
        assert!(error.contains(wanted), "`{wanted}` is not in: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_streams_is_refused_with_a_hint() {
    let Some(server) = server() else { return };
    // More copies than there are servers: as far as the node is concerned, no stream.
    let config = ClusterConfig { replicas: 3, ..server.config("one") };
    let error = Cluster::connect(config).await.err().unwrap().to_string();
    assert!(error.contains("replicas") && error.contains("_TOPICS"), "{error}");
}
