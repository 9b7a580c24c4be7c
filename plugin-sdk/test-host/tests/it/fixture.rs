//! Two small plug-ins: one that greets, one that reads whom it greeted.

use tessera_sdk::bindings::consumer::exports::tessera::plugin::consumer;
use tessera_sdk::bindings::http::exports::tessera::plugin::http;
use tessera_sdk::http::{Answer, Outcome, Parked, Principal, Request, Route, WakeReason};
use tessera_sdk::storage::{Batch, position, query};
use tessera_sdk::{bus, params};
use tessera_test_host::PluginUnderTest;

pub(crate) const GREETER: PluginUnderTest = PluginUnderTest {
    name: "greeter",
    manifest: r#"
name = "greeter"
version = "0.1.0"
[[http.routes]]
id = "greet"
methods = ["PUT"]
paths = ["/greet/{name}"]
[[http.routes]]
id = "wait"
methods = ["GET"]
paths = ["/wait"]
[storage]
exposes = ["greeter_v1_names"]
[topics]
emits = ["greeter.greeted"]
"#,
    migrations: &[(
        "0001_init",
        "CREATE TABLE greeter_names (name text NOT NULL PRIMARY KEY, position bigint NOT NULL);
         CREATE VIEW greeter_v1_names AS SELECT name, position FROM greeter_names;",
    )],
};

pub(crate) const READER: PluginUnderTest = PluginUnderTest {
    name: "reader",
    manifest: r#"
name = "reader"
version = "0.1.0"
[storage]
reads = ["greeter_v1_names"]
[[topics.consumes]]
topic = "greeter.greeted"
"#,
    migrations: &[(
        "0001_init",
        "CREATE TABLE reader_seen (name text NOT NULL, attempt bigint NOT NULL);",
    )],
};

const ROUTES: &[Route] = &[Route::new("greet", greet), Route::parking("wait", wait, go_on)];

pub(crate) struct Greeter;

impl http::Guest for Greeter {
    fn handle(request: http::Request) -> Outcome {
        tessera_sdk::http::serve(ROUTES, request)
    }

    fn resume(
        route: String,
        state: Vec<u8>,
        reason: WakeReason,
        principal: Option<Principal>,
    ) -> Outcome {
        tessera_sdk::http::resume(ROUTES, &route, state, reason, principal)
    }
}

fn greet(request: &Request) -> tessera_sdk::http::Result {
    let name = request.param("name");
    let mut batch = Batch::new();
    let at = batch.take_positions(1);
    batch
        .run(
            "INSERT INTO greeter_names (name, position) VALUES ($1, $2)",
            params![name, position(at)],
        )
        .emit("greeter.greeted", name, format!("{{\"name\":\"{name}\"}}"))
        .wake("greeter:all")
        .commit()?;
    Answer::json(&serde_json::json!({ "hello": name, "by": request.user()? }))
}

fn wait(_: &Request) -> tessera_sdk::http::Result {
    let watch = bus::watch(&["greeter:all".to_owned()]);
    Ok(Answer::park(watch, 1000, b"1".to_vec()))
}

fn go_on(parked: &Parked) -> tessera_sdk::http::Result {
    Answer::json(&serde_json::json!({ "timed_out": parked.timed_out }))
}

pub(crate) struct Reader;

impl consumer::Guest for Reader {
    fn handle(messages: Vec<consumer::Message>) -> Result<u32, String> {
        for message in &messages {
            assert!(message.position > 0, "the greeting took a position");
            if message.key == "stubborn" && message.attempt < 2 {
                return Err("not yet".to_owned());
            }
            let known =
                query("SELECT name FROM greeter_v1_names WHERE name = $1", params![&message.key]);
            let known: Option<(String,)> = known.unwrap().first().unwrap();
            Batch::new()
                .run(
                    "INSERT INTO reader_seen (name, attempt) VALUES ($1, $2)",
                    params![known.unwrap().0, message.attempt],
                )
                .done(message.id)
                .commit()
                .map_err(|error| format!("{error:?}"))?;
        }
        Ok(u32::try_from(messages.len()).unwrap())
    }
}
