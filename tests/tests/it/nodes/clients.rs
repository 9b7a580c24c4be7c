//! The main job with real clients, each request at another node.

use tessera_tests::{
    cluster::{Cluster, Layout},
    script,
};
use tokio::process::Command;

use crate::e2e;

#[tokio::test]
async fn matrix_js_sdk_plays_the_main_job_on_three_nodes() {
    play(e2e::matrix_js_sdk(), e2e::JS_CHECKS).await;
}

#[tokio::test]
async fn matrix_nio_plays_the_main_job_on_three_nodes() {
    play(e2e::matrix_nio(), e2e::NIO_CHECKS).await;
}

/// At the script's restart point all three nodes are killed.
async fn play(mut command: Command, least: usize) {
    let mut cluster = Cluster::start(&Layout::ring(3)).await.unwrap();
    let gateway = cluster.gateway().await.unwrap();
    command.args(["--url", &gateway.url()]);
    let outcome = script::play_with(command, async || {
        cluster.kill9().await?;
        cluster.boot().await
    })
    .await
    .unwrap();
    e2e::judge(&outcome, least);
    let answered = gateway.answered();
    println!("requests answered by each node: {answered:?}");
    assert!(answered.iter().all(|count| *count > 20), "{answered:?}");
}
