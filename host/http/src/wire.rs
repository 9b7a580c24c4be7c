//! What is known of a connection, for the requests that come over it.

use std::net::IpAddr;
use std::sync::OnceLock;

use tokio::sync::Notify;

use crate::share::Place;
use crate::tenants::{Tenant, Tenants};

/// A connection.
pub(crate) struct Wire {
    /// The other end.
    pub(crate) peer: IpAddr,
    /// The name that the client wants the certificate of (SNI), in lower case.
    pub(crate) name: Option<Box<str>>,
    /// Its place among the connections of the tenant that its first request was for.
    place: OnceLock<Place>,
    /// Told when it should end with what is in hand.
    pub(crate) ending: Notify,
}

impl Wire {
    pub(crate) fn new(peer: IpAddr, name: Option<Box<str>>) -> Self {
        Self { peer, name, place: OnceLock::new(), ending: Notify::new() }
    }

    /// Counts the connection to a tenant, if it is counted to none. `false`: the tenant has as many as it may.
    pub(crate) fn belongs(&self, tenants: &Tenants, tenant: &Tenant) -> bool {
        if self.place.get().is_some() {
            return true;
        }
        let Some(place) = tenants.shares.connections.take(&tenant.connections) else {
            return false;
        };
        // Another stream of the connection may have been faster: one place is enough.
        drop(self.place.set(place));
        true
    }

    /// Ends the connection with what is in hand.
    pub(crate) fn end(&self) {
        self.ending.notify_one();
    }
}
