//! Proof that somebody reads the mail of an address: a link is sent there.
//!
//! Spec: client-server API, `…/email/requestToken`; Identity Service API, Email associations, for the form of the words.

use tessera_sdk::matrix::Error;
use tessera_sdk::storage::{self, Batch, query};
use tessera_sdk::{clock, digest, params, random};

use crate::secret;

/// How long a link is good, and then what it proved.
pub const LIFETIME_MS: u64 = 60 * 60 * 1000;
/// Proofs kept at once; the oldest go first. Anybody may ask for one.
const MAX_KEPT: i64 = 10_000;

/// What a proof is for; one of one kind is good for no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A new account.
    Register,
    /// A new password for an account that has the address.
    Password,
    /// An address of an account.
    Add,
}

impl Purpose {
    /// As stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Password => "password",
            Self::Add => "add",
        }
    }

    fn of(name: &str) -> Self {
        match name {
            "register" => Self::Register,
            "password" => Self::Password,
            _ => Self::Add,
        }
    }
}

/// What a client's secret is stored as: it is only compared.
fn key(client_secret: &str) -> String {
    digest::sha256(client_secret.as_bytes())
}

/// What came of the wish for a mail.
#[derive(Debug)]
pub struct Begun {
    /// The session's id.
    pub sid: String,
    /// What the mail has to carry. None: this mail has been sent.
    pub token: Option<String>,
}

/// Begins a proof, or goes on with one of the same address and client secret. What it had proved has to be proved anew. [`sent`] notes
/// that the mail has gone. `hidden`: one that can prove nothing, for answers that look like the others.
///
/// # Errors
/// Storage.
pub fn begin(
    purpose: Purpose,
    address: &str,
    client_secret: &str,
    send_attempt: u64,
    next_link: &str,
    hidden: bool,
) -> Result<Begun, Error> {
    let now = clock::now_ms();
    let client_secret = &key(client_secret);
    let name = purpose.name();
    let name = if hidden { format!("hidden-{name}") } else { name.to_owned() };
    let found: Option<(String, i64, u64)> = query(
        "SELECT sid, send_attempt, created_ms FROM accounts_validations \
         WHERE purpose = $1 AND address = $2 AND client_secret = $3",
        params![&name, address, client_secret],
    )?
    .first()?;
    let sid = match found {
        Some((sid, sent, created)) if created.saturating_add(LIFETIME_MS) > now => {
            if u64::try_from(sent).is_ok_and(|sent| sent >= send_attempt) {
                return Ok(Begun { sid, token: None });
            }
            sid
        }
        _ => random::token(),
    };
    let token = random::token();
    Batch::new()
        .run(
            "DELETE FROM accounts_validations WHERE created_ms < $1",
            params![now.saturating_sub(LIFETIME_MS)],
        )
        .run(
            "DELETE FROM accounts_validations WHERE sid IN (SELECT v.sid FROM accounts_validations AS v \
             ORDER BY v.created_ms DESC LIMIT 1000 OFFSET $1)",
            params![MAX_KEPT - 1],
        )
        .run(
            "INSERT INTO accounts_validations (sid, purpose, address, client_secret, send_attempt, token, \
             next_link, created_ms) VALUES ($1, $2, $3, $4, -1, $5, $6, $7) \
             ON CONFLICT (purpose, address, client_secret) DO UPDATE SET token = excluded.token, \
             next_link = excluded.next_link, created_ms = excluded.created_ms, validated_ms = NULL",
            params![
                &sid,
                &name,
                address,
                client_secret,
                digest::sha256(token.as_bytes()),
                next_link,
                now
            ],
        )
        .commit_blind()?;
    // Another request of the same words may have been quicker: the session is the one that is there.
    let there: Option<(String,)> = query(
        "SELECT sid FROM accounts_validations WHERE purpose = $1 AND address = $2 AND client_secret = $3",
        params![&name, address, client_secret],
    )?
    .first()?;
    Ok(Begun { sid: there.map_or(sid, |(sid,)| sid), token: Some(token) })
}

/// Notes that the mail of a wish has gone: the same wish is met then, and sends no other.
///
/// # Errors
/// Storage.
pub fn sent(sid: &str, send_attempt: u64) -> Result<(), Error> {
    let sql =
        "UPDATE accounts_validations SET send_attempt = $2 WHERE sid = $1 AND send_attempt < $2";
    Batch::new().run(sql, params![sid, send_attempt]).commit_blind()?;
    Ok(())
}

/// A link that somebody follows.
#[derive(Debug, Clone)]
pub struct Link {
    /// What it is for.
    pub purpose: Purpose,
    /// Whose mail it was in.
    pub address: String,
    /// Where to go afterwards; empty: nowhere.
    pub next_link: String,
}

type LinkRow = (String, String, String, String, String);

/// What a link means, if it is good now.
///
/// # Errors
/// Storage.
pub fn follow(sid: &str, client_secret: &str, token: &str) -> Result<Option<Link>, Error> {
    let found: Option<LinkRow> = query(
        "SELECT purpose, address, next_link, client_secret, token FROM accounts_validations \
         WHERE sid = $1 AND created_ms > $2",
        params![sid, clock::now_ms().saturating_sub(LIFETIME_MS)],
    )?
    .first()?;
    let Some((purpose, address, next_link, known, hash)) = found else { return Ok(None) };
    let right = secret::same(&known, &key(client_secret))
        & secret::same(&hash, &digest::sha256(token.as_bytes()));
    Ok(right.then(|| Link { purpose: Purpose::of(&purpose), address, next_link }))
}

/// Notes that the address is proved.
///
/// # Errors
/// Storage.
pub fn confirm(sid: &str) -> Result<(), Error> {
    Batch::new()
        .run(
            "UPDATE accounts_validations SET validated_ms = $2 WHERE sid = $1 AND validated_ms IS NULL",
            params![sid, clock::now_ms()],
        )
        .commit_blind()?;
    Ok(())
}

/// An address that was proved.
#[derive(Debug, Clone)]
pub struct Proved {
    /// The session.
    pub sid: String,
    /// Canonical.
    pub address: String,
    /// When.
    pub validated_ms: u64,
}

/// What a session has proved for this purpose. None: nothing, or the session is over, or the secret is not its own.
///
/// # Errors
/// Storage.
pub fn proved(purpose: Purpose, sid: &str, client_secret: &str) -> Result<Option<Proved>, Error> {
    let found: Option<(String, String, Option<u64>)> = query(
        "SELECT address, client_secret, validated_ms FROM accounts_validations \
         WHERE sid = $1 AND purpose = $2 AND created_ms > $3",
        params![sid, purpose.name(), clock::now_ms().saturating_sub(LIFETIME_MS)],
    )?
    .first()?;
    let Some((address, known, Some(validated_ms))) = found else { return Ok(None) };
    let right = secret::same(&known, &key(client_secret));
    Ok(right.then(|| Proved { sid: sid.to_owned(), address, validated_ms }))
}

/// Spends a proof in a batch: it is good once. The statement conflicts if another was quicker.
pub fn spend(batch: Batch, sid: &str) -> Batch {
    batch.run("DELETE FROM accounts_validations WHERE sid = $1", params![sid]).expect(1)
}

/// 401 `M_THREEPID_AUTH_FAILED`: what is said where there is no proof.
pub fn failed(status: u16) -> Error {
    let text = "this address is not proved: follow the link in the mail first";
    Error::with_status(status, "M_THREEPID_AUTH_FAILED", text)
}

/// Whether a commit failed because of the statement at `index`.
pub fn is_conflict(error: &storage::Error, index: u32) -> bool {
    matches!(error, storage::Error::Conflict(at) if *at == index)
}
