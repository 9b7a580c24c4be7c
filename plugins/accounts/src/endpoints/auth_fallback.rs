//! `GET` and `POST /_matrix/client/v3/auth/{authType}/fallback/web`: stages of registration for clients that do not know them.
//!
//! https://spec.matrix.org/v1.19/client-server-api/#fallback

use tessera_sdk::http::{Answer, Request, Result, decode_query};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::random;

use super::register::flows;
use crate::config::{self, Config};
use crate::mails::escape;
use crate::page::{page, page_with};
use crate::uia::{self, Given, Stage};

/// The route whose sessions these are.
const SCOPE: &str = "register";

fn stage(request: &Request) -> std::result::Result<Stage, Error> {
    let stages = [Stage::Dummy, Stage::Recaptcha, Stage::Terms, Stage::RegistrationToken];
    let named = stages.into_iter().find(|stage| stage.name() == request.param("authType"));
    named.ok_or_else(|| Error::new(ErrorCode::Unrecognized, "this stage has no page"))
}

fn session(request: &Request) -> std::result::Result<&str, Error> {
    request.query("session").ok_or_else(|| Error::missing_param("session is missing"))
}

/// The page of a stage. `M_UNRECOGNIZED` for a stage without one, `M_MISSING_PARAM`.
pub fn show(request: &Request) -> Result {
    let (stage, session) = (stage(request)?, session(request)?);
    let config = config::get()?;
    match uia::is_passed(SCOPE, session, stage)? {
        None => Ok(over()),
        Some(true) => Ok(done()),
        Some(false) => Ok(form(&config, stage, "")),
    }
}

/// The form was sent.
pub fn submit(request: &Request) -> Result {
    let (stage, session) = (stage(request)?, session(request)?);
    let config = config::get()?;
    let form_data = decode_query(&String::from_utf8_lossy(request.body()));
    let field = |name: &str| {
        form_data.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let given = Given { response: field("g-recaptcha-response"), token: field("token") };
    match uia::pass(SCOPE, session, stage, given, request.info(), &flows(&config))? {
        None => Ok(over()),
        Some(Ok(())) => Ok(done()),
        Some(Err(error)) => Ok(form(&config, stage, error.message())),
    }
}

fn form(config: &Config, stage: Stage, error: &str) -> Answer {
    let mut sources = String::new();
    let content = match stage {
        Stage::Recaptcha => {
            let site = "https://www.recaptcha.net https://www.gstatic.com https://www.google.com";
            sources =
                format!("script-src {site}; frame-src {site}; connect-src {site}; img-src {site}");
            let key =
                config.recaptcha.as_ref().map(|it| escape(&it.public_key)).unwrap_or_default();
            format!(
                "<script src=\"https://www.recaptcha.net/recaptcha/api.js\" async defer></script>\
                 <div class=\"g-recaptcha\" data-sitekey=\"{key}\"></div>"
            )
        }
        Stage::RegistrationToken => {
            "<p>This server wants a token from you. <input name=\"token\" autocomplete=\"off\"></p>"
                .to_owned()
        }
        Stage::Terms => terms(config),
        _ => String::new(),
    };
    let error =
        if error.is_empty() { String::new() } else { format!("<p><b>{}</b></p>", escape(error)) };
    let body =
        format!("{error}<form method=\"post\">{content}<p><button>Go on</button></p></form>");
    page_with(200, "Registration", &body, &sources)
}

/// Links to the operator's texts, in the first language of each.
fn terms(config: &Config) -> String {
    let mut items = String::new();
    for policy in config.terms.values() {
        let texts = policy.as_object().into_iter().flatten();
        let text = texts.filter_map(|(_, text)| {
            Some((text.get("name")?.as_str()?, text.get("url")?.as_str()?))
        });
        if let Some((name, url)) = text.into_iter().next()
            && (url.starts_with("https://") || url.starts_with("http://"))
        {
            items.push_str(&format!("<li><a href=\"{}\">{}</a></li>", escape(url), escape(name)));
        }
    }
    format!("<p>By going on you accept:</p><ul>{items}</ul>")
}

/// Tells the client's window that the stage is passed.
fn done() -> Answer {
    let nonce = random::token();
    let body = format!(
        "<p>Thank you. Go back to your app.</p><script nonce=\"{nonce}\">if(window.onAuthDone){{window.onAuthDone()}}\
         else if(window.opener&&window.opener.postMessage){{window.opener.postMessage('authDone','*')}}</script>"
    );
    page_with(200, "Done", &body, &format!("script-src 'nonce-{nonce}'"))
}

fn over() -> Answer {
    page(400, "This registration is over", "<p>Begin again in your app.</p>")
}
