//! Facts about the relay, against a server that keeps what it is given.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::{fs, net::TcpListener, sync::Arc};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tessera_engine::{Mail as _, MailError, MailMessage};
use tessera_mail::{MailSetupError, Relay};
use tessera_manifest::Descriptor;
use tessera_test_services::MailSink;

fn relay(lines: &str) -> Relay {
    made(lines).unwrap().expect("a relay")
}

fn made(lines: &str) -> Result<Option<Relay>, MailSetupError> {
    let text = format!("[mail]\nfrom = 'Example <matrix@example.org>'\n{lines}");
    Relay::new(&Descriptor::parse("test.toml", &text).unwrap().mail)
}

fn message(to: &str) -> MailMessage {
    MailMessage {
        to: to.to_owned(),
        subject: "Confirm your address".to_owned(),
        text: format!("A link: https://example.org/?token={}\n.\nGrüße", "x".repeat(100)),
        html: Some("<p>A link</p>".to_owned()),
    }
}

#[tokio::test]
async fn a_message_reaches_the_relay_whole() {
    let sink = MailSink::start().unwrap();
    let relay = relay(&format!("relay = 'smtp://{}'", sink.address()));
    relay.send(message("alice@example.com")).await.unwrap();
    // Acknowledged means that the relay has it.
    let mails = sink.mails();
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!(
        (&*mail.from, &*mail.to),
        ("matrix@example.org", &["alice@example.com".to_owned()][..])
    );
    assert_eq!(mail.header("subject").unwrap(), "Confirm your address");
    assert_eq!(mail.header("from").unwrap(), "Example <matrix@example.org>");
    assert!(mail.header("message-id").unwrap().ends_with("@example.org>"));
    assert_eq!(mail.text().trim(), message("").text);
    assert_eq!(mail.html().trim(), "<p>A link</p>");
    assert!(mail.login.is_none());
}

#[tokio::test]
async fn a_relay_without_extensions_is_greeted_as_of_old() {
    let sink = MailSink::start_old().unwrap();
    let relay = relay(&format!("relay = 'smtp://{}'", sink.address()));
    relay.send(message("alice@example.com")).await.unwrap();
    let refused = relay.send(message("refused@example.com")).await.unwrap_err();
    assert!(matches!(refused, MailError::Refused(_)), "{refused}");
    let mails = sink.mails();
    assert_eq!((mails.len(), mails[0].text().trim()), (1, &*message("").text));
}

#[tokio::test]
async fn what_the_relay_says_is_told_apart() {
    let sink = MailSink::start().unwrap();
    let relay = relay(&format!("relay = 'smtp://{}'", sink.address()));
    let refused = relay.send(message("refused@example.com")).await.unwrap_err();
    assert!(matches!(refused, MailError::Refused(_)), "{refused}");
    let later = relay.send(message("later@example.com")).await.unwrap_err();
    assert!(matches!(later, MailError::Unavailable(_)), "{later}");
    let invalid = relay.send(message("a@b.c\r\nRCPT TO:<d@e.f>")).await.unwrap_err();
    assert!(matches!(invalid, MailError::Invalid(_)), "{invalid}");
    assert!(sink.mails().is_empty());
    relay.send(message("alice@example.com")).await.unwrap();
    assert_eq!(sink.mails().len(), 1);
}

#[tokio::test]
async fn a_relay_that_is_not_there_may_be_asked_later() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failed = relay(&format!("relay = 'smtp://{free}'")).send(message("a@example.com")).await;
    assert!(matches!(failed, Err(MailError::Unavailable(_))), "{failed:?}");
    // One that takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let lines = format!("relay = 'smtp://{}'\ntimeout = '200ms'", silent.local_addr().unwrap());
    let failed = relay(&lines).send(message("a@example.com")).await;
    assert!(matches!(failed, Err(MailError::Unavailable(_))), "{failed:?}");
}

/// A sink that speaks TLS with a certificate of `localhost`, and the authority behind it.
fn secure() -> (MailSink, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let sink = MailSink::start_with(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).ok()?;
        Some(Box::new(StreamOwned::new(connection, stream)))
    });
    (sink.unwrap(), made.cert.pem())
}

#[tokio::test]
async fn a_password_goes_over_tls_to_who_is_trusted() {
    let (sink, authority) = secure();
    let folder = tempfile::tempdir().unwrap();
    let (password, ca) = (folder.path().join("password"), folder.path().join("ca.pem"));
    fs::write(&password, "se cret\n").unwrap();
    fs::write(&ca, authority).unwrap();
    let lines = format!(
        "relay = 'smtps://localhost:{}'\nuser = 'matrix'\npassword-file = '{}'\n",
        sink.address().port(),
        password.display()
    );
    let stranger = relay(&lines).send(message("alice@example.com")).await.unwrap_err();
    assert!(matches!(stranger, MailError::Unavailable(_)), "{stranger}");
    let trusted = relay(&format!("{lines}ca-file = '{}'", ca.display()));
    trusted.send(message("alice@example.com")).await.unwrap();
    let login = sink.mails()[0].login.clone().unwrap();
    assert_eq!(login, ("matrix".to_owned(), "se cret".to_owned()));
}

#[test]
fn what_cannot_work_is_said_at_the_start() {
    assert!(made("").unwrap().is_none());
    let no_password = made("relay = 'smtps://localhost'\nuser = 'a'").err().unwrap();
    assert!(matches!(no_password, MailSetupError::NoPassword), "{no_password}");
    let no_file = made("relay = 'smtps://localhost'\nuser = 'a'\npassword-file = '/nowhere'");
    let no_file = no_file.err().unwrap();
    assert!(no_file.to_string().contains("/nowhere"), "{no_file}");
    let no_reply = made("relay = 'smtp://localhost'\nreply-to = 'nobody'").err().unwrap();
    assert!(no_reply.to_string().contains("reply-to"), "{no_reply}");
    for bad in [
        "[mail]\nrelay = 'smtp://localhost'",
        "[mail]\nrelay = 'smtp://localhost'\nfrom = 'a@b.c'\nuser = 'u'",
        "[mail]\nrelay = 'localhost'\nfrom = 'a@b.c'",
    ] {
        Descriptor::parse("test.toml", bad).unwrap_err();
    }
}
