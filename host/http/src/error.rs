//! Why an edge cannot be made.

/// What is wrong with its settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeError {
    /// An answer of `[http.answers]` cannot be sent.
    #[error("[http.answers.{case}]: {reason}")]
    Answer {
        /// Its key.
        case: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A header of `[http.cors]` cannot be sent.
    #[error("[http.cors] {key}: `{value}` is no header value")]
    Cors {
        /// The key.
        key: &'static str,
        /// What stands there.
        value: String,
    },
    /// Two edges share one metrics registry.
    #[error("metrics of the edge: {0}")]
    Metrics(#[from] prometheus::Error),
}
