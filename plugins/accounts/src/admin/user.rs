//! A user as administrators see them.

use serde_json::{Value, json};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::query;

use crate::threepids;

/// Columns of [`Row`].
pub const COLUMNS: &str = "user_id, guest, admin, user_type, deactivated, shadow_banned, displayname, avatar_url, \
     created_ms, last_seen_ms, locked, erased, suspended";

/// One user.
pub type Row = (
    String,
    bool,
    bool,
    Option<String>,
    bool,
    bool,
    Option<String>,
    Option<String>,
    u64,
    Option<u64>,
    bool,
    bool,
    bool,
);

/// A user, whatever became of the account. `None`: there never was one.
///
/// # Errors
/// Storage.
pub fn find(user: &str) -> Result<Option<Row>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM accounts_users WHERE user_id = $1");
    Ok(query(&sql, params![user])?.first()?)
}

/// One of a list.
pub fn listed(row: Row) -> Value {
    let (name, is_guest, admin, user_type, deactivated, shadow_banned, ..) = &row;
    let (.., displayname, avatar_url, created, last_seen, locked, erased, _) = &row;
    json!({
        "name": name, "is_guest": is_guest, "admin": admin, "user_type": user_type,
        "deactivated": deactivated, "shadow_banned": shadow_banned, "displayname": displayname,
        "avatar_url": avatar_url, "creation_ts": created, "last_seen_ts": last_seen,
        "locked": locked, "erased": erased,
    })
}

/// All there is to tell of one. Members that other servers have and this one has nothing for are null or empty: tools expect them.
///
/// # Errors
/// Storage.
pub fn told(row: Row) -> Result<Value, Error> {
    let threepids: Vec<Value> = threepids::list(&row.0)?
        .into_iter()
        .map(|(medium, address, validated_at, added_at)| {
            json!({
                "medium": medium, "address": address, "validated_at": validated_at, "added_at": added_at,
            })
        })
        .collect();
    let (name, is_guest, admin, user_type, deactivated, shadow_banned, ..) = &row;
    let (.., displayname, avatar_url, created, last_seen, locked, erased, suspended) = &row;
    Ok(json!({
        "name": name, "is_guest": is_guest, "admin": admin, "user_type": user_type,
        "deactivated": deactivated, "shadow_banned": shadow_banned, "displayname": displayname,
        "avatar_url": avatar_url, "locked": locked, "erased": erased, "suspended": suspended,
        // Seconds here, milliseconds in lists.
        "creation_ts": created / 1000,
        "last_seen_ts": last_seen,
        "threepids": threepids,
        "external_ids": [],
        "appservice_id": null,
        "consent_server_notice_sent": null,
        "consent_version": null,
        "consent_ts": null,
    }))
}
