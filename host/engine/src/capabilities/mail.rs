//! `tessera:host/mail`: the grant and the quota here, the relay behind [`Mail`].

use super::log;
use crate::{api::BoxFuture, bindings::tessera::host::mail as wit, state::State};

/// The relay that takes mail.
pub trait Mail: Send + Sync + 'static {
    /// Hands one message to the relay, which has it after `Ok`. The implementation checks the message: nothing of it may
    /// become a header or another recipient.
    fn send(&self, message: MailMessage) -> BoxFuture<'_, Result<(), MailError>>;
}

/// One message to one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailMessage {
    /// An address such as `alice@example.org`.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
}

/// Why a message was not sent; the cases of the WIT error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// The relay will not take it, and will not later.
    #[error("refused: {0}")]
    Refused(String),
    /// Malformed.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The relay cannot be reached or is busy.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl wit::Host for State {
    async fn send(&mut self, message: wit::Message) -> wasmtime::Result<Result<(), wit::Error>> {
        self.enter()?;
        if let Some(reason) = self.shadow_refuses("mail") {
            return Ok(Err(wit::Error::Refused(reason)));
        }
        let caps = &self.caps;
        if !caps.mail {
            let reason = "not granted: mail ([grants] mail)";
            log::refused(self, "grant", reason);
            return Ok(Err(wit::Error::Refused(reason.to_owned())));
        }
        let Some(mail) = &caps.shared.mail else {
            let reason = "no relay is configured ([mail] relay)";
            return Ok(Err(wit::Error::Refused(reason.to_owned())));
        };
        if let Err(wait) = caps.shared.account.mail() {
            let reason = format!(
                "quota of mails used up, try again in {} s",
                wait.as_secs().saturating_add(1)
            );
            log::refused(self, "mail", &reason);
            return Ok(Err(wit::Error::Unavailable(reason)));
        }
        let wit::Message { to, subject, text, html } = message;
        let sent = mail.send(MailMessage { to, subject, text, html }).await;
        // The reason may hold the address, which is for the plug-in alone.
        match &sent {
            Err(MailError::Refused(_)) => log::refused(self, "mail", "the relay refused it"),
            Err(MailError::Unavailable(_)) => {
                log::refused(self, "mail", "the relay could not take it now");
            }
            Ok(()) | Err(MailError::Invalid(_)) => {}
        }
        Ok(sent.map_err(|error| match error {
            MailError::Refused(text) => wit::Error::Refused(text),
            MailError::Invalid(text) => wit::Error::Invalid(text),
            MailError::Unavailable(text) => wit::Error::Unavailable(text),
        }))
    }
}
