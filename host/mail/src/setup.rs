//! The relay, made of the descriptor's `[mail]`.

use std::{env, fs, path::PathBuf, time::Duration};

use lettre::{
    AsyncSmtpTransport,
    message::Mailbox,
    transport::smtp::{
        PoolConfig,
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
        extension::ClientId,
    },
};
use tessera_manifest::{Mail, MailSecurity};
use tokio::sync::Semaphore;

use crate::{Relay, helo::OldRelay, message::Sender, reason};

/// The environment variable that holds the password.
const PASSWORD: &str = "TESSERA_MAIL_PASSWORD";

/// A connection that nobody used for so long is closed; relays do so after some minutes.
const IDLE: Duration = Duration::from_secs(60);

/// Why there can be no relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailSetupError {
    /// `from` or `reply-to`.
    #[error(
        "[mail] {key}: `{value}` is no sender; expected one such as \"Example <matrix@example.org>\""
    )]
    Sender {
        /// The key.
        key: &'static str,
        /// What it holds.
        value: String,
    },
    /// A file of it cannot be used.
    #[error("[mail] {key} {}: {reason}", path.display())]
    File {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is a user, and no password.
    #[error("[mail] user: no password; name a `password-file`, or set TESSERA_MAIL_PASSWORD")]
    NoPassword,
    /// TLS cannot be set up.
    #[error("[mail] relay: {0}")]
    Tls(String),
}

impl Relay {
    /// The relay that the descriptor names, if it does. Reads files; no connection is made.
    ///
    /// # Errors
    /// An address is none, or a file cannot be used.
    pub fn new(settings: &Mail) -> Result<Option<Self>, MailSetupError> {
        let (Some(relay), Some(from)) = (&settings.relay, &settings.from) else { return Ok(None) };
        let from = sender("from", from)?;
        let reply_to = settings.reply_to.as_deref();
        let reply_to = reply_to.map(|value| sender("reply-to", value)).transpose()?;
        if settings.insecure {
            tracing::warn!("[mail] insecure: the relay's certificate is not checked");
        }
        let tls = match relay.security {
            MailSecurity::None => Tls::None,
            MailSecurity::StartTls => Tls::Required(tls(settings, &relay.host)?),
            MailSecurity::Tls => Tls::Wrapper(tls(settings, &relay.host)?),
        };
        let hello = settings.hello.as_deref().unwrap_or_else(|| from.email.domain());
        let hello = ClientId::Domain(hello.to_owned());
        // Who wants TLS or a log-in wants extensions, which such a relay has none of.
        let plain = relay.security == MailSecurity::None && settings.user.is_none();
        let old = plain.then(|| OldRelay {
            host: relay.host.clone(),
            port: relay.port,
            hello: hello.clone(),
        });
        let connections = settings.connections.get();
        let timeout = settings.timeout.get();
        let mut transport =
            AsyncSmtpTransport::<lettre::Tokio1Executor>::builder_dangerous(&*relay.host)
                .port(relay.port)
                .tls(tls)
                .hello_name(hello)
                .timeout(Some(timeout))
                .pool_config(PoolConfig::new().max_size(connections).idle_timeout(IDLE));
        if let Some(user) = &settings.user {
            transport = transport.credentials(Credentials::new(user.clone(), password(settings)?));
        }
        Ok(Some(Self {
            sender: Sender { from, reply_to },
            transport: transport.build(),
            old,
            room: Semaphore::new(connections as usize),
            timeout,
        }))
    }
}

fn sender(key: &'static str, value: &str) -> Result<Mailbox, MailSetupError> {
    value.parse().map_err(|_| MailSetupError::Sender { key, value: value.to_owned() })
}

fn password(settings: &Mail) -> Result<String, MailSetupError> {
    if let Ok(password) = env::var(PASSWORD) {
        return Ok(password);
    }
    let path = settings.password_file.as_ref().ok_or(MailSetupError::NoPassword)?;
    let failed = |reason| MailSetupError::File { key: "password-file", path: path.clone(), reason };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn tls(settings: &Mail, host: &str) -> Result<TlsParameters, MailSetupError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = &settings.ca_file {
        let failed = |reason| MailSetupError::File { key: "ca-file", path: path.clone(), reason };
        let pem = fs::read(path).map_err(|error| failed(error.to_string()))?;
        let found = Certificate::from_pem(&pem).map_err(|error| failed(reason(&error)))?;
        builder = builder.add_root_certificate(found);
    }
    if settings.insecure {
        builder = builder.dangerous_accept_invalid_certs(true);
    }
    builder.build_rustls().map_err(|error| MailSetupError::Tls(reason(&error)))
}
