//! `/_synapse/admin/v2/users/{userId}/devices`: a user's devices.
//!
//! Not in the Matrix specification; dashboards and test suites speak it.
//! https://element-hq.github.io/synapse/latest/admin_api/user_admin_api.html

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::query;

use super::device_rename;
use crate::admin;
use crate::session::{self, Wish};
use crate::uia::Object;

/// Devices that one request removes.
const MAX_REMOVED: usize = 1000;

type Row = (String, Option<String>, String, u64, String);

const COLUMNS: &str =
    "SELECT device_id, display_name, last_seen_ip, last_seen_ms, user_agent FROM accounts_devices";

fn shown(user: &str, (id, name, ip, seen, agent): Row) -> Value {
    json!({
        "device_id": id, "display_name": name, "last_seen_ip": ip, "last_seen_ts": seen,
        "last_seen_user_agent": agent, "user_id": user,
    })
}

/// All of them. `M_NOT_FOUND`.
pub fn list(request: &Request) -> Result {
    let user = admin::target(request)?;
    let sql = format!("{COLUMNS} WHERE user_id = $1 ORDER BY position");
    let rows: Vec<Row> = query(&sql, params![user])?.all()?;
    let devices: Vec<Value> = rows.into_iter().map(|row| shown(user, row)).collect();
    Answer::json(&json!({ "total": devices.len(), "devices": devices }))
}

/// Makes one (201), or leaves it as it is. `M_NOT_FOUND`, `M_MISSING_PARAM`, `M_INVALID_PARAM`.
pub fn make(request: &Request) -> Result {
    let user = admin::target(request)?;
    let body: Object = request.json()?;
    let device = match body.get("device_id") {
        None => return Err(Error::missing_param("device_id is missing")),
        Some(Value::String(device)) => device,
        Some(_) => return Err(Error::bad_json("device_id is a string")),
    };
    if admin::standing(user)?.is_none() {
        return Err(Error::not_found("this account is deactivated"));
    }
    let wish = Wish {
        user: user.to_owned(),
        device_id: None,
        display_name: None,
        refresh: false,
        remote: String::new(),
        kind: "admin".to_owned(),
    };
    session::make_device(&wish, device)?;
    Answer::json_with_status(201, &json!({}))
}

/// Removes several. `M_NOT_FOUND` for the user, `M_MISSING_PARAM`, `M_TOO_LARGE`.
pub fn remove_all(request: &Request) -> Result {
    let user = admin::target(request)?;
    let body: Object = request.json()?;
    let devices = body.get("devices");
    let devices = devices.ok_or_else(|| Error::missing_param("devices is missing"))?;
    let devices: Vec<String> = serde_json::from_value(devices.clone())
        .map_err(|error| Error::bad_json(format!("devices: {error}")))?;
    if devices.len() > MAX_REMOVED {
        return Err(Error::too_large(format!("at most {MAX_REMOVED} devices at once")));
    }
    session::remove_devices(user, &devices)?;
    Answer::empty()
}

/// One of them. `M_NOT_FOUND`.
pub fn get(request: &Request) -> Result {
    let user = admin::target(request)?;
    let sql = format!("{COLUMNS} WHERE user_id = $1 AND device_id = $2");
    let row: Option<Row> = query(&sql, params![user, request.param("deviceId")])?.first()?;
    let row = row.ok_or_else(|| Error::not_found("no such device"))?;
    Answer::json(&shown(user, row))
}

/// Names one. `M_NOT_FOUND`, `M_TOO_LARGE`.
pub fn rename(request: &Request) -> Result {
    let user = admin::target(request)?;
    let body: Object = request.json()?;
    let name = match body.get("display_name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => return Err(Error::bad_json("display_name is a string")),
    };
    device_rename::rename(user, request.param("deviceId"), name)?;
    Answer::empty()
}

/// Removes one; no error if it is not there. `M_NOT_FOUND` for the user.
pub fn remove(request: &Request) -> Result {
    let user = admin::target(request)?;
    session::remove_devices(user, &[request.param("deviceId").to_owned()])?;
    Answer::empty()
}
