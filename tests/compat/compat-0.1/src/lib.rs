//! Uses every function of the contract of version 0.1: the host's, the services', and answers every interface that it may export.
//! Each answer is one that a test recognises.

mod bindings {
    #![allow(
        unsafe_code,
        missing_docs,
        unreachable_pub,
        dead_code,
        clippy::all,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "generated"
    )]
    wit_bindgen::generate!({ path: "wit", world: "module", generate_all });
    #[cfg(target_arch = "wasm32")]
    use super::Module;
    #[cfg(target_arch = "wasm32")]
    export!(Module);
}

mod everything;
mod hooks;

use bindings::{
    exports::tessera::plugin::{authenticator, consumer, http, lifecycle, timer},
    tessera::host::{bus, config, crypto, storage},
    tessera::plugin::identity::Principal,
};

/// The module.
#[derive(Debug)]
pub struct Module;

/// Woken when a message was handled.
const HANDLED: &str = "compat-v0-1:handled";

fn answer(body: String) -> http::Outcome {
    http::Outcome::Done(http::Response {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: http::ResponseBody::Bytes(body.into_bytes()),
    })
}

/// Notes stored so far, as a JSON number.
fn notes() -> Result<i64, String> {
    let sql = "SELECT count(*) FROM compatv01_notes".to_owned();
    let rows = storage::query(&storage::Select { sql, params: Vec::new() })
        .map_err(|error| format!("{error:?}"))?;
    match rows.rows.first().and_then(|row| row.first()) {
        Some(storage::Value::Integer(count)) => Ok(*count),
        other => Err(format!("{other:?}")),
    }
}

impl http::Guest for Module {
    fn handle(request: http::Request) -> http::Outcome {
        match request.route.as_str() {
            "everything" => answer(everything::used()),
            "who" => {
                let user = request.principal.map(|principal| principal.user).unwrap_or_default();
                answer(format!("{{\"user\":{user:?}}}"))
            }
            _ => {
                let watch = bus::watch(&[HANDLED.to_owned()]);
                match notes() {
                    Ok(0) => http::Outcome::Park(http::Parking {
                        watch,
                        timeout_ms: 30_000,
                        state: b"v1".to_vec(),
                    }),
                    notes => answer(format!("{{\"notes\":{:?}}}", format!("{notes:?}"))),
                }
            }
        }
    }

    fn resume(
        route: String,
        state: Vec<u8>,
        reason: http::WakeReason,
        _principal: Option<Principal>,
    ) -> http::Outcome {
        let woken = matches!(reason, http::WakeReason::Woken);
        let state = String::from_utf8_lossy(&state).into_owned();
        answer(format!("{{\"route\":{route:?},\"state\":{state:?},\"woken\":{woken}}}"))
    }
}

impl authenticator::Guest for Module {
    fn authenticate(
        credentials: authenticator::Credentials,
    ) -> Result<Option<authenticator::Grant>, authenticator::Denial> {
        let given = credentials.headers.iter().find(|(name, _)| name == "authorization");
        match given {
            Some((_, value)) if value == "Compat secret" => Ok(Some(authenticator::Grant {
                principal: Principal {
                    user: format!("@compat:{}", crypto::tenant_name()),
                    device: None,
                    service: None,
                    marks: Vec::new(),
                    unlimited: false,
                    rates: Vec::new(),
                },
                cache_ms: 0,
                topics: Vec::new(),
            })),
            _ => Err(authenticator::Denial {
                status: 401,
                body: "{\"errcode\":\"M_FORBIDDEN\",\"error\":\"compat\"}".to_owned(),
            }),
        }
    }
}

impl consumer::Guest for Module {
    fn handle(messages: Vec<consumer::Message>) -> Result<u32, String> {
        for message in &messages {
            storage::commit(&storage::Batch {
                id: None,
                statements: vec![storage::Statement {
                    sql: "INSERT INTO compatv01_notes (id, note, position) VALUES ($1, $2, $3)"
                        .to_owned(),
                    params: vec![vec![
                        storage::Value::Integer(
                            i64::try_from(message.id).map_err(|error| error.to_string())?,
                        ),
                        storage::Value::Text(message.payload.clone()),
                        storage::Value::Position(0),
                    ]],
                    expect: Some(1),
                }],
                positions: 1,
                messages: Vec::new(),
                done: Some(message.id),
                wake: vec![HANDLED.to_owned()],
                text_entries: Vec::new(),
                durability: storage::Durability::Durable,
            })
            .map_err(|error| format!("{error:?}"))?;
        }
        u32::try_from(messages.len()).map_err(|error| error.to_string())
    }
}

impl timer::Guest for Module {
    fn fire(name: String, payload: String) -> Result<(), String> {
        bindings::tessera::host::log::write(
            bindings::tessera::host::log::Level::Info,
            "a timer of compat-v0-1 fired",
            &[(name, payload)],
        );
        Ok(())
    }
}

impl lifecycle::Guest for Module {
    fn start() -> Result<(), String> {
        match config::get().contains("greeting") {
            true => Ok(()),
            false => Err("the configuration has no greeting".to_owned()),
        }
    }
}
