//! What this server knows of third parties: nothing, said in the form that clients expect.
//!
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
//! https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocols

use serde_json::json;
use tessera_sdk::http::{Answer, Request, Result};

/// `GET /account/3pid`: addresses bound to the account.
pub fn threepids(_: &Request) -> Result {
    Answer::json(&json!({ "threepids": [] }))
}

/// `GET /voip/turnServer`: no TURN server is configured.
pub fn turn_server(_: &Request) -> Result {
    Answer::empty()
}

/// `GET /thirdparty/protocols`: no application service bridges any.
pub fn protocols(_: &Request) -> Result {
    Answer::empty()
}
