//! Identity servers: what they are told of addresses, and that nobody waits long for them.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_sdk::fetch;

use crate::threepids::{error, request_token, start};
use crate::words::{ANN, ask, proof, register};

#[test]
fn account_ends_before_identity_servers_are_asked_to_forget_it() {
    let (host, _mails) = start(json!({}));
    register(&host, "ann");
    host.services(|services| {
        services.fetch = Arc::new(|_| {
            let body = json!({ "medium": "email", "address": "a@example.org" }).to_string();
            let body = fetch::Body::Bytes(body.into_bytes());
            Ok(fetch::Response { status: 200, headers: vec![], body })
        });
    });
    let creds = json!({ "sid": "1", "client_secret": "s", "id_server": "id.example.org", "id_access_token": "t" });
    ask(&host, "POST", "threepids-bind", creds).ok();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    host.services(move |services| {
        services.fetch = Arc::new(move |request| {
            let sql = "SELECT user_id FROM accounts_users WHERE deactivated = TRUE";
            let ended = tessera_sdk::storage::query(sql, vec![]).unwrap().rows.len();
            into.lock().unwrap().push((request.url.clone(), ended));
            Err(fetch::Error::Unreachable("nobody".to_owned()))
        });
    });
    let session = ask(&host, "POST", "deactivate", json!({})).json()["session"].clone();
    let done = ask(&host, "POST", "deactivate", json!({ "auth": proof(&session) })).ok();
    assert_eq!(done, json!({ "id_server_unbind_result": "no-support" }));
    let url = "https://id.example.org/_matrix/identity/v2/3pid/unbind".to_owned();
    assert_eq!(*seen.lock().unwrap(), [(url, 1)]);
}

#[test]
fn addresses_that_an_administrator_takes_are_gone_before_identity_servers_are_asked() {
    let (host, _mails) = start(json!({}));
    register(&host, "ann");
    let put = |addresses: &[String]| {
        let one = |address: &String| json!({ "medium": "email", "address": address });
        let body = json!({ "threepids": addresses.iter().map(one).collect::<Vec<_>>() });
        crate::admin::admin(&host, "PUT", "admin-user-put userId=@ann:hs1", body).ok()
    };
    let addresses: Vec<_> = (0..5).map(|n| format!("a{n}@example.org")).collect();
    put(&addresses);
    host.acting("accounts", || {
        let sql = "INSERT INTO accounts_bindings (user_id, medium, address, id_server) VALUES ($1, 'email', $2, 'id.example.org')";
        let rows = addresses.iter().map(|it| tessera_sdk::params![ANN, it]).collect();
        tessera_sdk::storage::Batch::new().run_many(sql, rows).commit().unwrap();
    });
    // A server that takes its time.
    let left = Arc::new(Mutex::new(Vec::new()));
    let (into, clock) = (left.clone(), host.clone());
    host.services(move |services| {
        services.fetch = Arc::new(move |_| {
            let sql = "SELECT address FROM accounts_threepids";
            into.lock().unwrap().push(tessera_sdk::storage::query(sql, vec![]).unwrap().rows.len());
            clock.advance(5_000);
            Err(fetch::Error::Unreachable("nobody".to_owned()))
        });
    });
    put(&[addresses[0].clone()]);
    assert_eq!(*left.lock().unwrap(), [1, 1]);
}

#[test]
fn only_so_many_calls_wait_for_others_at_once() {
    use tessera_plugin_accounts::outside::{Kind, SLOTS};
    let (host, mails) = start(json!({}));
    register(&host, "ann");
    let ready = Arc::new(std::sync::Barrier::new(SLOTS + 1));
    let end = Arc::new(std::sync::Barrier::new(SLOTS + 1));
    let waiting: Vec<_> = (0..SLOTS)
        .map(|n| {
            let (host, ready, end) = (host.clone(), ready.clone(), end.clone());
            std::thread::spawn(move || {
                host.install();
                host.act_as("accounts");
                assert!(tessera_sdk::storage::lock(&[Kind::Mail.slot(n)], 0));
                ready.wait();
                end.wait();
            })
        })
        .collect();
    ready.wait();
    let busy = request_token(&host, "register-email", "a@example.org", 1);
    assert_eq!(busy.error(), error(429, "M_LIMIT_EXCEEDED"));
    assert!(busy.json()["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0));
    // The other kinds have places of their own.
    let creds = json!({ "sid": "1", "client_secret": "s", "id_server": "id.example.org", "id_access_token": "t" });
    assert_eq!(ask(&host, "POST", "threepids-bind", creds).error(), error(502, "M_UNKNOWN"));
    end.wait();
    for thread in waiting {
        thread.join().unwrap();
    }
    request_token(&host, "register-email", "a@example.org", 1).ok();
    assert_eq!(mails.lock().unwrap().len(), 1);
}

#[test]
fn identity_server_is_told_and_told_to_forget() {
    let (host, _mails) = start(json!({}));
    register(&host, "ann");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    host.services(move |services| {
        services.fetch = Arc::new(move |request| {
            let fetch::Body::Bytes(body) = &request.body else { panic!("no body") };
            let authorization = request.headers.iter().find(|(name, _)| name == "authorization");
            let authorization = authorization.unwrap().1.split(' ').next().unwrap().to_owned();
            let body: Value = serde_json::from_slice(body).unwrap();
            into.lock().unwrap().push((request.url.clone(), authorization, body));
            let said = json!({ "medium": "email", "address": "a@example.org" }).to_string();
            let body = fetch::Body::Bytes(said.into_bytes());
            Ok(fetch::Response { status: 200, headers: vec![], body })
        });
    });
    let creds = json!({
        "sid": "1", "client_secret": "s", "id_server": "id.example.org", "id_access_token": "token",
    });
    ask(&host, "POST", "threepids-bind", creds.clone()).ok();
    let named = json!({ "medium": "email", "address": "a@example.org" });
    let result = ask(&host, "POST", "threepids-unbind", named.clone()).ok();
    assert_eq!(result, json!({ "id_server_unbind_result": "success" }));
    let seen = seen.lock().unwrap().clone();
    let base = "https://id.example.org/_matrix/identity/v2/3pid";
    assert_eq!((seen[0].0.clone(), seen[0].1.as_str()), (format!("{base}/bind"), "Bearer"));
    assert_eq!(seen[0].2, json!({ "sid": "1", "client_secret": "s", "mxid": ANN }));
    assert_eq!((seen[1].0.clone(), seen[1].1.as_str()), (format!("{base}/unbind"), "X-Matrix"));
    assert_eq!(seen[1].2, json!({ "mxid": ANN, "threepid": named }));
    // It is forgotten: nobody is told again.
    let result = ask(&host, "POST", "threepids-unbind", named).ok();
    assert_eq!(result, json!({ "id_server_unbind_result": "no-support" }));
    let mut bad = creds;
    bad["id_server"] = json!("id.example.org/path");
    assert_eq!(ask(&host, "POST", "threepids-bind", bad).error(), error(400, "M_INVALID_PARAM"));
}

#[test]
fn identity_server_that_cannot_be_asked_is_said() {
    let (host, _mails) = start(json!({ "identity-servers": ["id.example.org"] }));
    register(&host, "ann");
    let creds = |server: &str| json!({ "sid": "1", "client_secret": "s", "id_server": server, "id_access_token": "t" });
    let answer = ask(&host, "POST", "threepids-bind", creds("id.example.org"));
    assert_eq!(answer.error(), error(502, "M_UNKNOWN"));
    let answer = ask(&host, "POST", "threepids-bind", creds("other.example.org"));
    assert_eq!(answer.error(), error(400, "M_SERVER_NOT_TRUSTED"));
    for (list, status) in [(json!(["*"]), 502), (json!([]), 400)] {
        let (host, _mails) = start(json!({ "identity-servers": list }));
        register(&host, "ann");
        let answer = ask(&host, "POST", "threepids-bind", creds("any.example.org"));
        assert_eq!(answer.status(), status);
    }
}
