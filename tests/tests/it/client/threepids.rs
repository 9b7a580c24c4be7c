//! Addresses, with a mail relay of the test's own.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::{
    api::{Answer, Session},
    mail::{Mail, MailSink},
};
use tokio::net::TcpListener;

use crate::common::{World, assert_error};

/// How long a mail may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Post {
    pub(super) world: World,
    sink: Arc<MailSink>,
}

impl Post {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// With more configuration.
    pub(super) async fn start_with(config: &str) -> Self {
        let sink = Arc::new(MailSink::start().unwrap());
        let accounts = "[plugins.accounts.config]\nemail = \"optional\"\n";
        let more =
            format!("{}\n[quotas]\nmails-per-minute = 6000\n{accounts}{config}", sink.config());
        Self { world: World::start_with_config(&more).await, sink }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let path = format!("/_matrix/client/v3{path}");
        self.world.request(Method::POST, &path, None, Some(&body)).await
    }

    /// The mail that an address gets as its `count`th.
    pub(super) async fn mail(&self, to: &str, count: usize) -> Mail {
        let (sink, to) = (Arc::clone(&self.sink), to.to_owned());
        let mail = tokio::task::spawn_blocking(move || sink.wait(&to, count, PATIENCE));
        mail.await.unwrap().expect("a mail")
    }

    /// Has an address proved; the session. `count`: which mail to it this is.
    pub(super) async fn prove(&self, path: &str, email: &str, count: usize) -> Value {
        let body = json!({"client_secret": "s3cr3t", "email": email, "send_attempt": 1});
        let sid = self.post(&format!("{path}/email/requestToken"), body).await.ok().unwrap()["sid"]
            .clone();
        let text = self.mail(email, count).await.text();
        let link = text.split_whitespace().find(|word| word.starts_with("http")).expect("a link");
        let (_, link) = link.split_once("/_tessera/").expect("a link to this server");
        let url = format!("{}/_tessera/{link}", self.world.base);
        let page = self.world.http.get(&url).send().await.unwrap();
        assert_eq!(page.status().as_u16(), 200);
        assert!(page.text().await.unwrap().contains("<form method=\"post\">"));
        let pressed = self.world.http.post(&url).send().await.unwrap();
        assert_eq!(pressed.status().as_u16(), 200);
        let wrong = format!("{url}x");
        assert_eq!(self.world.http.get(&wrong).send().await.unwrap().status().as_u16(), 400);
        sid
    }
}

async fn call(user: &Session, path: &str, body: Value) -> Answer {
    user.call(Method::POST, path, Some(&body)).await.unwrap()
}

fn creds(sid: &Value) -> Value {
    json!({"sid": sid, "client_secret": "s3cr3t"})
}

#[tokio::test]
async fn address_is_proved_added_used_and_deleted() {
    let post = Post::start().await;
    let alice = post.world.user("alice").await;
    let sid = post.prove("/account/3pid", "alice@example.org", 1).await;
    let asked = call(&alice, "/account/3pid/add", creds(&sid)).await;
    assert_eq!(
        (asked.status, &asked.body["flows"][0]["stages"][0]),
        (401, &json!("m.login.password"))
    );
    let auth = json!({
        "type": "m.login.password", "session": asked.body["session"], "password": "alice's password",
        "identifier": {"type": "m.id.user", "user": "alice"},
    });
    let mut body = creds(&sid);
    body["auth"] = auth.clone();
    call(&alice, "/account/3pid/add", body.clone()).await.ok().unwrap();
    let again = call(&alice, "/account/3pid/add", body).await;
    assert_error(&again, &[400], &["M_THREEPID_AUTH_FAILED"]);
    let listed = alice.get("/account/3pid").await.unwrap();
    assert_eq!(listed["threepids"][0]["address"], "alice@example.org");
    let anybody =
        post.world.request(Method::GET, "/_matrix/client/v3/account/3pid", None, None).await;
    assert_error(&anybody, &[401], &["M_MISSING_TOKEN"]);
    let login = json!({
        "type": "m.login.password", "password": "alice's password",
        "identifier": {"type": "m.id.thirdparty", "medium": "email", "address": "Alice@Example.org"},
    });
    assert_eq!(post.post("/login", login.clone()).await.ok().unwrap()["user_id"], *alice.user_id);
    let named = json!({"medium": "email", "address": "alice@example.org"});
    let gone = call(&alice, "/account/3pid/delete", named).await.ok().unwrap();
    assert_eq!(gone["id_server_unbind_result"], "no-support");
    let missing = call(&alice, "/account/3pid/delete", json!({})).await;
    assert_error(&missing, &[400], &["M_MISSING_PARAM"]);
    assert_error(&post.post("/login", login).await, &[403], &["M_FORBIDDEN"]);
    // The way of old clients.
    let sid = post.prove("/account/3pid", "old@example.org", 1).await;
    call(&alice, "/account/3pid", json!({"three_pid_creds": creds(&sid)})).await.ok().unwrap();
    let again = call(&alice, "/account/3pid", json!({"three_pid_creds": creds(&sid)})).await;
    assert_error(&again, &[403], &["M_THREEPID_AUTH_FAILED"]);
}

#[tokio::test]
async fn address_registers_a_user_who_gets_a_new_password_by_it() {
    let post = Post::start().await;
    let first = post.post("/register", json!({"username": "bob", "password": "forgotten"})).await;
    let sid = post.prove("/register", "bob@example.org", 1).await;
    let stage = |sid: &Value, session: &Value| json!({"type": "m.login.email.identity", "session": session, "threepid_creds": creds(sid)});
    let auth = stage(&sid, &first.body["session"]);
    post.post("/register", json!({"auth": auth})).await.ok().unwrap();
    let asked = post.post("/account/password", json!({"new_password": "fresh"})).await;
    assert_eq!(asked.body["flows"][0]["stages"][0], "m.login.email.identity");
    let sid = post.prove("/account/password", "bob@example.org", 2).await;
    let auth = stage(&sid, &asked.body["session"]);
    let body = json!({"new_password": "fresh", "auth": auth});
    post.post("/account/password", body.clone()).await.ok().unwrap();
    let again = post.post("/account/password", body).await;
    assert_error(&again, &[401], &["M_THREEPID_AUTH_FAILED"]);
    let login = |password: &str| {
        let identifier = json!({"type": "m.id.user", "user": "bob"});
        json!({"type": "m.login.password", "identifier": identifier, "password": password})
    };
    post.post("/login", login("fresh")).await.ok().unwrap();
    assert_error(&post.post("/login", login("forgotten")).await, &[403], &["M_FORBIDDEN"]);
    // Somebody else is not told that the address is known; its owner is.
    let body = json!({"client_secret": "x", "email": "bob@example.org", "send_attempt": 1});
    let told = post.post("/register/email/requestToken", body).await.ok().unwrap();
    assert!(told["sid"].is_string());
    assert!(post.mail("bob@example.org", 3).await.text().contains("belongs to an account"));
}

#[tokio::test]
async fn what_cannot_be_mailed_is_refused() {
    let post = Post::start().await;
    for path in ["/register", "/account/3pid", "/account/password"] {
        let body = json!({"client_secret": "x", "email": "nobody", "send_attempt": 1});
        let refused = post.post(&format!("{path}/email/requestToken"), body).await;
        assert_error(&refused, &[400], &["M_INVALID_PARAM"]);
        let body = json!({
            "client_secret": "x", "country": "GB", "phone_number": "07700900001", "send_attempt": 1,
        });
        let refused = post.post(&format!("{path}/msisdn/requestToken"), body).await;
        assert_error(&refused, &[400], &["M_THREEPID_MEDIUM_NOT_SUPPORTED"]);
    }
    let body = json!({"client_secret": "x", "email": "refused@example.org", "send_attempt": 1});
    let refused = post.post("/register/email/requestToken", body).await;
    assert_error(&refused, &[400], &["M_THREEPID_MEDIUM_NOT_SUPPORTED"]);
    let away = json!({
        "client_secret": "x", "email": "a@example.org", "send_attempt": 1, "next_link": "https://elsewhere.example/",
    });
    let refused = post.post("/account/password/email/requestToken", away.clone()).await;
    assert_error(&refused, &[400], &["M_INVALID_PARAM"]);
    let mut stay = away;
    stay["next_link"] = Value::Null;
    post.post("/account/password/email/requestToken", stay).await.ok().unwrap();
    assert!(post.mail("a@example.org", 1).await.text().contains("no account"));
    let alice = post.world.user("alice").await;
    let named = json!({"medium": "email", "address": "alice@example.org"});
    let unbound = call(&alice, "/account/3pid/unbind", named).await.ok().unwrap();
    assert_eq!(unbound["id_server_unbind_result"], "no-support");
    let bad = json!({"medium": "pigeon", "address": "x"});
    assert_error(&call(&alice, "/account/3pid/unbind", bad).await, &[400], &["M_INVALID_PARAM"]);
    let nowhere = json!({
        "sid": "1", "client_secret": "x", "id_server": "127.0.0.1:1", "id_access_token": "t",
    });
    let unreachable = call(&alice, "/account/3pid/bind", nowhere).await;
    assert_error(&unreachable, &[502], &["M_UNKNOWN"]);
}

/// An identity server that believes in session `1`; `host:port`.
async fn identity_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = listener.local_addr().unwrap().to_string();
    let bind = async |headers: HeaderMap, body: Bytes| {
        let body: Value = serde_json::from_slice(&body).unwrap();
        if headers.get("authorization").is_none_or(|it| it != "Bearer t") || body["sid"] != "1" {
            let error = json!({"errcode": "M_SESSION_NOT_VALIDATED", "error": "no"});
            return (StatusCode::BAD_REQUEST, error.to_string());
        }
        let bound = json!({"medium": "email", "address": "ann@example.org", "mxid": body["mxid"]});
        (StatusCode::OK, bound.to_string())
    };
    let unbind = async |headers: HeaderMap| {
        let signed = headers.get("authorization").and_then(|it| it.to_str().ok());
        assert!(signed.is_some_and(|it| it.starts_with("X-Matrix origin=")));
        "{}"
    };
    let router = Router::new()
        .route("/_matrix/identity/v2/3pid/bind", post(bind))
        .route("/_matrix/identity/v2/3pid/unbind", post(unbind));
    tokio::spawn(async move { axum::serve(listener, router).await });
    name
}

#[tokio::test]
async fn address_is_bound_at_an_identity_server_of_the_operators_choice() {
    let name = identity_server().await;
    let world = World::start_with_config(&format!(
        "[plugins.accounts.config]\nidentity-servers = [\"http://{name}\"]\n"
    ))
    .await;
    let ann = world.user("ann").await;
    let creds = |sid: &str, server: &str| json!({"sid": sid, "client_secret": "x", "id_server": server, "id_access_token": "t"});
    let bound = call(&ann, "/account/3pid/bind", creds("1", &name)).await;
    assert_eq!(bound.ok().unwrap(), json!({}));
    let refused = call(&ann, "/account/3pid/bind", creds("2", &name)).await;
    assert_error(&refused, &[400], &["M_SESSION_NOT_VALIDATED"]);
    let elsewhere = call(&ann, "/account/3pid/bind", creds("1", "elsewhere.example")).await;
    assert_error(&elsewhere, &[400], &["M_SERVER_NOT_TRUSTED"]);
    let named = json!({"medium": "email", "address": "ann@example.org"});
    let unbound = call(&ann, "/account/3pid/unbind", named.clone()).await;
    assert_eq!(unbound.ok().unwrap()["id_server_unbind_result"], "success");
    let again = call(&ann, "/account/3pid/unbind", named).await;
    assert_eq!(again.ok().unwrap()["id_server_unbind_result"], "no-support");
}
