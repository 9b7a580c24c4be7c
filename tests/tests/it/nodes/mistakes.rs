//! Errors of whoever runs nodes: each ends the start with a status that is not zero and a message that names what is
//! wrong.

use std::fs;

use tessera_tests::{
    cluster::{Cluster, Layout},
    server::{Refusal, Server},
};

#[track_caller]
fn assert_names(refusal: &Refusal, parts: &[&str]) {
    let Refusal { status, output } = refusal;
    assert!(!status.success(), "ended with {status}:\n{output}");
    for part in parts {
        assert!(output.contains(part), "the message does not name {part:?}:\n{output}");
    }
    assert!(!output.contains("panicked at"), "{output}");
}

/// The first node of a cluster whose descriptor has been changed.
async fn refusal(edit: impl Fn(String) -> String, change: impl Fn(&mut Server)) -> Refusal {
    let mut cluster = Cluster::prepare(&Layout::ring(3)).unwrap();
    let text = fs::read_to_string(cluster.config()).unwrap();
    fs::write(cluster.config(), edit(text)).unwrap();
    let node = &mut cluster.nodes[0];
    change(node);
    node.refuse().await.unwrap()
}

#[tokio::test]
async fn a_start_without_a_node_lists_those_that_there_are() {
    let refusal = refusal(|text| text, |node| node.options_mut().node = None).await;
    assert_names(&refusal, &["--node", "n1", "n2", "n3"]);
}

#[tokio::test]
async fn an_unknown_node_is_named_with_those_that_there_are() {
    let unknown = |node: &mut Server| node.options_mut().node = Some("n7".into());
    assert_names(&refusal(|text| text, unknown).await, &["n7", "n1", "n2", "n3"]);
}

#[tokio::test]
async fn a_plugin_that_no_node_has_is_named() {
    let edit = |text: String| text.replace("\"sync\"", "\"sync\", \"sink\"");
    assert_names(&refusal(edit, |_| {}).await, &["sink"]);
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_named_without_its_password() {
    let edit = |text: String| {
        let start = text.find("url = \"postgres://").unwrap();
        let end = start + text[start..].find('\n').unwrap();
        text.replace(&text[start..end], "url = \"postgres://tessera:hunter2@127.0.0.1:1/tessera\"")
    };
    let refusal = refusal(edit, |_| {}).await;
    assert_names(&refusal, &["127.0.0.1:1"]);
    assert!(!refusal.output.contains("hunter2"), "{}", refusal.output);
}

#[tokio::test]
async fn a_bus_that_does_not_answer_is_named() {
    let edit = |text: String| {
        let start = text.find("\nservers = [").unwrap() + 1;
        let end = start + text[start..].find('\n').unwrap();
        text.replace(&text[start..end], "servers = [\"nats://127.0.0.1:1\"]")
    };
    assert_names(&refusal(edit, |_| {}).await, &["127.0.0.1:1"]);
}

#[tokio::test]
async fn a_node_that_runs_already_is_named() {
    let mut cluster = Cluster::start(&Layout::ring(2)).await.unwrap();
    let mut again = cluster.nodes[0].options_mut().clone();
    again.listen = None;
    let refusal = Server::refuse_with(again).await.unwrap();
    assert_names(&refusal, &["n1"]);
}
