//! What a load balancer is told.

/// Whether requests should be sent to this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why not; empty: they should. One word each, such as `draining`; others may add theirs.
    pub reasons: Vec<String>,
}

impl Readiness {
    /// Whether there is no reason against it.
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }

    /// The status to answer with.
    pub fn status(&self) -> http::StatusCode {
        if self.is_ready() { http::StatusCode::OK } else { http::StatusCode::SERVICE_UNAVAILABLE }
    }

    /// The body: `{"ready":false,"reasons":["draining"]}`.
    pub fn json(&self) -> String {
        serde_json::json!({ "ready": self.is_ready(), "reasons": self.reasons }).to_string()
    }
}
