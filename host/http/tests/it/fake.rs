//! A plug-in that is none: it does what the route's id says.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tessera_bus::Bus;
use tessera_engine::api::{
    Answer, Body, BoxFuture, CallError, Credentials, Denial, Dispatch, Grant, Message, Parked,
    Part, Piece, Principal, Request, Response, ResponseBody, WakeReason,
};
use tokio::sync::{Notify, Semaphore};

pub(crate) const TENANT: &str = "example.org";

pub(crate) struct Fake {
    pub(crate) bus: Bus,
    pub(crate) tenant: String,
    /// Tokens and who they belong to.
    pub(crate) sessions: Mutex<HashMap<String, Principal>>,
    pub(crate) cache_ms: u32,
    /// How often the authenticator was asked.
    pub(crate) asked: AtomicUsize,
    /// Runs inside of the authenticator, after it has looked.
    pub(crate) after_look: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// A blob's id for the routes that answer with one.
    pub(crate) blob: Mutex<String>,
    /// `gate` waits for a permit.
    pub(crate) gate: Semaphore,
    /// `resume` waits for a permit of `gate`, too.
    pub(crate) hold_resumes: AtomicBool,
    /// `resume` parks again whatever woke it.
    pub(crate) parks_always: AtomicBool,
    /// `next` had no room once.
    pub(crate) was_busy: AtomicBool,
    /// Pieces that came to `gate`.
    pub(crate) gated: AtomicUsize,
    /// Told when a call has begun.
    pub(crate) begun: Notify,
    /// What `resume` adds to its answer, and the piece `name`.
    pub(crate) name: &'static str,
}

pub(crate) fn principal(user: &str) -> Principal {
    Principal {
        user: user.to_owned(),
        device: Some("D".to_owned()),
        service: None,
        marks: Vec::new(),
        unlimited: false,
        rates: Vec::new(),
    }
}

impl Fake {
    pub(crate) fn new(bus: Bus) -> Self {
        let sessions = [("token", "alice"), ("other", "bob")]
            .map(|(token, user)| (token.to_owned(), principal(user)));
        Self {
            bus,
            tenant: TENANT.to_owned(),
            sessions: Mutex::new(sessions.into()),
            cache_ms: 60_000,
            asked: AtomicUsize::new(0),
            after_look: Mutex::new(None),
            blob: Mutex::new(String::new()),
            gate: Semaphore::new(0),
            hold_resumes: AtomicBool::new(false),
            parks_always: AtomicBool::new(false),
            was_busy: AtomicBool::new(false),
            gated: AtomicUsize::new(0),
            begun: Notify::new(),
            name: "first",
        }
    }

    /// As a plug-in's commit would: the row goes, then the topic fires.
    pub(crate) fn log_out(&self, token: &str) {
        self.sessions.lock().unwrap().remove(token);
        self.bus.notify(&self.tenant, &[format!("session:{token}")]);
    }

    fn park(&self, topic: &str, ms: u64, state: Vec<u8>) -> Answer {
        let watch = self.bus.watch(&self.tenant, &[topic]).unwrap();
        Answer::Park(Parked { watch, timeout: Duration::from_millis(ms), state })
    }
}

pub(crate) fn text(status: u16, text: impl Into<String>) -> Answer {
    Answer::Done(Response {
        status,
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: ResponseBody::Bytes(text.into().into_bytes()),
    })
}

fn echo(request: &Request) -> Answer {
    let body = match &request.body {
        Body::None => json!(null),
        Body::Bytes(bytes) => json!(String::from_utf8_lossy(bytes)),
        Body::Blob(id) => json!({ "blob": id }),
    };
    let told = json!({
        "route": request.route,
        "method": request.method,
        "path": request.path,
        "params": request.params,
        "query": request.query,
        "headers": request.headers,
        "body": body,
        "user": request.principal.as_ref().map(|principal| &principal.user),
        "remote": request.remote,
        "request_id": request.request_id,
    });
    text(200, told.to_string())
}

impl Dispatch for Fake {
    fn authenticate<'a>(
        &'a self,
        plugin: &'a str,
        credentials: Credentials,
    ) -> BoxFuture<'a, Result<Result<Option<Grant>, Denial>, CallError>> {
        Box::pin(async move {
            assert_eq!(plugin, "app");
            self.asked.fetch_add(1, Ordering::SeqCst);
            let header = credentials.headers.iter().find(|(name, _)| name == "authorization");
            let token = header
                .and_then(|(_, value)| value.strip_prefix("Bearer "))
                .or_else(|| credentials.query.strip_prefix("access_token="));
            if credentials.name == "signature" {
                let body = String::from_utf8(credentials.body).unwrap();
                let good = token == Some(body.as_str());
                let denial = Denial { status: 401, body: "bad signature".to_owned() };
                let grant =
                    Grant { principal: principal("server"), cache_ms: 60_000, topics: vec![] };
                return Ok(if good { Ok(Some(grant)) } else { Err(denial) });
            }
            let Some(token) = token else {
                if credentials.path.starts_with("/optional") {
                    return Ok(Ok(None));
                }
                return Ok(Err(Denial { status: 401, body: r#"{"e":"missing"}"#.to_owned() }));
            };
            let found = self.sessions.lock().unwrap().get(token).cloned();
            if let Some(after_look) = self.after_look.lock().unwrap().take() {
                after_look();
            }
            Ok(match found {
                Some(principal) => Ok(Some(Grant {
                    principal,
                    cache_ms: self.cache_ms,
                    topics: vec![format!("session:{token}")],
                })),
                None => Err(Denial { status: 401, body: r#"{"e":"unknown"}"#.to_owned() }),
            })
        })
    }

    fn body_max(&self, _plugin: &str, route: &str) -> Option<u64> {
        match route {
            "configured" => Some(4),
            // More than the route takes.
            "small" => Some(1000),
            _ => None,
        }
    }

    fn handle<'a>(
        &'a self,
        plugin: &'a str,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, CallError>> {
        Box::pin(async move {
            assert_eq!(plugin, "app");
            self.begun.notify_one();
            let done = |headers: &[(&str, &str)], body| {
                let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
                Ok(Answer::Done(Response { status: 200, headers: headers.collect(), body }))
            };
            let blob = self.blob.lock().unwrap().clone();
            match request.route.as_str() {
                "park" => {
                    let ms =
                        request.query.strip_prefix("ms=").map_or(60_000, |ms| ms.parse().unwrap());
                    Ok(self.park("news", ms, b"1".to_vec()))
                }
                "fat" => Ok(self.park("news", 60_000, vec![0; 20_000])),
                "trap" => Err(CallError::Trapped("unreachable".to_owned())),
                "quota" => Err(CallError::Quota {
                    retry_after: Duration::from_millis(2_500),
                    what: "cpu".to_owned(),
                }),
                "lost" => Err(CallError::Lost("the node is gone".to_owned())),
                "late" => Err(CallError::Timeout),
                "busy" => Err(CallError::Overloaded),
                "gone" => Err(CallError::Unavailable("quarantined".to_owned())),
                "panic" => panic!("a bug"),
                "hang" => std::future::pending().await,
                "gate" => {
                    self.gate.acquire().await.unwrap().forget();
                    Ok(text(200, "through"))
                }
                "blob" => done(&[("content-type", "image/png")], ResponseBody::Blob(blob)),
                "parts" => {
                    let bytes = |text: &str| Part::Bytes(text.as_bytes().to_vec());
                    let list = vec![bytes("--a\n"), Part::Blob(blob), bytes(""), bytes("\n--b")];
                    done(&[], ResponseBody::Parts(list))
                }
                "pieces" => {
                    let Answer::Done(first) = text(200, "one ") else { unreachable!() };
                    Ok(Answer::Begun(first, request.query.into_bytes()))
                }
                "nonsense" => done(&[("bad name", "x")], ResponseBody::None),
                "headers" => done(
                    &[
                        ("x-a", "1"),
                        ("x-a", "2"),
                        ("content-length", "999"),
                        ("connection", "close"),
                        ("access-control-allow-origin", "https://one.example"),
                    ],
                    ResponseBody::Bytes(b"hello".to_vec()),
                ),
                _ => Ok(echo(&request)),
            }
        })
    }

    fn resume<'a>(
        &'a self,
        plugin: &'a str,
        _request_id: &'a str,
        route: &'a str,
        state: Vec<u8>,
        reason: WakeReason,
        principal: Option<Principal>,
    ) -> BoxFuture<'a, Result<Answer, CallError>> {
        Box::pin(async move {
            assert_eq!((plugin, route), ("app", "park"));
            let user = principal.map_or("nobody".to_owned(), |principal| principal.user);
            let stubborn = self.parks_always.load(Ordering::SeqCst);
            if stubborn || state == b"1" && reason == WakeReason::Woken {
                let again = self.park("more", 60_000, b"2".to_vec());
                self.begun.notify_one();
                return Ok(again);
            }
            if self.hold_resumes.load(Ordering::SeqCst) {
                self.gate.acquire().await.unwrap().forget();
            }
            let state = String::from_utf8(state).unwrap();
            Ok(text(200, format!("{} {state} {reason:?} {user}", self.name)))
        })
    }

    /// The state is a list of words; the first says what the piece is, the others are left.
    fn next<'a>(
        &'a self,
        plugin: &'a str,
        _request_id: &'a str,
        route: &'a str,
        state: Vec<u8>,
        principal: Option<Principal>,
    ) -> BoxFuture<'a, Result<Result<Piece, String>, CallError>> {
        Box::pin(async move {
            assert_eq!((plugin, route), ("app", "pieces"));
            let state = String::from_utf8(state).unwrap();
            let (word, left) = state.split_once('+').unwrap_or((&state, ""));
            let more = (!left.is_empty()).then(|| left.as_bytes().to_vec());
            let bytes = match word {
                "user" => principal.unwrap().user.into_bytes(),
                "nothing" => Vec::new(),
                "busy" if !self.was_busy.swap(true, Ordering::SeqCst) => {
                    return Err(CallError::Overloaded);
                }
                "error" => return Ok(Err("no more".to_owned())),
                "trap" => return Err(CallError::Trapped("unreachable".to_owned())),
                "name" => self.name.as_bytes().to_vec(),
                "panic" => panic!("a bug"),
                "gate" => {
                    self.gated.fetch_add(1, Ordering::SeqCst);
                    self.gate.acquire().await.unwrap().forget();
                    b"through".to_vec()
                }
                word => word.as_bytes().to_vec(),
            };
            Ok(Ok(Piece { bytes, more }))
        })
    }

    fn consume<'a>(
        &'a self,
        _: &'a str,
        _: Vec<Message>,
    ) -> BoxFuture<'a, Result<Result<u32, String>, CallError>> {
        unreachable!("the edge delivers no messages")
    }

    fn fire<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Result<(), String>, CallError>> {
        unreachable!("the edge fires no timers")
    }

    fn start<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Result<(), String>, CallError>> {
        unreachable!("the edge starts nothing")
    }
}
