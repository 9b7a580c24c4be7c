//! `GET /_matrix/static/client/login/`: the page for clients that know no login type of this server.
//!
//! https://spec.matrix.org/v1.19/client-server-api/#login-fallback

use tessera_sdk::http::{Request, Result};
use tessera_sdk::random;

use crate::page::page_with;

/// Logs in with a password and gives the answer to `window.matrixLogin.onLogin`. What the page's query says of the device goes along.
const SCRIPT: &str = r#"
const form = document.querySelector("form"), said = document.querySelector("output");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "";
  const query = new URLSearchParams(location.search);
  const body = {
    type: "m.login.password",
    identifier: { type: "m.id.user", user: form.elements.user.value },
    password: form.elements.password.value,
  };
  for (const name of ["device_id", "initial_device_display_name"]) {
    if (query.has(name)) body[name] = query.get(name);
  }
  if (query.get("refresh_token") === "true") body.refresh_token = true;
  try {
    const answer = await fetch("/_matrix/client/v3/login", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
    const told = await answer.json();
    if (!answer.ok) { said.textContent = told.error || "This did not work."; return; }
    if (window.matrixLogin && window.matrixLogin.onLogin) window.matrixLogin.onLogin(told);
    else if (window.onLogin) window.onLogin(told);
    said.textContent = "You are logged in. Go back to your app.";
    form.remove();
  } catch (error) {
    said.textContent = "The server cannot be reached.";
  }
});
"#;

/// The page.
pub fn handle(_: &Request) -> Result {
    let nonce = random::token();
    let body = format!(
        "<form><p><label>User <input name=\"user\" autocomplete=\"username\" required></label></p>\
         <p><label>Password <input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label></p>\
         <p><button>Log in</button></p></form><p><output></output></p><script nonce=\"{nonce}\">{SCRIPT}</script>"
    );
    let sources = format!("script-src 'nonce-{nonce}'; connect-src 'self'");
    Ok(page_with(200, "Log in", &body, &sources))
}
