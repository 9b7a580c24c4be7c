//! Where media is: the two parts of an mxc URI.

use serde_json::Value;
use tessera_sdk::http::Request;
use tessera_sdk::matrix::Error;
use tessera_sdk::{crypto, random};

/// `mxc://ORIGIN/ID`. Both parts hold nothing but the characters that the specification allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) origin: String,
    pub(crate) id: String,
}

impl Place {
    /// Of a request's path.
    ///
    /// # Errors
    /// `M_NOT_FOUND` for what cannot be the place of anything.
    pub(crate) fn of(request: &Request) -> Result<Self, Error> {
        Self::new(request.param("serverName"), request.param("mediaId"))
            .ok_or_else(|| Error::not_found("there is no such media"))
    }

    /// Spec: client-server API, Content repository, Security considerations.
    pub(crate) fn new(origin: &str, id: &str) -> Option<Self> {
        let server = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let good = (1..=255).contains(&origin.len())
            && origin.bytes().all(server)
            && (1..=255).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        good.then(|| Self { origin: origin.to_owned(), id: id.to_owned() })
    }

    /// What an mxc URI names.
    pub(crate) fn of_uri(uri: &str) -> Option<Self> {
        let (origin, id) = uri.strip_prefix("mxc://")?.split_once('/')?;
        Self::new(origin, id)
    }

    /// What an event (JSON) names at these places.
    pub(crate) fn named(event: &str, at: &[&str]) -> Vec<Self> {
        let Ok(event) = serde_json::from_str::<Value>(event) else { return Vec::new() };
        at.iter().filter_map(|at| event.pointer(at)?.as_str()).filter_map(Self::of_uri).collect()
    }

    /// A new one of this server, which nobody guesses.
    pub(crate) fn fresh() -> Self {
        Self { origin: crypto::tenant_name(), id: random::letters(24) }
    }

    /// Whether it is of this server.
    pub(crate) fn is_local(&self) -> bool {
        self.origin == crypto::tenant_name()
    }

    pub(crate) fn uri(&self) -> String {
        format!("mxc://{}/{}", self.origin, self.id)
    }

    /// Woken when there is something.
    pub(crate) fn topic(&self) -> String {
        format!("media:{}/{}", self.origin, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn places_that_lead_elsewhere_are_none() {
        assert!(Place::new("hs1:8448", "aB_9-").is_some());
        assert!(Place::new("[::1]:8448", "a").is_some());
        for (origin, id) in [
            ("hs1", ".."),
            ("hs1", "a/b"),
            ("hs1", "a%2f"),
            ("..", "é"),
            ("a/b", "a"),
            ("", "a"),
            ("hs1", ""),
        ] {
            assert!(Place::new(origin, id).is_none(), "{origin} {id}");
        }
        assert!(Place::of_uri("mxc://hs1/a").is_some() && Place::of_uri("https://hs1/a").is_none());
        assert!(Place::of_uri("mxc://hs1/a/b").is_none());
    }
}
