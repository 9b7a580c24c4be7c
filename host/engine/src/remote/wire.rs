//! What travels between nodes, in CBOR: calls of the host's own interfaces, by name of field, so that a newer
//! host may add some.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

use crate::{
    api::{
        self, Body, CallError, Credentials, Denial, Grant, Message, Part, Piece, Principal,
        RateOverride, Request, Response, ResponseBody, WakeReason,
    },
    state::Context,
};

/// A byte string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Raw, E> {
                Ok(Raw(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// A call, and what it inherits from whoever makes it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) request_id: String,
    /// Milliseconds until the caller gives up.
    pub(crate) left_ms: u64,
    /// Of the call itself: 0 for those from the edge.
    pub(crate) depth: u8,
    /// Who is called.
    pub(crate) plugin: String,
    pub(crate) ask: Ask,
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Authenticate(WireCredentials),
    Handle(WireRequest),
    Resume {
        route: String,
        state: Raw,
        timeout: bool,
        principal: Option<WirePrincipal>,
    },
    Next {
        route: String,
        state: Raw,
        principal: Option<WirePrincipal>,
    },
    Consume(Vec<WireMessage>),
    Fire {
        name: String,
        payload: String,
    },
    Start,
    /// A function of a service or hook; `params` as in [`super::values`].
    Call {
        caller: String,
        interface: String,
        function: String,
        params: Raw,
    },
}

/// Why a call gave no answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Unavailable(String),
    Overloaded,
    Timeout,
    Trapped(String),
    Lost(String),
    Quota {
        retry_ms: u64,
        what: String,
    },
    /// This node does not have what was asked, another may.
    Elsewhere(String),
}

pub(crate) type Reply<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn of(error: CallError) -> Self {
        match error {
            CallError::Unavailable(text) => Self::Unavailable(text),
            CallError::Overloaded => Self::Overloaded,
            CallError::Timeout => Self::Timeout,
            CallError::Trapped(text) => Self::Trapped(text),
            CallError::Lost(text) => Self::Lost(text),
            CallError::Quota { retry_after, what } => {
                Self::Quota { retry_ms: milliseconds(retry_after), what }
            }
        }
    }

    pub(crate) fn into_error(self) -> CallError {
        match self {
            Self::Unavailable(text) | Self::Elsewhere(text) => CallError::Unavailable(text),
            Self::Overloaded => CallError::Overloaded,
            Self::Timeout => CallError::Timeout,
            Self::Trapped(text) => CallError::Trapped(text),
            Self::Lost(text) => CallError::Lost(text),
            Self::Quota { retry_ms, what } => {
                CallError::Quota { retry_after: Duration::from_millis(retry_ms), what }
            }
        }
    }
}

/// Rounded up: a call with a little time left is not out of time.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

impl Envelope {
    pub(crate) fn new(context: &Context, plugin: &str, ask: Ask) -> Self {
        let left = context.deadline.saturating_duration_since(std::time::Instant::now());
        Self {
            request_id: context.request_id.to_string(),
            left_ms: milliseconds(left),
            depth: context.depth,
            plugin: plugin.to_owned(),
            ask,
        }
    }
}

/// CBOR. Writing to memory does not fail for these types; if it ever did, the other side gets what it cannot read.
pub(crate) fn write(into: &mut Vec<u8>, value: &impl Serialize) {
    if let Err(error) = ciborium::into_writer(value, into) {
        tracing::error!(%error, "cannot encode a message to another node");
    }
}

macro_rules! mirror {
    ($(#[$meta:meta])* $wire:ident of $type:ty { $($(#[$attribute:meta])* $field:ident: $of:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct $wire { $($(#[$attribute])* pub(crate) $field: $of),* }

        impl From<$type> for $wire {
            fn from(value: $type) -> Self {
                Self { $($field: Convert::convert(value.$field)),* }
            }
        }

        impl From<$wire> for $type {
            fn from(value: $wire) -> Self {
                Self { $($field: Convert::convert(value.$field)),* }
            }
        }

        impl Convert<$wire> for $type {
            fn convert(self) -> $wire {
                self.into()
            }
        }

        impl Convert<$type> for $wire {
            fn convert(self) -> $type {
                self.into()
            }
        }
    };
}

/// Between a type of the contract and its form here.
pub(crate) trait Convert<T> {
    fn convert(self) -> T;
}

macro_rules! same {
    ($($type:ty),* $(,)?) => {
        $(impl Convert<$type> for $type {
            fn convert(self) -> $type {
                self
            }
        })*
    };
}

same!(String, bool, u8, u16, u32, u64, f64, Option<String>, Vec<String>, Vec<(String, String)>);

impl Convert<Vec<WireRate>> for Vec<RateOverride> {
    fn convert(self) -> Vec<WireRate> {
        self.into_iter().map(Convert::convert).collect()
    }
}

impl Convert<Vec<RateOverride>> for Vec<WireRate> {
    fn convert(self) -> Vec<RateOverride> {
        self.into_iter().map(Convert::convert).collect()
    }
}

impl Convert<Raw> for Vec<u8> {
    fn convert(self) -> Raw {
        Raw(self)
    }
}

impl Convert<Vec<u8>> for Raw {
    fn convert(self) -> Vec<u8> {
        self.0
    }
}

impl<A: Convert<B>, B> Convert<Option<B>> for Option<A>
where
    A: Wired,
{
    fn convert(self) -> Option<B> {
        self.map(Convert::convert)
    }
}

/// Keeps the conversion of options of these apart from those of plain values.
pub(crate) trait Wired {}
impl Wired for Principal {}
impl Wired for WirePrincipal {}

mirror!(WirePrincipal of Principal {
    user: String,
    device: Option<String>,
    service: Option<String>,
    marks: Vec<String>,
    unlimited: bool,
    // A node of an earlier version tells none.
    #[serde(default)]
    rates: Vec<WireRate>,
});

mirror!(WireRate of RateOverride {
    class: String,
    per_second: f64,
    burst: u32,
});

mirror!(WireCredentials of Credentials {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    remote: String,
    body: Raw,
});

mirror!(WireGrant of Grant {
    principal: WirePrincipal,
    cache_ms: u32,
    topics: Vec<String>,
});

mirror!(WireDenial of Denial {
    status: u16,
    body: String,
});

mirror!(WireMessage of Message {
    id: u64,
    topic: String,
    key: String,
    payload: String,
    position: u64,
    attempt: u32,
});

mirror!(WireRequest of Request {
    route: String,
    method: String,
    path: String,
    params: Vec<(String, String)>,
    query: String,
    headers: Vec<(String, String)>,
    body: WireBody,
    principal: Option<WirePrincipal>,
    remote: String,
    request_id: String,
});

mirror!(WireResponse of Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: WireResponseBody,
});

mirror!(WirePiece of Piece {
    bytes: Raw,
    more: Option<Raw>,
});

impl Wired for Raw {}
impl Wired for Vec<u8> {}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WireBody {
    None,
    Bytes(Raw),
    Blob(String),
}

impl Convert<WireBody> for Body {
    fn convert(self) -> WireBody {
        match self {
            Self::None => WireBody::None,
            Self::Bytes(bytes) => WireBody::Bytes(Raw(bytes)),
            Self::Blob(id) => WireBody::Blob(id),
        }
    }
}

impl Convert<Body> for WireBody {
    fn convert(self) -> Body {
        match self {
            Self::None => Body::None,
            Self::Bytes(bytes) => Body::Bytes(bytes.0),
            Self::Blob(id) => Body::Blob(id),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WirePart {
    Bytes(Raw),
    Blob(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WireResponseBody {
    None,
    Bytes(Raw),
    Blob(String),
    Parts(Vec<WirePart>),
}

impl Convert<WireResponseBody> for ResponseBody {
    fn convert(self) -> WireResponseBody {
        match self {
            Self::None => WireResponseBody::None,
            Self::Bytes(bytes) => WireResponseBody::Bytes(Raw(bytes)),
            Self::Blob(id) => WireResponseBody::Blob(id),
            Self::Parts(parts) => {
                let part = |part| match part {
                    Part::Bytes(bytes) => WirePart::Bytes(Raw(bytes)),
                    Part::Blob(id) => WirePart::Blob(id),
                };
                WireResponseBody::Parts(parts.into_iter().map(part).collect())
            }
        }
    }
}

impl Convert<ResponseBody> for WireResponseBody {
    fn convert(self) -> ResponseBody {
        match self {
            Self::None => ResponseBody::None,
            Self::Bytes(bytes) => ResponseBody::Bytes(bytes.0),
            Self::Blob(id) => ResponseBody::Blob(id),
            Self::Parts(parts) => {
                let part = |part| match part {
                    WirePart::Bytes(bytes) => Part::Bytes(bytes.0),
                    WirePart::Blob(id) => Part::Blob(id),
                };
                ResponseBody::Parts(parts.into_iter().map(part).collect())
            }
        }
    }
}

/// An answer to a request: a watch travels as the hashes of its topics.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WireAnswer {
    Done(WireResponse),
    Begun(WireResponse, Raw),
    Park { topics: Vec<u64>, timeout_ms: u64, state: Raw },
}

impl From<api::Answer> for WireAnswer {
    fn from(answer: api::Answer) -> Self {
        match answer {
            api::Answer::Done(response) => Self::Done(response.into()),
            api::Answer::Begun(response, more) => Self::Begun(response.into(), Raw(more)),
            api::Answer::Park(parked) => Self::Park {
                topics: parked.watch.topics_hashes(),
                timeout_ms: u64::try_from(parked.timeout.as_millis()).unwrap_or(u64::MAX),
                state: Raw(parked.state),
            },
        }
    }
}

/// What `authenticate` gives.
pub(crate) type WireVerdict = Result<Option<WireGrant>, WireDenial>;

pub(crate) fn reason(timeout: bool) -> WakeReason {
    if timeout { WakeReason::Timeout } else { WakeReason::Woken }
}
