//! The index of what events name. It is brought up to date before anything is ended, from the view of all events in the order of their
//! positions: so events are read many at a time, those from before the index began as well, and sending one costs nothing.

use std::collections::{HashMap, HashSet};

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, select};
use tessera_sdk::{crypto, params};

use crate::place::Place;

/// What `media_progress` calls how far it has come.
pub(crate) const NAME: &str = "mentions";
/// Events that are read at once; fewer where they are large.
const PAGE: u32 = 2_000;
/// Pages of one round.
const PAGES: usize = 20;
/// Files of one event that are noted, and rows of one commit.
const MAX_NAMED: usize = 100;
const CHUNK: usize = 400;

/// An event that names something.
type Row = (i64, String, String, Option<String>, String, u64, String, String);

/// What an event says of a file.
struct Mention {
    id: String,
    room: String,
    ms: u64,
    sender: String,
    /// In one of the places that the specification has for it.
    proper: bool,
    /// Type, state key and event id of a state event.
    state: Option<(String, String, String)>,
}

/// Reads on; whether all is known.
pub(crate) fn catch_up() -> Result<bool, Error> {
    let mut size = PAGE;
    for _ in 0..PAGES {
        match page(size) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // One event is always little enough.
            Err(Failed::TooLarge) if size > 1 => size /= 2,
            Err(Failed::TooLarge) => {
                return Err(Error::internal("an event is too large to be read"));
            }
            Err(Failed::Other(error)) => return Err(error),
        }
    }
    Ok(false)
}

enum Failed {
    TooLarge,
    Other(Error),
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// One page of events; whether it was the last.
fn page(size: u32) -> Result<bool, Failed> {
    let after: Option<(i64,)> =
        storage::query("SELECT position FROM media_progress WHERE name = $1", params![NAME])?
            .first()?;
    let after = after.map_or(-1, |(position,)| position);
    let moment = storage::snapshot(&[
        select(
            "SELECT max(e.position) AS last, count(*) AS n FROM (SELECT position FROM rooms_v1_events \
             WHERE position > $1 ORDER BY position LIMIT $2) e",
            params![after, size],
        ),
        // What is left out here names nothing.
        select(
            "SELECT e.position, e.room_id, e.type, e.state_key, e.sender, e.origin_ts, e.event_id, e.json \
             FROM (SELECT position, room_id, type, state_key, sender, origin_ts, event_id, json, rejected \
             FROM rooms_v1_events WHERE position > $1 ORDER BY position LIMIT $2) e \
             WHERE e.rejected = FALSE AND replace(e.json, 'mxc:', '') <> e.json ORDER BY e.position",
            params![after, size],
        ),
    ]);
    let moment = match moment {
        Err(storage::Error::TooLarge(_)) => return Err(Failed::TooLarge),
        moment => moment?,
    };
    let horizon = i64::try_from(moment.horizon).unwrap_or(i64::MAX);
    let mut answers = moment.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let read: Option<(Option<i64>, u64)> = next()?.first()?;
    let (last, count) = read.unwrap_or_default();
    let rows: Vec<Row> = next()?.all()?;
    // What lies above the horizon comes once more: others may still appear before it.
    let end = last.unwrap_or(after).min(horizon.max(after));
    let mentions: Vec<Mention> =
        rows.into_iter().filter(|(position, ..)| *position <= end).flat_map(of_event).collect();
    note(mentions)?;
    if end > after {
        Batch::new()
            .run(
                "INSERT INTO media_progress (name, position, state) VALUES ($1, $2, '') \
                 ON CONFLICT (name) DO UPDATE SET position = excluded.position",
                params![NAME, end],
            )
            .commit_blind()?;
    }
    Ok(count < u64::from(size) || end == after)
}

/// Notes what is said of files that were uploaded here. Said twice it is the same.
fn note(mentions: Vec<Mention>) -> Result<(), Error> {
    let ids: HashSet<&str> = mentions.iter().map(|mention| mention.id.as_str()).collect();
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    let mut owners: HashMap<String, Option<String>> = HashMap::new();
    for ids in ids.chunks(1_000) {
        let found: Vec<(String, Option<String>)> = storage::query(
            "SELECT media_id, user_id FROM media_files WHERE origin = $1 AND media_id IN ($2)",
            params![crypto::tenant_name(), ids.to_vec()],
        )?
        .all()?;
        owners.extend(found);
    }
    let mut mentions = mentions;
    mentions.retain(|mention| owners.contains_key(&mention.id));
    mentions.sort_by(|a, b| (&a.id, &a.room).cmp(&(&b.id, &b.room)));
    for chunk in mentions.chunks(CHUNK) {
        let (mut timeline, mut state) = (Vec::new(), Vec::new());
        for mention in chunk {
            let Mention { id, room, ms, sender, proper, state: of } = mention;
            if let Some((kind, key, event)) = of {
                state.push(params![id, room, kind, key, event]);
                continue;
            }
            let owner = owners.get(id).and_then(Option::as_ref);
            timeline.push(params![id, room, *ms, *proper && owner == Some(sender)]);
        }
        Batch::new()
            .run_many(
                "INSERT INTO media_mentions (media_id, room_id, newest_ms, own) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (media_id, room_id) DO UPDATE SET \
                 newest_ms = CASE WHEN excluded.newest_ms > media_mentions.newest_ms \
                 THEN excluded.newest_ms ELSE media_mentions.newest_ms END, \
                 own = (media_mentions.own OR excluded.own)",
                timeline,
            )
            .run_many(
                "INSERT INTO media_places (media_id, room_id, type, state_key, event_id) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (media_id, room_id, type, state_key) \
                 DO UPDATE SET event_id = excluded.event_id",
                state,
            )
            .commit_blind()?;
    }
    Ok(())
}

fn of_event((_, room, kind, state_key, sender, ms, event, json): Row) -> Vec<Mention> {
    // A picture of somebody's collection is not ended because it was sent once.
    let proper = match kind.as_str() {
        "m.sticker" => HashSet::new(),
        _ => proper(&json),
    };
    let state = state_key.map(|key| (kind, key, event));
    let named = named(&json).into_iter().map(|id| Mention {
        proper: proper.contains(&id),
        id,
        room: room.clone(),
        ms,
        sender: sender.clone(),
        state: state.clone(),
    });
    named.collect()
}

/// Whatever of this server is named anywhere in a text.
fn named(text: &str) -> HashSet<String> {
    let uris = text.match_indices("mxc://").filter_map(|(at, _)| {
        let rest = text.get(at + 6..)?;
        let (origin, rest) = rest.split_once('/')?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
        let id = rest.get(..end.unwrap_or(rest.len()))?;
        Place::new(origin, id).filter(Place::is_local).map(|place| place.id)
    });
    uris.take(MAX_NAMED).collect()
}

/// What stands in the places that the specification has for media.
pub(crate) fn proper(event: &str) -> HashSet<String> {
    let places = Place::named(
        event,
        &[
            "/content/url",
            "/content/file/url",
            "/content/info/thumbnail_url",
            "/content/info/thumbnail_file/url",
        ],
    );
    places.into_iter().filter(Place::is_local).map(|place| place.id).collect()
}
