//! The words of mails. `[plugins.accounts.config] mail-texts` puts others in their place.

use serde_json::Value;
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::{crypto, log, mail};

use crate::config::{self, Config};
use crate::{outside, threepids};

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A link for a new account.
    Register,
    /// A link for a new password.
    Password,
    /// A link for an address of an account.
    Add,
    /// Somebody wanted to register or add an address that is in use.
    InUse,
    /// Somebody wanted a new password for an address that no account has.
    Unknown,
}

struct Words {
    name: &'static str,
    subject: &'static str,
    text: &'static str,
}

impl Kind {
    const fn words(self) -> Words {
        match self {
            Self::Register => Words {
                name: "register",
                subject: "Confirm your address for {server}",
                text: "Somebody, probably you, is registering at {server} with this address.\n\n\
                       To confirm that it is yours, follow this link within an hour:\n\n{link}\n\n\
                       If it was not you, do nothing.\n",
            },
            Self::Password => Words {
                name: "password",
                subject: "A new password at {server}",
                text: "Somebody, probably you, wants a new password for your account at {server}.\n\n\
                       To allow it, follow this link within an hour:\n\n{link}\n\n\
                       If it was not you, do nothing: your password stays as it is.\n",
            },
            Self::Add => Words {
                name: "add",
                subject: "Confirm your address for {server}",
                text: "Somebody, probably you, is adding this address to an account at {server}.\n\n\
                       To confirm that it is yours, follow this link within an hour:\n\n{link}\n\n\
                       If it was not you, do nothing.\n",
            },
            Self::InUse => Words {
                name: "in-use",
                subject: "You have an account at {server}",
                text: "Somebody, probably you, wanted to use this address at {server}.\n\n\
                       It belongs to an account there already. If that is yours and you forgot the password, \
                       ask for a new one in your app.\n",
            },
            Self::Unknown => Words {
                name: "unknown",
                subject: "No account has your address at {server}",
                text: "Somebody, probably you, wants a new password at {server}, but no account there has this address.\n\n\
                       If it was you, try another address. If it was not you, do nothing.\n",
            },
        }
    }
}

/// Sends a mail.
///
/// # Errors
/// `M_THREEPID_MEDIUM_NOT_SUPPORTED` where no mail can be sent, `M_INVALID_PARAM` for an address that the relay will not take,
/// 503 where it is busy, 429 where too many mails are on their way.
pub fn send(to: &str, kind: Kind, link: &str) -> Result<(), Error> {
    let message = write(&config::get()?, to, kind, link);
    outside::with(outside::Kind::Mail, || mail::send(&message))?.map_err(|error| match error {
        // The relay's words may hold the address, so they are not logged; the host says that it refused.
        mail::Error::Refused(_) => {
            log::warn("a mail could not be sent: it was refused", &[]);
            threepids::not_supported("this server does not send mail there")
        }
        mail::Error::Invalid(_) => Error::invalid_param("this is no e-mail address"),
        mail::Error::Unavailable(_) => {
            log::warn("a mail could not be sent: the relay could not take it now", &[]);
            Error::new(ErrorCode::Unknown, "this server cannot send mail now").status(503)
        }
    })
}

fn write(config: &Config, to: &str, kind: Kind, link: &str) -> mail::Message {
    let words = kind.words();
    let own = config.mail_texts.get(words.name);
    let own = |part: &str| own.and_then(|own| own.get(part)).and_then(Value::as_str);
    let server = config.mail_name.clone().unwrap_or_else(crypto::tenant_name);
    let fill = |text: &str, encode: fn(&str) -> String| {
        text.replace("{server}", &encode(&server)).replace("{link}", &encode(link))
    };
    let plain = |text: &str| text.to_owned();
    let text = own("text").unwrap_or(words.text);
    let html = match own("html") {
        Some(html) => fill(html, escape),
        None => html(text, &server, link),
    };
    mail::Message {
        to: to.to_owned(),
        subject: fill(own("subject").unwrap_or(words.subject), plain),
        text: fill(text, plain),
        html: Some(html),
    }
}

/// The text as HTML, with the link to press.
fn html(text: &str, server: &str, link: &str) -> String {
    let link = escape(link);
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|part| escape(part.trim()).replace("{server}", &escape(server)))
        .map(|part| part.replace("{link}", &format!("<a href=\"{link}\">{link}</a>")))
        .map(|part| format!("<p>{part}</p>"))
        .collect();
    format!("<!doctype html><html><body>{}</body></html>", paragraphs.concat())
}

/// Text as it stands in HTML, in attributes too.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
