//! TLS of the listeners: a certificate for each name that clients ask for.

mod files;
mod stream;

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

pub use self::files::{PemError, PemFiles};
pub(crate) use self::stream::Stream;

/// HTTP/2 by its name in ALPN.
pub(crate) const HTTP2: &[u8] = b"h2";

/// Certificates of a listener.
pub trait Certificates: Send + Sync + 'static {
    /// The certificate for a name (SNI, in lower case; `None`: the client names none). `None` ends the handshake.
    /// Called in each handshake; must not block.
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>>;
}

struct Resolver(Arc<dyn Certificates>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = self.0.find(name.as_deref());
        if found.is_none() {
            tracing::debug!(name, "no certificate for this name");
        }
        found
    }
}

pub(crate) fn acceptor(certificates: Arc<dyn Certificates>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(certificates)));
    config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
