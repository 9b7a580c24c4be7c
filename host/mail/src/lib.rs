//! Mail to people, for plug-ins: the operator's relay (`[mail]` of the descriptor), spoken to by SMTP.
//!
//! The relay is the operator's choice, so the address guard of `fetch` has no say here. What a plug-in gives becomes one
//! message to one address; all headers are made here, so none can be slipped in.

mod helo;
mod message;
mod setup;

use std::time::Duration;

use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor, transport::smtp};
use tessera_engine::{Mail, MailError, MailMessage, api::BoxFuture};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

pub use self::setup::MailSetupError;
use self::{
    helo::{OldError, OldRelay},
    message::Sender,
};

/// The relay of a process.
pub struct Relay {
    sender: Sender,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    /// How it is spoken to where it does not know `EHLO`, if that may be.
    old: Option<OldRelay>,
    /// Messages on their way at once; more wait within their own time.
    room: Semaphore,
    timeout: Duration,
}

impl Relay {
    async fn run(&self, message: MailMessage) -> Result<(), MailError> {
        let message = self.sender.message(message)?;
        let sending = async {
            let Ok(_room) = self.room.acquire().await else {
                return Err(MailError::Unavailable("this server stops".to_owned()));
            };
            match (self.transport.send(message.clone()).await, &self.old) {
                (Err(error), Some(old)) if helo::unknown_command(&error) => {
                    old.send(&message).await.map_err(|error| match error {
                        OldError::Relay(error) => failed(error),
                        error => MailError::Unavailable(reason(&error)),
                    })
                }
                (sent, _) => sent.map(drop).map_err(failed),
            }
        };
        timeout_at(Instant::now() + self.timeout, sending).await.unwrap_or_else(|_| {
            Err(MailError::Unavailable("the relay did not answer in time".to_owned()))
        })
    }
}

impl Mail for Relay {
    fn send(&self, message: MailMessage) -> BoxFuture<'_, Result<(), MailError>> {
        Box::pin(self.run(message))
    }
}

/// What to tell a plug-in. Only a relay that says so for good is not asked again.
fn failed(error: smtp::Error) -> MailError {
    if error.is_permanent() {
        MailError::Refused(format!("the relay will not take it: {}", reason(&error)))
    } else {
        MailError::Unavailable(reason(&error))
    }
}

/// An error with what caused it, in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.replace(char::is_control, " ")
}
