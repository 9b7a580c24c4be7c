use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::bindings::accounts::exports::tessera::services::accounts::{Error, Guest};
use tessera_sdk::storage::{query, select, snapshot};
use tessera_test_host::{PluginUnderTest, TestHost};

use crate::words::{ANN, ask, register, start};

#[test]
fn services_answer_other_plugins() {
    let host = start();
    register(&host, "ann");
    let path = "profile-field-set userId=@ann:hs1 keyName=displayname";
    ask(&host, "PUT", path, json!({ "displayname": "Ann" })).ok();
    let profiles = Plugin::profiles(vec![ANN.to_owned(), "@x:hs1".to_owned()]).unwrap();
    assert_eq!(profiles.len(), 1);
    assert_eq!(profiles[0].displayname.as_deref(), Some("Ann"));
    assert_eq!(Plugin::filter(ANN.to_owned(), "1".to_owned()), Err(Error::NotFound));
    let (room, kind) = (Some("!r:hs1".to_owned()), "m.fully_read".to_owned());
    let content = "{\"event_id\":\"$e\"}".to_owned();
    let _ = host.wakes();
    Plugin::put_account_data(ANN.to_owned(), room.clone(), kind.clone(), content.clone()).unwrap();
    assert_eq!(host.wakes(), ["user:@ann:hs1"]);
    assert_eq!(Plugin::account_data(ANN.to_owned(), room, kind), Ok(Some(content)));
    let swap = |expected: Option<&str>, content: &str| {
        let (user, kind) = (ANN.to_owned(), "m.direct".to_owned());
        Plugin::swap_account_data(user, None, kind, expected.map(str::to_owned), content.to_owned())
    };
    let _ = host.wakes();
    assert_eq!(swap(Some("{}"), "{\"a\":1}"), Ok(false), "nothing is there");
    assert!(host.wakes().is_empty());
    assert_eq!(swap(None, "{\"a\":1}"), Ok(true));
    assert_eq!(host.wakes(), ["user:@ann:hs1"]);
    assert_eq!(host.messages("accounts.data").last().unwrap()["content"], json!({ "a": 1 }));
    assert_eq!(swap(None, "{\"a\":2}"), Ok(false), "something is");
    host.before_next_commit(|_| {
        let (user, kind) = (ANN.to_owned(), "m.direct".to_owned());
        Plugin::put_account_data(user, None, kind, "{\"a\":3}".to_owned()).unwrap();
    });
    assert_eq!(swap(Some("{\"a\":1}"), "{\"a\":2}"), Ok(false), "it changed meanwhile");
    assert_eq!(swap(Some("{\"a\":3}"), "{\"a\":2}"), Ok(true));
    assert!(swap(Some("{\"a\":2}"), "[]").is_err());
    let bad = Plugin::put_account_data(ANN.to_owned(), None, "x".to_owned(), "[]".to_owned());
    assert!(bad.is_err());
}

const READER: PluginUnderTest = PluginUnderTest {
    name: "reader",
    manifest: r#"
name = "reader"
version = "0.1.0"
[storage]
reads = ["accounts_v1_users", "accounts_v1_profiles", "accounts_v1_devices", "accounts_v1_account_data", "accounts_v1_filters"]
"#,
    migrations: &[],
};

#[test]
fn views_have_the_columns_that_others_rely_on() {
    let host = TestHost::builder().plugin_in(".").plugin(READER).start();
    register(&host, "ann");
    ask(&host, "PUT", "account-data-set userId=@ann:hs1 type=x", json!({})).ok();
    ask(&host, "POST", "filter-create userId=@ann:hs1", json!({})).ok();
    let _: Value = ask(&host, "GET", "devices", Value::Null).ok();
    host.act_as("reader");
    let moment = snapshot(&[
        select(
            "SELECT user_id, created_ms, deactivated, guest, admin FROM accounts_v1_users",
            vec![],
        ),
        select("SELECT user_id, displayname, avatar_url FROM accounts_v1_profiles", vec![]),
        select("SELECT user_id, device_id, position FROM accounts_v1_devices", vec![]),
        select(
            "SELECT user_id, room_id, type, content, position FROM accounts_v1_account_data",
            vec![],
        ),
        select("SELECT user_id, filter_id, json FROM accounts_v1_filters", vec![]),
    ])
    .unwrap();
    for rows in &moment.results {
        assert_eq!(rows.rows.len(), 1, "{:?}", rows.columns);
    }
    let users: Vec<(String, u64, bool, bool, bool)> = query(
        "SELECT user_id, created_ms, deactivated, guest, admin FROM accounts_v1_users",
        vec![],
    )
    .unwrap()
    .all()
    .unwrap();
    assert_eq!(users, [(ANN.to_owned(), host.now_ms(), false, false, false)]);
}
