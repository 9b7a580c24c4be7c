//! What is read of a room before deciding: one snapshot, whatever is needed.

use std::sync::Arc;

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Rows, Select, select};

use super::room::RoomRow;
use crate::core::{State, StoredEvent, Version, build};

/// State that every decision needs.
const AUTH_TYPES: [&str; 2] = ["m.room.create", "m.room.power_levels"];

/// State that an invite or knock shows to its user. Spec: client-server API, Stripped state.
pub const STRIPPED_TYPES: [&str; 7] = [
    "m.room.create",
    "m.room.join_rules",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.canonical_alias",
    "m.room.encryption",
];

/// What a decision looks at, beyond create event and power levels.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    members: Vec<String>,
    types: Vec<String>,
    pairs: Vec<(String, String)>,
    profiles: Vec<String>,
    extra: Vec<Select>,
}

impl Needs {
    /// The member event of whoever acts.
    pub fn of(user: &str) -> Self {
        Self { members: vec![user.to_owned()], ..Self::default() }
    }

    /// The member event of a user.
    #[must_use]
    pub fn member(mut self, user: &str) -> Self {
        if !self.members.iter().any(|member| member == user) {
            self.members.push(user.to_owned());
        }
        self
    }

    /// What a change of membership looks at: the member events of both, the join rules.
    #[must_use]
    pub fn of_member(sender: &str, target: &str) -> Self {
        Self::of(sender).member(target).types(["m.room.join_rules"])
    }

    /// State of this type with an empty state key.
    #[must_use]
    pub fn types<'a>(mut self, types: impl IntoIterator<Item = &'a str>) -> Self {
        self.types.extend(types.into_iter().map(str::to_owned));
        self
    }

    /// One piece of state.
    #[must_use]
    pub fn pair(mut self, kind: &str, key: &str) -> Self {
        match (kind, key) {
            ("m.room.member", user) => self = self.member(user),
            (kind, "") => self.types.push(kind.to_owned()),
            _ => self.pairs.push((kind.to_owned(), key.to_owned())),
        }
        self
    }

    /// The profile of a user.
    #[must_use]
    pub fn profile(mut self, user: &str) -> Self {
        self.profiles.push(user.to_owned());
        self
    }

    /// A SELECT of the caller's; its answer is found under its number in [`View::extra`].
    #[must_use]
    pub fn also(mut self, select: Select) -> Self {
        self.extra.push(select);
        self
    }

    /// A SELECT whose answer [`View::take_last`] gives.
    #[must_use]
    pub fn last(self, select: Select) -> Self {
        self.also(select)
    }
}

/// A user's name and picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileRow {
    /// Full user id.
    pub user: String,
    /// Display name.
    pub displayname: Option<String>,
    /// mxc URI.
    pub avatar_url: Option<String>,
}

/// A room at one moment, as far as it was asked for.
#[derive(Debug)]
pub struct View {
    /// Its row.
    pub room: RoomRow,
    /// The state that was asked for.
    pub state: State,
    /// Profiles that were asked for and exist.
    pub profiles: Vec<ProfileRow>,
    extra: Vec<Rows>,
}

const STATE_COLUMNS: &str = "SELECT s.event_id, e.json FROM rooms_current_state s
     JOIN rooms_events e ON e.position = s.position WHERE s.room_id = $1";

fn parse_state(version: &Version, rows: Rows, state: &mut State) -> Result<(), Error> {
    for (event_id, json) in rows.all::<(String, String)>()? {
        let mut event = StoredEvent::parse(&event_id, &json, false).map_err(Error::internal)?;
        if version.refers_with_hashes() {
            event =
                event.with_hash(build::reference_hash(version, &json).map_err(Error::internal)?);
        }
        state.insert(Arc::new(event));
    }
    Ok(())
}

impl View {
    /// Reads a room in one snapshot; `None` if there is no such room.
    ///
    /// # Errors
    /// Storage failed.
    pub fn load(room_id: &str, needs: &Needs) -> Result<Option<Self>, Error> {
        let mut types: Vec<String> = AUTH_TYPES.iter().map(|kind| (*kind).to_owned()).collect();
        types.extend(
            needs.types.iter().filter(|kind| !AUTH_TYPES.contains(&kind.as_str())).cloned(),
        );
        let mut selects = vec![
            RoomRow::select(room_id),
            select(
                &format!("{STATE_COLUMNS} AND s.type IN ($2) AND s.state_key = ''"),
                params![room_id, types],
            ),
            select(
                &format!("{STATE_COLUMNS} AND s.type = 'm.room.member' AND s.state_key IN ($2)"),
                params![room_id, needs.members.clone()],
            ),
        ];
        for (kind, key) in &needs.pairs {
            selects.push(select(
                &format!("{STATE_COLUMNS} AND s.type = $2 AND s.state_key = $3"),
                params![room_id, kind, key],
            ));
        }
        if !needs.profiles.is_empty() {
            selects.push(select(
                "SELECT user_id, displayname, avatar_url FROM accounts_v1_profiles WHERE user_id IN ($1)",
                params![needs.profiles.clone()],
            ));
        }
        selects.extend(needs.extra.iter().cloned());

        let mut answers = storage::snapshot(&selects)?.answers();
        let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
        let Some(room) = RoomRow::read(room_id, next()?)? else {
            return Ok(None);
        };
        let mut state = State::default();
        for _ in 0..2 + needs.pairs.len() {
            parse_state(&room.version, next()?, &mut state)?;
        }
        let mut profiles = Vec::new();
        if !needs.profiles.is_empty() {
            for (user, displayname, avatar_url) in
                next()?.all::<(String, Option<String>, Option<String>)>()?
            {
                profiles.push(ProfileRow { user, displayname, avatar_url });
            }
        }
        let extra = (0..needs.extra.len()).map(|_| next()).collect::<Result<_, _>>()?;
        Ok(Some(Self { room, state, profiles, extra }))
    }

    /// Takes the answer of the `n`th SELECT of [`Needs::also`]; empty the second time.
    pub fn extra(&mut self, n: usize) -> Rows {
        self.extra.get_mut(n).map_or_else(no_rows, |rows| std::mem::replace(rows, no_rows()))
    }

    /// Takes the answer of [`Needs::last`].
    pub fn take_last(&mut self) -> Rows {
        self.extra.pop().unwrap_or_else(no_rows)
    }

    /// A user's profile; empty if there is none.
    pub fn profile(&self, user: &str) -> ProfileRow {
        self.profiles.iter().find(|profile| profile.user == user).cloned().unwrap_or_default()
    }
}

fn no_rows() -> Rows {
    Rows { columns: Vec::new(), rows: Vec::new() }
}
