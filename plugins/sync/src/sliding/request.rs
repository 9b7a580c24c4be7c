//! What a client asks, in both forms: MSC4186 as merged (`/v4/sync`) and the one that came before it
//! (`org.matrix.simplified_msc3575`). Either may use the other's names.

use std::collections::BTreeMap;

use serde::Deserialize;
use tessera_sdk::matrix::Error;

use super::wanted::{Config, Required};

/// Lists of one request. MSC4186: "Max lists".
const MAX_LISTS: usize = 100;
/// Subscriptions of one request. MSC4186: "Max subscriptions".
const MAX_SUBSCRIPTIONS: usize = 100;
/// The older form names no maximum.
const MAX_UNSTABLE_SUBSCRIPTIONS: usize = 500;
/// Bytes of a list's name and of `conn_id`: opaque identifiers.
const MAX_NAME: usize = 255;
/// The longest timeline, whatever is asked for.
const MAX_TIMELINE: usize = 500;
/// Elements of one `required_state`.
const MAX_REQUIRED: usize = 200;

/// The body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Body {
    pub conn_id: Option<String>,
    pub txn_id: Option<String>,
    pub pos: Option<String>,
    pub timeout: Option<u64>,
    pub set_presence: Option<String>,
    pub lists: Option<BTreeMap<String, ListBody>>,
    pub room_subscriptions: Option<BTreeMap<String, RoomBody>>,
    pub extensions: Option<Extensions>,
}

/// A subscription.
#[derive(Debug, Deserialize)]
pub(super) struct RoomBody {
    timeline_limit: u64,
    required_state: Option<Required>,
}

/// A list.
#[derive(Debug, Deserialize)]
pub(super) struct ListBody {
    timeline_limit: u64,
    required_state: Option<Required>,
    /// MSC3575.
    ranges: Option<Vec<(u64, u64)>>,
    /// MSC4186.
    range: Option<(u64, u64)>,
    /// MSC3575: `ranges` are not looked at.
    slow_get_all_rooms: Option<bool>,
    filters: Option<Filters>,
}

/// Which rooms a list takes. MSC4186: `SlidingRoomFilter`; `room_name_like` is MSC3575's.
#[derive(Debug, Clone, Default, Deserialize, serde::Serialize)]
#[serde(default)]
pub(super) struct Filters {
    pub is_dm: Option<bool>,
    pub spaces: Option<Vec<String>>,
    pub is_encrypted: Option<bool>,
    #[serde(alias = "is_invited")]
    pub is_invite: Option<bool>,
    pub room_types: Option<Vec<Option<String>>>,
    pub not_room_types: Option<Vec<Option<String>>>,
    pub room_name_like: Option<String>,
    pub tags: Option<Vec<String>>,
    pub not_tags: Option<Vec<String>>,
}

/// Extensions; unknown ones are not looked at.
#[derive(Debug, Clone, Default, Deserialize, serde::Serialize)]
#[serde(default)]
pub(super) struct Extensions {
    pub to_device: Option<ToDevice>,
    pub e2ee: Option<Plain>,
    pub account_data: Option<OfRooms>,
    pub receipts: Option<OfRooms>,
    pub typing: Option<OfRooms>,
}

/// MSC3885.
#[derive(Debug, Clone, Default, Deserialize, serde::Serialize)]
#[serde(default)]
pub(super) struct ToDevice {
    pub enabled: Option<bool>,
    pub limit: Option<u64>,
    pub since: Option<String>,
}

/// MSC3884.
#[derive(Debug, Clone, Default, Deserialize, serde::Serialize)]
#[serde(default)]
pub(super) struct Plain {
    pub enabled: Option<bool>,
}

/// MSC3959, MSC3960, MSC3961: what rooms have. None stands for `["*"]`.
#[derive(Debug, Clone, Default, Deserialize, serde::Serialize)]
#[serde(default)]
pub(super) struct OfRooms {
    pub enabled: Option<bool>,
    pub lists: Option<Vec<String>>,
    pub rooms: Option<Vec<String>>,
}

impl OfRooms {
    /// Whether a room is meant that is in these lists, or subscribed to.
    pub(super) fn takes(&self, room: &str, lists: &[String], subscribed: bool) -> bool {
        let any = |names: &Option<Vec<String>>, fits: &dyn Fn(&str) -> bool| match names {
            None => true,
            Some(names) => names.iter().any(|name| name == "*" || fits(name)),
        };
        (subscribed && any(&self.rooms, &|name| name == room))
            || (!lists.is_empty()
                && any(&self.lists, &|name| lists.iter().any(|list| list == name)))
    }
}

impl Extensions {
    /// The position after which messages to the device are wanted; none where they are not.
    pub(super) fn to_device(&self) -> Option<(i64, i64)> {
        let wish = self.to_device.as_ref().filter(|wish| wish.enabled == Some(true))?;
        let since = wish.since.as_deref().and_then(|since| since.parse().ok()).unwrap_or(0);
        let limit = wish.limit.unwrap_or(100).clamp(1, 100);
        Some((since, i64::try_from(limit).unwrap_or(100)))
    }

    /// Whether keys of the device and device lists are wanted.
    pub(super) fn e2ee(&self) -> bool {
        self.e2ee.as_ref().is_some_and(|wish| wish.enabled == Some(true))
    }

    fn enabled(wish: Option<&OfRooms>) -> Option<&OfRooms> {
        wish.filter(|wish| wish.enabled == Some(true))
    }

    pub(super) fn account_data(&self) -> Option<&OfRooms> {
        Self::enabled(self.account_data.as_ref())
    }

    pub(super) fn receipts(&self) -> Option<&OfRooms> {
        Self::enabled(self.receipts.as_ref())
    }

    pub(super) fn typing(&self) -> Option<&OfRooms> {
        Self::enabled(self.typing.as_ref())
    }
}

/// A list, checked.
#[derive(Debug, Clone, serde::Serialize, Deserialize)]
pub(super) struct List {
    pub name: String,
    pub config: Config,
    /// First and last place, both within; none for all rooms.
    pub ranges: Option<Vec<(u64, u64)>>,
    pub filters: Filters,
}

/// What is wanted of rooms, checked.
#[derive(Debug, Clone, Default, serde::Serialize, Deserialize)]
pub(super) struct Wishes {
    pub lists: Vec<List>,
    /// Settings and the rooms subscribed to with them: most have the same.
    pub subscriptions: Vec<(Config, Vec<String>)>,
    pub extensions: Extensions,
}

fn config(limit: u64, required: Option<Required>, user: &str) -> Result<Config, Error> {
    let elements = match &required {
        Some(Required::Pairs(pairs)) => pairs.len(),
        Some(Required::Elements { include, exclude, .. }) => {
            [include, exclude].into_iter().flatten().map(Vec::len).sum()
        }
        None => 0,
    };
    if elements > MAX_REQUIRED {
        return Err(Error::invalid_param("required_state is too long"));
    }
    let wanted = required.map(|required| required.wanted(user)).unwrap_or_default();
    Ok(Config {
        limit: usize::try_from(limit).unwrap_or(MAX_TIMELINE).min(MAX_TIMELINE),
        wanted: [wanted].into(),
    })
}

fn name(text: &str, what: &str) -> Result<(), Error> {
    if text.len() > MAX_NAME {
        return Err(Error::invalid_param(format!("{what} is too long")));
    }
    Ok(())
}

impl Body {
    /// Takes out what is wanted of rooms.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` for too many lists or subscriptions, names that are too long, ranges that end before they begin, a
    /// malformed `since` of messages to the device.
    pub(super) fn wishes(&mut self, user: &str, stable: bool) -> Result<Wishes, Error> {
        let lists = self.lists.take().unwrap_or_default();
        if lists.len() > MAX_LISTS {
            return Err(Error::invalid_param("too many lists"));
        }
        let rooms = self.room_subscriptions.take().unwrap_or_default();
        let most = if stable { MAX_SUBSCRIPTIONS } else { MAX_UNSTABLE_SUBSCRIPTIONS };
        if rooms.len() > most {
            return Err(Error::invalid_param("too many room subscriptions"));
        }
        name(self.conn_id.as_deref().unwrap_or(""), "conn_id")?;
        let mut wishes =
            Wishes { extensions: self.extensions.take().unwrap_or_default(), ..Wishes::default() };
        let since = wishes.extensions.to_device.as_ref().and_then(|wish| wish.since.as_deref());
        if since.is_some_and(|since| since.parse::<i64>().is_err()) {
            return Err(Error::invalid_param("extensions.to_device.since is malformed"));
        }
        for (key, list) in lists {
            name(&key, "the name of a list")?;
            let ranges = match (list.range, list.ranges) {
                _ if list.slow_get_all_rooms == Some(true) => None,
                (Some(range), _) => Some(vec![range]),
                (None, ranges) => ranges,
            };
            if ranges.iter().flatten().any(|(first, last)| first > last) {
                return Err(Error::invalid_param("a range ends before it begins"));
            }
            wishes.lists.push(List {
                name: key,
                config: config(list.timeline_limit, list.required_state, user)?,
                ranges,
                filters: list.filters.unwrap_or_default(),
            });
        }
        for (room, wish) in rooms {
            let config = config(wish.timeline_limit, wish.required_state, user)?;
            match wishes.subscriptions.iter_mut().find(|(known, _)| *known == config) {
                Some((_, rooms)) => rooms.push(room),
                None => wishes.subscriptions.push((config, vec![room])),
            }
        }
        Ok(wishes)
    }
}

impl Wishes {
    /// Rooms subscribed to.
    pub(super) fn subscribed(&self) -> Vec<String> {
        self.subscriptions.iter().flat_map(|(_, rooms)| rooms.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(json: &str) -> Result<Wishes, Error> {
        serde_json::from_str::<Body>(json).unwrap().wishes("@me:h", true)
    }

    #[test]
    fn both_forms_say_the_same() {
        let old = wishes(
            r#"{"lists":{"l":{"ranges":[[0,9]],"timeline_limit":3,"required_state":[["m.room.name",""]],
            "filters":{"is_invite":true}}}}"#,
        )
        .unwrap();
        let new = wishes(
            r#"{"lists":{"l":{"range":[0,9],"timeline_limit":3,
            "required_state":{"include":[{"type":"m.room.name","state_key":""}]},"filters":{"is_invited":true}}}}"#,
        )
        .unwrap();
        assert_eq!(serde_json::to_string(&old).unwrap(), serde_json::to_string(&new).unwrap());
    }

    #[test]
    fn subscriptions_of_the_same_kind_stand_together() {
        let rooms: Vec<String> =
            (0..100).map(|n| format!("\"!{n}\":{{\"timeline_limit\":1}}")).collect();
        let found = wishes(&format!("{{\"room_subscriptions\":{{{}}}}}", rooms.join(","))).unwrap();
        assert_eq!(found.subscriptions.len(), 1);
        assert_eq!(found.subscribed().len(), 100);
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let rooms: Vec<String> =
            (0..101).map(|n| format!("\"!{n}\":{{\"timeline_limit\":1}}")).collect();
        let lists: Vec<String> =
            (0..101).map(|n| format!("\"{n}\":{{\"timeline_limit\":1}}")).collect();
        for bad in [
            format!("{{\"room_subscriptions\":{{{}}}}}", rooms.join(",")),
            format!("{{\"lists\":{{{}}}}}", lists.join(",")),
            r#"{"lists":{"l":{"timeline_limit":1,"ranges":[[5,4]]}}}"#.to_owned(),
            r#"{"extensions":{"to_device":{"enabled":true,"since":"x"}}}"#.to_owned(),
            format!("{{\"conn_id\":\"{}\"}}", "x".repeat(256)),
        ] {
            assert_eq!(wishes(&bad).unwrap_err().errcode(), "M_INVALID_PARAM", "{bad}");
        }
    }

    #[test]
    fn extensions_are_for_rooms_of_lists_and_subscriptions() {
        let any = OfRooms { enabled: Some(true), lists: None, rooms: None };
        let lists = ["l".to_owned()];
        assert!(any.takes("!a", &lists, false) && any.takes("!a", &[], true));
        let some = OfRooms {
            enabled: Some(true),
            lists: Some(vec!["other".to_owned()]),
            rooms: Some(vec!["!a".to_owned()]),
        };
        assert!(!some.takes("!a", &lists, false) && some.takes("!a", &lists, true));
        assert!(!some.takes("!b", &lists, true));
    }
}
