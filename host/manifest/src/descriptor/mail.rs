//! Mail to people, through a relay.

use std::{fmt, num::NonZeroU32, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::count;
use crate::{
    Duration,
    text::{Text, text_traits},
};

/// `[mail]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Mail {
    /// The server that takes mail; absent: none is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<MailRelay>,
    /// The user at the relay; absent: nobody in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A file that holds the password of `user`. The environment variable `TESSERA_MAIL_PASSWORD` goes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The sender, such as `Example <matrix@example.org>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where answers go; absent: to the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The name that this server greets the relay with; absent: the domain of `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello: Option<String>,
    /// How long one message may take, its wait for a connection included.
    pub timeout: Duration,
    /// Connections to the relay at once.
    pub connections: NonZeroU32,
    /// PEM file of certificate authorities trusted beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The relay's certificate is not checked, and a password may travel in the clear. For tests only.
    pub insecure: bool,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            relay: None,
            user: None,
            password_file: None,
            from: None,
            reply_to: None,
            hello: None,
            timeout: Duration::secs(30),
            connections: count(8),
            ca_file: None,
            insecure: false,
        }
    }
}

/// Where the relay is, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRelay {
    /// When TLS begins.
    pub security: MailSecurity,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// `smtp://`: never.
    None,
    /// `starttls://`: before anything is said; a relay that cannot is refused.
    StartTls,
    /// `smtps://`: at once.
    Tls,
}

impl MailSecurity {
    /// The scheme, and the port where none is named.
    const ALL: [(&'static str, u16, Self); 3] =
        [("smtp", 25, Self::None), ("starttls", 587, Self::StartTls), ("smtps", 465, Self::Tls)];
}

impl Text for MailRelay {
    const EXPECTED: &'static str = "a relay such as \"smtps://mail.example.org\", \
        \"starttls://mail.example.org:587\" or \"smtp://127.0.0.1:25\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("has no scheme")?;
        let found = MailSecurity::ALL.iter().find(|(name, ..)| *name == scheme);
        let (_, usual, security) = *found.ok_or("has an unknown scheme")?;
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("lacks a closing bracket")?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| "holds no IPv6 address")?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':').ok_or("has something behind its host")?),
                };
                (host, port)
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(plain) {
            return Err("has no good host".to_owned());
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| "has no good port")?,
            None => usual,
        };
        Ok(Self { security, host: host.to_owned(), port })
    }
}

impl fmt::Display for MailRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = MailSecurity::ALL.iter().find(|(.., security)| *security == self.security);
        let scheme = found.map_or("smtp", |(name, ..)| *name);
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

text_traits!(MailRelay, pattern "^(smtp|smtps|starttls)://.+$");

#[cfg(test)]
mod tests {
    use super::{MailRelay, MailSecurity};

    #[test]
    fn a_relay_says_how_it_is_spoken_to() {
        for (text, security, host, port) in [
            ("smtp://127.0.0.1:2525", MailSecurity::None, "127.0.0.1", 2525),
            ("starttls://mail.example.org", MailSecurity::StartTls, "mail.example.org", 587),
            ("smtps://[::1]", MailSecurity::Tls, "::1", 465),
        ] {
            let relay: MailRelay = text.parse().unwrap();
            assert_eq!((relay.security, &*relay.host, relay.port), (security, host, port));
            assert_eq!(relay.to_string().parse::<MailRelay>().unwrap(), relay);
        }
        for bad in
            ["mail.example.org", "http://a", "smtp://", "smtp://a b", "smtp://a:b", "smtp://[a]"]
        {
            assert!(bad.parse::<MailRelay>().is_err(), "{bad}");
        }
    }
}
