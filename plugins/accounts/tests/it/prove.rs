//! Proof for endpoints of other services.

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::bindings::accounts::exports::tessera::services::accounts::{
    Error, Guest, Proof, Proven,
};

use crate::words::{ANN, proof, register, start};

fn ask(user: &str, scope: &str, body: &Value) -> Result<Proven, Error> {
    Plugin::prove(Proof {
        user: user.to_owned(),
        device: Some("DEV".to_owned()),
        scope: scope.to_owned(),
        body: body.to_string(),
        request: ("r".to_owned(), "127.0.0.1".to_owned(), "agent".to_owned()),
    })
}

fn no(proven: Result<Proven, Error>) -> (u16, Value) {
    match proven {
        Ok(Proven::No((status, body))) => (status, serde_json::from_str(&body).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn password_proves_it_once_asked() {
    let host = start();
    register(&host, "ann");
    let (status, asked) = no(ask(ANN, "keys.sign", &json!({ "k": 1 })));
    assert_eq!((status, &asked["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
    let good = json!({ "k": 1, "auth": proof(&asked["session"]) });
    assert!(matches!(ask(ANN, "keys.sign", &good), Ok(Proven::Yes)));
    // Nothing is remembered: the same session without the password proves nothing.
    let bare = json!({ "auth": { "session": asked["session"] } });
    let (status, asked) = no(ask(ANN, "keys.sign", &bare));
    assert_eq!((status, &asked["completed"]), (401, &json!([])));
}

#[test]
fn session_is_good_for_its_scope_and_its_user_only() {
    let host = start();
    register(&host, "ann");
    register(&host, "bob");
    let (_, asked) = no(ask(ANN, "keys.sign", &json!({})));
    let body = json!({ "auth": proof(&asked["session"]) });
    let (status, said) = no(ask(ANN, "other", &body));
    assert_eq!((status, &said["errcode"]), (403, &json!("M_FORBIDDEN")));
    assert_eq!(no(ask("@bob:hs1", "keys.sign", &body)).1["errcode"], "M_UNKNOWN");
    let (_, asked) = no(ask("@bob:hs1", "keys.sign", &json!({})));
    let body = json!({ "auth": proof(&asked["session"]) });
    assert_eq!(no(ask("@bob:hs1", "keys.sign", &body)).1["errcode"], "M_FORBIDDEN");
}

#[test]
fn what_is_no_proof_is_said() {
    let host = start();
    register(&host, "ann");
    let mut wrong = proof(&Value::Null);
    wrong["password"] = json!("guess");
    let (status, asked) = no(ask(ANN, "keys.sign", &json!({ "auth": wrong })));
    assert_eq!((status, &asked["errcode"]), (401, &json!("M_FORBIDDEN")));
    assert_eq!(no(ask(ANN, "keys.sign", &json!([]))).0, 400);
    assert_eq!(no(ask(ANN, "keys.sign", &json!({ "auth": 1 }))).1["errcode"], "M_BAD_JSON");
    let nobody = ask("@nobody:hs1", "keys.sign", &json!({}));
    assert!(matches!(nobody, Err(Error::NotFound)), "{nobody:?}");
    drop(host);
}
