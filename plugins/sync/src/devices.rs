//! What belongs to one device, and whose devices have changed. Spec: Send-to-Device messaging; End-to-end encryption, extensions to /sync.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{Rows, Select, select};
use tessera_sdk::{log, params, services};

/// Messages told in one answer, as other servers do; the rest comes with the next.
const MAX_MESSAGES: usize = 100;
/// Its count is told even where it is 0: clients take a missing count for no news.
const USUAL_ALGORITHM: &str = "signed_curve25519";

/// A user of whom it is asked whether `$1` shares a room with them, by the name `who`.
pub(crate) fn shares(who: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM rooms_v1_memberships a CROSS JOIN rooms_v1_memberships b \
         WHERE a.user_id = {who} AND a.membership = 'join' AND b.room_id = a.room_id \
         AND b.user_id = $1 AND b.membership = 'join')"
    )
}

/// `position, sender, type, content`
pub(crate) type Message = (i64, String, String, String);

/// Messages as events, and the position of the last one where more are left.
pub(crate) type Told = (Vec<Box<RawValue>>, Option<i64>);

/// Cuts messages down to `limit` and makes events of them.
pub(crate) fn told(messages: &mut Vec<Message>, limit: usize) -> Result<Told, Error> {
    #[derive(Serialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        sender: &'a str,
        content: &'a RawValue,
    }
    let more = messages.len() > limit;
    messages.truncate(limit);
    let last = messages.last().filter(|_| more).map(|message| message.0);
    let events = messages.iter().map(|(_, sender, kind, content)| {
        let content = serde_json::from_str(content).map_err(Error::internal)?;
        to_raw_value(&Event { kind, sender, content }).map_err(Error::internal)
    });
    Ok((events.collect::<Result<_, _>>()?, last))
}

/// What the views of `keys` say.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    messages: Vec<Message>,
    /// Users whose devices or cross-signing keys changed, and the positions.
    changed: Vec<(String, i64)>,
    one_time: Vec<(String, i64)>,
    fallback: Vec<String>,
}

/// Where the device began: what was sent to an earlier one of the same id is not for it.
pub(crate) const BORN: &str = "COALESCE((SELECT n.position FROM accounts_v1_devices n WHERE n.user_id = $1 AND n.device_id = $2), 0)";

/// Reads it: five answers, for [`Devices::read`].
///
/// `told`: the last message that the device was told. `since`: from where on changed devices are news; the highest position where
/// none are.
pub(crate) fn selects(user: &str, device: Option<&str>, told: i64, since: i64) -> [Select; 5] {
    let device = device.unwrap_or("");
    let limit = i64::try_from(MAX_MESSAGES + 1).unwrap_or(i64::MAX);
    [
        select(
            &format!(
                "SELECT position, sender, type, content FROM keys_v1_to_device WHERE user_id = $1 AND device_id = $2 \
                 AND position > $3 AND position > {BORN} ORDER BY position LIMIT $4"
            ),
            params![user, device, told, limit],
        ),
        select(
            &format!(
                "SELECT d.user_id, d.position FROM keys_v1_device_lists d \
                 WHERE d.position > $2 AND (d.user_id = $1 OR {})",
                shares("d.user_id")
            ),
            params![user, since],
        ),
        select(
            "SELECT user_id, position FROM keys_v1_private_changes WHERE viewer = $1 AND position > $2",
            params![user, since],
        ),
        select(
            "SELECT algorithm, count FROM keys_v1_one_time_counts WHERE user_id = $1 AND device_id = $2",
            params![user, device],
        ),
        select(
            "SELECT algorithm FROM keys_v1_unused_fallback WHERE user_id = $1 AND device_id = $2",
            params![user, device],
        ),
    ]
}

impl Devices {
    /// From the answers to [`selects`].
    ///
    /// # Errors
    /// A view is not as documented.
    pub(crate) fn read(
        mut next: impl FnMut() -> Result<Rows, Error>,
        horizon: i64,
    ) -> Result<Self, Error> {
        let mut devices = Self {
            messages: next()?.all()?,
            changed: [next()?.all()?, next()?.all()?].concat(),
            one_time: next()?.all()?,
            fallback: next()?.all::<(String,)>()?.into_iter().map(|(name,)| name).collect(),
        };
        // They are read oldest first: none below the horizon has made room for one above.
        devices.messages.retain(|message| message.0 <= horizon);
        devices.changed.retain(|changed| changed.1 <= horizon);
        Ok(devices)
    }

    /// Users whose devices changed.
    pub(crate) fn changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed).into_iter().map(|(user, _)| user).collect()
    }

    /// The messages as events, and the position of the last one where more are left.
    pub(crate) fn messages(&mut self) -> Result<Told, Error> {
        told(&mut self.messages, MAX_MESSAGES)
    }

    /// One-time keys that are left, by algorithm.
    pub(crate) fn one_time_counts(&self) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::from([(USUAL_ALGORITHM.to_owned(), 0)]);
        counts.extend(self.one_time.iter().cloned());
        counts
    }

    /// Algorithms whose fallback key nobody has got yet.
    pub(crate) fn unused_fallback(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fallback)
    }
}

/// Finds the newest message that the device has come past: the answer is for [`acknowledge`].
pub(crate) fn select_told(user: &str, device: Option<&str>, told: i64) -> Select {
    select(
        "SELECT position FROM keys_v1_to_device WHERE user_id = $1 AND device_id = $2 \
         AND position <= $3 ORDER BY position DESC LIMIT 1",
        params![user, device.unwrap_or(""), told],
    )
}

/// Lets messages that have reached the device be forgotten. Where that fails they stay, and it is tried with the next request.
///
/// # Errors
/// The view is not as documented.
pub(crate) fn acknowledge(user: &str, device: Option<&str>, rows: Rows) -> Result<(), Error> {
    let (Some((told,)), Some(device)) = (rows.first::<(u64,)>()?, device) else {
        return Ok(());
    };
    if let Err(error) = services::acknowledge_to_device(user, device, told) {
        log::warn("messages to a device stay", &[("reason", &format!("{error:?}"))]);
    }
    Ok(())
}

/// The `device_lists` of an answer. Spec: Extensions to /sync.
#[derive(Debug, Default, Serialize)]
pub(crate) struct DeviceLists {
    /// Users whose devices changed, or with whom a room is shared now.
    pub changed: BTreeSet<String>,
    /// Users with whom none is shared any more.
    pub left: BTreeSet<String>,
}

impl DeviceLists {
    /// Whether there is nothing to tell.
    pub(crate) fn none(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}
