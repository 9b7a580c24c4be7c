//! Asks the verifier of captchas.

use serde_json::Value;
use tessera_sdk::fetch::{self, Body};
use tessera_sdk::http::encode;
use tessera_sdk::matrix::Error;

use crate::config::Recaptcha;
use crate::outside::{self, Kind};

/// Bytes of an answer.
const MAX_ANSWER: u64 = 64 * 1024;
/// How long the verifier may take: a call waits for it.
const TIMEOUT_MS: u32 = 8_000;
/// Bytes of what a client may give.
const MAX_RESPONSE: usize = 16 * 1024;

/// Whether the verifier is content.
///
/// # Errors
/// 503 if it cannot be asked, 429 where too many are waited for.
pub fn solved(config: &Recaptcha, response: &str, remote: &str) -> Result<bool, Error> {
    if response.is_empty() || response.len() > MAX_RESPONSE {
        return Ok(false);
    }
    let form =
        [("secret", config.private_key.as_str()), ("response", response), ("remoteip", remote)];
    let form: Vec<String> =
        form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")];
    let request = fetch::Request {
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: Body::Bytes(form.join("&").into_bytes()),
        timeout_ms: TIMEOUT_MS,
        max_bytes: MAX_ANSWER,
        ..fetch::request("POST", &config.verify_url)
    };
    let failed = |reason: String| Error::internal(format!("captcha: {reason}")).status(503);
    let answer = outside::send(Kind::Captcha, &request)?.map_err(failed)?;
    let Body::Bytes(bytes) = answer.body else { return Err(failed("no answer".to_owned())) };
    let said: Value = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    Ok(answer.status == 200 && said.get("success").and_then(Value::as_bool) == Some(true))
}
