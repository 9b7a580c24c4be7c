//! What filters ask of rooms, read for all rooms at once and only where a list asks for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::Value;
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{Rows, Select, select};

use super::overview::Row;
use super::request::{Filters, Wishes};
use crate::event::content;

/// What the filters of a request look at.
#[derive(Debug, Default)]
pub(super) struct Needs {
    encrypted: bool,
    kinds: bool,
    names: bool,
    tags: bool,
    spaces: BTreeSet<String>,
}

/// What is known of rooms, as far as filters look at it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    encrypted: BTreeSet<String>,
    kinds: HashMap<String, Option<String>>,
    names: HashMap<String, String>,
    tags: HashMap<String, BTreeSet<String>>,
    /// Rooms of each space.
    children: BTreeMap<String, BTreeSet<String>>,
}

/// An event of the stripped state that comes with an invite.
#[derive(Debug, Deserialize)]
struct Stripped {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    content: Value,
}

/// What a filter looks at, of one room.
struct Known {
    encrypted: bool,
    kind: Option<String>,
    name: Option<String>,
}

/// Rooms of `m.direct`; none where it is malformed, as nobody checked it.
pub(super) fn direct(content: &str) -> BTreeSet<String> {
    let users: BTreeMap<String, Value> = serde_json::from_str(content).unwrap_or_default();
    let rooms = users.values().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    rooms.map(str::to_owned).collect()
}

impl Needs {
    /// What the lists of a request ask for.
    pub(super) fn of(wishes: &Wishes) -> Self {
        let mut needs = Self::default();
        for Filters {
            spaces,
            is_encrypted,
            room_types,
            not_room_types,
            room_name_like,
            tags,
            not_tags,
            ..
        } in wishes.lists.iter().map(|list| &list.filters)
        {
            needs.encrypted |= is_encrypted.is_some();
            needs.kinds |= room_types.is_some() || not_room_types.is_some();
            needs.names |= room_name_like.is_some();
            needs.tags |= tags.is_some() || not_tags.is_some();
            needs.spaces.extend(spaces.iter().flatten().cloned());
        }
        needs
    }
}

/// State of one type in all rooms that the user is or was in, or invited to: those that this server knows of.
fn state(user: &str, kind: &str) -> Select {
    select(
        "SELECT s.room_id, s.json FROM rooms_v1_memberships m CROSS JOIN rooms_v1_current_state s \
         WHERE m.user_id = $1 AND NOT m.forgotten AND s.room_id = m.room_id AND s.type = $2 AND s.state_key = ''",
        params![user, kind],
    )
}

/// The statements, for [`Facts::read`].
pub(super) fn selects(user: &str, needs: &Needs) -> Vec<Select> {
    let mut selects = Vec::new();
    if needs.encrypted {
        selects.push(state(user, "m.room.encryption"));
    }
    if needs.kinds {
        selects.push(state(user, "m.room.create"));
    }
    if needs.names {
        selects.push(state(user, "m.room.name"));
    }
    if needs.tags {
        selects.push(select(
            "SELECT room_id, content FROM accounts_v1_account_data \
             WHERE user_id = $1 AND room_id <> '' AND type = 'm.tag'",
            params![user],
        ));
    }
    if !needs.spaces.is_empty() {
        let spaces: Vec<String> = needs.spaces.iter().cloned().collect();
        selects.push(select(
            "SELECT s.room_id, s.state_key, s.json FROM rooms_v1_memberships m CROSS JOIN rooms_v1_current_state s \
             WHERE m.user_id = $1 AND m.membership = 'join' AND m.room_id IN ($2) AND s.room_id = m.room_id \
             AND s.type = 'm.space.child'",
            params![user, spaces],
        ));
    }
    selects
}

fn text(content: &Value, field: &str) -> Option<String> {
    content.get(field).and_then(Value::as_str).map(str::to_owned)
}

impl Facts {
    /// From the answers to [`selects`].
    ///
    /// # Errors
    /// A view is not as documented.
    pub(super) fn read(
        needs: &Needs,
        mut next: impl FnMut() -> Result<Rows, Error>,
    ) -> Result<Self, Error> {
        let mut facts = Self::default();
        if needs.encrypted {
            let rooms = next()?.all::<(String, String)>()?;
            facts.encrypted = rooms.into_iter().map(|(room, _)| room).collect();
        }
        if needs.kinds {
            for (room, json) in next()?.all::<(String, String)>()? {
                facts.kinds.insert(room, text(&content(&json)?, "type"));
            }
        }
        if needs.names {
            for (room, json) in next()?.all::<(String, String)>()? {
                facts.names.extend(text(&content(&json)?, "name").map(|name| (room, name)));
            }
        }
        if needs.tags {
            for (room, content) in next()?.all::<(String, String)>()? {
                let content: Value = serde_json::from_str(&content).unwrap_or_default();
                let tags = content.get("tags").and_then(Value::as_object);
                facts
                    .tags
                    .insert(room, tags.into_iter().flatten().map(|(t, _)| t.clone()).collect());
            }
        }
        if !needs.spaces.is_empty() {
            for (space, child, json) in next()?.all::<(String, String, String)>()? {
                // A child that was taken out again has an empty content. Spec: Spaces.
                if content(&json)?.get("via").is_some_and(Value::is_array) {
                    facts.children.entry(space).or_default().insert(child);
                }
            }
        }
        Ok(facts)
    }

    /// What a room looks like to the user; none where an invite does not say.
    fn known(&self, row: &Row) -> Option<Known> {
        let Some(stripped) = &row.stripped else {
            let id = &row.room_id;
            return Some(Known {
                encrypted: self.encrypted.contains(id),
                kind: self.kinds.get(id).cloned().flatten(),
                name: self.names.get(id).cloned(),
            });
        };
        let events: Vec<Stripped> = serde_json::from_str(stripped).unwrap_or_default();
        let of = |kind: &str| events.iter().find(|event| event.kind == kind);
        (!events.is_empty()).then(|| Known {
            encrypted: of("m.room.encryption").is_some(),
            kind: of("m.room.create").and_then(|event| text(&event.content, "type")),
            name: of("m.room.name").and_then(|event| text(&event.content, "name")),
        })
    }

    /// Whether a list takes a room.
    pub(super) fn pass(&self, filters: &Filters, row: &Row, direct: bool) -> bool {
        let Filters { is_dm, spaces, is_encrypted, is_invite, .. } = filters;
        if is_dm.is_some_and(|wanted| wanted != direct)
            || is_invite.is_some_and(|wanted| wanted != (row.membership == "invite"))
        {
            return false;
        }
        let inside = |spaces: &Vec<String>| {
            spaces.iter().filter_map(|s| self.children.get(s)).any(|c| c.contains(&row.room_id))
        };
        if spaces.as_ref().is_some_and(|spaces| !inside(spaces)) {
            return false;
        }
        let none = BTreeSet::new();
        let tags = self.tags.get(&row.room_id).unwrap_or(&none);
        let tagged = |names: &Vec<String>| names.iter().any(|name| tags.contains(name));
        if filters.tags.as_ref().is_some_and(|names| !tagged(names))
            || filters.not_tags.as_ref().is_some_and(tagged)
        {
            return false;
        }
        let looks = is_encrypted.is_some()
            || filters.room_types.is_some()
            || filters.not_room_types.is_some()
            || filters.room_name_like.is_some();
        if !looks {
            return true;
        }
        let Some(known) = self.known(row) else { return false };
        let like = |part: &String| {
            let name = known.name.as_deref().unwrap_or("");
            name.to_lowercase().contains(&part.to_lowercase())
        };
        is_encrypted.is_none_or(|wanted| wanted == known.encrypted)
            && filters.room_types.as_ref().is_none_or(|kinds| kinds.contains(&known.kind))
            && !filters.not_room_types.as_ref().is_some_and(|kinds| kinds.contains(&known.kind))
            && filters.room_name_like.as_ref().is_none_or(like)
    }
}

#[cfg(test)]
mod tests {
    use super::direct;

    #[test]
    fn malformed_direct_chats_are_none() {
        let rooms = direct(r#"{"@a:h":["!a","!b"],"@b:h":5,"@c:h":["!c",7]}"#);
        assert_eq!(Vec::from_iter(rooms), ["!a", "!b", "!c"]);
        assert!(direct("[]").is_empty() && direct("").is_empty());
    }
}
