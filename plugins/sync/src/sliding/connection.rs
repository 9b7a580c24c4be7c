//! What a client has been sent over one connection. Kept in `sync_connections`, so that any node can go on with it, and at hand in the
//! process that did so last. A version is written once and never changed; see `docs/views.md`, Tokens and the horizon, for positions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch};
use tessera_sdk::{cache, clock, params, random};

use super::pos::{Key, unknown_pos};
use super::wanted::Config;

/// Connections of one device. The one that has not changed for longest makes room.
const MAX_CONNECTIONS: i64 = 8;
/// Versions kept of a connection beside the one that the client came with: answers of which none may have arrived.
const MAX_OFFERED: i64 = 4;
/// Rooms remembered. Past it those that nobody looked at for longest are sent whole again when they come back.
const MAX_ROOMS: usize = 10_000;
/// How long an unchanged connection is kept. Its client starts anew afterwards.
const KEPT_MS: i64 = 60 * 24 * 60 * 60 * 1000;
/// How often a version is written again that met another of the same number.
const TRIES: u32 = 4;
/// How long a version is kept at hand.
const CACHED_MS: u32 = 60 * 60 * 1000;

/// How far something has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub(super) enum Told {
    /// Never over this connection.
    #[default]
    Never,
    /// Up to the token.
    Live,
    /// Up to here, and nothing since.
    At(i64),
}

impl From<i64> for Told {
    fn from(n: i64) -> Self {
        match n {
            -1 => Self::Never,
            0 => Self::Live,
            n => Self::At(n),
        }
    }
}

impl From<Told> for i64 {
    fn from(told: Told) -> Self {
        match told {
            Told::Never => -1,
            Told::Live => 0,
            Told::At(n) => n,
        }
    }
}

impl Told {
    /// The position up to which it has been told; `since`: that of the token.
    pub(super) fn from(self, since: i64) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::Live => Some(since),
            Self::At(at) => Some(at.min(since)),
        }
    }

    /// The same after an answer that says nothing of it.
    pub(super) fn left_out(self, since: i64) -> Self {
        match self {
            // 0 is taken; nothing lies at or below it.
            Self::Live => Self::At(since.max(1)),
            other => other,
        }
    }
}

/// What was sent of one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(usize, Told, Told, Told, bool)", into = "(usize, Told, Told, Told, bool)")]
pub(super) struct Sent {
    /// Place in [`Connection::configs`].
    pub config: usize,
    pub room: Told,
    pub account_data: Told,
    pub receipts: Told,
    /// It was said to be a direct chat.
    pub direct: bool,
}

impl From<(usize, Told, Told, Told, bool)> for Sent {
    fn from(
        (config, room, account_data, receipts, direct): (usize, Told, Told, Told, bool),
    ) -> Self {
        Self { config, room, account_data, receipts, direct }
    }
}

impl From<Sent> for (usize, Told, Told, Told, bool) {
    fn from(sent: Sent) -> Self {
        (sent.config, sent.room, sent.account_data, sent.receipts, sent.direct)
    }
}

/// One version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Connection {
    configs: Vec<Config>,
    rooms: BTreeMap<String, Sent>,
}

fn cache_key(key: &Key, serial: i64) -> String {
    format!("conn:{}\n{}\n{}\n{serial}", key.user, key.device, key.conn)
}

impl Connection {
    /// The version that a token names: no storage call where this process has it at hand.
    ///
    /// # Errors
    /// `M_UNKNOWN_POS` where it is gone.
    pub(super) fn load(key: &Key, serial: i64) -> Result<Self, Error> {
        if serial == 0 {
            return Ok(Self::default());
        }
        let at_hand = cache::get(&cache_key(key, serial));
        if let Some(known) = at_hand.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(known);
        }
        let row = storage::query(
            "SELECT state FROM sync_connections \
             WHERE user_id = $1 AND device_id = $2 AND conn_id = $3 AND serial = $4",
            params![&key.user, &key.device, &key.conn, serial],
        )?;
        let (state,) = row.first::<(String,)>()?.ok_or_else(unknown_pos)?;
        // What a later version of this plug-in wrote is not known to an earlier one.
        let known = serde_json::from_str(&state).map_err(|_| unknown_pos())?;
        cache::put(&cache_key(key, serial), state.as_bytes(), CACHED_MS, &[]);
        Ok(known)
    }

    /// Keeps a new version and gives its number. `before`: the version that the client came with; none for who starts anew. One
    /// storage call.
    ///
    /// # Errors
    /// The database does not answer.
    pub(super) fn store(&mut self, key: &Key, before: Option<i64>) -> Result<i64, Error> {
        self.shrink();
        let state = serde_json::to_string(self).map_err(Error::internal)?;
        let now = i64::try_from(clock::now_ms()).unwrap_or(i64::MAX);
        let base = before.unwrap_or(0);
        // Numbers rise with time, so that what is older than the version in use can go.
        let drawn = u16::from_le_bytes(random::bytes::<2>()) >> 6;
        let mut serial = now.saturating_mul(1024).saturating_add(drawn.into()).max(base + 1);
        let mut tries = 0;
        loop {
            match self.write(key, before, serial, &state, now) {
                Err(storage::Error::Conflict(_)) if tries < TRIES => {
                    serial += 1;
                    tries += 1;
                }
                written => {
                    written?;
                    break;
                }
            }
        }
        cache::put(&cache_key(key, serial), state.as_bytes(), CACHED_MS, &[]);
        Ok(serial)
    }

    fn write(
        &self,
        key: &Key,
        before: Option<i64>,
        serial: i64,
        state: &str,
        now: i64,
    ) -> Result<(), storage::Error> {
        const ONE: &str =
            "DELETE FROM sync_connections WHERE user_id = $1 AND device_id = $2 AND conn_id = $3";
        let of = || params![&key.user, &key.device, &key.conn];
        let with = |more: Vec<storage::Value>| [of(), more].concat();
        let mut batch = Batch::new();
        // A client that starts anew has no use for what was.
        batch = match before {
            None => batch.run(ONE, of()),
            Some(base) => batch.run(
                &format!(
                    "{ONE} AND (serial < $4 OR (serial > $4 AND serial <= COALESCE((SELECT o.serial \
                     FROM sync_connections o WHERE o.user_id = $1 AND o.device_id = $2 AND o.conn_id = $3 \
                     AND o.serial > $4 ORDER BY o.serial DESC LIMIT 1 OFFSET $5), 0)))"
                ),
                with(params![base, MAX_OFFERED - 1]),
            ),
        };
        batch = batch.run(
            "INSERT INTO sync_connections (user_id, device_id, conn_id, serial, state, made_ms) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            with(params![serial, state, now]),
        );
        if before.is_none() {
            batch = batch
                .run(
                    "DELETE FROM sync_connections WHERE user_id = $1 AND device_id = $2 AND conn_id IN (\
                     SELECT o.conn_id FROM sync_connections o WHERE o.user_id = $1 AND o.device_id = $2 \
                     GROUP BY o.conn_id ORDER BY MAX(o.serial) DESC LIMIT 1000 OFFSET $3)",
                    params![&key.user, &key.device, MAX_CONNECTIONS],
                )
                .run(
                    "DELETE FROM sync_connections WHERE made_ms < $1",
                    params![now.saturating_sub(KEPT_MS)],
                );
        }
        batch.commit().map(drop)
    }

    /// Forgets settings that no room has, and rooms past the cap.
    fn shrink(&mut self) {
        if self.rooms.len() > MAX_ROOMS {
            let mut idle: Vec<(i64, String)> = self
                .rooms
                .iter()
                .filter_map(|(room, sent)| match sent.room {
                    Told::At(at) => Some((at, room.clone())),
                    _ => None,
                })
                .collect();
            idle.sort_unstable();
            for (_, room) in idle.iter().take(self.rooms.len() - MAX_ROOMS) {
                self.rooms.remove(room);
            }
        }
        let old = std::mem::take(&mut self.configs);
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        for sent in self.rooms.values_mut() {
            let place = *places.entry(sent.config).or_insert_with(|| {
                self.configs.extend(old.get(sent.config).cloned());
                self.configs.len() - 1
            });
            sent.config = place;
        }
    }

    /// What was sent of a room.
    pub(super) fn sent(&self, room: &str) -> Option<Sent> {
        self.rooms.get(room).copied()
    }

    /// How a room was told last.
    pub(super) fn config(&self, sent: Sent) -> Option<&Config> {
        self.configs.get(sent.config)
    }

    /// All rooms.
    pub(super) fn rooms(&self) -> impl Iterator<Item = (&String, Sent)> {
        self.rooms.iter().map(|(room, sent)| (room, *sent))
    }

    /// The position from which on anything may be new: that of the token, or of what was left out for longest.
    pub(super) fn oldest(&self, since: i64) -> i64 {
        let all =
            self.rooms.values().flat_map(|sent| [sent.room, sent.account_data, sent.receipts]);
        all.filter_map(|told| told.from(since)).min().unwrap_or(since).min(since)
    }

    /// Where settings stand, put there if they are new.
    pub(super) fn place(&mut self, config: &Config) -> usize {
        let found = self.configs.iter().position(|known| known == config);
        found.unwrap_or_else(|| {
            self.configs.push(config.clone());
            self.configs.len() - 1
        })
    }

    /// Remembers what was sent of a room.
    pub(super) fn set(&mut self, room: &str, sent: Sent) {
        match self.rooms.get_mut(room) {
            Some(old) => *old = sent,
            None => {
                self.rooms.insert(room.to_owned(), sent);
            }
        }
    }

    /// Forgets a room.
    pub(super) fn forget(&mut self, room: &str) {
        self.rooms.remove(room);
    }

    /// Whether both say the same of every room.
    pub(super) fn same_rooms(&self, other: &Self) -> bool {
        self.rooms.len() == other.rooms.len()
            && self.rooms.iter().zip(&other.rooms).all(|((a, mine), (b, theirs))| {
                a == b
                    && (mine.room, mine.account_data, mine.receipts, mine.direct)
                        == (theirs.room, theirs.account_data, theirs.receipts, theirs.direct)
                    && self.config(*mine) == other.config(*theirs)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(config: usize, room: Told) -> Sent {
        Sent { config, room, account_data: Told::Never, receipts: Told::Live, direct: false }
    }

    #[test]
    fn versions_survive_the_round_trip() {
        let mut connection = Connection::default();
        let config = Config { limit: 5, wanted: <_>::default() };
        let place = connection.place(&config);
        assert_eq!(connection.place(&config), place);
        connection.set("!a", sent(place, Told::Live));
        connection.set("!b", sent(place, Told::At(7)));
        let json = serde_json::to_string(&connection).unwrap();
        assert_eq!(serde_json::from_str::<Connection>(&json).unwrap(), connection);
        assert_eq!(connection.oldest(9), 7);
        assert_eq!(Told::Live.left_out(9), Told::At(9));
        assert_eq!(Told::At(12).from(9), Some(9), "a token behind it counts");
    }

    #[test]
    fn past_the_cap_the_longest_left_out_go() {
        let mut connection = Connection::default();
        connection.place(&Config { limit: 1, ..Config::default() });
        let used = connection.place(&Config { limit: 2, ..Config::default() });
        for n in 0..MAX_ROOMS as i64 + 5 {
            connection.set(&format!("!{n}"), sent(used, Told::At(n + 1)));
        }
        connection.set("!live", sent(used, Told::Live));
        connection.shrink();
        assert_eq!(connection.rooms().count(), MAX_ROOMS);
        assert!(connection.sent("!0").is_none() && connection.sent("!live").is_some());
        assert_eq!(connection.configs.len(), 1, "settings of no room are forgotten");
    }
}
