//! Listeners, and the certificates of those that speak TLS.

use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::sign::CertifiedKey;
use tessera_http::{Certificates, Listen, PemFiles};
use tessera_manifest::Listener;

use crate::tenants::Tenants;

/// What the descriptor's listeners are bound with.
pub(super) fn listens(listeners: &[Listener], tenants: &Arc<Tenants>) -> Result<Vec<Listen>> {
    let listen = |listener: &Listener| {
        let address = listener.address.get();
        let Some(tls) = &listener.tls else { return Ok(Listen { address, tls: None }) };
        let own = PemFiles::open(&tls.certificate, &tls.key)
            .with_context(|| format!("the listener {address} cannot speak TLS"))?;
        let certificates: Arc<dyn Certificates> =
            Arc::new(ByHost { own, tenants: Arc::clone(tenants) });
        Ok(Listen { address, tls: Some(certificates) })
    };
    listeners.iter().map(listen).collect()
}

/// The tenant's where it has one, else the listener's.
struct ByHost {
    own: Arc<PemFiles>,
    tenants: Arc<Tenants>,
}

impl Certificates for ByHost {
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let tenant = name.and_then(|name| self.tenants.certificate(name));
        Some(tenant.unwrap_or_else(|| Arc::clone(&self.own)).current())
    }
}
