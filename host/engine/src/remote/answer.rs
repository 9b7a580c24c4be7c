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
    wire::{self, Ask, Envelope, Failure, Raw, Reply, WireAnswer, WireVerdict},
};
use crate::{
    api::CallError,
    pool::{Authenticate, CallFunction, Consume, Fire, Handle, Pool, Resume, Start, functions_of},
    state::{Context, MAX_DEPTH},
    tenant::Tenant,
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
        let pool = set.pool(&plugin).ok_or_else(|| {
            Failure::Elsewhere(format!("plug-in `{plugin}` does not run on the node asked"))
        })?;
        let nested = matches!(ask, Ask::Call { .. });
        if depth > MAX_DEPTH || nested != (depth > 0) {
            let text = format!("calls are nested deeper than {MAX_DEPTH}, or not as they can be");
            return Err(Failure::Unavailable(text));
        }
        let left = Duration::from_millis(left_ms).min(LONGEST);
        let context = |own: Duration| {
            let now = Instant::now();
            let deadline = now.checked_add(left.min(own)).unwrap_or(now);
            Context { request_id: Arc::from(request_id.as_str()), deadline, depth }
        };
        let wall = pool.caps.limits.wall;
        let route = |route: &str| {
            let text = || format!("plug-in `{plugin}` has no route `{route}` on the node asked");
            if set.has_route(&plugin, route) { Ok(()) } else { Err(Failure::Elsewhere(text())) }
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
                let own = set.timeout(&plugin, &request.route).unwrap_or(wall);
                let answer = pool.run(context(own), Handle(request.into())).await;
                reply(answer.map(WireAnswer::from))
            }
            Ask::Resume { route: on, state, timeout, principal } => {
                route(&on)?;
                let own = set.timeout(&plugin, &on).unwrap_or(wall);
                let work = Resume {
                    route: &on,
                    state: state.0,
                    reason: wire::reason(timeout),
                    principal: principal.map(Into::into),
                };
                reply(pool.run(context(own), work).await.map(WireAnswer::from))
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
                let exports = &set.plugin(&plugin).map_or(&[][..], |plugin| &plugin.exports);
                let answer =
                    call(pool, exports, (&interface, &function), &params.0, context(wall)).await?;
                reply(answer.map(Raw))
            }
        })
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
