//! examples/spam-filter: a table, a configuration, a timer, a route for administrators.

use reqwest::Method;
use serde_json::json;
use tessera_tests::server::{Options, Server};

use super::{admin, bodies, send, world};
use crate::common::assert_error;

const CONFIG: &str = r#"
[plugins.spam-filter]
grants = { answer = "*", serve = "*" }
config = { copies = 2, window-s = 600 }
"#;

const ROUTE: &str = "/_tessera/spam-filter/refusals";

#[tokio::test]
async fn spam_filter_refuses_copies_and_its_administrator_forgives() {
    let world = world(CONFIG).await;
    let boss = admin(&world, "boss").await;
    let (user, room) = world.user_in_room("chatty").await;
    boss.join(&room).await.unwrap();
    for txn in ["1", "2"] {
        assert_eq!(send(&user, &room, txn, "buy my fine carpets").await.status, 200);
    }
    let refused = send(&user, &room, "3", "Buy  my fine CARPETS").await;
    assert_error(&refused, &[403], &["M_FORBIDDEN"]);
    assert_eq!(send(&user, &room, "4", "something else").await.status, 200);

    let seen = world.request(Method::GET, ROUTE, Some(&boss.token), None).await.ok().unwrap();
    assert_eq!(seen["refusals"][0]["user_id"], *user.user_id);
    assert_eq!(seen["refusals"][0]["times"], 1);
    let peeking = world.request(Method::GET, ROUTE, Some(&user.token), None).await;
    assert_error(&peeking, &[403], &["M_FORBIDDEN"]);

    let path = format!("{ROUTE}/{}", user.user_id);
    let forgiven = world.request(Method::DELETE, &path, Some(&boss.token), None).await;
    assert_eq!(forgiven.status, 200, "{forgiven:?}");
    assert_eq!(send(&user, &room, "5", "buy my fine carpets").await.status, 200);
    let said = bodies(&user, &room).await;
    assert_eq!(said.iter().filter(|body| body.contains("carpets")).count(), 3, "{said:?}");
}

#[tokio::test]
async fn module_is_told_who_is_an_administrator() {
    let world = world(CONFIG).await;
    let boss = admin(&world, "boss").await;
    let (_, room) = world.user_in_room("host").await;
    boss.join(&room).await.unwrap();
    for txn in 0..5 {
        let sent = send(&boss, &room, &txn.to_string(), "the server restarts tonight").await;
        assert_eq!(sent.status, 200, "{sent:?}");
    }
}

#[tokio::test]
async fn pretended_success_stores_nothing() {
    let world = world(&CONFIG.replace("copies = 2", "copies = 1, pretend = true")).await;
    let (user, room) = world.user_in_room("unaware").await;
    assert_eq!(send(&user, &room, "1", "buy my fine carpets").await.status, 200);
    let pretended = send(&user, &room, "2", "buy my fine carpets").await;
    assert_eq!(pretended.status, 200, "{pretended:?}");
    assert!(pretended.text("event_id").starts_with('$'), "{pretended:?}");
    let said = bodies(&user, &room).await;
    assert_eq!(said.iter().filter(|body| body.contains("carpets")).count(), 1, "{said:?}");
}

#[tokio::test]
async fn tables_and_counts_survive_a_crash() {
    let mut world = world(CONFIG).await;
    let boss = admin(&world, "boss").await;
    let (user, room) = world.user_in_room("chatty").await;
    for txn in ["1", "2", "3"] {
        send(&user, &room, txn, "buy my fine carpets").await;
    }
    // A durable commit after the relaxed ones: what came before it on the same database is on disk.
    send(&user, &room, "4", "something else").await;
    world.server.kill9().await.unwrap();
    world.server.boot().await.unwrap();
    let seen = world.request(Method::GET, ROUTE, Some(&boss.token), None).await.ok().unwrap();
    assert_eq!(seen["refusals"][0]["times"], 1, "{seen}");
    assert_error(&send(&user, &room, "5", "buy my fine carpets").await, &[403], &["M_FORBIDDEN"]);
}

#[tokio::test]
async fn configuration_that_breaks_the_schema_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tessera.toml");
    let text = CONFIG.replace("copies = 2", "copies = \"many\"");
    std::fs::write(&config, format!("[metrics]\naddress = \"off\"\n{text}")).unwrap();
    let options = Options { config: Some(config), ..Options::testing().unwrap() };
    let refusal = Server::refuse_with(options).await.unwrap();
    for word in ["spam-filter", "copies"] {
        assert!(refusal.output.contains(word), "no {word} in:\n{}", refusal.output);
    }
}

#[tokio::test]
async fn module_without_grants_is_as_if_it_were_not_there() {
    let world = world("[plugins.spam-filter]\nconfig = { copies = 1 }\n").await;
    let (user, room) = world.user_in_room("free").await;
    for txn in 0..4 {
        let sent = send(&user, &room, &txn.to_string(), "buy my fine carpets").await;
        assert_eq!(sent.status, 200, "{sent:?}");
    }
    let answer = world.request(Method::GET, ROUTE, Some(&user.token), None).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(json!(world.server.log()).to_string().contains("spam-filter"), "nothing was said");
}
