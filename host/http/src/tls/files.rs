//! A certificate and its key in PEM files, which whoever renews them writes anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::tls::Certificates;

/// How often the files are looked at, at most, and only when somebody shakes hands.
const EACH: Duration = Duration::from_secs(10);

/// The largest file that is read: a chain is a few KiB.
const LARGEST: u64 = 1 << 20;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct PemError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A certificate of two PEM files: the certificate with those between it and the root, and its private key. They are
/// read again when they change; while what they hold is no use (or half written), the last that was good is kept.
pub struct PemFiles {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
    looked: Mutex<Looked>,
    looking: AtomicBool,
}

struct Looked {
    at: Instant,
    seen: Option<[Stamp; 2]>,
}

/// Changes when a file does.
type Stamp = (SystemTime, u64);

impl PemFiles {
    /// Reads both files. Blocks for a moment.
    ///
    /// # Errors
    /// One cannot be read, holds nothing of use, or the key is another certificate's.
    pub fn open(certificate: &Path, key: &Path) -> Result<Arc<Self>, PemError> {
        // Before they are read, so that a change in between is seen.
        let seen = stamps(certificate, key).ok();
        let current = ArcSwap::new(Arc::new(read(certificate, key)?));
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current,
            looked: Mutex::new(Looked { at: Instant::now(), seen }),
            looking: AtomicBool::new(false),
        }))
    }

    /// The certificate. Looks in the background for a change of the files if nobody has for ten seconds, so it is for
    /// use within a Tokio runtime.
    pub fn current(self: &Arc<Self>) -> Arc<CertifiedKey> {
        let due = {
            let looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            looked.at.elapsed() >= EACH
        };
        if due && !self.looking.swap(true, Ordering::AcqRel) {
            let files = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                files.refresh();
                files.looking.store(false, Ordering::Release);
            });
        }
        self.current.load_full()
    }

    /// Reads the files if they have changed since they were last read. Blocks for a moment.
    pub fn refresh(&self) {
        let seen = stamps(&self.certificate, &self.key);
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.at = Instant::now();
        let certificate = self.certificate.display();
        let seen = match seen {
            Ok(seen) if looked.seen == Some(seen) => return,
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(%certificate, %error, "certificate or key is gone; keeping the last");
                return;
            }
        };
        looked.seen = Some(seen);
        match read(&self.certificate, &self.key) {
            Ok(new) => {
                self.current.store(Arc::new(new));
                tracing::info!(%certificate, "certificate read anew");
            }
            Err(error) => tracing::warn!(%error, "new certificate is not used; keeping the last"),
        }
    }
}

/// One certificate for every name.
impl Certificates for Arc<PemFiles> {
    fn find(&self, _: Option<&str>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn stamps(certificate: &Path, key: &Path) -> io::Result<[Stamp; 2]> {
    let stamp = |path| fs::metadata(path).and_then(|file| Ok((file.modified()?, file.len())));
    Ok([stamp(certificate)?, stamp(key)?])
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, PemError> {
    let wrong = |path: &Path, reason: String| PemError { path: path.to_owned(), reason };
    let bytes = |path: &Path| match fs::metadata(path) {
        Ok(file) if file.len() > LARGEST => Err(wrong(path, "too large for a PEM file".to_owned())),
        Ok(_) => fs::read(path).map_err(|error| wrong(path, error.to_string())),
        Err(error) => Err(wrong(path, error.to_string())),
    };
    let chain = CertificateDer::pem_slice_iter(&bytes(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "holds no certificate".to_owned()));
    }
    let der = PrivateKeyDer::from_pem_slice(&bytes(key)?)
        .map_err(|error| wrong(key, format!("holds no private key: {error}")))?;
    CertifiedKey::from_der(chain, der, &rustls::crypto::ring::default_provider())
        .map_err(|error| wrong(key, format!("not the key of {}: {error}", certificate.display())))
}
