//! GET /rooms/{roomId}/hierarchy.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>
//!
//! The tree is looked up level by level and told depth first; a token names the place in that order. Errors: `M_FORBIDDEN` (no
//! such room here, or not for the user to see), `M_INVALID_PARAM`.

mod children;
mod tree;

use serde::Serialize;
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;

use self::children::Child;
use self::tree::Tree;
use crate::about::{self, About, More};

/// Rooms of one answer.
const MAX_PAGE: usize = 50;

/// What may not change from page to page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    suggested_only: bool,
    max_depth: Option<u32>,
}

#[derive(Serialize)]
struct Room<'a> {
    #[serde(flatten)]
    about: &'a About,
    #[serde(flatten)]
    more: &'a More,
    children_state: Vec<&'a Child>,
}

#[derive(Serialize)]
struct Response<'a> {
    rooms: Vec<Room<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

/// Tells of a room and those below it.
pub(super) fn handle(request: &Request) -> Result {
    let bounds = Bounds {
        suggested_only: request.query_as("suggested_only")?.unwrap_or(false),
        max_depth: request.query_as("max_depth")?,
    };
    let limit = match request.query_as::<u64>("limit")? {
        Some(0) => return Err(Error::invalid_param("limit is greater than 0")),
        limit => limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_PAGE),
    };
    let limit = limit.min(MAX_PAGE);
    let from = request.query("from").map(|token| offset(token, bounds)).transpose()?.unwrap_or(0);
    let mut tree = Tree::grow(request.param("roomId"), request.user()?, bounds)?;
    let order = tree.order();
    let page: Vec<String> = order.iter().skip(from).take(limit).cloned().collect();
    about::count(tree.rooms(&page))?;
    let next = from.saturating_add(page.len());
    let rooms = page.iter().filter_map(|id| tree.room(id));
    let rooms = rooms.map(|(about, children)| Room {
        about,
        more: &about.more,
        children_state: children.iter().collect(),
    });
    Answer::json(&Response {
        rooms: rooms.collect(),
        next_batch: (next < order.len() && !page.is_empty()).then(|| token(next, bounds)),
    })
}

fn token(next: usize, bounds: Bounds) -> String {
    let depth = bounds.max_depth.map(|depth| depth.to_string()).unwrap_or_default();
    format!("h{next}_{}_{depth}", u8::from(bounds.suggested_only))
}

/// The place that a token names.
fn offset(text: &str, bounds: Bounds) -> std::result::Result<usize, Error> {
    let number = text.strip_prefix('h').and_then(|rest| rest.split('_').next());
    let offset = number.and_then(|digits| digits.parse().ok());
    let offset = offset.ok_or_else(|| Error::invalid_param("from is no token of this server"))?;
    if token(offset, bounds) == text {
        Ok(offset)
    } else {
        let text = "suggested_only and max_depth cannot change on paginated requests";
        Err(Error::invalid_param(text))
    }
}
