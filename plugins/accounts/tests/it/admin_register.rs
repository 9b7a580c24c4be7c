use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;
use tessera_plugin_accounts::Plugin;
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{builder, by_name, log_in, start, who};

const SECRET: &str = "sixteen letters!";

fn with_secret() -> TestHost {
    let config = json!({ "registration": "shared-secret", "shared-secret": SECRET });
    builder().config("accounts", &config).start()
}

fn nonce(host: &TestHost) -> String {
    let answer = host.request("GET", "admin-nonce").send::<Plugin>().ok();
    answer["nonce"].as_str().unwrap().to_owned()
}

fn body(nonce: &str, name: &str, admin: bool) -> Value {
    let word = if admin { "admin" } else { "notadmin" };
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update([nonce, name, "secret", word].join("\0").as_bytes());
    let mac = hex::encode(mac.finalize().into_bytes());
    json!({ "nonce": nonce, "username": name, "password": "secret", "admin": admin, "mac": mac })
}

fn send(host: &TestHost, body: &Value) -> TestAnswer {
    host.request("POST", "admin-register").json(body).send::<Plugin>()
}

#[test]
fn who_knows_the_secret_registers_users_and_admins() {
    let host = with_secret();
    for (name, admin) in [("ann", false), ("root", true)] {
        let done = send(&host, &body(&nonce(&host), name, admin)).ok();
        let marks = who(&done["access_token"]).unwrap().principal.marks;
        assert_eq!(marks.contains(&"admin".to_owned()), admin);
        assert_eq!(log_in(&host, by_name(name, "secret")).status(), 200);
    }
}

#[test]
fn nonce_is_good_once() {
    let host = with_secret();
    let nonce = nonce(&host);
    send(&host, &body(&nonce, "ann", false)).ok();
    assert_eq!(send(&host, &body(&nonce, "bob", false)).error(), (400, "M_UNKNOWN".to_owned()));
    assert_eq!(send(&host, &body("guessed", "bob", false)).error().0, 400);
}

#[test]
fn wrong_hmac_is_refused() {
    let host = with_secret();
    let mut forged = body(&nonce(&host), "ann", false);
    forged["admin"] = json!(true);
    assert_eq!(send(&host, &forged).error(), (403, "M_FORBIDDEN".to_owned()));
    forged["mac"] = json!("not hexadecimal");
    assert_eq!(send(&host, &forged).error().0, 403);
}

#[test]
fn others_cannot_register_and_without_a_secret_there_is_nothing() {
    let host = with_secret();
    let answer = host.request("POST", "register").json(&json!({})).send::<Plugin>();
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
    let host = start();
    let answer = host.request("GET", "admin-nonce").send::<Plugin>();
    assert_eq!(answer.error(), (404, "M_UNRECOGNIZED".to_owned()));
}
