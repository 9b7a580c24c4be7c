//! Headers that let browsers in.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderName, HeaderValue,
};
use http::{HeaderMap, Response, StatusCode};
use tessera_manifest::Cors as Settings;

use crate::body::Body;
use crate::error::EdgeError;

/// `[http.cors]`, ready for use.
pub(crate) struct Cors {
    /// On every answer.
    every: Vec<(HeaderName, HeaderValue)>,
    /// On answers to OPTIONS beside those.
    preflight: Vec<(HeaderName, HeaderValue)>,
    enabled: bool,
}

impl Cors {
    pub(crate) fn new(settings: &Settings) -> Result<Self, EdgeError> {
        let value = |key: &'static str, text: String| {
            HeaderValue::from_str(&text).map_err(|_| EdgeError::Cors { key, value: text })
        };
        if !settings.enabled {
            return Ok(Self { every: Vec::new(), preflight: Vec::new(), enabled: false });
        }
        let mut every = vec![
            (ACCESS_CONTROL_ALLOW_ORIGIN, value("origin", settings.origin.clone())?),
            (ACCESS_CONTROL_ALLOW_METHODS, value("methods", settings.methods.join(", "))?),
            (ACCESS_CONTROL_ALLOW_HEADERS, value("headers", settings.headers.join(", "))?),
        ];
        if !settings.expose.is_empty() {
            let exposed = value("expose", settings.expose.join(", "))?;
            every.push((ACCESS_CONTROL_EXPOSE_HEADERS, exposed));
        }
        let seconds = settings.max_age.get().as_secs();
        let preflight = vec![(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds))];
        Ok(Self { every, preflight, enabled: true })
    }

    pub(crate) fn enabled(&self) -> bool {
        self.enabled
    }

    /// Adds what a plug-in has not set itself.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.every {
            if !headers.contains_key(name) {
                headers.insert(name, value.clone());
            }
        }
    }

    /// The answer to OPTIONS. The headers of every answer come later.
    pub(crate) fn preflight(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().extend(self.preflight.iter().cloned());
        response
    }
}
