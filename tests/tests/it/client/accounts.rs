//! Registration, log-in, sessions, devices, profiles, account data, what clients look up.

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Answer, Session};

use super::Front;
use crate::common::{World, assert_error};

/// What `config/testing.toml` says.
const SECRET: &str = "a secret of the operator";

/// A new administrator.
pub(super) async fn admin(front: &Front) -> Session {
    use hmac::{Hmac, KeyInit, Mac};
    let (path, name) = ("/_synapse/admin/v1/register", front.name("root"));
    let nonce = front.request(Method::GET, path, None, None).await.ok().unwrap();
    let nonce = nonce["nonce"].as_str().unwrap();
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update([nonce, &name, "a password", "admin"].join("\0").as_bytes());
    let body = json!({
        "nonce": nonce, "username": name, "password": "a password", "admin": true,
        "mac": hex::encode(mac.finalize().into_bytes()),
    });
    let made = front.request(Method::POST, path, None, Some(&body)).await.ok().unwrap();
    Session::from_login(&front.http, &front.base(), &made).unwrap()
}

async fn v1(
    front: &Front,
    user: &Session,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let path = format!("/_matrix/client/v1{path}");
    front.request(method, &path, Some(&user.token), body.as_ref()).await
}

async fn post(front: &Front, path: &str, body: Value) -> Answer {
    front.request(Method::POST, &format!("/_matrix/client/v3{path}"), None, Some(&body)).await
}

async fn get(front: &Front, path: &str) -> Answer {
    front.request(Method::GET, path, None, None).await
}

async fn call(user: &Session, method: Method, path: &str, body: Value) -> Answer {
    let body = (!body.is_null()).then_some(&body);
    user.call(method, path, body).await.unwrap()
}

fn proof(front: &Front, stem: &str, session: &Value) -> Value {
    let name = front.name(stem);
    json!({
        "type": "m.login.password", "session": session, "password": format!("{name}'s password"),
        "identifier": {"type": "m.id.user", "user": name},
    })
}

/// Does what wants the password stage, with it.
async fn prove(
    front: &Front,
    user: &Session,
    stem: &str,
    method: Method,
    path: &str,
    body: Value,
) -> Answer {
    let asked = call(user, method.clone(), path, body.clone()).await;
    assert_eq!(asked.status, 401, "{asked:?}");
    let mut body = body;
    body["auth"] = proof(front, stem, &asked.body["session"]);
    call(user, method, path, body).await
}

/// Asks until it is answered so: what another node said arrives in its own time.
async fn until(user: &Session, path: &str, status: u16) -> Answer {
    for _ in 0..400 {
        let answer = call(user, Method::GET, path, Value::Null).await;
        if answer.status == status {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{path} is never answered {status}");
}

#[tokio::test]
async fn users_register_log_in_and_out() {
    let front = Front::get().await;
    let versions = get(&front, "/_matrix/client/versions").await.ok().unwrap();
    assert!(versions["versions"].as_array().unwrap().contains(&json!("v1.11")));
    let flows = get(&front, "/_matrix/client/v3/login").await.ok().unwrap();
    assert!(flows["flows"].as_array().unwrap().contains(&json!({"type": "m.login.password"})));
    let page = format!("{}/_matrix/static/client/login/", front.base());
    let page = front.http.get(&page).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("window.matrixLogin.onLogin"));
    let name = front.name("alice");
    let free = format!("/_matrix/client/v3/register/available?username={name}");
    assert_eq!(get(&front, &free).await.ok().unwrap()["available"], true);
    let first = post(&front, "/register", json!({"username": name, "password": "secret"})).await;
    assert_eq!(
        (first.status, &first.body["flows"][0]["stages"][0]),
        (401, &json!("m.login.dummy"))
    );
    let auth = json!({"type": "m.login.dummy", "session": first.body["session"]});
    let made =
        post(&front, "/register", json!({"auth": auth, "device_id": "ONE"})).await.ok().unwrap();
    assert_eq!(made["device_id"], "ONE");
    assert_error(&get(&front, &free).await, &[400], &["M_USER_IN_USE"]);
    let taken = post(&front, "/register", json!({"username": name, "password": "other"})).await;
    assert_error(&taken, &[400], &["M_USER_IN_USE"]);
    let login = |password: &str| {
        json!({
            "type": "m.login.password", "identifier": {"type": "m.id.user", "user": name},
            "password": password, "refresh_token": true,
        })
    };
    assert_error(&post(&front, "/login", login("wrong")).await, &[403], &["M_FORBIDDEN"]);
    let entered = post(&front, "/login", login("secret")).await.ok().unwrap();
    let refreshed = post(&front, "/refresh", json!({"refresh_token": entered["refresh_token"]}))
        .await
        .ok()
        .unwrap();
    let unknown = post(&front, "/refresh", json!({"refresh_token": "guess"})).await;
    assert_error(&unknown, &[401], &["M_UNKNOWN_TOKEN"]);
    let mut body = entered.clone();
    body["access_token"] = refreshed["access_token"].clone();
    let alice = Session::from_login(&front.http, &front.base(), &body).unwrap();
    assert_eq!(alice.get("/account/whoami").await.unwrap()["device_id"], *alice.device_id);
    alice.post("/logout", &json!({})).await.unwrap();
    let gone = call(&alice, Method::GET, "/account/whoami", Value::Null).await;
    assert_error(&gone, &[401], &["M_UNKNOWN_TOKEN"]);
    let again = call(&alice, Method::POST, "/logout", json!({})).await;
    assert_error(&again, &[401], &["M_UNKNOWN_TOKEN"]);
    let first = Session::from_login(&front.http, &front.base(), &made).unwrap();
    first.post("/logout/all", &json!({})).await.unwrap();
    let again = call(&first, Method::POST, "/logout/all", json!({})).await;
    assert_error(&again, &[401], &["M_UNKNOWN_TOKEN"]);
}

#[tokio::test]
async fn guests_look_around_and_become_users() {
    let front = Front::get().await;
    let path = "/_matrix/client/v3/register?kind=guest";
    let made = front.request(Method::POST, path, None, Some(&json!({}))).await.ok().unwrap();
    let guest = Session::from_login(&front.http, &front.base(), &made).unwrap();
    assert_eq!(guest.get("/account/whoami").await.unwrap()["is_guest"], true);
    let sync = guest.sync(None, std::time::Duration::ZERO, "").await.unwrap();
    assert!(sync["next_batch"].is_string());
    let refused = call(&guest, Method::POST, "/createRoom", json!({})).await;
    assert_error(&refused, &[403], &["M_GUEST_ACCESS_FORBIDDEN"]);
    let name = guest.user_id[1..].split(':').next().unwrap().to_owned();
    let body = |token: &str| {
        json!({
            "username": name, "password": "secret", "guest_access_token": token, "auth": {"type": "m.login.dummy"},
        })
    };
    assert_error(&post(&front, "/register", body("guess")).await, &[403], &["M_FORBIDDEN"]);
    let grown = post(&front, "/register", body(&guest.token)).await.ok().unwrap();
    let grown = Session::from_login(&front.http, &front.base(), &grown).unwrap();
    assert_eq!(grown.user_id, guest.user_id);
    assert_eq!(until(&guest, "/account/whoami", 401).await.body["errcode"], "M_UNKNOWN_TOKEN");
    grown.create_room(&json!({})).await.unwrap();
}

#[tokio::test]
async fn password_changes_and_accounts_end() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let other = front.device("alice").await;
    let short = json!({"new_password": ""});
    let bad = prove(&front, &alice, "alice", Method::POST, "/account/password", short).await;
    assert_error(&bad, &[400], &["M_WEAK_PASSWORD"]);
    let keep = json!({"new_password": format!("{}'s password", front.name("alice"))});
    prove(&front, &alice, "alice", Method::POST, "/account/password", keep).await.ok().unwrap();
    alice.get("/account/whoami").await.unwrap();
    until(&other, "/account/whoami", 401).await;
    let mut wrong = proof(&front, "alice", &Value::Null);
    wrong["password"] = json!("wrong");
    let refused = call(&alice, Method::POST, "/account/deactivate", json!({"auth": wrong})).await;
    assert_error(&refused, &[401], &["M_FORBIDDEN"]);
    let body = json!({"erase": true});
    let done = prove(&front, &alice, "alice", Method::POST, "/account/deactivate", body).await;
    assert!(done.ok().unwrap()["id_server_unbind_result"].is_string());
    until(&alice, "/account/whoami", 401).await;
    let body = json!({
        "type": "m.login.password", "password": format!("{}'s password", front.name("alice")),
        "identifier": {"type": "m.id.user", "user": front.name("alice")},
    });
    assert_error(
        &post(&front, "/login", body).await,
        &[403],
        &["M_USER_DEACTIVATED", "M_FORBIDDEN"],
    );
}

#[tokio::test]
async fn devices_are_listed_named_and_removed() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let (two, three) = (front.device("alice").await, front.device("alice").await);
    let devices = alice.get("/devices").await.unwrap()["devices"].clone();
    assert_eq!(devices.as_array().unwrap().len(), 3);
    let path = format!("/devices/{}", two.device_id);
    alice.put(&path, &json!({"display_name": "Tablet"})).await.unwrap();
    let shown = alice.get(&path).await.unwrap();
    assert_eq!(
        (&shown["display_name"], &shown["device_id"]),
        (&json!("Tablet"), &json!(*two.device_id))
    );
    for (method, body) in [(Method::GET, Value::Null), (Method::PUT, json!({"display_name": "x"}))]
    {
        let unknown = call(&alice, method, "/devices/NONE", body).await;
        assert_error(&unknown, &[404], &["M_NOT_FOUND"]);
    }
    let mut wrong = proof(&front, "alice", &Value::Null);
    wrong["password"] = json!("wrong");
    let body = json!({"auth": wrong, "devices": [*three.device_id]});
    assert_error(
        &call(&alice, Method::DELETE, &path, body.clone()).await,
        &[401],
        &["M_FORBIDDEN"],
    );
    let refused = call(&alice, Method::POST, "/delete_devices", body).await;
    assert_error(&refused, &[401], &["M_FORBIDDEN"]);
    prove(&front, &alice, "alice", Method::DELETE, &path, json!({})).await.ok().unwrap();
    let body = json!({"devices": [*three.device_id]});
    prove(&front, &alice, "alice", Method::POST, "/delete_devices", body).await.ok().unwrap();
    until(&two, "/account/whoami", 401).await;
    until(&three, "/account/whoami", 401).await;
    let none = get(&front, "/_matrix/client/v3/devices").await;
    assert_error(&none, &[401], &["M_MISSING_TOKEN"]);
}

#[tokio::test]
async fn profile_fields_are_the_users_own() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let path = format!("/profile/{}", alice.user_id);
    let zone = json!({"m.tz": "Europe/London"});
    alice.put(&format!("{path}/m.tz"), &zone).await.unwrap();
    alice.put(&format!("{path}/displayname"), &json!({"displayname": "Alice"})).await.unwrap();
    assert_eq!(bob.get(&format!("{path}/m.tz")).await.unwrap(), zone);
    let whole = bob.get(&path).await.unwrap();
    assert_eq!(whole, json!({"displayname": "Alice", "m.tz": "Europe/London"}));
    let unstable = format!("/_matrix/client/unstable/uk.tcpip.msc4133{path}/m.tz");
    assert_eq!(get(&front, &unstable).await.ok().unwrap(), zone);
    let field = format!("{path}/displayname");
    let others = call(&bob, Method::PUT, &field, json!({"displayname": "x"})).await;
    assert_error(&others, &[403], &["M_FORBIDDEN"]);
    assert_error(&call(&bob, Method::DELETE, &field, Value::Null).await, &[403], &["M_FORBIDDEN"]);
    let long = format!("{path}/{}", "x".repeat(256));
    let refused = call(&alice, Method::PUT, &long, json!({"x": 1})).await;
    assert_error(&refused, &[400], &["M_KEY_TOO_LARGE"]);
    let large = json!({"org.example.a": "x".repeat(65_536)});
    let refused = call(&alice, Method::PUT, &format!("{path}/org.example.a"), large).await;
    assert_error(&refused, &[400], &["M_PROFILE_TOO_LARGE"]);
    call(&alice, Method::DELETE, &format!("{path}/m.tz"), Value::Null).await.ok().unwrap();
    let gone = call(&bob, Method::GET, &format!("{path}/m.tz"), Value::Null).await;
    assert_error(&gone, &[404], &["M_NOT_FOUND"]);
    let (_, server) = alice.user_id.split_once(':').unwrap();
    let nobody = format!("/profile/@nobody-{}:{server}", front.name("x"));
    assert_error(&call(&bob, Method::GET, &nobody, Value::Null).await, &[404], &["M_NOT_FOUND"]);
}

#[tokio::test]
async fn account_data_tags_and_filters_are_the_users_own() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({})).await.unwrap();
    let own = format!("/user/{}", alice.user_id);
    for base in [own.clone(), format!("{own}/rooms/{room}")] {
        let path = format!("{base}/account_data/org.example.a");
        let none = call(&alice, Method::GET, &path, Value::Null).await;
        assert_error(&none, &[404], &["M_NOT_FOUND"]);
        alice.put(&path, &json!({"n": 1})).await.unwrap();
        assert_eq!(alice.get(&path).await.unwrap(), json!({"n": 1}));
        let others = call(&bob, Method::PUT, &path, json!({"n": 2})).await;
        assert_error(&others, &[403], &["M_FORBIDDEN"]);
        let servers = format!("{base}/account_data/m.fully_read");
        let refused = call(&alice, Method::PUT, &servers, json!({})).await;
        assert_error(&refused, &[405], &["M_BAD_JSON"]);
    }
    let tags = format!("{own}/rooms/{room}/tags");
    alice.put(&format!("{tags}/u.work"), &json!({"order": 0.5})).await.unwrap();
    assert_eq!(alice.get(&tags).await.unwrap()["tags"]["u.work"]["order"], 0.5);
    let gone = call(&alice, Method::DELETE, &format!("{tags}/u.work"), Value::Null).await;
    gone.ok().unwrap();
    assert_eq!(alice.get(&tags).await.unwrap()["tags"], json!({}));
    assert_error(&call(&bob, Method::GET, &tags, Value::Null).await, &[403], &["M_FORBIDDEN"]);
    let tag = format!("{tags}/u.work");
    assert_error(&call(&bob, Method::PUT, &tag, json!({})).await, &[403], &["M_FORBIDDEN"]);
    assert_error(&call(&bob, Method::DELETE, &tag, Value::Null).await, &[403], &["M_FORBIDDEN"]);
    let path = format!("{own}/filter");
    let made = alice.post(&path, &json!({"room": {"timeline": {"limit": 3}}})).await.unwrap();
    let filter = format!("{path}/{}", made["filter_id"].as_str().unwrap());
    assert_eq!(alice.get(&filter).await.unwrap()["room"]["timeline"]["limit"], 3);
    assert_error(&call(&bob, Method::POST, &path, json!({})).await, &[403], &["M_FORBIDDEN"]);
    let none = call(&alice, Method::GET, &format!("{path}/none"), Value::Null).await;
    assert_error(&none, &[404], &["M_NOT_FOUND"]);
}

#[tokio::test]
async fn administrators_lock_suspend_and_look() {
    let front = Front::get().await;
    let (root, alice) = (admin(&front).await, front.user("alice").await);
    let room = alice.create_room(&json!({})).await.unwrap();
    for (what, named) in [("lock", "locked"), ("suspend", "suspended")] {
        let path = format!("/admin/{what}/{}", alice.user_id);
        let no = v1(&front, &root, Method::GET, &path, None).await.ok().unwrap();
        assert_eq!(no, json!({named: false}));
        let refused = v1(&front, &alice, Method::GET, &path, None).await;
        assert_error(&refused, &[403], &["M_FORBIDDEN"]);
        let refused = v1(&front, &alice, Method::PUT, &path, Some(json!({named: true}))).await;
        assert_error(&refused, &[403], &["M_FORBIDDEN"]);
        let yes = v1(&front, &root, Method::PUT, &path, Some(json!({named: true}))).await;
        assert_eq!(yes.ok().unwrap(), json!({named: true}));
        if what == "lock" {
            let locked = until(&alice, "/account/whoami", 401).await;
            assert_error(&locked, &[401], &["M_USER_LOCKED"]);
            assert_eq!(locked.body["soft_logout"], true);
        } else {
            let path = format!("/rooms/{room}/send/m.room.message/1");
            let text = json!({"msgtype": "m.text", "body": "x"});
            let mut refused = call(&alice, Method::PUT, &path, text.clone()).await;
            for _ in 0..400 {
                if refused.status != 200 {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(25)).await;
                refused = call(&alice, Method::PUT, &path, text.clone()).await;
            }
            assert_error(&refused, &[403], &["M_USER_SUSPENDED"]);
            alice.get("/account/whoami").await.unwrap();
        }
        v1(&front, &root, Method::PUT, &path, Some(json!({named: false}))).await.ok().unwrap();
        until(&alice, "/account/whoami", 200).await;
    }
    let path = format!("/admin/whois/{}", alice.user_id);
    let told = root.get(&path).await.unwrap();
    assert!(told["devices"][&*alice.device_id]["sessions"][0]["connections"][0]["ip"].is_string());
    alice.get(&path).await.unwrap();
    let other = format!("/admin/whois/{}", root.user_id);
    assert_error(&call(&alice, Method::GET, &other, Value::Null).await, &[403], &["M_FORBIDDEN"]);
}

#[tokio::test]
async fn sessions_prove_who_they_are_elsewhere() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let asked = v1(&front, &alice, Method::POST, "/login/get_token", Some(json!({}))).await;
    let mut wrong = proof(&front, "alice", &asked.body["session"]);
    wrong["password"] = json!("wrong");
    let refused =
        v1(&front, &alice, Method::POST, "/login/get_token", Some(json!({"auth": wrong}))).await;
    assert_error(&refused, &[401], &["M_FORBIDDEN"]);
    let auth = proof(&front, "alice", &asked.body["session"]);
    let told =
        v1(&front, &alice, Method::POST, "/login/get_token", Some(json!({"auth": auth}))).await;
    let token = told.ok().unwrap()["login_token"].clone();
    let body = json!({"type": "m.login.token", "token": token});
    assert_eq!(post(&front, "/login", body).await.ok().unwrap()["user_id"], *alice.user_id);
    let path = format!("/user/{}/openid/request_token", alice.user_id);
    let openid = alice.post(&path, &json!({})).await.unwrap();
    let info = "/_matrix/federation/v1/openid/userinfo?access_token=";
    let token = openid["access_token"].as_str().unwrap();
    let who = get(&front, &format!("{info}{token}")).await.ok().unwrap();
    assert_eq!(who, json!({"sub": *alice.user_id}));
    assert_error(&get(&front, &format!("{info}x")).await, &[401], &["M_UNKNOWN_TOKEN"]);
    let bob = front.user("bob").await;
    assert_error(&call(&bob, Method::POST, &path, json!({})).await, &[403], &["M_FORBIDDEN"]);
}

#[tokio::test]
async fn what_the_server_offers_is_told() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let told = alice.get("/capabilities").await.unwrap();
    assert_eq!(told["capabilities"]["m.change_password"]["enabled"], true);
    assert_eq!(alice.get("/voip/turnServer").await.unwrap(), json!({}));
    assert_eq!(alice.get("/thirdparty/protocols").await.unwrap(), json!({}));
    assert_eq!(alice.get("/thirdparty/location?alias=%23a:b").await.unwrap(), json!([]));
    assert_eq!(alice.get("/thirdparty/user?userid=%40a:b").await.unwrap(), json!([]));
    for path in ["/thirdparty/location", "/thirdparty/user"] {
        let missing = call(&alice, Method::GET, path, Value::Null).await;
        assert_error(&missing, &[400], &["M_MISSING_PARAM"]);
    }
    for what in ["protocol", "location", "user"] {
        let unknown =
            call(&alice, Method::GET, &format!("/thirdparty/{what}/irc"), Value::Null).await;
        assert_error(&unknown, &[404], &["M_NOT_FOUND"]);
    }
    for path in ["/capabilities", "/voip/turnServer", "/thirdparty/protocols"] {
        let anybody = get(&front, &format!("/_matrix/client/v3{path}")).await;
        assert_error(&anybody, &[401], &["M_MISSING_TOKEN"]);
    }
    for file in ["client", "support", "policy_server"] {
        let none = get(&front, &format!("/.well-known/matrix/{file}")).await;
        assert_error(&none, &[404], &["M_NOT_FOUND"]);
    }
}

#[tokio::test]
async fn operator_chooses_stages_and_well_known_files() {
    let world = World::start_with_config(
        "[plugins.accounts.config]\nregistration-token = true\nshared-secret = \"a secret of the operator\"\n\
         base-url = \"https://matrix.example.org\"\nsupport = { support_page = \"https://example.org/help\" }\n\
         policy-server = { public_keys = { ed25519 = \"abc\" } }\n",
    )
    .await;
    let get = async |path: &str| world.request(Method::GET, path, None, None).await;
    let told = get("/.well-known/matrix/client").await.ok().unwrap();
    assert_eq!(told["m.homeserver"]["base_url"], "https://matrix.example.org");
    let told = get("/.well-known/matrix/support").await.ok().unwrap();
    assert_eq!(told["support_page"], "https://example.org/help");
    let told = get("/.well-known/matrix/policy_server").await.ok().unwrap();
    assert_eq!(told["public_keys"]["ed25519"], "abc");
    let validity = "/_matrix/client/v1/register/m.login.registration_token/validity";
    let valid = get(&format!("{validity}?token=none")).await.ok().unwrap();
    assert_eq!(valid, json!({"valid": false}));
    assert_error(&get(validity).await, &[400], &["M_MISSING_PARAM"]);
    let body = json!({
        "username": "alice", "password": "x", "auth": {"type": "m.login.registration_token", "token": "none"},
    });
    let refused =
        world.request(Method::POST, "/_matrix/client/v3/register", None, Some(&body)).await;
    assert_error(&refused, &[401], &["M_UNAUTHORIZED"]);
}
