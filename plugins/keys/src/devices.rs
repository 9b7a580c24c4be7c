//! Which devices there are, and the news that something about one has changed.

use std::collections::BTreeMap;

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Batch, Select, position, query, select};

use crate::parts;
use crate::wakes::{self, Wakes};

/// Rooms of one user that are woken. Beyond that, members of the others learn with their next sync.
const MAX_ROOMS: i64 = 10_000;

/// The wake-up topic of a user.
pub(crate) fn topic(user: &str) -> String {
    format!("user:{user}")
}

/// Devices of some users with the position of their making, dehydrated ones among them: for [`Existing::read`].
pub(crate) fn select_existing(users: Vec<String>) -> Select {
    select(
        "SELECT user_id, device_id, position FROM accounts_v2_devices WHERE user_id IN ($1) \
         UNION ALL SELECT user_id, device_id, position FROM keys_dehydrated WHERE user_id IN ($2)",
        params![users.clone(), users],
    )
}

/// Devices by user, each with the position of its making: what is stored of it from before is of another of its name.
#[derive(Debug, Default)]
pub(crate) struct Existing(BTreeMap<String, BTreeMap<String, u64>>);

impl Existing {
    /// # Errors
    /// Storage.
    pub(crate) fn read(users: &[&str]) -> Result<Self, Error> {
        /// Users of one SELECT.
        const CHUNK: usize = 500;
        let mut existing = Self::default();
        let mut read = |users: &[&str]| {
            let users = users.iter().map(|user| (*user).to_owned()).collect();
            let Select { sql, params } = select_existing(users);
            query(&sql, params)
        };
        parts::each(users, CHUNK, &mut read, &mut |_, rows| {
            for (user, device, at) in rows.all::<(String, String, u64)>()? {
                existing.0.entry(user).or_default().insert(device, at);
            }
            Ok(())
        })?;
        Ok(existing)
    }

    /// When a device was made, if it is there.
    pub(crate) fn since(&self, user: &str, device: &str) -> Option<u64> {
        self.0.get(user)?.get(device).copied()
    }

    /// The ids of a user's devices.
    pub(crate) fn of(&self, user: &str) -> impl Iterator<Item = &str> {
        self.0.get(user).into_iter().flat_map(|devices| devices.keys().map(String::as_str))
    }
}

/// Adds to a batch that the keys or devices of a user have changed: a new position, and whoever shares a room is woken, as far as
/// one commit does that.
///
/// # Errors
/// Storage.
pub(crate) fn changed(mut batch: Batch, user: &str) -> Result<(Batch, Wakes), Error> {
    let rooms: Vec<(String,)> = query(
        "SELECT room_id FROM rooms_v1_memberships WHERE user_id = $1 AND membership = 'join' LIMIT $2",
        params![user, MAX_ROOMS],
    )?
    .all()?;
    let at = batch.take_positions(1);
    let batch = batch.run(
        "INSERT INTO keys_device_lists (user_id, position) VALUES ($1, $2) \
         ON CONFLICT (user_id) DO UPDATE SET position = excluded.position \
         WHERE keys_device_lists.position < excluded.position",
        params![user, position(at)],
    );
    let rooms = rooms.into_iter().map(|(room,)| format!("room:{room}"));
    Ok(wakes::add(batch, std::iter::once(topic(user)).chain(rooms).collect()))
}

/// Adds to a batch that `viewer` alone sees a change of the keys of some users.
pub(crate) fn changed_for(mut batch: Batch, viewer: &str, users: &[String]) -> Batch {
    if users.is_empty() {
        return batch;
    }
    let at = batch.take_positions(1);
    let rows = users.iter().map(|user| params![viewer, user, position(at)]).collect();
    batch
        .run_many(
            "INSERT INTO keys_private_changes (viewer, user_id, position) VALUES ($1, $2, $3) \
             ON CONFLICT (viewer, user_id) DO UPDATE SET position = excluded.position \
             WHERE keys_private_changes.position < excluded.position",
            rows,
        )
        .wake(topic(viewer))
}

/// Adds to a batch that everything is forgotten of some devices that are gone. One of them may be there again by its name: what was
/// stored since its making stays. It is looked at in the statement itself, so that nothing falls between.
pub(crate) fn forget(batch: Batch, user: &str, devices: &[String]) -> Batch {
    const GONE: &str = "position < COALESCE((SELECT d.position FROM accounts_v2_devices AS d \
                        WHERE d.user_id = $1 AND d.device_id = $2), $3)";
    let rows = |prefix: &str| -> Vec<_> {
        let row = |device: &String| params![user, device, i64::MAX, format!("{prefix}{device}")];
        devices.iter().map(row).collect()
    };
    let tables =
        ["keys_devices", "keys_one_time", "keys_fallback", "keys_uploaded", "keys_to_device"];
    let batch = tables.iter().fold(batch, |batch, table| {
        let rows = devices.iter().map(|device| params![user, device, i64::MAX]).collect();
        let sql = format!("DELETE FROM {table} WHERE user_id = $1 AND device_id = $2 AND {GONE}");
        batch.run_many(&sql, rows)
    });
    batch
        .run_many(
            &format!(
                "DELETE FROM keys_signatures WHERE target_user = $1 AND target_key = $4 AND {GONE}"
            ),
            rows(""),
        )
        .run_many(
            &format!(
                "DELETE FROM keys_signatures WHERE signer = $1 AND signer_key = $4 AND {GONE}"
            ),
            rows("ed25519:"),
        )
}
