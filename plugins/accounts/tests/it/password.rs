use serde_json::{Value, json};
use tessera_test_host::TestHost;

use crate::words::{ANN, ask, by_name, log_in, proof, register, start, who};

fn session(host: &TestHost, route: &str) -> Value {
    let asked = ask(host, "POST", route, json!({}));
    assert_eq!(asked.status(), 401);
    assert_eq!(asked.json()["flows"], json!([{ "stages": ["m.login.password"] }]));
    asked.json()["session"].clone()
}

#[test]
fn password_changes_and_other_devices_are_logged_out() {
    let host = start();
    let first = register(&host, "ann");
    let other = log_in(&host, by_name("ann", "secret")).ok();
    let auth = proof(&session(&host, "password"));
    ask(&host, "POST", "password", json!({ "auth": auth, "new_password": "new" })).ok();
    assert!(who(&first["access_token"]).is_ok(), "the device that asked stays");
    assert!(who(&other["access_token"]).is_err());
    assert_eq!(log_in(&host, by_name("ann", "secret")).status(), 403);
    assert_eq!(log_in(&host, by_name("ann", "new")).status(), 200);
}

#[test]
fn other_devices_may_stay() {
    let host = start();
    register(&host, "ann");
    let other = log_in(&host, by_name("ann", "secret")).ok();
    let body = json!({
        "auth": proof(&session(&host, "password")), "new_password": "new", "logout_devices": false,
    });
    ask(&host, "POST", "password", body).ok();
    assert!(who(&other["access_token"]).is_ok());
}

#[test]
fn wrong_password_is_asked_again_and_anothers_is_refused() {
    let host = start();
    register(&host, "ann");
    register(&host, "bob");
    let mut wrong = proof(&session(&host, "password"));
    wrong["password"] = json!("x");
    let mut other = proof(&session(&host, "password"));
    other["identifier"]["user"] = json!("bob");
    for (auth, status) in [(wrong, 401), (other, 403)] {
        let body = json!({ "auth": auth, "new_password": "new" });
        let answer = ask(&host, "POST", "password", body);
        assert_eq!(answer.error(), (status, "M_FORBIDDEN".to_owned()));
        assert_eq!(answer.json()["flows"].is_array(), status == 401);
    }
}

#[test]
fn session_of_one_endpoint_is_not_good_for_another() {
    let host = start();
    register(&host, "ann");
    let auth = proof(&session(&host, "password"));
    let answer = ask(&host, "POST", "deactivate", json!({ "auth": auth }));
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn deactivated_account_is_gone_but_keeps_its_name() {
    let host = start();
    let first = register(&host, "ann");
    ask(&host, "PUT", "account-data-set userId=@ann:hs1 type=x", json!({})).ok();
    let auth = proof(&session(&host, "deactivate"));
    let _ = host.wakes();
    let done = ask(&host, "POST", "deactivate", json!({ "auth": auth })).ok();
    assert_eq!(done["id_server_unbind_result"], "success");
    assert!(host.wakes().contains(&"sessions:@ann:hs1".to_owned()));
    assert!(who(&first["access_token"]).is_err());
    let login = log_in(&host, by_name("ann", "secret"));
    assert_eq!(login.error(), (403, "M_USER_DEACTIVATED".to_owned()));
    assert_eq!(ask(&host, "GET", "profile userId=@ann:hs1", Value::Null).status(), 404);
    let name = host.request("GET", "register-available").query("username", "ann");
    assert_eq!(name.send::<tessera_plugin_accounts::Plugin>().error().1, "M_USER_IN_USE");
    let last = host.messages("accounts.users").pop().unwrap();
    assert_eq!(last, json!({ "user_id": ANN, "change": "deactivated", "by_admin": false }));
}
