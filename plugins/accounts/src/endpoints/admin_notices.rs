//! `/_synapse/admin/v1/send_server_notice`: messages from the server to a user.
//!
//! Not in the Matrix specification but for what clients see of it: client-server API, Server Notices.
//! https://element-hq.github.io/synapse/latest/admin_api/server_notices.html

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use crate::admin;
use crate::admin::notices::{self, Notice};
use crate::uia::Object;

/// Bytes of an id.
const MAX_ID: usize = 255;

/// Sends one. 400 `M_UNKNOWN` where the operator wants none, `M_MISSING_PARAM`, `M_BAD_JSON`, `M_NOT_FOUND`.
pub fn post(request: &Request) -> Result {
    let event = notices::send(&notice(request)?)?;
    Answer::json(&json!({ "event_id": event }))
}

/// The same, once for each id.
pub fn put(request: &Request) -> Result {
    let (notice, id) = (notice(request)?, request.param("txnId"));
    if id.is_empty() || id.len() > MAX_ID {
        return Err(Error::invalid_param(format!("an id has 1 to {MAX_ID} bytes")));
    }
    let event = notices::send_once(request.user()?, id, &notice)?;
    Answer::json(&json!({ "event_id": event }))
}

fn notice(request: &Request) -> std::result::Result<Notice, Error> {
    admin::only(request)?;
    let body: Object = request.json()?;
    let text = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::bad_json(format!("{name} is a string"))),
    };
    let missing = |name: &str| Error::missing_param(format!("{name} is missing"));
    let user = text("user_id")?.ok_or_else(|| missing("user_id"))?;
    let content = body.get("content").ok_or_else(|| missing("content"))?;
    if !content.is_object() {
        return Err(Error::bad_json("content is an object"));
    }
    let kind = text("type")?.unwrap_or_else(|| "m.room.message".to_owned());
    notices::enabled()?;
    admin::local(&user)?;
    if admin::standing(&user)?.is_none() {
        return Err(Error::not_found("no such user"));
    }
    if notices::is_sender(&user)? {
        return Err(Error::invalid_param("this user sends them"));
    }
    Ok(Notice { user, kind, state_key: text("state_key")?, content: content.clone() })
}
