//! Which users there are.

use serde_json::{Value, json};
use tessera_sdk::crypto;
use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{IntoValue, Value as Param, select, snapshot};

use super::user::{self, COLUMNS, Row};

/// Users of one page, unless the request says otherwise, and at most.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;
/// Bytes of what is looked for.
const MAX_TERM: usize = 255;
/// Types of users that one request may leave out.
const MAX_TYPES: usize = 20;

/// Conditions and their parameters.
#[derive(Default)]
struct Where {
    conditions: Vec<String>,
    params: Vec<Param>,
}

impl Where {
    fn param(&mut self, value: impl IntoValue) -> String {
        self.params.push(value.into_value());
        format!("${}", self.params.len())
    }

    fn add(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }

    fn flag(&mut self, column: &str, value: bool) {
        self.add(format!("{column} = {}", if value { "TRUE" } else { "FALSE" }));
    }

    fn sql(&self) -> String {
        match self.conditions.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", self.conditions.join(" AND ")),
        }
    }
}

/// Whom `deactivated` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deactivated {
    /// `true` adds them to the others.
    Adds,
    /// `true`: only they; absent: they, too.
    Only,
}

/// A page of the users that the query asks for.
///
/// # Errors
/// `M_INVALID_PARAM`.
pub fn page(request: &Request, deactivated: Deactivated) -> Result<Value, Error> {
    let from = request.query_as::<u32>("from")?.unwrap_or(0);
    let limit = request.query_as::<u32>("limit")?.unwrap_or(PAGE).min(MAX_PAGE);
    let mut wanted = Where::default();
    let asked: Option<bool> = request.query_as("deactivated")?;
    match (deactivated, asked) {
        (Deactivated::Adds, None | Some(false)) => wanted.flag("deactivated", false),
        (Deactivated::Only, Some(asked)) => wanted.flag("deactivated", asked),
        _ => {}
    }
    if request.query_as("locked")? != Some(true) {
        wanted.flag("locked", false);
    }
    if request.query_as("guests")? == Some(false) {
        wanted.flag("guest", false);
    }
    if let Some(admins) = request.query_as("admins")? {
        wanted.flag("admin", admins);
    }
    named(request, &mut wanted)?;
    types(request, &mut wanted)?;
    let (order, condition) = (order(request)?, wanted.sql());
    let count = format!("SELECT COUNT(*) FROM accounts_users {condition}");
    let counted = wanted.params.clone();
    let (limit_at, from_at) = (wanted.param(limit), wanted.param(from));
    let rows = format!(
        "SELECT {COLUMNS} FROM accounts_users {condition} ORDER BY {order} LIMIT {limit_at} OFFSET {from_at}"
    );
    let moment = snapshot(&[select(&rows, wanted.params), select(&count, counted)])?;
    let mut answers = moment.answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let rows: Vec<Row> = next()?.all()?;
    let total = next()?.first::<(u64,)>()?.map_or(0, |(total,)| total);
    let end = u64::from(from) + rows.len() as u64;
    let users: Vec<Value> = rows.into_iter().map(user::listed).collect();
    let mut body = json!({ "users": users, "total": total });
    if let (true, Some(map)) = (u64::from(from) + u64::from(limit) < total, body.as_object_mut()) {
        map.insert("next_token".to_owned(), end.to_string().into());
    }
    Ok(body)
}

/// `name` (in the localpart or the display name) or else `user_id`: a part of it, capitals as small letters. No index finds parts of words: these
/// look at every user.
fn named(request: &Request, wanted: &mut Where) -> Result<(), Error> {
    let term = |name: &str| {
        let term = request.query(name).filter(|term| !term.is_empty());
        match term {
            Some(term) if term.len() > MAX_TERM => {
                Err(Error::invalid_param(format!("{name} has at most {MAX_TERM} bytes")))
            }
            term => Ok(term.map(str::to_ascii_lowercase)),
        }
    };
    let (name, user_id) = (term("name")?, term("user_id")?);
    if let Some(name) = name {
        let at = wanted.param(name);
        // Users here end in a colon and this server's name, and begin with an `@`.
        let rest = crypto::tenant_name().chars().count() + 2;
        let localpart = format!("substr(user_id, 2, length(user_id) - {rest})");
        wanted.add(format!(
            "(replace(lower({localpart}), {at}, '') <> lower({localpart}) \
             OR replace(lower(displayname), {at}, '') <> lower(displayname))"
        ));
    } else if let Some(user_id) = user_id {
        let at = wanted.param(user_id);
        wanted.add(format!("replace(lower(user_id), {at}, '') <> lower(user_id)"));
    }
    Ok(())
}

/// `not_user_type`; an empty one stands for users without a type.
fn types(request: &Request, wanted: &mut Where) -> Result<(), Error> {
    let (none, some): (Vec<&str>, Vec<&str>) =
        request.query_all("not_user_type").partition(|kind| kind.is_empty());
    if some.len() > MAX_TYPES {
        return Err(Error::invalid_param(format!("not_user_type: at most {MAX_TYPES}")));
    }
    let none = !none.is_empty();
    if some.is_empty() {
        if none {
            wanted.add("user_type IS NOT NULL");
        }
        return Ok(());
    }
    let some: Vec<String> = some.into_iter().map(str::to_owned).collect();
    let at = wanted.param(some);
    wanted.add(match none {
        true => format!("user_type NOT IN ({at})"),
        false => format!("(user_type IS NULL OR user_type NOT IN ({at}))"),
    });
    Ok(())
}

fn order(request: &Request) -> Result<String, Error> {
    let column = match request.query("order_by").unwrap_or("name") {
        "name" => "user_id",
        "is_guest" => "guest",
        "creation_ts" => "created_ms",
        "last_seen_ts" => "last_seen_ms",
        column @ ("admin" | "user_type" | "deactivated" | "shadow_banned" | "displayname"
        | "avatar_url" | "locked") => column,
        _ => return Err(Error::invalid_param("order_by is none of the columns")),
    };
    let direction = match request.query("dir").unwrap_or("f") {
        "f" => "ASC",
        "b" => "DESC",
        _ => return Err(Error::invalid_param("dir is f or b")),
    };
    Ok(match column {
        "user_id" => format!("user_id {direction}"),
        column => format!("{column} {direction}, user_id ASC"),
    })
}
