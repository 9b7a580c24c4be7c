//! User-interactive authentication: of endpoints here and, by `tessera:services/accounts.prove`, of others.
//!
//! Spec: client-server API, User-Interactive Authentication API. A session belongs to one operation and one user. What was passed is
//! kept in it only while stages are missing: the request that passes the last one is the request that does the thing, so nothing
//! that was passed can be used again. Registration, which may be asked with other values in each request, has its stages
//! kept to the end ([`Asking::keep`]) and notes whom the session made ([`Passed::spend`]): asked once more, it makes nobody else.

mod session;
mod stage;

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use tessera_sdk::hooks::RequestInfo;
use tessera_sdk::http::{Answer, Request};
use tessera_sdk::matrix::{Error, ErrorCode};
use tessera_sdk::storage::Batch;
use tessera_sdk::{clock, params};

use crate::config;

pub(crate) use self::session::key;
use self::session::{Found, State};
pub use self::session::{LIFETIME_MS, Made};
use self::stage::Auth;
use self::stage::Failed;
pub use self::stage::Stage;

/// Stages of which all must be passed, in order.
pub type Flow = Vec<Stage>;

/// Members of a body, as JSON.
pub type Object = Map<String, Value>;

/// A request that needs proof.
#[derive(Debug, Clone)]
pub struct Asking<'a> {
    /// The operation: the endpoint and what its path names. A session of one is good for no other.
    pub scope: Cow<'a, str>,
    /// Who asks, if that is known.
    pub user: Option<&'a str>,
    /// The request's body.
    pub body: &'a Object,
    /// The request, as modules are told of it.
    pub request: RequestInfo,
    /// What the endpoint wants to know again in later requests; with it, stages are kept to the end.
    pub keep: Option<Object>,
}

impl<'a> Asking<'a> {
    /// A request of this plug-in's, whose body was read.
    pub fn of(request: &'a Request, body: &'a Object) -> Self {
        let user = request.wire().principal.as_ref().map(|principal| principal.user.as_str());
        let wire = request.wire();
        let named = wire.params.iter().map(|(_, value)| value.as_str());
        let scope = match wire.params.is_empty() {
            true => Cow::Borrowed(wire.route.as_str()),
            false => {
                [wire.route.as_str()].into_iter().chain(named).collect::<Vec<_>>().join(" ").into()
            }
        };
        Self { scope, user, body, request: request.info(), keep: None }
    }
}

/// How it stands.
#[derive(Debug)]
pub enum Checked {
    /// The request may go on.
    Passed(Passed),
    /// The body of a 401.
    Ask(Value),
}

/// All stages of a flow are passed.
#[derive(Debug)]
pub struct Passed {
    /// None: there was one stage, passed without a session.
    session: Option<String>,
    /// By stage, what it proved.
    pub proved: Object,
    /// What was kept.
    pub kept: Object,
    /// Whom this session registered before.
    pub made: Option<Made>,
    /// The requests that took part, this one last.
    pub requests: Vec<RequestInfo>,
}

impl Passed {
    /// What a stage proved.
    pub fn proved(&self, stage: Stage) -> Option<&Value> {
        self.proved.get(stage.name())
    }

    /// Notes in a batch that has made the user whom the session registered, and with which device. The statement, if there is one,
    /// conflicts if it was somebody already.
    pub fn spend(&self, batch: Batch, user: &str, device: &str) -> Batch {
        match &self.session {
            None => batch,
            Some(session) => batch
                .run(
                    "UPDATE accounts_uia SET made = $2, made_ms = $3, made_device = $4, made_revision = \
                     COALESCE((SELECT u.revision FROM accounts_users AS u WHERE u.user_id = $2), -1) \
                     WHERE session = $1 AND made = ''",
                    params![key(session), user, clock::now_ms(), device],
                )
                .expect(1),
        }
    }

    /// Whether there is a session, so that [`Passed::spend`] adds a statement.
    pub fn has_session(&self) -> bool {
        self.session.is_some()
    }
}

/// The password stage for a request of this plug-in's: `None`, or what to answer instead.
///
/// # Errors
/// Storage, 429 after too many wrong passwords, `M_BAD_JSON`.
pub fn password(request: &Request) -> Result<Option<Answer>, Error> {
    let body: Object = request.json()?;
    match check(&Asking::of(request, &body), &[vec![Stage::Password]])? {
        Checked::Passed(_) => Ok(None),
        Checked::Ask(question) => Answer::json_with_status(401, &question).map(Some),
    }
}

/// How often a stage is recorded that met another request of its session.
const TRIES: usize = 3;

/// Looks at the `auth` member of a body: whether the request may go on, or what is missing.
///
/// # Errors
/// Storage, `M_BAD_JSON`, 403 for a session of another operation, 429 after too many tries.
pub fn check(asking: &Asking<'_>, flows: &[Flow]) -> Result<Checked, Error> {
    let keep = asking.keep.clone().unwrap_or_default();
    let fresh = || State { kept: keep.clone(), ..State::default() };
    let auth: Option<Auth> = match asking.body.get("auth") {
        None | Some(Value::Null) => None,
        Some(auth) => Some(
            serde_json::from_value(auth.clone())
                .map_err(|error| Error::bad_json(format!("auth: {error}")))?,
        ),
    };
    let Some(auth) = auth else { return ask(asking, flows, fresh(), None) };
    for _ in 0..TRIES {
        let state = match &auth.session {
            None => fresh(),
            Some(session) => match session::load(session, &asking.scope, user(asking))? {
                Found::Open(state) => *state,
                Found::Other => {
                    let text = "this session was opened for another operation";
                    return Err(Error::forbidden(text));
                }
                Found::None => {
                    let error = Error::new(ErrorCode::Unknown, "this session is unknown or over");
                    return ask(asking, flows, fresh(), Some(&error));
                }
            },
        };
        if let Some(checked) = step(asking, flows, &auth, state)? {
            return Ok(checked);
        }
    }
    Err(tessera_sdk::storage::Error::Busy.into())
}

fn user<'a>(asking: &Asking<'a>) -> &'a str {
    asking.user.unwrap_or_default()
}

/// `None`: another request of the session was quicker, look again.
fn step(
    asking: &Asking<'_>,
    flows: &[Flow],
    auth: &Auth,
    mut state: State,
) -> Result<Option<Checked>, Error> {
    let told = |state, error: &Error| ask(asking, flows, state, Some(error)).map(Some);
    if let Some(kind) = auth.kind.as_deref()
        && !state.completed.contains_key(kind)
    {
        let stage = match flows.iter().flatten().find(|stage| stage.name() == kind) {
            Some(stage) if !flows.iter().any(|flow| next(flow, &state) == Some(*stage)) => {
                let error = Error::forbidden("another stage comes first");
                return told(state, &error);
            }
            Some(stage) => *stage,
            // A captcha may be solved even where none is wanted.
            None if kind == Stage::Recaptcha.name() && asking.keep.is_some() => Stage::Recaptcha,
            None => {
                let error = Error::new(ErrorCode::Unrecognized, "no flow has this stage");
                return told(state, &error);
            }
        };
        match stage.attempt(asking, auth, &state.session) {
            Ok(proof) => state.completed.insert(kind.to_owned(), proof),
            Err(Failed::Over(error)) => return Err(error),
            Err(Failed::Again(error)) => return told(state, &error),
        };
        let last = flows.iter().any(|flow| next(flow, &state).is_none());
        let stored = !state.session.is_empty();
        if stored && (!last || asking.keep.is_some()) && !session::save(&state)? {
            return Ok(None);
        }
    }
    if !flows.iter().any(|flow| next(flow, &state).is_none()) {
        return ask(asking, flows, state, None).map(Some);
    }
    let mut requests: Vec<RequestInfo> = state.opened.into_iter().collect();
    requests.push(asking.request.clone());
    Ok(Some(Checked::Passed(Passed {
        session: (!state.session.is_empty()).then_some(state.session),
        proved: state.completed,
        kept: state.kept,
        made: state.made,
        requests,
    })))
}

/// The first stage of a flow that is not passed.
fn next(flow: &Flow, state: &State) -> Option<Stage> {
    flow.iter().copied().find(|stage| !state.completed.contains_key(stage.name()))
}

fn ask(
    asking: &Asking<'_>,
    flows: &[Flow],
    state: State,
    error: Option<&Error>,
) -> Result<Checked, Error> {
    let session = if state.session.is_empty() {
        session::open(&asking.scope, user(asking), &asking.request, &state)?
    } else {
        state.session
    };
    let names = |flow: &Flow| flow.iter().map(|stage| stage.name()).collect::<Vec<_>>();
    let flows_told: Vec<_> = flows.iter().map(|flow| json!({ "stages": names(flow) })).collect();
    let config = config::get()?;
    let mut params = Map::new();
    for stage in flows.iter().flatten() {
        if let Some(told) = stage.params(&config) {
            params.insert(stage.name().to_owned(), told);
        }
    }
    let mut body = json!({
        "flows": flows_told,
        "params": params,
        "completed": state.completed.keys().collect::<Vec<_>>(),
        "session": session,
    });
    if let (Some(error), Some(map)) = (error, body.as_object_mut()) {
        map.insert("errcode".to_owned(), error.errcode().into());
        map.insert("error".to_owned(), error.message().into());
    }
    Ok(Checked::Ask(body))
}

/// What somebody gives on the page of a stage.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Of the captcha.
    pub response: Option<String>,
    /// Of registration.
    pub token: Option<String>,
}

/// Whether a stage of an open session of nobody's is passed. `None`: there is no such session.
///
/// # Errors
/// Storage.
pub fn is_passed(scope: &str, session: &str, stage: Stage) -> Result<Option<bool>, Error> {
    let state = session::load(session, scope, "")?.open();
    Ok(state.map(|state| state.completed.contains_key(stage.name())))
}

/// Passes a stage of such a session outside the client, if it is the next one of some flow. `None`: there is no such session;
/// an error inside: to be tried again.
///
/// # Errors
/// Storage, 429.
pub fn pass(
    scope: &str,
    session: &str,
    stage: Stage,
    given: Given,
    request: RequestInfo,
    flows: &[Flow],
) -> Result<Option<Result<(), Error>>, Error> {
    let body = Object::new();
    let keep = Some(Object::new());
    let asking = Asking { scope: scope.into(), user: None, body: &body, request, keep };
    let auth = Auth::of(given);
    for _ in 0..TRIES {
        let Some(mut state) = session::load(session, scope, "")?.open() else { return Ok(None) };
        if state.completed.contains_key(stage.name()) {
            return Ok(Some(Ok(())));
        }
        if !flows.iter().any(|flow| next(flow, &state) == Some(stage)) {
            return Ok(Some(Err(Error::forbidden("another stage comes first"))));
        }
        match stage.attempt(&asking, &auth, &state.session) {
            Ok(proof) => state.completed.insert(stage.name().to_owned(), proof),
            Err(Failed::Over(error)) => return Err(error),
            Err(Failed::Again(error)) => return Ok(Some(Err(error))),
        };
        if session::save(&state)? {
            return Ok(Some(Ok(())));
        }
    }
    Err(tessera_sdk::storage::Error::Busy.into())
}

/// Opens a session of nobody's, for an endpoint that keeps nothing in it.
///
/// # Errors
/// Storage.
pub fn open(scope: &str, request: &Request) -> Result<String, Error> {
    session::open(scope, "", &request.info(), &State::default())
}

/// Adds the end of such a session to a batch. The statement conflicts if it is over.
pub fn close(batch: Batch, session: &str) -> Batch {
    batch.run("DELETE FROM accounts_uia WHERE session = $1", params![key(session)]).expect(1)
}

/// Whether a session that [`open`] made is open.
///
/// # Errors
/// Storage.
pub fn is_open(session: &str, scope: &str) -> Result<bool, Error> {
    Ok(session::load(session, scope, "")?.open().is_some())
}
