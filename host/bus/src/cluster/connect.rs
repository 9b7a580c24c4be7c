//! The connection to NATS and its state.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::config::{ClusterConfig, ClusterError, Credentials};
use super::subject::check;

/// A dead connection is noticed after three of them at the latest.
const PING: Duration = Duration::from_secs(2);
/// The longest wait between two attempts to reconnect.
const RECONNECT: Duration = Duration::from_secs(1);

/// Whether the node is connected to its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Whether it is now.
    pub connected: bool,
    /// Since when it is, or is not.
    pub since: SystemTime,
    /// How often it was lost.
    pub losses: u64,
    /// How often we were too slow, so that messages were dropped.
    pub overruns: u64,
}

pub(crate) type State = Arc<watch::Sender<Connection>>;

fn state() -> State {
    let now = SystemTime::now();
    let first = Connection { connected: false, since: now, losses: 0, overruns: 0 };
    Arc::new(watch::Sender::new(first))
}

/// Sets whether we are connected; nothing where it is known already.
pub(crate) fn set(state: &watch::Sender<Connection>, connected: bool) {
    state.send_if_modified(|connection| {
        if connection.connected == connected {
            return false;
        }
        connection.connected = connected;
        connection.since = SystemTime::now();
        connection.losses += u64::from(!connected);
        true
    });
}

fn happened(state: &watch::Sender<Connection>, event: &Event) {
    match event {
        Event::Connected => set(state, true),
        Event::Closed => set(state, false),
        Event::Disconnected => {
            tracing::warn!("the connection to NATS is lost: trying again");
            set(state, false);
        }
        Event::SlowConsumer(_) => {
            tracing::warn!("messages came faster than they were taken: some are lost");
            state.send_modify(|connection| connection.overruns += 1);
        }
        Event::LameDuckMode => tracing::info!("the NATS server is about to stop"),
        Event::ServerError(error) => tracing::warn!(%error, "NATS refused something"),
        Event::ClientError(error) => tracing::debug!(%error, "connection to NATS"),
        Event::Draining => {}
    }
}

/// The servers, without passwords.
pub(crate) fn shown(config: &ClusterConfig) -> String {
    let show = |server: &String| match server.parse::<ServerAddr>() {
        Ok(address) => format!("{}:{}", address.host(), address.port()),
        Err(_) => "(an address that cannot be read)".to_owned(),
    };
    config.servers.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// Connects, trying for a while where the servers do not answer yet.
pub(crate) async fn connect(
    config: &ClusterConfig,
) -> Result<(async_nats::Client, State), ClusterError> {
    check("prefix", &config.prefix, false)?;
    check("node name", &config.node, true)?;
    let mut servers = Vec::new();
    for server in &config.servers {
        let address = server.parse::<ServerAddr>().map_err(|error| {
            ClusterError::Setting(format!(
                "an address of the bus is not of the form nats://HOST:PORT: {error}"
            ))
        })?;
        servers.push(address);
    }
    if servers.is_empty() {
        return Err(ClusterError::Setting("the bus has no servers".to_owned()));
    }
    let state = state();
    let options = options(config, &servers, &state).await?;
    let until = Instant::now() + config.connect_timeout;
    let mut wait = Duration::from_millis(50);
    loop {
        let error = match options.clone().connect(servers.clone()).await {
            Ok(client) => {
                set(&state, true);
                return Ok((client, state));
            }
            Err(error) => error,
        };
        let reason = chain(&error);
        // A failed handshake comes as one of the socket.
        let kind = if reason.contains("certificate") || reason.contains("alert") {
            ConnectErrorKind::Tls
        } else {
            error.kind()
        };
        let later = matches!(
            kind,
            ConnectErrorKind::Io | ConnectErrorKind::TimedOut | ConnectErrorKind::Dns
        );
        if !later || Instant::now() + wait >= until {
            return Err(ClusterError::Connect { servers: shown(config), reason, hint: hint(kind) });
        }
        sleep(wait).await;
        wait = (wait * 2).min(RECONNECT);
    }
}

fn hint(kind: ConnectErrorKind) -> &'static str {
    match kind {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            "check the user and password in the URL, or the credentials or nkey file"
        }
        ConnectErrorKind::Tls => "check the CA file, the client certificate and the server's name",
        ConnectErrorKind::Dns => "check the host name",
        ConnectErrorKind::ServerParse => "write nats://HOST:PORT",
        _ => "is the NATS server running, and can this machine reach it?",
    }
}

/// An error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// A part of a URL as it was meant.
fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

async fn options(
    config: &ClusterConfig,
    servers: &[ServerAddr],
    state: &State,
) -> Result<ConnectOptions, ClusterError> {
    let events = Arc::clone(state);
    let mut options = ConnectOptions::new()
        .name(format!("{} {}", config.prefix, config.node))
        .ping_interval(PING)
        .connection_timeout(Duration::from_secs(3))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            let factor = 2_u32.saturating_pow(u32::try_from(attempts).unwrap_or(8).min(8));
            Duration::from_millis(10).saturating_mul(factor).min(RECONNECT)
        })
        .event_callback(move |event| {
            happened(&events, &event);
            std::future::ready(())
        });
    if let Some(server) = servers.iter().find(|server| server.username().is_some()) {
        let user = decoded(server.username().unwrap_or_default());
        options = match server.password() {
            Some(password) => options.user_and_password(user, decoded(password)),
            None => options.token(user),
        };
    }
    options = match &config.credentials {
        Credentials::None => options,
        Credentials::File(path) => options.credentials_file(path).await.map_err(|error| {
            let path = path.display();
            ClusterError::Setting(format!("cannot use the bus's credentials file {path}: {error}"))
        })?,
        Credentials::NkeySeed(path) => {
            let seed = tokio::fs::read_to_string(path).await.map_err(|error| {
                let path = path.display();
                ClusterError::Setting(format!("cannot read the bus's nkey seed {path}: {error}"))
            })?;
            options.nkey(seed.trim().to_owned())
        }
    };
    let tls = &config.tls;
    if tls.certificate.is_some() != tls.key.is_some() {
        return Err(ClusterError::Setting(
            "the bus's TLS certificate and its key belong together: give both or none".to_owned(),
        ));
    }
    for file in [&tls.ca, &tls.certificate, &tls.key].into_iter().flatten() {
        if let Err(error) = tokio::fs::metadata(file).await {
            let file = file.display();
            return Err(ClusterError::Setting(format!("cannot read the bus's {file}: {error}")));
        }
    }
    if let Some(ca) = &tls.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    if tls.required || tls.ca.is_some() || tls.certificate.is_some() {
        options = options.require_tls(true);
    }
    Ok(options)
}
