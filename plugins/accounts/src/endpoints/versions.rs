//! `GET /_matrix/client/versions`
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions

use serde_json::{Map, Value, json};
use tessera_sdk::http::{Answer, Request, Result};

/// Versions of which everything that a client relies on is there.
const VERSIONS: [&str; 25] = [
    "r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.6.0", "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4",
    "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13", "v1.14", "v1.15",
    "v1.16", "v1.17", "v1.18", "v1.19",
];

/// What clients look for under the name of a proposal. Those that became part of a version stay for clients that do not know it.
const FEATURES: [(&str, bool); 22] = [
    ("org.matrix.e2e_cross_signing", true),
    ("org.matrix.label_based_filtering", false),
    ("org.matrix.msc2285.stable", true),
    ("org.matrix.msc2432", true),
    ("org.matrix.msc3026.busy_presence", false),
    ("org.matrix.msc3440.stable", true),
    ("org.matrix.msc3575", false),
    ("org.matrix.msc3771", true),
    ("org.matrix.msc3773", true),
    ("org.matrix.msc3814", true),
    ("org.matrix.msc3827.stable", true),
    ("org.matrix.msc3856", true),
    ("org.matrix.msc3881", false),
    ("org.matrix.msc3882", false),
    ("org.matrix.msc3916.stable", true),
    ("org.matrix.msc4140", true),
    ("org.matrix.msc4222", true),
    ("org.matrix.simplified_msc3575", true),
    ("uk.half-shot.msc2666.query_mutual_rooms", true),
    ("uk.half-shot.msc2666.query_mutual_rooms.stable", true),
    ("uk.tcpip.msc4133", true),
    ("uk.tcpip.msc4133.stable", true),
];

/// Answers for everybody.
pub fn handle(_: &Request) -> Result {
    let features: Map<String, Value> =
        FEATURES.iter().map(|(name, there)| ((*name).to_owned(), json!(there))).collect();
    Answer::json(&json!({ "versions": VERSIONS, "unstable_features": features }))
}
