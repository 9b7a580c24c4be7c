//! `accounts`: users, devices, profiles, account data, filters. Functions, views (`docs/views.md`), topics.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::Session;

use crate::world::{World, refused, syncs};

suite!(
    "accounts",
    [
        profiles_of_local_users_are_given_and_unknown_ones_left_out,
        a_filter_is_given_to_other_services,
        account_data_goes_both_ways_and_wakes_syncs,
        account_data_is_swapped_only_against_what_was_read,
        users_prove_who_they_are_to_other_services,
        what_happens_to_users_is_told_once_and_in_order,
        views_show_users_devices_and_data,
        a_void_session_is_refused_at_once,
    ]
);

async fn profiles_of_local_users_are_given_and_unknown_ones_left_out(world: World) {
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let name = format!("/profile/{}/displayname", alice.user_id);
    alice.put(&name, &json!({"displayname": "Alice"})).await.unwrap();
    let (alice, bob) = (alice.user_id.as_ref(), bob.user_id.as_ref());
    let asked = json!([[alice, "@nobody:hs1", bob, "@alice:elsewhere", "nonsense"]]);
    let mut profiles = world.ok("accounts.profiles", &asked).await.as_array().unwrap().clone();
    profiles.sort_by_key(|profile| profile["user"].to_string());
    assert_eq!(profiles.len(), 2, "{profiles:?}");
    assert_eq!(profiles[0], json!({"user": alice, "displayname": "Alice", "avatar_url": null}));
    assert_eq!(profiles[1]["user"], bob);
    assert_eq!(world.ok("accounts.profiles", &json!([[]])).await, json!([]));
}

async fn a_filter_is_given_to_other_services(world: World) {
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let filter = json!({"room": {"timeline": {"limit": 3}}});
    let made = alice.post(&format!("/user/{}/filter", alice.user_id), &filter).await.unwrap();
    let id = made["filter_id"].as_str().unwrap();
    let (alice, bob) = (alice.user_id.as_ref(), bob.user_id.as_ref());
    let given = world.ok("accounts.filter", &json!([alice, id])).await;
    let given: Value = serde_json::from_str(given.as_str().unwrap()).unwrap();
    assert_eq!(given["room"]["timeline"]["limit"], 3);
    assert!(world.error("accounts.filter", &json!([bob, id])).await.contains("NotFound"));
    assert!(world.error("accounts.filter", &json!([alice, "none"])).await.contains("NotFound"));
}

async fn account_data_goes_both_ways_and_wakes_syncs(world: World) {
    let alice = world.user("alice").await;
    let user = alice.user_id.as_ref();
    let path = format!("/user/{user}/account_data/com.example.a");
    alice.put(&path, &json!({"n": 1})).await.unwrap();
    let given = world.ok("accounts.account-data", &json!([user, null, "com.example.a"])).await;
    assert_eq!(given, json!("{\"n\":1}"));
    let none = world.ok("accounts.account-data", &json!([user, null, "com.example.b"])).await;
    assert_eq!(none, Value::Null);
    let since = alice.sync_token().await.unwrap();
    world.ok("accounts.put-account-data", &json!([user, null, "com.example.b", "{\"n\":2}"])).await;
    let told = |sync: &Value| {
        let events = sync["account_data"]["events"].as_array()?;
        events.iter().find(|event| event["type"] == "com.example.b").cloned()
    };
    let (event, _) = syncs(&alice, &since, told).await;
    assert_eq!(event["content"], json!({"n": 2}));
    let path = format!("/user/{user}/account_data/com.example.b");
    assert_eq!(alice.get(&path).await.unwrap(), json!({"n": 2}));
    let sql = "SELECT type, position FROM accounts_v1_account_data WHERE user_id = $1 AND room_id = $2 \
               AND type IN ($3, $4) ORDER BY position";
    let params = [json!(user), json!(""), json!("com.example.a"), json!("com.example.b")];
    let rows = world.rows(sql, &params).await;
    let kinds: Vec<&str> = rows.iter().map(|row| row["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["com.example.a", "com.example.b"]);
}

async fn account_data_is_swapped_only_against_what_was_read(world: World) {
    let alice = world.user("alice").await;
    let user = alice.user_id.as_ref();
    let swap = async |expected: Value, content: &str| {
        let asked = json!([user, null, "com.example.swap", expected, content]);
        world.ok("accounts.swap-account-data", &asked).await
    };
    assert_eq!(swap(json!("{}"), "{\"n\":1}").await, false, "nothing is there yet");
    assert_eq!(swap(Value::Null, "{\"n\":1}").await, true);
    assert_eq!(swap(Value::Null, "{\"n\":2}").await, false, "something is there");
    assert_eq!(swap(json!("{\"n\":1}"), "{\"n\":2}").await, true);
    let path = format!("/user/{user}/account_data/com.example.swap");
    assert_eq!(alice.get(&path).await.unwrap(), json!({"n": 2}));
}

async fn users_prove_who_they_are_to_other_services(world: World) {
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let prove = async |user: &str, scope: &str, auth: Value| {
        let body = json!({"key": 1, "auth": auth}).to_string();
        world.ok("accounts.prove", &json!([user, scope, body])).await
    };
    let auth = |session: &Value, password: &str| {
        json!({
            "type": "m.login.password", "session": session, "password": password,
            "identifier": {"type": "m.id.user", "user": "alice"},
        })
    };
    let (alice, bob) = (alice.user_id.as_ref(), bob.user_id.as_ref());
    let asked = prove(alice, "a.scope", Value::Null).await;
    assert_eq!(
        (&asked["status"], &asked["body"]["flows"][0]["stages"][0]),
        (&json!(401), &json!("m.login.password"))
    );
    let session = &asked["body"]["session"];
    let wrong = prove(alice, "a.scope", auth(session, "wrong")).await;
    assert_eq!((&wrong["status"], &wrong["body"]["errcode"]), (&json!(401), &json!("M_FORBIDDEN")));
    let good = auth(session, "alice's password");
    assert_ne!(prove(alice, "another.scope", good.clone()).await, "yes");
    assert_ne!(prove(bob, "a.scope", good.clone()).await, "yes");
    assert_eq!(prove(alice, "a.scope", good).await, "yes");
    let nobody = world.error("accounts.prove", &json!(["@nobody:hs1", "a.scope", "{}"])).await;
    assert!(nobody.contains("NotFound"), "{nobody}");
}

async fn what_happens_to_users_is_told_once_and_in_order(world: World) {
    let alice = world.user("alice").await;
    let user = alice.user_id.to_string();
    for name in ["One", "Two"] {
        let path = format!("/profile/{user}/displayname");
        alice.put(&path, &json!({"displayname": name})).await.unwrap();
    }
    let changed = |heard: &[Value]| {
        let names: Vec<String> = heard
            .iter()
            .filter(|it| it["key"] == user.as_str())
            .map(|it| it["payload"]["displayname"].as_str().unwrap_or_default().to_owned())
            .collect();
        names.last().is_some_and(|name| name == "Two").then_some(names)
    };
    let names = world.hears("accounts.profiles", changed).await;
    assert_eq!(names.iter().filter(|name| *name == "Two").count(), 1, "{names:?}");
    let (one, two) =
        (names.iter().position(|it| it == "One"), names.iter().position(|it| it == "Two"));
    assert!(one.is_some() && one < two, "{names:?}");
    let auth = json!({
        "type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"},
        "password": "alice's password",
    });
    let answer = alice
        .call(Method::POST, "/account/deactivate", Some(&json!({"auth": auth})))
        .await
        .unwrap();
    answer.ok().unwrap();
    let changes = world
        .hears("accounts.users", |heard| {
            let own = heard.iter().filter(|it| it["key"] == user.as_str());
            let changes: Vec<String> = own
                .map(|it| it["payload"]["change"].as_str().unwrap_or_default().to_owned())
                .collect();
            changes.contains(&"deactivated".to_owned()).then_some(changes)
        })
        .await;
    assert_eq!(changes, ["registered", "deactivated"]);
    let sql = "SELECT deactivated FROM accounts_v1_users WHERE user_id = $1";
    assert_eq!(world.rows(sql, &[json!(user)]).await, [json!({"deactivated": true})]);
}

async fn views_show_users_devices_and_data(world: World) {
    let alice = world.user("alice").await;
    let second = Session::login(&world.http, &world.server.url(), "alice").await.unwrap();
    let user = json!(alice.user_id.as_ref());
    let sql = "SELECT user_id, deactivated, guest, admin FROM accounts_v1_users WHERE user_id = $1";
    let expected = json!({"user_id": user, "deactivated": false, "guest": false, "admin": false});
    assert_eq!(world.rows(sql, std::slice::from_ref(&user)).await, [expected]);
    let sql =
        "SELECT device_id, position FROM accounts_v1_devices WHERE user_id = $1 ORDER BY position";
    let devices = world.rows(sql, std::slice::from_ref(&user)).await;
    let ids: Vec<&str> = devices.iter().map(|row| row["device_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [alice.device_id.as_ref(), second.device_id.as_ref()]);
    second.post("/logout", &json!({})).await.unwrap();
    let left = world.rows(sql, std::slice::from_ref(&user)).await;
    assert_eq!(left.len(), 1, "a device that is gone is gone from the view at once: {left:?}");
}

async fn a_void_session_is_refused_at_once(world: World) {
    let alice = world.user("alice").await;
    let since = alice.sync_token().await.unwrap();
    let parked = {
        let alice = alice.clone();
        tokio::spawn(async move {
            let path = format!("/sync?timeout=30000&since={since}");
            alice.call(Method::GET, &path, None).await.unwrap()
        })
    };
    alice.get("/account/whoami").await.unwrap();
    alice.post("/logout", &json!({})).await.unwrap();
    refused(
        &alice.call(Method::GET, "/account/whoami", None).await.unwrap(),
        401,
        "M_UNKNOWN_TOKEN",
    );
    let ended = tokio::time::timeout(Duration::from_secs(20), parked).await;
    let ended = ended.expect("the parked request ends with its session").unwrap();
    refused(&ended, 401, "M_UNKNOWN_TOKEN");
}
