//! What all tests say.

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::bindings::authenticator::exports::tessera::plugin::authenticator::{
    Credentials, Denial, Grant, Guest,
};
use tessera_test_host::{Builder, TestAnswer, TestHost};

pub(crate) const ANN: &str = "@ann:hs1";

pub(crate) fn builder() -> Builder {
    TestHost::builder().plugin_in(".")
}

pub(crate) fn start() -> TestHost {
    builder().start()
}

/// `path` as in `account-data userId=@ann:hs1 type=m.x`.
pub(crate) fn ask(host: &TestHost, method: &str, path: &str, body: Value) -> TestAnswer {
    ask_as(host, ANN, "DEV", method, path, body)
}

pub(crate) fn ask_as(
    host: &TestHost,
    user: &str,
    device: &str,
    method: &str,
    path: &str,
    body: Value,
) -> TestAnswer {
    let mut words = path.split(' ');
    let mut request = host.request(method, words.next().unwrap()).user(user).device(device);
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        request = request.param(name, value);
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    request.send::<Plugin>()
}

/// Registers with password `secret`, device `DEV` for `ann`; the answer.
pub(crate) fn register(host: &TestHost, name: &str) -> Value {
    let device = if name == "ann" { "DEV".to_owned() } else { format!("{name}-DEV") };
    let body = json!({
        "username": name, "password": "secret", "device_id": device, "auth": {"type": "m.login.dummy"},
    });
    host.request("POST", "register").json(&body).send::<Plugin>().ok()
}

pub(crate) fn log_in(host: &TestHost, body: Value) -> TestAnswer {
    let mut body = body;
    let map = body.as_object_mut().unwrap();
    map.entry("type").or_insert_with(|| json!("m.login.password"));
    host.request("POST", "login").json(&body).send::<Plugin>()
}

pub(crate) fn by_name(name: &str, password: &str) -> Value {
    json!({ "identifier": { "type": "m.id.user", "user": name }, "password": password })
}

pub(crate) fn authenticate(header: &str, query: &str) -> Result<Option<Grant>, Denial> {
    authenticate_at("/", header, query)
}

pub(crate) fn authenticate_at(
    path: &str,
    header: &str,
    query: &str,
) -> Result<Option<Grant>, Denial> {
    let headers = match header {
        "" => vec![],
        header => vec![("authorization".to_owned(), header.to_owned())],
    };
    Plugin::authenticate(Credentials {
        name: "access-token".to_owned(),
        method: "GET".to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        remote: "127.0.0.1".to_owned(),
        body: Vec::new(),
    })
}

/// The grant for a token, or the error body.
pub(crate) fn who(token: &Value) -> Result<Grant, Value> {
    match authenticate(&format!("Bearer {}", token.as_str().unwrap()), "") {
        Ok(grant) => Ok(grant.unwrap()),
        Err(denial) => {
            assert_eq!(denial.status, 401);
            Err(serde_json::from_str(&denial.body).unwrap())
        }
    }
}

/// The `auth` that passes the password stage.
pub(crate) fn proof(session: &Value) -> Value {
    json!({
        "type": "m.login.password", "session": session, "password": "secret",
        "identifier": { "type": "m.id.user", "user": "ann" },
    })
}
