use serde_json::json;
use tessera_plugin_accounts::Plugin;

use crate::words::{ANN, by_name, log_in, register, start, who};

#[test]
fn user_logs_in_by_localpart_full_id_and_the_old_way() {
    let host = start();
    register(&host, "ann");
    let old = json!({ "user": "ann", "password": "secret" });
    for body in [by_name("ann", "secret"), by_name(ANN, "secret"), by_name("ANN", "secret"), old] {
        let done = log_in(&host, body).ok();
        assert_eq!(done["user_id"], ANN);
        assert_eq!(who(&done["access_token"]).unwrap().principal.user, ANN);
        assert_eq!(done.get("refresh_token"), None);
    }
}

#[test]
fn wrong_password_and_unknown_user_look_the_same() {
    let host = start();
    register(&host, "ann");
    let wrong = log_in(&host, by_name("ann", "x"));
    assert_eq!(wrong.error(), (403, "M_FORBIDDEN".to_owned()));
    for name in ["bob", "@ann:elsewhere", ""] {
        let unknown = log_in(&host, by_name(name, "secret"));
        assert_eq!((unknown.status(), unknown.json()), (403, wrong.json()));
    }
}

#[test]
fn tries_are_limited_for_each_user() {
    let host = start();
    register(&host, "ann");
    register(&host, "bob");
    host.limit("failed-logins", 2);
    for _ in 0..2 {
        assert_eq!(log_in(&host, by_name("ann", "x")).status(), 403);
    }
    let limited = log_in(&host, by_name("ann", "secret"));
    assert_eq!(limited.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    assert!(limited.json()["retry_after_ms"].is_u64());
    assert_eq!(log_in(&host, by_name("bob", "secret")).status(), 200);
}

#[test]
fn device_that_logs_in_again_loses_its_old_token() {
    let host = start();
    let first = register(&host, "ann");
    let hash = who(&first["access_token"]).unwrap().topics[0].clone();
    let _ = host.wakes();
    let mut body = by_name("ann", "secret");
    body["device_id"] = json!("DEV");
    let second = log_in(&host, body).ok();
    assert_eq!(second["device_id"], "DEV");
    assert!(host.wakes().contains(&hash));
    assert_eq!(who(&first["access_token"]).unwrap_err()["errcode"], "M_UNKNOWN_TOKEN");
    assert!(who(&second["access_token"]).is_ok());
}

#[test]
fn password_that_changes_meanwhile_does_not_log_in() {
    let host = start();
    register(&host, "ann");
    host.before_next_commit(|_| {
        let sql = "UPDATE accounts_users SET revision = revision + 1";
        tessera_sdk::storage::Batch::new().run(sql, vec![]).commit().unwrap();
    });
    assert_eq!(log_in(&host, by_name("ann", "secret")).error().0, 403);
}

#[test]
fn bad_requests_are_refused() {
    let host = start();
    let cases = [
        (json!({ "type": "m.login.sso", "token": "x" }), (400, "M_UNKNOWN")),
        (json!({ "type": "m.login.token", "token": "x" }), (403, "M_FORBIDDEN")),
        (json!({ "type": "m.login.token" }), (400, "M_MISSING_PARAM")),
        (json!({ "type": "m.login.password", "password": "x" }), (400, "M_MISSING_PARAM")),
        (json!({ "type": "m.login.password", "user": "ann" }), (400, "M_MISSING_PARAM")),
        (json!({ "type": 1 }), (400, "M_BAD_JSON")),
        (json!({}), (400, "M_MISSING_PARAM")),
    ];
    for (body, (status, code)) in cases {
        let answer = host.request("POST", "login").json(&body).send::<Plugin>();
        assert_eq!(answer.error(), (status, code.to_owned()), "{body}");
    }
    let by_mail = json!({
        "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": "a@b" }, "password": "x",
    });
    assert_eq!(log_in(&host, by_mail).error().0, 403);
}

#[test]
fn passwords_and_tokens_are_stored_as_hashes_only() {
    let host = start();
    let token = register(&host, "ann")["access_token"].as_str().unwrap().to_owned();
    let sql = "SELECT password_hash, hash FROM accounts_users AS u \
               JOIN accounts_tokens AS t ON t.user_id = u.user_id";
    let rows = tessera_sdk::storage::query(sql, vec![]).unwrap().all::<(String, String)>().unwrap();
    let (password, hash) = &rows[0];
    assert!(password.starts_with("$argon2id$"));
    assert_eq!(*hash, tessera_sdk::digest::sha256(token.as_bytes()));
}

#[test]
fn page_logs_in_for_clients_that_cannot() {
    let host = start();
    let page = host.request("GET", "login-page").send::<Plugin>();
    let policy = page.header("content-security-policy").unwrap().to_owned();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    assert!(policy.contains("connect-src 'self'") && policy.contains("default-src 'none'"));
    let html = page.text();
    assert!(html.contains(&format!("<script nonce=\"{nonce}\">")), "{html}");
    assert!(html.contains("window.matrixLogin.onLogin(told)"), "{html}");
}
