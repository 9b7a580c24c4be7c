//! GET and POST /_tessera/push/unsubscribe
//!
//! The link at the end of a mail of missed messages. Looking at it changes nothing: programs that read mail follow links.

use tessera_sdk::http::{Answer, Request, Response, ResponseBody, Result};
use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage::{self, Batch};

/// Shows a button, or ends the mails that the token belongs to.
///
/// # Errors
/// `M_MISSING_PARAM` without a token.
pub(crate) fn handle(request: &Request) -> Result {
    let token = request.query("token").filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Error::missing_param("token is missing"))?;
    if request.method() == "POST" {
        let found: Vec<(String, String, String)> = storage::query(
            "SELECT user_id, app_id, pushkey FROM push_pushers WHERE token = $1 AND token <> ''",
            params![token],
        )?
        .all()?;
        let rows: Vec<_> = found
            .into_iter()
            .map(|(user, app_id, pushkey)| params![user, app_id, pushkey])
            .collect();
        if !rows.is_empty() {
            Batch::new()
                .run_many(
                    "DELETE FROM push_queue WHERE user_id = $1 AND app_id = $2 AND pushkey = $3",
                    rows.clone(),
                )
                .run_many(
                    "DELETE FROM push_pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3",
                    rows,
                )
                .commit_blind()?;
        }
        // The same whether there was such a token: it tells nothing.
        return page("<p>You will get no more of these mails.</p>");
    }
    page("<form method=\"post\"><button>No more mails of missed messages</button></form>")
}

fn page(body: &str) -> Result {
    let text = format!("<!doctype html><meta charset=\"utf-8\"><title>Mails</title>{body}\n");
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Ok(Answer::response(Response {
        status: 200,
        headers: vec![
            header("content-type", "text/html; charset=utf-8"),
            header("content-security-policy", "default-src 'none'; form-action 'self'"),
            header("cache-control", "no-store"),
        ],
        body: ResponseBody::Bytes(text.into_bytes()),
    }))
}
