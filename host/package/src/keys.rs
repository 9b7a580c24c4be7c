//! Keys that sign modules: ed25519.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    str::FromStr,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::error::PackageError;

/// Begins the line of a secret key's file.
const SECRET: &str = "ed25519-secret:";
/// Begins a public key's text.
const PUBLIC: &str = "ed25519:";
/// Goes before what is signed, so that no signature made for something else holds for a module.
const CONTEXT: &str = "tessera module v1\n";

/// Signs modules. Its file has one line, `ed25519-secret:` and 32 bytes in base64.
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public())
    }
}

impl SecretKey {
    /// A new key, of the seed given: 32 bytes from the system's random source.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads a key's file.
    ///
    /// # Errors
    /// The file cannot be read or holds no key.
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        let mut text = String::new();
        let file = OpenOptions::new().read(true).open(path).map_err(PackageError::io(path))?;
        // A key takes a line; whoever names a device or a disk image gets an answer at once.
        file.take(4096).read_to_string(&mut text).map_err(PackageError::io(path))?;
        let line = text.lines().map(str::trim).find(|line| line.starts_with(SECRET));
        line.and_then(|line| decode(line, SECRET))
            .map(|seed| Self::from_seed(&seed))
            .ok_or_else(|| PackageError::Key(format!("{} holds no secret key", path.display())))
    }

    /// Writes the key to a new file that only its owner may read.
    ///
    /// # Errors
    /// The file is there already or cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<(), PackageError> {
        let text = format!(
            "# Signs modules. Keep it secret. Its public half: {}\n{SECRET}{}\n",
            self.public(),
            BASE64.encode(self.0.to_bytes())
        );
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(PackageError::io(path))
    }

    /// The half that others know.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs the module whose file has this digest.
    #[must_use]
    pub fn sign(&self, digest: &str) -> Signed {
        let signature = self.0.sign(message(digest).as_bytes());
        Signed { key: self.public().to_string(), signature: BASE64.encode(signature.to_bytes()) }
    }
}

/// Tells whether a secret key has signed. As text `ed25519:` and 32 bytes in base64, as `[modules] trusted-keys` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", BASE64.encode(self.0.as_bytes()))
    }
}

impl FromStr for PublicKey {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, PackageError> {
        decode(text.trim(), PUBLIC)
            .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
            .map(Self)
            .ok_or_else(|| {
                PackageError::Key(format!(
                    "`{text}` is not a public key such as `{PUBLIC}` and 43 characters of base64"
                ))
            })
    }
}

impl PublicKey {
    fn verifies(&self, digest: &str, signature: &str) -> bool {
        let bytes = BASE64.decode(signature.trim_end_matches('=')).ok();
        let signature = bytes.and_then(|bytes| Signature::from_slice(&bytes).ok());
        // Strict: no second form of a signature, no weak keys.
        signature.is_some_and(|s| self.0.verify_strict(message(digest).as_bytes(), &s).is_ok())
    }
}

/// A signature as it lies in a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The public key that it was made with, as text.
    pub key: String,
    /// 64 bytes in base64.
    pub signature: String,
}

/// A key that the operator trusts, by a name of the operator's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// Shown instead of the key.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// What a package's signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Good, by the trusted key of this name.
    Trusted(String),
    /// Good, by a key that nobody has named as trusted.
    Unknown(PublicKey),
    /// There is none.
    Unsigned,
    /// It is not of this file, or damaged: somebody has changed something.
    Bad,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trusted(name) => write!(f, "signed by {name}"),
            Self::Unknown(key) => write!(f, "signed by {key}, which is not among the trusted keys"),
            Self::Unsigned => f.write_str("not signed"),
            Self::Bad => f.write_str("its signature is wrong: the file is not what was signed"),
        }
    }
}

/// What `signed` says of the file with this digest.
pub(crate) fn judge(digest: &str, signed: Option<&Signed>, trusted: &[TrustedKey]) -> Trust {
    let Some(signed) = signed else { return Trust::Unsigned };
    let Ok(key) = signed.key.parse::<PublicKey>() else { return Trust::Bad };
    if !key.verifies(digest, &signed.signature) {
        return Trust::Bad;
    }
    match trusted.iter().find(|trusted| trusted.key == key) {
        Some(trusted) => Trust::Trusted(trusted.name.clone()),
        None => Trust::Unknown(key),
    }
}

fn message(digest: &str) -> String {
    format!("{CONTEXT}{digest}\n")
}

fn decode(text: &str, prefix: &str) -> Option<[u8; 32]> {
    let bytes = BASE64.decode(text.strip_prefix(prefix)?.trim_end_matches('=')).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    const DIGEST: &str = "sha256:00";

    fn trusted(key: &SecretKey) -> [TrustedKey; 1] {
        [TrustedKey { name: "us".into(), key: key.public() }]
    }

    #[test]
    fn signature_of_a_trusted_key_names_it() {
        let key = SecretKey::from_seed(&[7; 32]);
        let signed = key.sign(DIGEST);
        assert_eq!(judge(DIGEST, Some(&signed), &trusted(&key)), Trust::Trusted("us".into()));
        assert_eq!(judge(DIGEST, Some(&signed), &[]), Trust::Unknown(key.public()));
        assert_eq!(judge(DIGEST, None, &trusted(&key)), Trust::Unsigned);
    }

    #[test]
    fn signature_of_another_file_or_key_is_bad() {
        let key = SecretKey::from_seed(&[7; 32]);
        let signed = key.sign(DIGEST);
        assert_eq!(judge("sha256:01", Some(&signed), &trusted(&key)), Trust::Bad);
        let other = SecretKey::from_seed(&[8; 32]).sign(DIGEST);
        let forged = Signed { key: signed.key.clone(), ..other };
        assert_eq!(judge(DIGEST, Some(&forged), &trusted(&key)), Trust::Bad);
        let damaged = Signed { signature: "?".into(), ..signed };
        assert_eq!(judge(DIGEST, Some(&damaged), &trusted(&key)), Trust::Bad);
    }

    #[test]
    fn key_file_is_its_owners_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = SecretKey::from_seed(&[7; 32]);
        key.write_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SecretKey::read(&path).unwrap().public(), key.public());
        key.write_new(&path).unwrap_err();
    }

    #[test]
    fn text_that_is_no_key_is_refused() {
        let key = SecretKey::from_seed(&[7; 32]).public();
        assert_eq!(key.to_string().parse::<PublicKey>().unwrap(), key);
        for wrong in ["", "ed25519:", "ed25519:AAAA", "rsa:x"] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }
}
