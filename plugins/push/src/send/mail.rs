//! Mails of missed messages: one for all that waited, seldom.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use tessera_sdk::matrix::Error;
use tessera_sdk::storage::Batch;
use tessera_sdk::{clock, crypto, log, mail, params};

use super::Done;
use super::gateway::Names;
use super::waiting::{self, Notification, Waiting};
use crate::pushers::{self, Config, Key};

/// After a mail there is none for ten minutes; then, while none of the messages is read, for ever longer.
const QUIET_FIRST_MS: u64 = 10 * 60 * 1000;
/// One a day at most goes to who reads none.
const QUIET_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// The pause begins anew after so long without a mail.
const QUIET_RESET_MS: u64 = 12 * 60 * 60 * 1000;
/// Messages of one room that a mail shows, rooms, and characters of a message.
const MESSAGES: usize = 10;
const ROOMS: usize = 20;
const CHARS: usize = 200;

/// Sends what is unread for long enough.
///
/// # Errors
/// Storage.
pub(super) fn tell(key: &Key, waiting: &Waiting) -> Result<Done, Error> {
    let config = pushers::configured()?;
    let now = clock::now_ms();
    let unread: Vec<&Notification> =
        waiting.notifications.iter().filter(|notification| !notification.read).collect();
    let last = waiting.notifications.last().map_or(0, |notification| notification.position);
    let Some(oldest) = unread.iter().map(|notification| notification.created_ms).min() else {
        waiting::told(key, last, None)?;
        return Ok(if waiting.more { Done::Later(now) } else { Done::Quiet { badge: -1 } });
    };
    let due = oldest.saturating_add(config.mail_after_ms);
    let due = due.max(waiting.mailed_ms.saturating_add(waiting.quiet_ms));
    if due > now {
        return Ok(Done::Later(due));
    }
    let message = compose(key, waiting, &unread, &config)?;
    match mail::send(&message) {
        Ok(()) => {}
        Err(mail::Error::Unavailable(reason)) => {
            log::info("no mail of missed messages", &[("reason", &reason)]);
            return Ok(Done::Failed);
        }
        Err(mail::Error::Refused(reason) | mail::Error::Invalid(reason)) => {
            log::warn("a mail of missed messages was refused", &[("reason", &reason)]);
        }
    }
    let quiet = match now.saturating_sub(waiting.mailed_ms) > QUIET_RESET_MS {
        true => QUIET_FIRST_MS,
        false => waiting.quiet_ms.saturating_mul(12).clamp(QUIET_FIRST_MS, QUIET_MAX_MS),
    };
    let (mut mailed, mut told) = (key.params(), key.params());
    mailed.extend(params![now, quiet]);
    told.extend(params![last]);
    Batch::new()
        .run(
            "UPDATE push_pushers SET mailed_ms = $4, quiet_ms = $5 \
             WHERE user_id = $1 AND app_id = $2 AND pushkey = $3",
            mailed,
        )
        .run(
            "DELETE FROM push_queue WHERE user_id = $1 AND app_id = $2 AND pushkey = $3 AND position <= $4",
            told,
        )
        .commit_blind()?;
    Ok(if waiting.more {
        Done::Later(now.saturating_add(quiet))
    } else {
        Done::Quiet { badge: -1 }
    })
}

fn compose(
    key: &Key,
    waiting: &Waiting,
    unread: &[&Notification],
    config: &Config,
) -> Result<mail::Message, Error> {
    let brand = waiting.data.get("brand").and_then(Value::as_str).map(plain);
    let name = brand.filter(|brand| !brand.is_empty());
    let name = name.or_else(|| config.mail_name.clone()).unwrap_or_else(crypto::tenant_name);
    let mut rooms: BTreeMap<&str, Vec<&Notification>> = BTreeMap::new();
    for notification in unread {
        rooms.entry(&notification.room_id).or_default().push(notification);
    }
    let mut text = format!("There is news for you, {}.\n", key.user_id);
    let mut first = None;
    for (room_id, messages) in rooms.iter().take(ROOMS) {
        let mut title = None;
        let mut lines = String::new();
        for message in messages.iter().take(MESSAGES) {
            let of = |name: &str| message.event.as_ref()?.get(name)?.as_str();
            let sender = of("sender").unwrap_or_default();
            let names = Names::read(room_id, sender)?;
            let who = names.sender.as_deref().map_or_else(|| sender.to_owned(), plain);
            let _ = writeln!(lines, "  {who}: {}", gist(message));
            title = title.or(names.room.or(names.alias));
        }
        if messages.len() > MESSAGES {
            let _ = writeln!(lines, "  … and {} more", messages.len() - MESSAGES);
        }
        let title = title.map_or_else(|| "a conversation".to_owned(), |title| plain(&title));
        let _ = write!(text, "\nIn {title}:\n{lines}");
        first = first.or(Some(title));
    }
    if rooms.len() > ROOMS {
        let _ = writeln!(text, "\n… and in {} more", rooms.len() - ROOMS);
    }
    if let Some(base) = &config.base_url {
        let base = base.trim_end_matches('/');
        let _ = write!(
            text,
            "\nNo more of these mails: {base}/_tessera/push/unsubscribe?token={}\n",
            waiting.token
        );
    }
    let subject = match (rooms.len(), first) {
        (1, Some(title)) => format!("[{name}] You have messages in {title}"),
        (count, _) => format!("[{name}] You have messages in {count} rooms"),
    };
    let subject = subject.chars().take(CHARS).collect();
    Ok(mail::Message { to: key.pushkey.clone(), subject, text, html: None })
}

/// What a message says, in one line.
fn gist(message: &Notification) -> String {
    let event = message.event.as_ref();
    let kind = event.and_then(|event| event.get("type")?.as_str());
    let content = |name: &str| event.and_then(|event| event.get("content")?.get(name)?.as_str());
    match kind {
        Some("m.room.message") => plain(content("body").unwrap_or("a message")),
        Some("m.room.member") => "invited you".to_owned(),
        Some("m.call.invite") => "called".to_owned(),
        _ => "an encrypted message".to_owned(),
    }
}

/// One line of limited length.
fn plain(text: &str) -> String {
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS).collect();
    if text.chars().count() > CHARS {
        line.push('…');
    }
    line
}
