//! Errors as clients see them. The one table of Matrix error codes.

use serde_json::{Map, Value, json};

use crate::hooks::Refusal;
use crate::http::{Response, ResponseBody};
use crate::storage;

macro_rules! codes {
    ($($name:ident $code:literal $status:literal),* $(,)?) => {
        /// Error codes and the status each is sent with unless the endpoint says otherwise.
        /// Spec: client-server API, Standard error response.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are the specification's")]
        pub enum ErrorCode { $($name),* }

        impl ErrorCode {
            /// As sent, such as `M_FORBIDDEN`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }
            /// The usual status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }
            /// The code of this name, if it is in the table.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    Forbidden "M_FORBIDDEN" 403,
    UnknownToken "M_UNKNOWN_TOKEN" 401,
    MissingToken "M_MISSING_TOKEN" 401,
    Unauthorized "M_UNAUTHORIZED" 401,
    UserLocked "M_USER_LOCKED" 401,
    UserSuspended "M_USER_SUSPENDED" 403,
    UserDeactivated "M_USER_DEACTIVATED" 403,
    BadJson "M_BAD_JSON" 400,
    NotJson "M_NOT_JSON" 400,
    NotFound "M_NOT_FOUND" 404,
    LimitExceeded "M_LIMIT_EXCEEDED" 429,
    ResourceLimitExceeded "M_RESOURCE_LIMIT_EXCEEDED" 403,
    Unknown "M_UNKNOWN" 500,
    Unrecognized "M_UNRECOGNIZED" 404,
    UserInUse "M_USER_IN_USE" 400,
    InvalidUsername "M_INVALID_USERNAME" 400,
    RoomInUse "M_ROOM_IN_USE" 400,
    InvalidRoomState "M_INVALID_ROOM_STATE" 400,
    UnsupportedRoomVersion "M_UNSUPPORTED_ROOM_VERSION" 400,
    IncompatibleRoomVersion "M_INCOMPATIBLE_ROOM_VERSION" 400,
    BadState "M_BAD_STATE" 400,
    GuestAccessForbidden "M_GUEST_ACCESS_FORBIDDEN" 403,
    MissingParam "M_MISSING_PARAM" 400,
    InvalidParam "M_INVALID_PARAM" 400,
    TooLarge "M_TOO_LARGE" 413,
    Exclusive "M_EXCLUSIVE" 400,
    WeakPassword "M_WEAK_PASSWORD" 400,
    DuplicateAnnotation "M_DUPLICATE_ANNOTATION" 400,
    CannotLeaveServerNoticeRoom "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM" 403,
    UnableToAuthoriseJoin "M_UNABLE_TO_AUTHORISE_JOIN" 400,
    UnableToGrantJoin "M_UNABLE_TO_GRANT_JOIN" 400,
    KeyTooLarge "M_KEY_TOO_LARGE" 400,
    ProfileTooLarge "M_PROFILE_TOO_LARGE" 400,
    NotJoined "M_NOT_JOINED" 403,
    UnknownPos "M_UNKNOWN_POS" 400,
    UnknownDevice "M_UNKNOWN_DEVICE" 400,
    InviteBlocked "M_INVITE_BLOCKED" 403,
    InvalidSignature "M_INVALID_SIGNATURE" 400,
    WrongRoomKeysVersion "M_WRONG_ROOM_KEYS_VERSION" 403,
}

/// An error for the client.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    status: u16,
    errcode: String,
    message: String,
    extra: Map<String, Value>,
}

impl Error {
    /// An error with its usual status. The message is for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::with_status(code.status(), code.as_str(), message)
    }

    /// An error with any status and code, such as one that a module chose.
    pub fn with_status(status: u16, errcode: &str, message: impl Into<String>) -> Self {
        Self { status, errcode: errcode.to_owned(), message: message.into(), extra: Map::new() }
    }

    /// Adds a member to the body, such as `retry_after_ms`.
    #[must_use]
    pub fn and(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// Changes the status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// 404 `M_NOT_FOUND`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// 400 `M_INVALID_PARAM`.
    pub fn invalid_param(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParam, message)
    }

    /// 400 `M_MISSING_PARAM`.
    pub fn missing_param(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::MissingParam, message)
    }

    /// 400 `M_BAD_JSON`.
    pub fn bad_json(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadJson, message)
    }

    /// 400 `M_NOT_JSON`.
    pub fn not_json(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotJson, message)
    }

    /// 413 `M_TOO_LARGE`.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::TooLarge, message)
    }

    /// 401 `M_MISSING_TOKEN`.
    pub fn missing_token() -> Self {
        Self::new(ErrorCode::MissingToken, "an access token is needed")
    }

    /// 429 `M_LIMIT_EXCEEDED`.
    pub fn limit_exceeded(retry_after_ms: u64) -> Self {
        Self::new(ErrorCode::LimitExceeded, "too many requests")
            .and("retry_after_ms", retry_after_ms)
    }

    /// 500 `M_UNKNOWN`; the reason goes to the log, not to the client.
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        crate::log::error("internal error", &[("reason", &reason.to_string())]);
        Self::new(ErrorCode::Unknown, "internal server error")
    }

    /// The status it is sent with.
    pub fn http_status(&self) -> u16 {
        self.status
    }

    /// The code, such as `M_FORBIDDEN`.
    pub fn errcode(&self) -> &str {
        &self.errcode
    }

    /// The text for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The body: `errcode`, `error` and what was added.
    pub fn body(&self) -> Value {
        let mut body = json!({ "errcode": self.errcode, "error": self.message });
        if let Some(map) = body.as_object_mut() {
            map.extend(self.extra.clone());
        }
        body
    }

    /// The response.
    pub fn into_response(self) -> Response {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if let Some(ms) = self.extra.get("retry_after_ms").and_then(Value::as_u64) {
            headers.push(("retry-after".to_owned(), ms.div_ceil(1000).to_string()));
        }
        Response {
            status: self.status,
            headers,
            body: ResponseBody::Bytes(self.body().to_string().into_bytes()),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status, self.errcode, self.message)
    }
}

impl std::error::Error for Error {}

impl From<storage::Error> for Error {
    /// What is nobody's fault becomes a 503 that may be tried again, a lost race that nobody runs again among it; the rest is ours.
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::Busy
            | storage::Error::Timeout
            | storage::Error::Conflict(_)
            | storage::Error::Unavailable(_) => {
                crate::log::warn("storage", &[("reason", &format!("{error:?}"))]);
                Self::new(ErrorCode::Unknown, "the server is busy; try again").status(503)
            }
            other => Self::internal(format!("storage: {other:?}")),
        }
    }
}

impl From<storage::RowError> for Error {
    fn from(error: storage::RowError) -> Self {
        Self::internal(error)
    }
}

impl From<Refusal> for Error {
    /// What a module chose; a status outside 400-499 becomes 403.
    fn from(refusal: Refusal) -> Self {
        let status = if (400..500).contains(&refusal.status) { refusal.status } else { 403 };
        Self::with_status(status, &refusal.errcode, refusal.error)
    }
}
