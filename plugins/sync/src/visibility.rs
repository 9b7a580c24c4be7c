//! Which events of a room a user may read.
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>

use std::collections::HashMap;

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, Select, select};

use crate::event::{EventRow, content};

/// `m.room.history_visibility`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Anyone.
    WorldReadable,
    /// Members, back to before they joined. The default.
    Shared,
    /// From the invite on.
    Invited,
    /// From the join on.
    Joined,
}

impl Setting {
    fn of(text: &str) -> Self {
        match text {
            "world_readable" => Self::WorldReadable,
            "invited" => Self::Invited,
            "joined" => Self::Joined,
            _ => Self::Shared,
        }
    }
}

/// What the past of an event that came late says of who may see it, as far as the order of arrival says otherwise: before and after the
/// event. See docs/views.md, `rooms_v1_late_events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    settings: Option<(Setting, Setting)>,
    /// The reader's.
    memberships: Option<(String, String)>,
}

impl Late {
    /// From what the view says of the setting and of the reader: `before after/before after`, each may be missing.
    pub fn read(text: &str) -> Option<Self> {
        let (settings, memberships) = text.rsplit_once('/')?;
        let settings = settings.split_once(' ');
        let settings = settings.map(|(before, after)| (Setting::of(before), Setting::of(after)));
        let memberships = memberships.split_once(' ');
        let memberships = memberships.map(|(before, after)| (before.to_owned(), after.to_owned()));
        (settings.is_some() || memberships.is_some()).then_some(Self { settings, memberships })
    }
}

/// A user's view of one room.
#[derive(Debug, Clone, Default)]
pub struct Visibility {
    /// Settings by the position from which they hold, oldest first.
    pub settings: Vec<(i64, Setting)>,
    /// The user's memberships by the position from which they hold, oldest first.
    pub memberships: Vec<(i64, String)>,
}

/// Reads the settings of rooms: the answer is for [`read_settings`].
pub fn select_settings(rooms: &[String]) -> Select {
    select(
        "SELECT d.room_id, d.position, e.json FROM rooms_v1_state_deltas d \
         JOIN rooms_v1_events e ON e.event_id = d.event_id \
         WHERE d.room_id IN ($1) AND d.type = 'm.room.history_visibility' AND d.state_key = '' \
         ORDER BY d.position",
        params![rooms],
    )
}

/// Reads a user's memberships in rooms: the answer is for [`read_memberships`].
pub fn select_memberships(user: &str, rooms: &[String]) -> Select {
    select(
        "SELECT room_id, position, membership FROM rooms_v1_membership_changes \
         WHERE user_id = $1 AND room_id IN ($2) ORDER BY position",
        params![user, rooms],
    )
}

/// `(room, position, setting)`, oldest first.
///
/// # Errors
/// The view is not as documented.
pub fn read_settings(rows: Rows) -> Result<Vec<(String, i64, Setting)>, Error> {
    rows.all::<(String, i64, String)>()?
        .into_iter()
        .map(|(room, position, json)| {
            let content = content(&json)?;
            let setting = content.get("history_visibility").and_then(|v| v.as_str());
            Ok((room, position, Setting::of(setting.unwrap_or_default())))
        })
        .collect()
}

/// `(room, position, membership)`, oldest first.
///
/// # Errors
/// The view is not as documented.
pub fn read_memberships(rows: Rows) -> Result<Vec<(String, i64, String)>, Error> {
    Ok(rows.all()?)
}

/// Views by room, from the answers of [`select_settings`] and [`select_memberships`]. What lies above the horizon is left out: a later
/// join would open what was shut.
///
/// # Errors
/// A view is not as documented.
pub fn read_views(
    settings: Rows,
    memberships: Rows,
    horizon: i64,
) -> Result<HashMap<String, Visibility>, Error> {
    let mut views: HashMap<String, Visibility> = HashMap::new();
    for (room, position, setting) in read_settings(settings)? {
        if position <= horizon {
            views.entry(room).or_default().settings.push((position, setting));
        }
    }
    for (room, position, membership) in read_memberships(memberships)? {
        if position <= horizon {
            views.entry(room).or_default().memberships.push((position, membership));
        }
    }
    Ok(views)
}

/// A user's views of some rooms. One storage call, or none.
///
/// # Errors
/// Storage; a view is not as documented.
pub fn views(
    user: &str,
    rooms: &[String],
    horizon: i64,
) -> Result<HashMap<String, Visibility>, Error> {
    if rooms.is_empty() {
        return Ok(HashMap::new());
    }
    let mut answers =
        storage::snapshot(&[select_settings(rooms), select_memberships(user, rooms)])?.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    read_views(next()?, next()?, horizon)
}

fn at<T>(list: &[(i64, T)], position: i64) -> Option<&T> {
    list.iter().rev().find(|(from, _)| *from <= position).map(|(_, value)| value)
}

impl Visibility {
    /// The user's membership just after the event at a position; `leave` where they had none.
    pub fn membership_at(&self, position: i64) -> &str {
        at(&self.memberships, position).map_or("leave", String::as_str)
    }

    /// Where the user was last in the room, if they ever were and no longer are: their leave, or being banned.
    pub fn left_at(&self) -> Option<i64> {
        let last = self.memberships.iter().rposition(|(_, membership)| membership == "join")?;
        self.memberships.get(last + 1).map(|(position, _)| *position)
    }

    /// The user's membership just after an event.
    pub fn membership_after<'a>(&'a self, event: &'a EventRow) -> &'a str {
        let late = event.late.as_ref().and_then(|late| late.memberships.as_ref());
        late.map_or_else(|| self.membership_at(event.position), |(_, after)| after)
    }

    /// Whether the user may read an event: by its own past, where that is not what arrival says.
    pub fn sees_event(&self, event: &EventRow) -> bool {
        let Some(late) = &event.late else { return self.sees(event.position) };
        let position = event.position;
        let moments = [(position - 1, true), (position, false)];
        moments.into_iter().any(|(state_at, before)| {
            let arrived = self.membership_at(state_at);
            let membership = match &late.memberships {
                Some((then, _)) if before => then,
                Some((_, then)) => then,
                None => arrived,
            };
            let setting = match late.settings {
                Some((then, _)) if before => then,
                Some((_, then)) => then,
                None => self.setting_at(state_at),
            };
            // Who was in the room when it arrived, and was not when it was sent, has joined since.
            let since = arrived == "join" && membership != "join";
            self.judge(membership, setting, position, since)
        })
    }

    /// Whether the user may read the event at a position, unless it came late. An event that changes the setting or the membership is judged by
    /// the more generous of before and after.
    pub fn sees(&self, position: i64) -> bool {
        self.sees_with(position, position) || self.sees_with(position - 1, position)
    }

    /// The positions that the user may read, as ranges with both ends, oldest first.
    pub fn ranges(&self) -> Vec<(i64, i64)> {
        let froms = self.settings.iter().map(|(from, _)| *from);
        let froms = froms.chain(self.memberships.iter().map(|(from, _)| *from));
        // What is seen changes with each of them and just after, and nowhere else.
        let mut starts: Vec<i64> = froms.flat_map(|from| [from, from + 1]).chain([0]).collect();
        starts.sort_unstable();
        starts.dedup();
        let ends = starts.iter().skip(1).map(|next| next - 1).chain([i64::MAX]);
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for (start, end) in starts.iter().copied().zip(ends) {
            if !self.sees(start) {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.1 + 1 == start => last.1 = end,
                _ => ranges.push((start, end)),
            }
        }
        ranges
    }

    fn sees_with(&self, state_at: i64, position: i64) -> bool {
        self.judge(self.membership_at(state_at), self.setting_at(state_at), position, false)
    }

    fn setting_at(&self, position: i64) -> Setting {
        at(&self.settings, position).copied().unwrap_or(Setting::Shared)
    }

    fn judge(&self, membership: &str, setting: Setting, position: i64, joined_since: bool) -> bool {
        match setting {
            _ if membership == "join" => true,
            Setting::WorldReadable => true,
            Setting::Shared => {
                joined_since
                    || self.memberships.iter().any(|(from, m)| *from > position && m == "join")
            }
            Setting::Invited => membership == "invite",
            Setting::Joined => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(settings: &[(i64, Setting)], memberships: &[(i64, &str)]) -> Visibility {
        Visibility {
            settings: settings.to_vec(),
            memberships: memberships.iter().map(|(p, m)| (*p, (*m).to_owned())).collect(),
        }
    }

    #[test]
    fn shared_history_opens_to_who_joins_later() {
        let seen = view(&[], &[(10, "invite"), (12, "join"), (20, "leave")]);
        assert!(seen.sees(5));
        assert!(seen.sees(15));
        assert!(seen.sees(20), "one's own leave");
        assert!(!seen.sees(21));
    }

    #[test]
    fn joined_history_stays_shut_before_the_join() {
        let seen = view(&[(2, Setting::Joined)], &[(10, "invite"), (12, "join")]);
        assert!(!seen.sees(11));
        assert!(seen.sees(12), "one's own join");
        let invited = view(&[(2, Setting::Invited)], &[(10, "invite"), (12, "join")]);
        assert!(!invited.sees(9));
        assert!(invited.sees(11));
    }

    #[test]
    fn what_came_late_is_seen_by_its_own_past() {
        let event = |position, settings: Option<&str>, memberships: Option<&str>| EventRow {
            position,
            late: Late::read(&format!(
                "{}/{}",
                settings.unwrap_or_default(),
                memberships.unwrap_or_default()
            )),
            ..EventRow::default()
        };
        let joined = view(&[(2, Setting::Joined)], &[(12, "join")]);
        assert!(joined.sees_event(&event(15, None, None)));
        assert!(!joined.sees_event(&event(15, None, Some("leave leave"))), "sent before the join");
        assert!(joined.sees_event(&event(15, None, Some("leave join"))), "their own join");
        assert!(joined.sees_event(&event(15, Some("shared shared"), Some("leave leave"))));
        let shared = view(&[], &[(12, "join")]);
        assert!(shared.sees_event(&event(15, None, Some("leave leave"))), "joined since");
        assert!(!shared.sees_event(&event(15, Some("invited invited"), Some("leave leave"))));
        let gone = view(&[(2, Setting::Joined)], &[(12, "join"), (20, "leave")]);
        assert!(!gone.sees_event(&event(25, None, None)));
        assert!(gone.sees_event(&event(25, None, Some("join join"))), "sent before the leave");
        assert_eq!(joined.membership_after(&event(15, None, Some("leave leave"))), "leave");
        assert_eq!(joined.membership_after(&event(15, None, None)), "join");
    }

    #[test]
    fn ranges_are_what_is_seen() {
        let seen = view(
            &[(2, Setting::WorldReadable), (6, Setting::Joined), (30, Setting::Shared)],
            &[(9, "invite"), (12, "join"), (20, "leave"), (40, "join")],
        );
        let ranges = seen.ranges();
        for position in 0..50 {
            let within = ranges.iter().any(|(from, to)| (*from..=*to).contains(&position));
            assert_eq!(within, seen.sees(position), "{position}: {ranges:?}");
        }
    }

    #[test]
    fn world_readable_is_open_to_strangers() {
        let seen = view(&[(2, Setting::WorldReadable), (8, Setting::Shared)], &[]);
        assert!(seen.sees(5));
        assert!(!seen.sees(9));
    }
}
