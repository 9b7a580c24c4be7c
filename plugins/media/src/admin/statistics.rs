//! Who keeps how much.

use serde_json::{Value, json};
use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, select};

use super::administrator;
use super::users::{MAX_PAGE, PAGE, direction, with_next};

/// GET /_synapse/admin/v1/statistics/users/media
///
/// # Errors
/// `M_FORBIDDEN`, `M_INVALID_PARAM`.
pub(crate) fn users(request: &Request) -> Result {
    administrator(request)?;
    let from = request.query_as::<u32>("from")?.unwrap_or(0);
    let limit = request.query_as::<u32>("limit")?.unwrap_or(PAGE).min(MAX_PAGE);
    let since = positive(request, "from_ts")?.unwrap_or(0);
    let until = positive(request, "until_ts")?;
    if until.is_some_and(|until| until <= since) {
        return Err(Error::invalid_param("until_ts is not after from_ts"));
    }
    let term = request.query("search_term").map(str::to_ascii_lowercase);
    if term.as_deref() == Some("") {
        return Err(Error::invalid_param("search_term is empty"));
    }
    let column = match request.query("order_by").unwrap_or("user_id") {
        by @ ("media_length" | "media_count" | "user_id" | "displayname") => by,
        other => return Err(Error::invalid_param(format!("nothing is ordered by {other}"))),
    };
    let dir = direction(request.query("dir"))?;
    // What is left of a text without the term tells whether it was in it.
    let holds = |text: &str| format!("replace(lower({text}), $3, '') <> lower({text})");
    let searched = match &term {
        Some(_) => {
            let (user, name) = (holds("f.user_id"), holds("coalesce(p.displayname, '')"));
            format!("AND ({user} OR {name})")
        }
        None => String::new(),
    };
    let users = format!(
        "SELECT f.user_id AS user_id, p.displayname AS displayname, count(*) AS media_count, \
         sum(f.size) AS media_length FROM media_files f \
         LEFT JOIN accounts_v1_profiles p ON p.user_id = f.user_id \
         WHERE f.user_id IS NOT NULL AND f.uploaded_ms > 0 AND f.created_ms >= $1 \
         AND f.created_ms <= $2 {searched} GROUP BY f.user_id, p.displayname"
    );
    let mut all = params![since, until.unwrap_or(i64::MAX)];
    all.extend(term.map(storage::IntoValue::into_value));
    let mut page = all.clone();
    page.extend(params![limit, from]);
    let (count, skip) = (page.len() - 1, page.len());
    let mut answers = storage::snapshot(&[
        select(
            &format!(
                "SELECT u.user_id, u.displayname, u.media_count, u.media_length FROM ({users}) u \
                 ORDER BY u.{column} {dir}, u.user_id LIMIT ${count} OFFSET ${skip}"
            ),
            page,
        ),
        select(&format!("SELECT count(*) AS n FROM ({users}) u"), all),
    ])?
    .answers();
    let mut next = || answers.next().ok_or_else(|| Error::internal("an answer is missing"));
    let found: Vec<(String, Option<String>, u64, u64)> = next()?.all()?;
    let total: Option<(u64,)> = next()?.first()?;
    let total = total.map_or(0, |(n,)| n);
    let shown: Vec<Value> = found
        .iter()
        .map(|(user, name, count, bytes)| {
            json!({ "user_id": user, "displayname": name, "media_count": count, "media_length": bytes })
        })
        .collect();
    Answer::json(&with_next(json!({ "users": shown, "total": total }), from, found.len(), total))
}

fn positive(request: &Request, name: &str) -> std::result::Result<Option<i64>, Error> {
    let value = request.query_as::<i64>(name)?;
    if value.is_some_and(|value| value < 0) {
        return Err(Error::invalid_param(format!("{name} is negative")));
    }
    Ok(value)
}
