//! The HTTP side of a manifest.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, Duration, Name, RoutePattern,
    text::{Text, text_traits},
};

/// `[http]` of a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HttpSection {
    /// Query parameters that never reach a log.
    pub secret_query: Vec<String>,
    /// The routes.
    pub routes: Vec<Route>,
}

/// One route: what it matches and how the edge treats it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Route {
    /// What the plug-in gets as the request's `route`.
    pub id: Name,
    /// Methods; HEAD is added to GET by the edge.
    pub methods: Vec<Method>,
    /// Paths, all meaning the same.
    pub paths: Vec<RoutePattern>,
    /// Who authenticates; absent: the descriptor's `[http] default-authenticator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// A request without credentials passes, without a principal.
    #[serde(default)]
    pub auth_optional: bool,
    /// How the body comes; absent: `bytes` for POST, PUT and PATCH, else `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyKind>,
    /// Cap on the body; absent: the descriptor's `[http] body-max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_max: Option<ByteSize>,
    /// Key of the plug-in's configuration that holds a lower cap on the body, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_max_config: Option<String>,
    /// Rate class of the descriptor (`[rates.NAME]`); absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Name>,
    /// Wall time of one call; absent: the plug-in's `wall` limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl Route {
    /// How the body of a request with this method comes.
    #[must_use]
    pub fn body_of(&self, method: Method) -> BodyKind {
        self.body.unwrap_or(match method {
            Method::Post | Method::Put | Method::Patch => BodyKind::Bytes,
            _ => BodyKind::None,
        })
    }
}

/// A request method.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`; the edge answers preflights by itself.
    Options,
}

impl Method {
    /// As in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How a request's body comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BodyKind {
    /// It is not read.
    None,
    /// In memory.
    Bytes,
    /// Streamed into a blob.
    Blob,
}

/// Who authenticates a route's requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Auth {
    /// `"none"`: nobody.
    None,
    /// The authenticator of this name.
    By(Name),
}

impl fmt::Display for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::By(name) => name.fmt(formatter),
        }
    }
}

impl Text for Auth {
    const EXPECTED: &'static str = "an authenticator's name such as \"access-token\", or \"none\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self::None) } else { Name::from_text(text).map(Self::By) }
    }
}

text_traits!(Auth, pattern "^[a-z0-9][a-z0-9._-]{0,63}$");

/// One authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Authenticator {
    /// What it looks at.
    pub reads: AuthenticatorReads,
}

/// What an authenticator looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AuthenticatorReads {
    /// Method, path, query and headers; it is asked before the body is read.
    #[serde(rename = "head")]
    Head,
    /// The body as well; no answer is cached.
    #[serde(rename = "head+body")]
    HeadAndBody,
}
