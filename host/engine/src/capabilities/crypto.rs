//! `tessera:host/crypto`: the tenant's signing key, batches of checks, and password hashes.

use std::{fs, io, path::Path, sync::Arc, time::Instant};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::phc::PasswordHash,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use tokio::sync::Semaphore;

use super::{Shared, line::Line, log};
use crate::{bindings::tessera::host::crypto as wit, compile, quota::Account, state::State};

/// Signatures made or checked at once where the caller runs: some half a millisecond. More go to threads for such work.
const INLINE: usize = 8;
/// The same in bytes of messages.
const INLINE_BYTES: usize = 256 << 10;
/// Signatures between two moments at which a call that nobody waits for ends.
const CHUNK: usize = 128;
/// What a stored hash may ask for where the configured cost is less: KiB, passes, lanes. Who writes the hash
/// must not choose how much of the machine a check takes.
const COST_MAX: (u32, u32, u32) = (256 << 10, 32, 32);

/// Passwords that may wait for their turn: seconds of work, and no caller waits longer.
const WAITING_MAX: usize = 1_024;

/// What hashing a password costs (argon2id).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Hashes worked on at once; more wait, tenant by tenant.
    pub at_once: u32,
}

/// Why the tenant has no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The key's file cannot be read or made, or holds no key.
    #[error("signing key {path}: {source}")]
    Key {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// argon2 refuses these parameters.
    #[error("password cost: {0}")]
    Cost(String),
}

/// A tenant's key and the host's password hashing.
pub struct Crypto {
    key: SigningKey,
    key_id: String,
    public: String,
    shared: Arc<Passwords>,
}

/// Password hashing, and threads for signatures: once for the process, whatever its tenants are.
pub struct Passwords {
    argon2: Argon2<'static>,
    line: Arc<Line>,
    /// Threads that sign and check signatures: passwords have their own.
    signing: Arc<Semaphore>,
    /// Checked where a stored hash is malformed, so that the answer takes as long.
    decoy: String,
}

impl std::fmt::Debug for Crypto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crypto").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Passwords {
    /// Hashes one password, to know the parameters and to have one for checks that must fail.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Cost`].
    pub fn new(cost: PasswordCost) -> Result<Arc<Self>, CryptoError> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None)
            .map_err(|error| CryptoError::Cost(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = argon2
            .hash_password(b"decoy")
            .map_err(|error| CryptoError::Cost(error.to_string()))?
            .to_string();
        let line = Line::new(cost.at_once as usize, WAITING_MAX);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let signing = Arc::new(Semaphore::new(threads));
        Ok(Arc::new(Self { argon2, line, signing, decoy }))
    }

    /// Does work in its turn, which the tenant pays for.
    async fn blocking<T: Send + 'static>(
        &self,
        of: &Shared,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> wasmtime::Result<T> {
        let turn = self.line.take(&of.tenant).await?;
        let account = Arc::clone(&of.account);
        Ok(tokio::task::spawn_blocking(move || {
            // Held to the end of the work, also where nobody waits for it any more.
            let _turn = turn;
            charged(&account, work)
        })
        .await?)
    }
}

/// Does work on a thread of its own: all its time counts as the tenant's CPU.
fn charged<T>(account: &Account, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    let end = Instant::now();
    account.charge(end.saturating_duration_since(begun), end);
    done
}

impl Crypto {
    /// Reads the tenant's ed25519 key from `path`, or makes one with mode 0600.
    ///
    /// The file has one line: the key's id (such as `ed25519:a_1`), a space, and the seed in unpadded base64.
    ///
    /// # Errors
    ///
    /// See [`CryptoError`].
    pub fn open(path: &Path, shared: Arc<Passwords>) -> Result<Self, CryptoError> {
        let (key_id, key) = load(path)
            .map_err(|source| CryptoError::Key { path: path.display().to_string(), source })?;
        let public = STANDARD_NO_PAD.encode(key.verifying_key().as_bytes());
        Ok(Self { key, key_id, public, shared })
    }
}

/// Does `each` with all items, in order: here if they are few, else in chunks on threads for such work.
async fn batched<T: Send + 'static, R: Send + 'static>(
    permits: &Arc<Semaphore>,
    account: &Arc<Account>,
    items: Vec<T>,
    size: impl Fn(&T) -> usize,
    each: impl Fn(&T) -> R + Clone + Send + 'static,
) -> wasmtime::Result<Vec<R>> {
    let bytes = items.iter().fold(0_usize, |sum, item| sum.saturating_add(size(item)));
    if items.len() <= INLINE && bytes <= INLINE_BYTES {
        return Ok(items.iter().map(each).collect());
    }
    let mut done = Vec::with_capacity(items.len());
    let mut items = items.into_iter();
    loop {
        let chunk: Vec<T> = items.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            return Ok(done);
        }
        let (permit, each) = (Arc::clone(permits).acquire_owned().await?, each.clone());
        let account = Arc::clone(account);
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            charged(&account, || chunk.iter().map(each).collect::<Vec<R>>())
        });
        done.extend(work.await?);
    }
}

/// Whether checking against this hash takes no more than it may.
fn affordable(hash: &PasswordHash, configured: &Params) -> bool {
    let (memory, passes, lanes) = COST_MAX;
    Params::try_from(hash).is_ok_and(|asked| {
        asked.m_cost() <= memory.max(configured.m_cost())
            && asked.t_cost() <= passes.max(configured.t_cost())
            && asked.p_cost() <= lanes.max(configured.p_cost())
    })
}

fn load(path: &Path) -> io::Result<(String, SigningKey)> {
    let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(io::Error::other)?;
            let mut tag = [0; 3];
            getrandom::fill(&mut tag).map_err(io::Error::other)?;
            let id = format!("ed25519:a_{}", hex::encode(tag));
            let line = format!("{id} {}\n", STANDARD_NO_PAD.encode(seed));
            compile::write_secret(path, line.as_bytes())?
        }
        other => other?,
    };
    let text = String::from_utf8(bytes).map_err(|_| bad("not text"))?;
    let (id, seed) =
        text.trim().split_once(' ').ok_or_else(|| bad("want `ID SEED` on one line"))?;
    let seed = STANDARD_NO_PAD
        .decode(seed)
        .map_err(|_| bad("the seed is not unpadded base64"))?
        .try_into()
        .map_err(|_| bad("the seed has not 32 bytes"))?;
    Ok((id.to_owned(), SigningKey::from_bytes(&seed)))
}

fn check(check: &wit::Check) -> Option<()> {
    let public = STANDARD_NO_PAD.decode(&check.public).ok()?.try_into().ok()?;
    let signature = Signature::from_slice(&STANDARD_NO_PAD.decode(&check.signature).ok()?).ok()?;
    let key = VerifyingKey::from_bytes(&public).ok()?;
    key.verify_strict(check.message.as_bytes(), &signature).ok()
}

/// Ends the call where the plug-in is not allowed what it does: the functions have no error of their own.
fn granted(state: &State, allowed: bool, grant: &str) -> wasmtime::Result<()> {
    if allowed {
        return Ok(());
    }
    let reason = format!("not granted: {grant} ([grants] {grant})");
    log::refused(state, "grant", &reason);
    Err(wasmtime::Error::msg(reason))
}

impl wit::Host for State {
    fn tenant_name(&mut self) -> wasmtime::Result<String> {
        self.enter()?;
        Ok(self.caps.shared.tenant.to_string())
    }

    fn key(&mut self) -> wasmtime::Result<wit::SigningKey> {
        self.enter()?;
        granted(self, self.caps.sign, "sign")?;
        let crypto = &self.caps.shared.crypto;
        Ok(wit::SigningKey { id: crypto.key_id.clone(), public: crypto.public.clone() })
    }

    async fn sign(&mut self, messages: Vec<String>) -> wasmtime::Result<Vec<String>> {
        self.enter()?;
        granted(self, self.caps.sign, "sign")?;
        let crypto = Arc::clone(&self.caps.shared.crypto);
        let permits = Arc::clone(&crypto.shared.signing);
        let sign = move |message: &String| {
            STANDARD_NO_PAD.encode(crypto.key.sign(message.as_bytes()).to_bytes())
        };
        batched(&permits, &self.caps.shared.account, messages, String::len, sign).await
    }

    async fn verify(&mut self, checks: Vec<wit::Check>) -> wasmtime::Result<Vec<bool>> {
        self.enter()?;
        let permits = Arc::clone(&self.caps.shared.crypto.shared.signing);
        let size = |check: &wit::Check| check.message.len();
        batched(&permits, &self.caps.shared.account, checks, size, |one| check(one).is_some()).await
    }

    async fn hash_password(&mut self, password: String) -> wasmtime::Result<String> {
        self.enter()?;
        granted(self, self.caps.passwords, "passwords")?;
        let shared = &self.caps.shared;
        let crypto = &shared.crypto.shared;
        let argon2 = crypto.argon2.clone();
        let hashed = crypto
            .blocking(shared, move || {
                argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string())
            })
            .await?;
        hashed.map_err(|error| wasmtime::format_err!("argon2: {error}"))
    }

    async fn verify_password(&mut self, password: String, hash: String) -> wasmtime::Result<bool> {
        self.enter()?;
        granted(self, self.caps.passwords, "passwords")?;
        let shared = &self.caps.shared;
        let crypto = &shared.crypto.shared;
        let argon2 = crypto.argon2.clone();
        let decoy = crypto.decoy.clone();
        crypto
            .blocking(shared, move || {
                let fits = |hash: &str| {
                    let hash = PasswordHash::new(hash).ok()?;
                    if !affordable(&hash, argon2.params()) {
                        return None;
                    }
                    Some(argon2.verify_password(password.as_bytes(), &hash).is_ok())
                };
                fits(&hash).unwrap_or_else(|| {
                    fits(&decoy);
                    false
                })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::TenantQuotas;

    #[tokio::test]
    async fn many_signatures_leave_the_callers_thread_and_keep_their_order() {
        let permits = Arc::new(Semaphore::new(1));
        let account = Arc::new(Account::new(TenantQuotas::default()));
        let here = std::thread::current().id();
        let run = async |count: usize, bytes: usize| {
            let items: Vec<usize> = (0..count).collect();
            let each = |item: &usize| (*item, std::thread::current().id());
            batched(&permits, &account, items, move |_| bytes, each).await.unwrap()
        };
        assert!(run(INLINE, 1).await.iter().all(|(_, thread)| *thread == here));
        for (count, bytes) in [(1, INLINE_BYTES + 1), (3 * CHUNK + 1, 1)] {
            let done = run(count, bytes).await;
            assert!(done.iter().all(|(_, thread)| *thread != here));
            assert!(done.iter().map(|(item, _)| *item).eq(0..count));
        }
    }

    #[test]
    fn work_on_other_threads_is_the_tenants() {
        let account = Account::new(TenantQuotas::default());
        let pause = Duration::from_millis(5);
        charged(&account, || std::thread::sleep(pause));
        assert!(account.usage().cpu_seconds >= pause.as_secs_f64());
    }
}
