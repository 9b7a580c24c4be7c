//! The side that runs the plug-in.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Serialize;
use wasmtime::component::Val;

use super::{
    split, values,
    wire::{self, Ask, Envelope, Failure, Raw, Reply, WireAnswer, WirePiece, WireVerdict},
};
use crate::{
    api::CallError,
    pool::{
        Authenticate, CONTINUATION, CallFunction, Consume, Fire, Handle, Next, Pool, Resume, Start,
        functions_of,
    },
    state::{Context, MAX_DEPTH},
    tenant::{Tenant, Unit},
};

/// Longest that a caller may wait; keeps clocks from overflowing.
const LONGEST: Duration = Duration::from_secs(86_400);

fn written<T: Serialize>(reply: &Reply<T>) -> Bytes {
    let mut bytes = Vec::with_capacity(256);
    wire::write(&mut bytes, reply);
    bytes.into()
}

pub(super) fn failed(failure: Failure) -> Bytes {
    written::<()>(&Err(failure))
}

impl Tenant {
    /// Answers a call of another node: what [`crate::Remote::call`] was given there. Whatever the payload is,
    /// there is an answer; one that cannot be read or is not for this tenant starts nothing.
    pub async fn answer(&self, payload: Bytes) -> Bytes {
        let Some((tenant, rest)) = split(&payload) else {
            return failed(Failure::Elsewhere("the call cannot be read".to_owned()));
        };
        if tenant != self.name() {
            return failed(Failure::Elsewhere("the call is for another tenant".to_owned()));
        }
        let envelope: Envelope = match ciborium::from_reader(rest) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(tenant, %error, "a call of another node cannot be read");
                return failed(Failure::Elsewhere("the call cannot be read".to_owned()));
            }
        };
        match self.run(envelope).await {
            Ok(bytes) => bytes,
            Err(failure) => failed(failure),
        }
    }

    async fn run(&self, envelope: Envelope) -> Result<Bytes, Failure> {
        let Envelope { request_id, left_ms, depth, plugin, ask } = envelope;
        let set = self.plugins();
        let absent =
            || Failure::Elsewhere(format!("plug-in `{plugin}` does not run on the node asked"));
        let main = set.main(&plugin).ok_or_else(absent)?;
        let (index, unit) = set.pick(&plugin, |unit| can(unit, main, &ask)).ok_or_else(absent)?;
        let pool = unit.pool().ok_or_else(absent)?;
        let nested = matches!(ask, Ask::Call { .. });
        if depth > MAX_DEPTH || nested != (depth > 0) {
            let text = format!("calls are nested deeper than {MAX_DEPTH}, or not as they can be");
            return Err(Failure::Unavailable(text));
        }
        let left = Duration::from_millis(left_ms).min(LONGEST);
        let context = |own: Duration| {
            let now = Instant::now();
            let deadline = now.checked_add(left.min(own)).unwrap_or(now);
            let edge =
                Context::edge(Arc::from(request_id.as_str()), deadline, Arc::clone(&set), index);
            Context { depth, ..edge }
        };
        let wall = pool.caps.limits.wall;
        let route = |route: &str| {
            let text = || format!("plug-in `{plugin}` has no route `{route}` on the node asked");
            if unit.has_route(route) { Ok(()) } else { Err(Failure::Elsewhere(text())) }
        };
        Ok(match ask {
            Ask::Authenticate(credentials) => {
                let work = Authenticate(credentials.into());
                let verdict = pool.run(context(wall), work).await;
                let verdict = verdict.map(|verdict| -> WireVerdict {
                    verdict.map(|grant| grant.map(Into::into)).map_err(Into::into)
                });
                reply(verdict)
            }
            Ask::Handle(request) => {
                route(&request.route)?;
                let own = unit.timeout(&request.route).unwrap_or(wall);
                let answer = pool.run(context(own), Handle(request.into())).await;
                reply(answer.map(WireAnswer::from))
            }
            Ask::Resume { route: on, state, timeout, principal } => {
                route(&on)?;
                let own = unit.timeout(&on).unwrap_or(wall);
                let work = Resume {
                    route: &on,
                    state: state.0,
                    reason: wire::reason(timeout),
                    principal: principal.map(Into::into),
                };
                reply(pool.run(context(own), work).await.map(WireAnswer::from))
            }
            Ask::Next { route: on, state, principal } => {
                route(&on)?;
                let own = unit.timeout(&on).unwrap_or(wall);
                let principal = principal.map(Into::into);
                let work = Next { route: &on, state: state.0, principal };
                let piece = pool.run(context(own), work).await;
                reply(piece.map(|piece| piece.map(WirePiece::from)))
            }
            Ask::Consume(messages) => {
                let work = Consume(messages.into_iter().map(Into::into).collect());
                reply(pool.run(context(wall), work).await)
            }
            Ask::Fire { name, payload } => {
                reply(pool.run(context(wall), Fire { name: &name, payload: &payload }).await)
            }
            Ask::Start => reply(pool.run(context(wall), Start).await),
            Ask::Call { caller, interface, function, params } => {
                tracing::trace!(caller, interface, function, "called from another node");
                let exports = &unit.plugin().exports;
                let answer =
                    call(pool, exports, (&interface, &function), &params.0, context(wall)).await?;
                reply(answer.map(Raw))
            }
        })
    }
}

/// Whether a version that is tried beside `main` can answer the call.
fn can(tried: &Unit, main: &Unit, ask: &Ask) -> bool {
    match ask {
        Ask::Authenticate(_) => tried.offers("tessera:plugin/authenticator"),
        Ask::Handle(request) => tried.has_route(&request.route),
        Ask::Resume { route, .. } => tried.has_route(route),
        Ask::Next { route, .. } => tried.has_route(route) && tried.offers(CONTINUATION),
        Ask::Consume(_) => tried.offers("tessera:plugin/consumer"),
        Ask::Fire { .. } => tried.offers("tessera:plugin/timer"),
        Ask::Start => false,
        Ask::Call { interface, function, .. } => {
            let of = |unit: &Unit| {
                let exports = &unit.plugin().exports;
                let export = exports.iter().find(|export| export.name == *interface)?;
                export.functions.get(function).cloned()
            };
            // The other node encodes for the one that counts.
            of(tried).zip(of(main)).is_some_and(|(tried, main)| main.difference(&tried).is_none())
        }
    }
}

fn reply<T: Serialize>(result: Result<T, CallError>) -> Bytes {
    written(&result.map_err(Failure::of))
}

/// A function of a service or hook. The outer error: nothing was started.
async fn call(
    pool: &Pool,
    exports: &[crate::contract::Interface],
    (interface, function): (&str, &str),
    params: &[u8],
    context: Context,
) -> Result<Result<Vec<u8>, CallError>, Failure> {
    let lacks = || {
        Failure::Elsewhere(format!(
            "plug-in `{}` on the node asked has no `{interface}.{function}`",
            pool.caps.plugin
        ))
    };
    let (index, ty) = functions_of(exports)
        .enumerate()
        .find(|(_, (export, name))| export.name == interface && *name == function)
        .and_then(|(index, (export, name))| Some((index, export.functions.get(name)?)))
        .ok_or_else(lacks)?;
    let params = values::decode(ty.params.iter().map(|(_, shape)| shape), params)
        .map_err(|error| Failure::Unavailable(format!("`{interface}.{function}`: {error}")))?;
    // Overwritten by the call.
    let mut results: Vec<Val> = ty.result.iter().map(|_| Val::Bool(false)).collect();
    let work = CallFunction { index, params: &params, results: &mut results };
    Ok(match pool.run(context, work).await {
        // What a guest gave fits its own type.
        Ok(()) => values::encode(ty.result.iter().zip(&results))
            .map_err(|error| CallError::Trapped(error.to_string())),
        Err(error) => Err(error),
    })
}
