use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::bindings::accounts::exports::tessera::services::accounts::{Guest, Sessions};
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, position, query};
use tessera_test_host::{TestAnswer, TestHost};

use crate::words::{ANN, ask, by_name, log_in, register, who};

pub(crate) const ROOT: &str = "@root:hs1";

/// Ann is a user.
fn start() -> TestHost {
    let host = TestHost::builder().plugin_in(".").plugin_in("../rooms").start();
    register(&host, "ann");
    host
}

/// `path` as in `admin-user userId=@ann:hs1 ?limit=1`.
pub(crate) fn admin(host: &TestHost, method: &str, path: &str, body: Value) -> TestAnswer {
    let mut words = path.split(' ');
    let mut request =
        host.request(method, words.next().unwrap()).user(ROOT).device("R").mark("admin");
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        request = match name.strip_prefix('?') {
            Some(name) => request.query(name, value),
            None => request.param(name, value),
        };
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    request.send::<Plugin>()
}

fn put(host: &TestHost, user: &str, body: Value) -> TestAnswer {
    admin(host, "PUT", &format!("admin-user-put userId={user}"), body)
}

fn names(answer: &Value) -> Vec<&str> {
    answer["users"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

fn code(answer: TestAnswer) -> (u16, String) {
    answer.error()
}

#[test]
fn only_administrators_ask_and_of_users_of_this_server() {
    let host = start();
    let forbidden = (403, "M_FORBIDDEN".to_owned());
    let mut asked = 0;
    for route in include_str!("../../plugin.toml").split("[[http.routes]]").skip(1) {
        let value = |name: &str| {
            let line = route.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.unwrap_or_default()
        };
        let id = value("id").trim_matches('"');
        if !id.starts_with("admin-") || value("auth") == "\"none\"" {
            continue;
        }
        for method in ["GET", "POST", "PUT", "DELETE"] {
            if !value("methods").contains(&format!("\"{method}\"")) {
                continue;
            }
            let body = if method == "GET" { Value::Null } else { json!({}) };
            let answer = ask(&host, method, &format!("{id} userId={ANN}"), body);
            assert_eq!(code(answer), forbidden, "{method} {id}");
            asked += 1;
        }
    }
    assert!(asked > 40, "{asked}");
    let invalid = (400, "M_INVALID_PARAM".to_owned());
    assert_eq!(code(admin(&host, "GET", "admin-user userId=@ann:hs2", Value::Null)), invalid);
    assert_eq!(code(admin(&host, "GET", "admin-user userId=ann", Value::Null)), invalid);
    let nobody = admin(&host, "GET", "admin-user userId=@bob:hs1", Value::Null);
    assert_eq!(code(nobody), (404, "M_NOT_FOUND".to_owned()));
}

#[test]
fn users_are_listed_in_pages_in_any_order_and_by_parts_of_their_names() {
    let host = start();
    for name in ["bob", "carl", "dora"] {
        host.advance(1000);
        register(&host, name);
    }
    put(&host, "@carl:hs1", json!({ "displayname": "The Annoyed", "user_type": "bot" })).ok();
    put(&host, "@dora:hs1", json!({ "admin": true })).ok();
    let list =
        |query: &str| admin(&host, "GET", format!("admin-users {query}").trim(), Value::Null);
    let all = list("").ok();
    assert_eq!(names(&all), [ANN, "@bob:hs1", "@carl:hs1", "@dora:hs1"]);
    assert_eq!((&all["total"], all.get("next_token")), (&json!(4), None));
    assert_eq!(all["users"][0]["creation_ts"], host.now_ms() - 3000);
    let page = list("?limit=2 ?from=1 ?dir=b").ok();
    assert_eq!(names(&page), ["@carl:hs1", "@bob:hs1"]);
    assert_eq!((&page["total"], &page["next_token"]), (&json!(4), &json!("3")));
    assert_eq!(names(&list("?order_by=creation_ts ?dir=b ?limit=1").ok()), ["@dora:hs1"]);
    for column in ["displayname", "admin", "user_type", "is_guest", "last_seen_ts", "locked"] {
        assert_eq!(list(&format!("?order_by={column}")).ok()["total"], 4);
    }
    assert_eq!(names(&list("?name=ANN").ok()), [ANN, "@carl:hs1"]);
    // Not in what all ids have.
    assert_eq!(list("?name=hs1").ok()["total"], 0);
    assert_eq!(list("?user_id=:hs").ok()["total"], 4);
    assert_eq!(names(&list("?admins=true").ok()), ["@dora:hs1"]);
    assert_eq!(list("?admins=false").ok()["total"], 3);
    assert_eq!(list("?not_user_type=bot").ok()["total"], 3);
    assert_eq!(names(&list("?not_user_type=").ok()), ["@carl:hs1"]);
    assert_eq!(list("?not_user_type=support ?not_user_type=").ok()["total"], 1);
    assert_eq!(list("?limit=100000").ok()["total"], 4);
    for wrong in ["?limit=-1", "?from=x", "?order_by=password_hash", "?dir=x", "?guests=1"] {
        assert_eq!(code(list(wrong)), (400, "M_INVALID_PARAM".to_owned()), "{wrong}");
    }
}

#[test]
fn deactivated_and_locked_users_are_listed_where_they_are_asked_for() {
    let host = start();
    register(&host, "bob");
    register(&host, "carl");
    put(&host, "@bob:hs1", json!({ "deactivated": true })).ok();
    put(&host, "@carl:hs1", json!({ "locked": true })).ok();
    let list = |path: &str| admin(&host, "GET", path, Value::Null).ok();
    assert_eq!(names(&list("admin-users")), [ANN]);
    assert_eq!(names(&list("admin-users ?deactivated=true")), [ANN, "@bob:hs1"]);
    assert_eq!(names(&list("admin-users ?locked=true")), [ANN, "@carl:hs1"]);
    assert_eq!(names(&list("admin-users-v3")), [ANN, "@bob:hs1"]);
    assert_eq!(names(&list("admin-users-v3 ?deactivated=true")), ["@bob:hs1"]);
    assert_eq!(names(&list("admin-users-v3 ?deactivated=false")), [ANN]);
}

#[test]
fn users_are_made_with_all_that_is_said_of_them() {
    let host = start();
    let body = json!({
        "password": "a secret", "displayname": "Bob", "avatar_url": "mxc://hs1/a", "admin": true,
        "threepids": [{ "medium": "email", "address": "Bob@Example.org" },
                      { "medium": "msisdn", "address": "447470274584" }],
        "user_type": "support", "external_ids": [],
    });
    let made = put(&host, "@bob:hs1", body);
    assert_eq!(made.status(), 201);
    let made = made.json();
    assert_eq!((&made["name"], &made["displayname"]), (&json!("@bob:hs1"), &json!("Bob")));
    assert_eq!((&made["avatar_url"], &made["admin"]), (&json!("mxc://hs1/a"), &json!(true)));
    assert_eq!((&made["user_type"], &made["suspended"]), (&json!("support"), &json!(false)));
    assert_eq!(made["creation_ts"], host.now_ms() / 1000);
    assert_eq!(made["threepids"].as_array().unwrap().len(), 2);
    let token = log_in(&host, by_name("bob", "a secret")).ok()["access_token"].clone();
    assert!(who(&token).unwrap().principal.marks.contains(&"admin".to_owned()));
    let find = "admin-by-address medium=email address=BOB@example.org";
    assert_eq!(admin(&host, "GET", find, Value::Null).ok()["user_id"], "@bob:hs1");
    let find = "admin-by-address medium=email address=x@example.org";
    assert_eq!(admin(&host, "GET", find, Value::Null).error().0, 404);
    assert_eq!(code(put(&host, "@B%b:hs1", json!({}))), (400, "M_INVALID_USERNAME".to_owned()));
}

#[test]
fn what_cannot_be_said_of_a_user_changes_nothing() {
    let host = start();
    for (body, expected) in [
        (json!({ "admin": "yes" }), "M_BAD_JSON"),
        (json!({ "password": 1 }), "M_BAD_JSON"),
        (json!({ "password": "" }), "M_WEAK_PASSWORD"),
        (json!({ "logout_devices": 1 }), "M_BAD_JSON"),
        (json!({ "deactivated": null }), "M_BAD_JSON"),
        (json!({ "deactivated": true, "locked": true }), "M_INVALID_PARAM"),
        (json!({ "user_type": "robot" }), "M_INVALID_PARAM"),
        (json!({ "displayname": "x".repeat(1025) }), "M_INVALID_PARAM"),
        (json!({ "threepids": {} }), "M_BAD_JSON"),
        (json!({ "threepids": [{ "medium": "email" }] }), "M_MISSING_PARAM"),
        (json!({ "threepids": [{ "medium": "email", "address": "nobody" }] }), "M_INVALID_PARAM"),
        (json!({ "threepids": [{ "medium": "fax", "address": "1" }] }), "M_INVALID_PARAM"),
        (json!({ "external_ids": [{}] }), "M_INVALID_PARAM"),
    ] {
        let mut body = body;
        body.as_object_mut().unwrap().entry("displayname").or_insert_with(|| json!("Changed"));
        assert_eq!(code(put(&host, ANN, body.clone())), (400, expected.to_owned()), "{body}");
    }
    let ann = admin(&host, "GET", "admin-user userId=@ann:hs1", Value::Null).ok();
    assert_eq!((&ann["displayname"], &ann["admin"]), (&Value::Null, &json!(false)));
}

#[test]
fn a_password_set_by_an_administrator_ends_sessions_unless_they_are_to_be_kept() {
    let host = start();
    let token = log_in(&host, by_name("ann", "secret")).ok()["access_token"].clone();
    let kept = json!({ "new_password": "second", "logout_devices": false });
    admin(&host, "POST", "admin-reset-password userId=@ann:hs1", kept).ok();
    assert!(who(&token).is_ok());
    assert_eq!(log_in(&host, by_name("ann", "secret")).status(), 403);
    put(&host, ANN, json!({ "password": "third" })).ok();
    assert!(who(&token).is_err());
    let token = log_in(&host, by_name("ann", "third")).ok()["access_token"].clone();
    let reset = json!({ "new_password": "fourth" });
    admin(&host, "POST", "admin-reset-password userId=@ann:hs1", reset).ok();
    assert!(who(&token).is_err());
    let reset = |body: Value| admin(&host, "POST", "admin-reset-password userId=@ann:hs1", body);
    assert_eq!(code(reset(json!({}))), (400, "M_MISSING_PARAM".to_owned()));
    assert_eq!(code(reset(json!({ "new_password": "" }))), (400, "M_WEAK_PASSWORD".to_owned()));
}

#[test]
fn deactivated_users_are_erased_and_opened_again() {
    let host = start();
    put(&host, ANN, json!({ "admin": true })).ok();
    let end = |body: Value| admin(&host, "POST", "admin-deactivate userId=@ann:hs1", body);
    assert_eq!(code(end(json!({ "erase": 1 }))), (400, "M_BAD_JSON".to_owned()));
    assert_eq!(end(Value::Null).ok()["id_server_unbind_result"], "success");
    let ann = || admin(&host, "GET", "admin-user userId=@ann:hs1", Value::Null).ok();
    assert_eq!((&ann()["deactivated"], &ann()["erased"]), (&json!(true), &json!(false)));
    end(json!({ "erase": true })).ok();
    assert_eq!(ann()["erased"], true);
    // A form that says what is so already changes nothing; new things it cannot get.
    put(&host, ANN, json!({ "deactivated": true, "displayname": "", "threepids": [] })).ok();
    let invalid = (400, "M_INVALID_PARAM".to_owned());
    assert_eq!(code(put(&host, ANN, json!({ "password": "again" }))), invalid);
    put(&host, ANN, json!({ "deactivated": false, "password": "again" })).ok();
    assert_eq!((&ann()["deactivated"], &ann()["erased"]), (&json!(false), &json!(false)));
    // It is an account as new ones are.
    assert_eq!(ann()["admin"], false);
    log_in(&host, by_name("ann", "again")).ok();
    let changes: Vec<_> =
        host.messages("accounts.users").iter().map(|it| it["change"].clone()).collect();
    assert_eq!(changes, ["registered", "deactivated", "reactivated"]);
}

#[test]
fn addresses_are_replaced_as_a_whole_and_taken_from_others() {
    let host = start();
    register(&host, "bob");
    let mails = |list: &[&str]| {
        let one = |it: &&str| json!({ "medium": "email", "address": it });
        json!({ "threepids": list.iter().map(one).collect::<Vec<_>>() })
    };
    let of = |answer: &Value| {
        let all = answer["threepids"].as_array().unwrap().iter();
        all.map(|it| it["address"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&put(&host, ANN, mails(&["a@x.org", "b@x.org"])).ok()), ["a@x.org", "b@x.org"]);
    assert_eq!(of(&put(&host, "@bob:hs1", mails(&["b@x.org"])).ok()), ["b@x.org"]);
    assert_eq!(of(&put(&host, ANN, mails(&["c@x.org"])).ok()), ["c@x.org"]);
    assert_eq!(of(&put(&host, ANN, json!({})).ok()), ["c@x.org"]);
    assert!(of(&put(&host, ANN, mails(&[])).ok()).is_empty());
}

#[test]
fn administrators_are_made_and_unmade_but_not_by_themselves() {
    let host = start();
    let token = log_in(&host, by_name("ann", "secret")).ok()["access_token"].clone();
    let is = || admin(&host, "GET", "admin-is-admin userId=@ann:hs1", Value::Null).ok();
    assert_eq!(is()["admin"], false);
    let _ = host.wakes();
    admin(&host, "PUT", "admin-set-admin userId=@ann:hs1", json!({ "admin": true })).ok();
    assert_eq!(host.wakes(), ["sessions:@ann:hs1"]);
    assert_eq!(is()["admin"], true);
    assert!(who(&token).unwrap().principal.marks.contains(&"admin".to_owned()));
    let body = json!({ "admin": false });
    for route in ["admin-set-admin", "admin-user-put"] {
        let own = host
            .request("PUT", route)
            .user(ANN)
            .mark("admin")
            .param("userId", ANN)
            .json(&body)
            .send::<Plugin>();
        assert_eq!(code(own), (400, "M_INVALID_PARAM".to_owned()), "{route}");
    }
    let none = admin(&host, "PUT", "admin-set-admin userId=@ann:hs1", json!({}));
    assert_eq!(code(none), (400, "M_MISSING_PARAM".to_owned()));
    admin(&host, "PUT", "admin-set-admin userId=@ann:hs1", body).ok();
    assert!(who(&token).unwrap().principal.marks.is_empty());
}

#[test]
fn suspension_and_shadow_ban_are_seen_in_the_next_request() {
    let host = start();
    let token = log_in(&host, by_name("ann", "secret")).ok()["access_token"].clone();
    let marks = || who(&token).unwrap().principal.marks;
    let path = "admin-suspension userId=@ann:hs1";
    let done = admin(&host, "PUT", path, json!({ "suspend": true })).ok();
    assert_eq!(done, json!({ "user_@ann:hs1_suspended": true }));
    assert_eq!(marks(), ["suspended"]);
    assert_eq!(code(admin(&host, "PUT", path, json!({}))), (400, "M_MISSING_PARAM".to_owned()));
    admin(&host, "PUT", path, json!({ "suspend": false })).ok();
    admin(&host, "POST", "admin-shadow-ban userId=@ann:hs1", json!({})).ok();
    assert_eq!(marks(), ["shadow-banned"]);
    admin(&host, "DELETE", "admin-shadow-ban userId=@ann:hs1", Value::Null).ok();
    assert!(marks().is_empty());
}

#[test]
fn a_users_own_rate_goes_with_their_requests() {
    let host = start();
    let token = log_in(&host, by_name("ann", "secret")).ok()["access_token"].clone();
    let rate = |method: &str, route: &str, body: Value| {
        admin(&host, method, &format!("{route} userId=@ann:hs1"), body)
    };
    assert_eq!(rate("GET", "admin-rate", Value::Null).ok(), json!({}));
    let body = json!({ "messages_per_second": 7, "burst_count": 20 });
    assert_eq!(rate("POST", "admin-rate-set", body.clone()).ok(), body);
    assert_eq!(rate("GET", "admin-rate", Value::Null).ok(), body);
    let principal = who(&token).unwrap().principal;
    let own = &principal.rates[0];
    assert_eq!((own.class.as_str(), own.per_second, own.burst), ("messages", 7.0, 20));
    assert!(!principal.unlimited);
    rate("POST", "admin-rate-set", json!({})).ok();
    assert!(who(&token).unwrap().principal.unlimited);
    let wrong = rate("POST", "admin-rate-set", json!({ "messages_per_second": 1.5 }));
    assert_eq!(code(wrong), (400, "M_INVALID_PARAM".to_owned()));
    rate("DELETE", "admin-rate-reset", Value::Null).ok();
    let principal = who(&token).unwrap().principal;
    assert!(principal.rates.is_empty() && !principal.unlimited);
}

fn act(host: &TestHost, body: Value) -> TestAnswer {
    admin(host, "POST", "admin-login userId=@ann:hs1", body)
}

#[test]
fn who_acts_for_a_user_has_no_device_and_ends_without_them() {
    let host = start();
    root(&host);
    host.advance(7_200_000);
    let token = act(&host, json!({})).ok()["access_token"].clone();
    let principal = who(&token).unwrap().principal;
    assert_eq!((principal.user.as_str(), &principal.device), (ANN, &None));
    let devices = admin(&host, "GET", "admin-devices userId=@ann:hs1", Value::Null).ok();
    assert_eq!(devices["total"], 1);
    let ann = admin(&host, "GET", "admin-user userId=@ann:hs1", Value::Null).ok();
    assert_eq!(ann["last_seen_ts"], host.now_ms() - 7_200_000);
    // Its own log-out ends it alone.
    let other = act(&host, json!({})).ok()["access_token"].clone();
    let mut request = host.request("POST", "logout").user(ANN);
    for mark in &principal.marks {
        request = request.mark(mark);
    }
    request.send::<Plugin>().ok();
    assert!(who(&token).is_err() && who(&other).is_ok());
    // All sessions of the administrator end it, too.
    host.request("POST", "logout-all").user(ROOT).send::<Plugin>().ok();
    assert!(who(&other).is_err());
    let until = json!({ "valid_until_ms": host.now_ms() + 10 });
    let short = act(&host, until).ok()["access_token"].clone();
    assert!(who(&short).is_ok());
    host.advance(10);
    assert!(who(&short).is_err());
    assert_eq!(code(act(&host, json!({ "valid_until_ms": "x" }))), (400, "M_BAD_JSON".to_owned()));
    let own = admin(&host, "POST", "admin-login userId=@root:hs1", json!({}));
    assert_eq!(code(own), (400, "M_INVALID_PARAM".to_owned()));
    let token = act(&host, json!({})).ok()["access_token"].clone();
    let body = json!({ "admin": false });
    host.request("PUT", "admin-set-admin")
        .user("@other:hs1")
        .mark("admin")
        .param("userId", ROOT)
        .json(&body)
        .send::<Plugin>()
        .ok();
    assert!(who(&token).is_err());
    assert_eq!(code(act(&host, json!({}))), (403, "M_FORBIDDEN".to_owned()));
    put(&host, ROOT, json!({ "admin": true })).ok();
    assert!(who(&token).is_err());
    put(&host, ANN, json!({ "deactivated": true })).ok();
    assert_eq!(code(act(&host, json!({}))), (404, "M_NOT_FOUND".to_owned()));
}

/// The administrator has an account.
fn root(host: &TestHost) {
    register(host, "root");
    put(host, ROOT, json!({ "admin": true })).ok();
}

fn token(answer: TestAnswer) -> Value {
    answer.ok()["access_token"].clone()
}

#[test]
fn a_locked_administrator_acts_for_nobody() {
    let host = start();
    root(&host);
    let acting = token(act(&host, json!({})));
    let topics = who(&acting).unwrap().topics;
    for topic in ["acting:@root:hs1", "sessions:@root:hs1", "sessions:@ann:hs1"] {
        assert!(topics.contains(&topic.to_owned()), "{topics:?}");
    }
    put(&host, ROOT, json!({ "locked": true })).ok();
    assert_eq!(who(&acting).unwrap_err()["errcode"], "M_UNKNOWN_TOKEN");
    assert_eq!(code(act(&host, json!({}))), (403, "M_FORBIDDEN".to_owned()));
    put(&host, ROOT, json!({ "locked": false })).ok();
    assert!(who(&acting).is_ok());
    // Nor does anybody from one user on to the next.
    let chained = host
        .request("POST", "admin-login")
        .user(ROOT)
        .mark("admin")
        .mark("token:x")
        .param("userId", ANN)
        .json(&json!({}))
        .send::<Plugin>();
    assert_eq!(code(chained), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn an_administrator_has_so_many_tokens_to_act_and_one_commit_ends_them() {
    let host = start();
    root(&host);
    let forbidden = (403, "M_FORBIDDEN".to_owned());
    act(&host, json!({ "valid_until_ms": host.now_ms() + 1 })).ok();
    host.advance(1);
    for _ in 0..99 {
        act(&host, json!({})).ok();
    }
    // Two come at once for the last one.
    host.before_next_commit(|host| {
        act(host, json!({})).ok();
    });
    assert_eq!(code(act(&host, json!({}))), forbidden);
    let sql = "SELECT hash FROM accounts_tokens WHERE made_by = $1";
    let left = || host.acting("accounts", || query(sql, params![ROOT]).unwrap().rows.len());
    assert_eq!(left(), 100);
    let _ = host.wakes();
    let demote = |host: &TestHost| put(host, ROOT, json!({ "admin": false }));
    let by_other = |host: &TestHost| {
        let request = host.request("PUT", "admin-set-admin").user("@other:hs1").mark("admin");
        request.param("userId", ROOT).json(&json!({ "admin": false })).send::<Plugin>().ok();
    };
    assert_eq!(code(demote(&host)), (400, "M_INVALID_PARAM".to_owned()));
    by_other(&host);
    assert_eq!((left(), host.wakes().len()), (0, 1));
    // One that is made while that happens is not left behind.
    put(&host, ROOT, json!({ "admin": true })).ok();
    host.before_next_commit(move |host| by_other(host));
    assert_eq!(code(act(&host, json!({}))), forbidden);
    assert_eq!(left(), 0);
}

#[test]
fn a_service_ends_the_token_of_who_acts() {
    let host = start();
    root(&host);
    let (one, other) = (token(act(&host, json!({}))), token(act(&host, json!({}))));
    Plugin::log_out(Sessions::Token(one.as_str().unwrap().to_owned())).unwrap();
    assert!(who(&one).is_err() && who(&other).is_ok());
}

#[test]
fn devices_of_users_are_made_named_and_removed() {
    let host = start();
    let call = |method: &str, path: &str, body: Value| {
        admin(&host, method, &format!("{path} userId=@ann:hs1"), body)
    };
    assert_eq!(call("POST", "admin-device-new", json!({ "device_id": "NEW" })).status(), 201);
    assert_eq!(call("POST", "admin-device-new", json!({ "device_id": "NEW" })).status(), 201);
    let missing = call("POST", "admin-device-new", json!({}));
    assert_eq!(code(missing), (400, "M_MISSING_PARAM".to_owned()));
    let name = json!({ "display_name": "desk" });
    call("PUT", "admin-device-rename deviceId=NEW", name.clone()).ok();
    let new = call("GET", "admin-device deviceId=NEW", Value::Null).ok();
    assert_eq!((&new["display_name"], &new["user_id"]), (&json!("desk"), &json!(ANN)));
    assert_eq!(call("GET", "admin-devices", Value::Null).ok()["total"], 2);
    call("DELETE", "admin-device-delete deviceId=NEW", Value::Null).ok();
    let gone = (404, "M_NOT_FOUND".to_owned());
    assert_eq!(code(call("GET", "admin-device deviceId=NEW", Value::Null)), gone);
    assert_eq!(code(call("PUT", "admin-device-rename deviceId=NEW", name)), gone);
    let missing = call("POST", "admin-devices-delete", json!({}));
    assert_eq!(code(missing), (400, "M_MISSING_PARAM".to_owned()));
    call("POST", "admin-devices-delete", json!({ "devices": ["DEV", "X"] })).ok();
    assert_eq!(call("GET", "admin-devices", Value::Null).ok()["total"], 0);
}

/// What `rooms` would store.
pub(crate) fn member(host: &TestHost, room: &str, user: &str, membership: &str) {
    host.acting("rooms", || {
        let mut batch = Batch::new();
        let at = batch.take_positions(1);
        batch
            .run(
                "INSERT INTO rooms_memberships (room_id, user_id, membership, event_id, sender, position) \
                 VALUES ($1, $2, $3, $4, $2, $5) ON CONFLICT (room_id, user_id) DO UPDATE SET membership = excluded.membership",
                params![room, user, membership, format!("${room}{user}{membership}"), position(at)],
            )
            .commit()
            .unwrap();
    });
}

#[test]
fn rooms_and_account_data_of_users_are_told() {
    let host = start();
    for n in 0..1001 {
        member(&host, &format!("!{n:04}:hs1"), ANN, "join");
    }
    member(&host, "!left:hs1", ANN, "leave");
    let joined = admin(&host, "GET", "admin-joined-rooms userId=@ann:hs1", Value::Null).ok();
    assert_eq!(
        (&joined["total"], &joined["joined_rooms"][1000]),
        (&json!(1001), &json!("!1000:hs1"))
    );
    let all = admin(&host, "GET", "admin-memberships userId=@ann:hs1", Value::Null).ok();
    assert_eq!(all["memberships"].as_object().unwrap().len(), 1002);
    assert_eq!(all["memberships"]["!left:hs1"], "leave");
    let data = || admin(&host, "GET", "admin-account-data userId=@ann:hs1", Value::Null);
    let none = json!({ "account_data": { "global": {}, "rooms": {} } });
    assert_eq!(data().whole::<Plugin>(), none);
    for n in 0..30 {
        let path = format!("account-data-set userId=@ann:hs1 type=x.{n}");
        ask(&host, "PUT", &path, json!({ "n": n, "long": "x".repeat(50_000) })).ok();
    }
    let global = data().whole::<Plugin>();
    assert_eq!(global["account_data"]["global"].as_object().unwrap().len(), 30);
    assert_eq!(global["account_data"]["rooms"], json!({}));
    let path = "tag-set userId=@ann:hs1 roomId=!a:hs1 tag=u.x";
    ask(&host, "PUT", path, json!({})).ok();
    let path = "tag-set userId=@ann:hs1 roomId=!left:hs1 tag=u.x";
    ask(&host, "PUT", path, json!({})).ok();
    let data = data();
    let pieces = data.pieces::<Plugin>();
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() < 4 << 20));
    let data: Value = serde_json::from_slice(&pieces.concat()).unwrap();
    assert_eq!(data["account_data"]["global"].as_object().unwrap().len(), 30);
    assert_eq!(data["account_data"]["global"]["x.25"]["n"], 25);
    assert!(data["account_data"]["rooms"]["!a:hs1"]["m.tag"]["tags"]["u.x"].is_object());
    assert!(data["account_data"]["rooms"]["!left:hs1"]["m.tag"]["tags"]["u.x"].is_object());
}

#[test]
fn names_are_free_or_not_and_the_version_is_everybodys() {
    let host = start();
    let free =
        |query: &str| admin(&host, "GET", &format!("admin-name-available {query}"), Value::Null);
    assert_eq!(free("?username=bob").ok()["available"], true);
    assert_eq!(code(free("?username=Ann")), (400, "M_USER_IN_USE".to_owned()));
    assert_eq!(code(free("?username=a%20b")), (400, "M_INVALID_USERNAME".to_owned()));
    assert_eq!(admin(&host, "GET", "admin-name-available", Value::Null).error().0, 400);
    let version = host.request("GET", "admin-version").send::<Plugin>().ok();
    assert!(version["server_version"].as_str().unwrap().starts_with("Tessera "));
}

#[test]
fn pushers_of_devices_that_are_gone_are_not_told() {
    let host =
        TestHost::builder().plugin_in(".").plugin_in("../rooms").plugin_in("../push").start();
    register(&host, "ann");
    host.acting("push", || {
        let rows = [("k1", "DEV"), ("k2", "GONE"), ("k3", "")];
        let content = |key: &str| json!({ "pushkey": key, "app_id": "a", "kind": "http", "x": 1 });
        let rows = rows.map(|(key, device)| params![ANN, key, device, content(key).to_string()]);
        let sql = "INSERT INTO push_pushers (user_id, app_id, pushkey, device_id, content, created_ms) \
                   VALUES ($1, 'a', $2, $3, $4, 1)";
        Batch::new().run_many(sql, rows.to_vec()).commit().unwrap();
    });
    let told = admin(&host, "GET", "admin-pushers userId=@ann:hs1", Value::Null).ok();
    assert_eq!(told["total"], 2);
    let first = &told["pushers"][0];
    assert_eq!(
        (&first["pushkey"], &first["lang"], first.get("x")),
        (&json!("k1"), &Value::Null, None)
    );
    assert_eq!(told["pushers"][1]["pushkey"], "k3");
}
