//! `GET` and `POST /_tessera/accounts/email`: the page behind the link in a mail.

use tessera_sdk::http::{Answer, Request, Result};
use tessera_sdk::limits;
use tessera_sdk::matrix::Error;

use crate::config::{self, MailLinks};
use crate::mails::escape;
use crate::page::{page, redirect};
use crate::validation::{self, Link, Purpose};

/// The page with the button; where the operator wants it, and no password hangs on it, the link alone is enough.
pub fn show(request: &Request) -> Result {
    let Some(link) = follow(request)? else { return Ok(over()) };
    if config::get()?.mail_links == MailLinks::AtOnce && link.purpose != Purpose::Password {
        validation::confirm(request.query("sid").unwrap_or_default())?;
        return Ok(if link.next_link.is_empty() { done() } else { redirect(&link.next_link) });
    }
    let what = match link.purpose {
        Purpose::Register => "You are registering with the address",
        Purpose::Password => "Somebody wants a new password for the account with the address",
        Purpose::Add => "An account gets the address",
    };
    let address = escape(&link.address);
    let body = format!(
        "<p>{what} <b>{address}</b>. If it was you who wanted this, confirm it.</p>\
         <form method=\"post\"><button>Confirm</button></form>"
    );
    Ok(page(200, "Confirm your address", &body))
}

/// The button was pressed.
pub fn confirm(request: &Request) -> Result {
    match follow(request)? {
        Some(link) => confirmed(request, &link),
        None => Ok(over()),
    }
}

fn follow(request: &Request) -> std::result::Result<Option<Link>, Error> {
    let word = |name: &str| request.query(name).unwrap_or_default();
    limits::take("threepid-tokens", request.remote(), 1).map_err(Error::limit_exceeded)?;
    validation::follow(word("sid"), word("client_secret"), word("token"))
}

fn confirmed(request: &Request, link: &Link) -> Result {
    validation::confirm(request.query("sid").unwrap_or_default())?;
    if link.next_link.is_empty() {
        return Ok(done());
    }
    // No redirect: as the answer of a form browsers would hold it against the page's `form-action`.
    let next = escape(&link.next_link);
    let body = format!(
        "<meta http-equiv=\"refresh\" content=\"0; url={next}\"><p><a href=\"{next}\">Go on</a></p>"
    );
    Ok(page(200, CONFIRMED, &body))
}

const CONFIRMED: &str = "Your address is confirmed";

fn done() -> Answer {
    page(200, CONFIRMED, "<p>Go back to your app and go on there.</p>")
}

fn over() -> Answer {
    let body = "<p>Ask for another in your app.</p>";
    page(400, "This link is over or incomplete", body)
}
