//! A message as it goes out.

use lettre::{
    Address, Message,
    message::{Mailbox, MultiPart, SinglePart, header},
};
use tessera_engine::{MailError, MailMessage};

/// Bytes of an address (RFC 5321, section 4.5.3.1: 64 + 1 + 255).
const ADDRESS_MAX: usize = 320;
/// Bytes of a subject: what a line may hold (RFC 5322, section 2.1.1).
const SUBJECT_MAX: usize = 998;
/// Bytes of a message's text, and of its HTML.
const BODY_MAX: usize = 256 * 1024;

/// Who messages come from.
pub(crate) struct Sender {
    pub(crate) from: Mailbox,
    pub(crate) reply_to: Option<Mailbox>,
}

impl Sender {
    /// Makes a message.
    pub(crate) fn message(&self, given: MailMessage) -> Result<Message, MailError> {
        let invalid = |what: &str| MailError::Invalid(what.to_owned());
        if given.to.len() > ADDRESS_MAX {
            return Err(invalid("the address is too long"));
        }
        let to: Address = given.to.parse().map_err(|_| invalid("no address of mail"))?;
        if given.subject.len() > SUBJECT_MAX || given.subject.contains(char::is_control) {
            return Err(invalid("the subject is too long, or holds control characters"));
        }
        let html = given.html.as_deref().unwrap_or_default();
        if given.text.len() > BODY_MAX || html.len() > BODY_MAX {
            return Err(invalid("the message is too long"));
        }
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(given.subject)
            .date_now()
            .message_id(Some(self.id()))
            // Nobody's holiday notice should answer (RFC 3834).
            .raw_header(auto_submitted());
        if let Some(reply_to) = &self.reply_to {
            message = message.reply_to(reply_to.clone());
        }
        let made = match given.html {
            Some(html) => message.multipart(MultiPart::alternative_plain_html(given.text, html)),
            None => message.singlepart(SinglePart::plain(given.text)),
        };
        made.map_err(|error| MailError::Invalid(error.to_string()))
    }

    /// An id that no other message has, at the sender's domain.
    fn id(&self) -> String {
        use std::{
            process,
            sync::atomic::{AtomicU64, Ordering},
            time::{SystemTime, UNIX_EPOCH},
        };
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("<{now:x}.{:x}.{next:x}@{}>", process::id(), self.from.email.domain())
    }
}

fn auto_submitted() -> header::HeaderValue {
    let name = header::HeaderName::new_from_ascii_str("Auto-Submitted");
    header::HeaderValue::new(name, "auto-generated".to_owned())
}

#[cfg(test)]
mod tests {
    use tessera_engine::{MailError, MailMessage};

    use super::Sender;

    fn make(to: &str, subject: &str, text: &str) -> Result<String, MailError> {
        let from = "Example <matrix@example.org>".parse().unwrap();
        let sender = Sender { from, reply_to: Some("help@example.org".parse().unwrap()) };
        let (to, subject, text) = (to.to_owned(), subject.to_owned(), text.to_owned());
        let made = sender.message(MailMessage { to, subject, text, html: None })?;
        Ok(String::from_utf8(made.formatted()).unwrap())
    }

    #[test]
    fn headers_are_the_hosts() {
        let made = make("alice@example.com", "Grüße", "hello").unwrap();
        for line in [
            "From: Example <matrix@example.org>\r\n",
            "Reply-To: help@example.org\r\n",
            "To: alice@example.com\r\n",
            "Auto-Submitted: auto-generated\r\n",
        ] {
            assert!(made.contains(line), "{line} in {made}");
        }
        assert!(made.contains("Subject: =?utf-8?b?"), "{made}");
    }

    #[test]
    fn nothing_of_a_message_becomes_a_header() {
        for to in [
            "alice@example.com\r\nBcc: eve@example.com",
            "alice@example.com, eve@example.com",
            "<alice@example.com>",
            "Alice <alice@example.com>",
            "alice",
            "",
        ] {
            assert!(matches!(make(to, "s", "t"), Err(MailError::Invalid(_))), "{to}");
        }
        for subject in ["a\r\nBcc: eve@example.com", "a\nb", "a\0b"] {
            let made = make("alice@example.com", subject, "t");
            assert!(matches!(made, Err(MailError::Invalid(_))), "{subject}");
        }
        let made = make("alice@example.com", "s", "one\r\n.\r\nBcc: eve@example.com").unwrap();
        let (headers, _) = made.split_once("\r\n\r\n").unwrap();
        assert!(!headers.contains("Bcc"), "{made}");
    }
}
