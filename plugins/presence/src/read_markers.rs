//! POST /_matrix/client/v3/rooms/{roomId}/read_markers
//!
//! Spec: <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers>

use serde::Deserialize;
use tessera_sdk::http::{Answer, Request, Result};

use crate::receipt::{Receipt, store};

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "m.fully_read")]
    fully_read: Option<String>,
    #[serde(rename = "m.read")]
    read: Option<String>,
    #[serde(rename = "m.read.private")]
    read_private: Option<String>,
}

/// # Errors
/// As for receipts.
pub(crate) fn handle(request: &Request) -> Result {
    let body: Body = request.json()?;
    let markers = [
        ("m.fully_read", body.fully_read),
        ("m.read", body.read),
        ("m.read.private", body.read_private),
    ];
    let receipts: Vec<Receipt> = markers
        .into_iter()
        .filter_map(|(kind, event_id)| {
            let (kind, thread_id) = (kind.to_owned(), String::new());
            Some(Receipt { kind, event_id: event_id?, thread_id })
        })
        .collect();
    if !receipts.is_empty() {
        store(request.user()?, request.param("roomId"), &receipts)?;
    }
    Answer::empty()
}
