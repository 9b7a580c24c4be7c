//! GET /_matrix/client/v3/pushers and POST /_matrix/client/v3/pushers/set
//!
//! What is sent to them, and when, is in `send.rs`.
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset>

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{clock, params, random};

use crate::pushers::{self, Key};

/// Pushers of one user; the oldest make room for new ones.
const MAX_PUSHERS: i64 = 100;
/// Longest app id, in characters.
const MAX_APP_ID: usize = 64;
/// Longest push key, in bytes.
const MAX_PUSHKEY: usize = 512;

#[derive(Deserialize)]
struct Body {
    pushkey: Option<String>,
    app_id: Option<String>,
    // Absent and null are not the same.
    #[serde(default, deserialize_with = "present")]
    kind: Option<Value>,
    app_display_name: Option<String>,
    device_display_name: Option<String>,
    profile_tag: Option<String>,
    lang: Option<String>,
    data: Option<Map<String, Value>>,
    #[serde(default)]
    append: bool,
    /// MSC3881.
    #[serde(rename = "org.matrix.msc3881.enabled")]
    enabled: Option<bool>,
}

fn present<'de, D>(from: D) -> std::result::Result<Option<Value>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Value::deserialize(from).map(Some)
}

/// The user's pushers whose devices still exist.
pub(crate) fn list(request: &Request) -> Result {
    let rows: Vec<(String, bool, String)> = storage::query(
        "SELECT p.content, p.enabled, p.device_id FROM push_pushers p WHERE p.user_id = $1 AND (p.device_id = '' \
         OR EXISTS (SELECT 1 FROM accounts_v1_devices d WHERE d.user_id = p.user_id AND d.device_id = p.device_id)) \
         ORDER BY p.created_ms, p.app_id, p.pushkey",
        params![request.user()?],
    )?
    .all()?;
    let pushers: Vec<Value> = rows
        .into_iter()
        .map(|(content, enabled, device)| {
            let mut pusher: Value = serde_json::from_str(&content)?;
            if let Some(pusher) = pusher.as_object_mut() {
                pusher.insert("org.matrix.msc3881.enabled".to_owned(), enabled.into());
                pusher.insert("org.matrix.msc3881.device_id".to_owned(), device.into());
            }
            Ok(pusher)
        })
        .collect::<std::result::Result<_, serde_json::Error>>()
        .map_err(Error::internal)?;
    Answer::json(&json!({ "pushers": pushers }))
}

/// Makes, changes or deletes a pusher.
///
/// # Errors
/// `M_MISSING_PARAM` and `M_INVALID_PARAM`; of the latter: a key over 512 bytes, an app id over 64 characters, an unknown kind, a gateway URL that is not `https://…/_matrix/push/v1/notify`. `M_THREEPID_NOT_FOUND` for an address that is not the user's.
pub(crate) fn set(request: &Request) -> Result {
    let user = request.user()?;
    let body: Body = request.json()?;
    let missing = |name: &str| Error::missing_param(format!("{name} is missing"));
    let app_id = body.app_id.ok_or_else(|| missing("app_id"))?;
    let pushkey = body.pushkey.ok_or_else(|| missing("pushkey"))?;
    let kind = body.kind.ok_or_else(|| missing("kind"))?;
    if app_id.is_empty() || app_id.chars().count() > MAX_APP_ID {
        return Err(Error::invalid_param(format!("app_id has 1 to {MAX_APP_ID} characters")));
    }
    if pushkey.is_empty() || pushkey.len() > MAX_PUSHKEY {
        return Err(Error::invalid_param(format!("pushkey has 1 to {MAX_PUSHKEY} bytes")));
    }
    if kind.is_null() {
        Batch::new()
            .run(
                "DELETE FROM push_pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3",
                params![user, &app_id, &pushkey],
            )
            .run(
                "DELETE FROM push_queue WHERE user_id = $1 AND app_id = $2 AND pushkey = $3",
                params![user, app_id, pushkey],
            )
            .commit_blind()?;
        return Answer::empty();
    }
    let app_name = body.app_display_name.ok_or_else(|| missing("app_display_name"))?;
    let device_name = body.device_display_name.ok_or_else(|| missing("device_display_name"))?;
    let lang = body.lang.ok_or_else(|| missing("lang"))?;
    let data = body.data.ok_or_else(|| missing("data"))?;
    match kind.as_str() {
        Some("http") => {
            let url = data.get("url").ok_or_else(|| missing("data.url"))?;
            check_url(url, pushers::configured()?.insecure_gateways)?;
        }
        Some("email") => check_address(user, &pushkey)?,
        _ => return Err(Error::invalid_param("kind must be http or email")),
    }
    let key = Key { user_id: user.to_owned(), app_id: app_id.clone(), pushkey: pushkey.clone() };
    let shard = pushers::shard(&key);

    let mut pusher = json!({
        "app_id": app_id, "pushkey": pushkey, "kind": kind, "app_display_name": app_name,
        "device_display_name": device_name, "lang": lang, "data": data,
    });
    if let (Some(tag), Some(map)) = (body.profile_tag, pusher.as_object_mut()) {
        map.insert("profile_tag".to_owned(), tag.into());
    }
    let email = kind == "email";
    // A mail is the person's, whichever device asked for it.
    let device = if email { "" } else { request.device().unwrap_or("") };
    let token = if email { random::token() } else { String::new() };
    let mut batch = Batch::new();
    if !body.append {
        batch = batch
            .run(
                "DELETE FROM push_pushers WHERE app_id = $1 AND pushkey = $2 AND user_id <> $3",
                params![&app_id, &pushkey, user],
            )
            .run(
                "DELETE FROM push_queue WHERE app_id = $1 AND pushkey = $2 AND user_id <> $3",
                params![&app_id, &pushkey, user],
            );
    }
    batch
        .run(
            "INSERT INTO push_pushers (user_id, app_id, pushkey, device_id, content, created_ms, kind, enabled, shard, token) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (user_id, app_id, pushkey) DO UPDATE \
             SET device_id = excluded.device_id, content = excluded.content, kind = excluded.kind, \
             enabled = excluded.enabled, shard = excluded.shard, tries = 0, \
             token = CASE WHEN push_pushers.token = '' THEN excluded.token ELSE push_pushers.token END, \
             next_ms = CASE WHEN push_pushers.next_ms = 0 THEN 0 ELSE excluded.created_ms END",
            params![
                user,
                app_id,
                pushkey,
                device,
                pusher.to_string(),
                clock::now_ms(),
                kind.as_str(),
                body.enabled.unwrap_or(true),
                shard,
                token,
            ],
        )
        .run(
            "DELETE FROM push_pushers WHERE user_id = $1 AND created_ms <= (SELECT p.created_ms \
             FROM push_pushers p WHERE p.user_id = $1 ORDER BY p.created_ms DESC LIMIT 1 OFFSET $2)",
            params![user, MAX_PUSHERS],
        )
        .run(
            "DELETE FROM push_queue WHERE user_id = $1 AND NOT EXISTS (SELECT 1 FROM push_pushers p \
             WHERE p.user_id = push_queue.user_id AND p.app_id = push_queue.app_id AND p.pushkey = push_queue.pushkey)",
            params![user],
        )
        .commit_blind()?;
    // Whoever has it in hand has it no more: what waits is told to what was set now.
    pushers::serve(&BTreeSet::from([shard]), true);
    Answer::empty()
}

/// Spec: push gateways are asked at `https` and one path only. `insecure`: at `http`, too.
fn check_url(url: &Value, insecure: bool) -> std::result::Result<(), Error> {
    let url = url.as_str().unwrap_or_default();
    let plain = url.strip_prefix("http://").filter(|_| insecure);
    let path = url
        .strip_prefix("https://")
        .or(plain)
        .and_then(|rest| rest.split_once('/'))
        .filter(|(host, _)| !host.is_empty() && !host.contains(['@', '?', '#', '\\']));
    match path {
        Some((_, "_matrix/push/v1/notify")) => Ok(()),
        _ => Err(Error::invalid_param("data.url must be https://HOST/_matrix/push/v1/notify")),
    }
}

/// Mails go to addresses that the user has shown to be theirs.
fn check_address(user: &str, address: &str) -> std::result::Result<(), Error> {
    let known = storage::query(
        "SELECT address FROM accounts_v1_threepids WHERE user_id = $1 AND medium = 'email' AND address = $2",
        params![user, address],
    )?;
    if known.rows.is_empty() {
        let text = "this address is not one of yours";
        return Err(Error::with_status(400, "M_THREEPID_NOT_FOUND", text));
    }
    Ok(())
}
