//! What the log must not hold.

use reqwest::Method;
use serde_json::json;
use tessera_tests::{
    api::Session,
    http,
    server::{Options, Server},
};

#[tokio::test]
async fn log_holds_neither_tokens_nor_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tessera.toml");
    std::fs::write(&config, "[log]\nlevel = \"trace\"\n[metrics]\naddress = \"off\"\n").unwrap();
    let options = Options { config: Some(config), ..Options::testing().unwrap() };
    let server = Server::start_with(options).await.unwrap();
    let http = http::client().unwrap();
    let user = Session::register(&http, &server.url(), "discreet").await.unwrap();
    let url =
        format!("{}/_matrix/client/v3/sync?timeout=0&access_token={}", server.url(), user.token);
    let answer = http.get(&url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let wrong = format!("{}/_matrix/client/v3/nothing?access_token={}", server.url(), user.token);
    http.get(&wrong).send().await.unwrap();
    let change = json!({"new_password": "a brand new secret", "auth": {"type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "discreet"}, "password": "discreet's password"}});
    user.call(Method::POST, "/account/password", Some(&change)).await.unwrap();
    let log = server.log();
    assert!(log.len() > 1_000, "the log says next to nothing: {log}");
    for secret in [&*user.token, "discreet's password", "a brand new secret"] {
        assert!(!log.contains(secret), "the log holds {secret:?}");
    }
}
