//! The calls of [`Dispatch`], on the tenant's pools or on those of another node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Runs, Tenant, Unit};
use crate::{
    api::{
        Answer, BoxFuture, CallError, Credentials, Denial, Dispatch, Grant, Message, Piece,
        Principal, Request, WakeReason,
    },
    pool::{Authenticate, CONTINUATION, Consume, Fire, Handle, Next, Resume, Start},
    remote::wire::{Ask, Raw, WirePiece, WireVerdict},
    state::Context,
};

/// Far enough for a limit of any size, near enough not to overflow a clock.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl Tenant {
    /// Where a call from the edge runs. It ends in the set that was there when it began. `can` tells whether a version
    /// that is tried beside another can answer it.
    fn begin(
        &self,
        plugin: &str,
        request_id: &str,
        route: Option<&str>,
        can: impl Fn(&Unit) -> bool,
    ) -> Result<(Runs, Context), CallError> {
        let set = self.set.load_full();
        let (index, unit) = set.pick(plugin, can).ok_or_else(|| {
            CallError::Unavailable(if *self.closed.borrow() {
                format!("tenant `{}` was closed", self.name())
            } else {
                format!("no plug-in is named `{plugin}`")
            })
        })?;
        let time = route.and_then(|route| unit.timeout(route)).unwrap_or_else(|| unit.wall());
        let now = Instant::now();
        let deadline = now.checked_add(time.min(YEAR)).unwrap_or(now);
        let runs = unit.runs.clone();
        let context = Context::edge(Arc::from(request_id), deadline, Arc::clone(&set), index);
        Ok((runs, context))
    }
}

impl Dispatch for Tenant {
    fn authenticate<'a>(
        &'a self,
        plugin: &'a str,
        credentials: Credentials,
    ) -> BoxFuture<'a, Result<Result<Option<Grant>, Denial>, CallError>> {
        Box::pin(async move {
            let (runs, context) =
                self.begin(plugin, "", None, |unit| unit.offers("tessera:plugin/authenticator"))?;
            match runs {
                Runs::Here(pool) => pool.run(context, Authenticate(credentials)).await,
                Runs::Away(away) => {
                    let ask = Ask::Authenticate(credentials.into());
                    let verdict: WireVerdict = away.edge(&context, ask).await?;
                    Ok(verdict.map(|grant| grant.map(Into::into)).map_err(Into::into))
                }
            }
        })
    }

    fn body_max(&self, plugin: &str, route: &str) -> Option<u64> {
        self.set.load().main(plugin)?.body_max(route)
    }

    fn handle<'a>(
        &'a self,
        plugin: &'a str,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, CallError>> {
        Box::pin(async move {
            let route = request.route.as_str();
            let (runs, context) =
                self.begin(plugin, &request.request_id, Some(route), |unit| unit.has_route(route))?;
            match runs {
                Runs::Here(pool) => pool.run(context, Handle(request)).await,
                Runs::Away(away) => away.request(&context, Ask::Handle(request.into())).await,
            }
        })
    }

    fn resume<'a>(
        &'a self,
        plugin: &'a str,
        request_id: &'a str,
        route: &'a str,
        state: Vec<u8>,
        reason: WakeReason,
        principal: Option<Principal>,
    ) -> BoxFuture<'a, Result<Answer, CallError>> {
        Box::pin(async move {
            let (runs, context) =
                self.begin(plugin, request_id, Some(route), |unit| unit.has_route(route))?;
            match runs {
                Runs::Here(pool) => {
                    pool.run(context, Resume { route, state, reason, principal }).await
                }
                Runs::Away(away) => {
                    let ask = Ask::Resume {
                        route: route.to_owned(),
                        state: Raw(state),
                        timeout: matches!(reason, WakeReason::Timeout),
                        principal: principal.map(Into::into),
                    };
                    away.request(&context, ask).await
                }
            }
        })
    }

    fn next<'a>(
        &'a self,
        plugin: &'a str,
        request_id: &'a str,
        route: &'a str,
        state: Vec<u8>,
        principal: Option<Principal>,
    ) -> BoxFuture<'a, Result<Result<Piece, String>, CallError>> {
        Box::pin(async move {
            let (runs, context) = self.begin(plugin, request_id, Some(route), |unit| {
                unit.has_route(route) && unit.offers(CONTINUATION)
            })?;
            match runs {
                Runs::Here(pool) => pool.run(context, Next { route, state, principal }).await,
                Runs::Away(away) => {
                    let ask = Ask::Next {
                        route: route.to_owned(),
                        state: Raw(state),
                        principal: principal.map(Into::into),
                    };
                    let piece: Result<WirePiece, String> = away.edge(&context, ask).await?;
                    Ok(piece.map(Into::into))
                }
            }
        })
    }

    fn consume<'a>(
        &'a self,
        plugin: &'a str,
        messages: Vec<Message>,
    ) -> BoxFuture<'a, Result<Result<u32, String>, CallError>> {
        Box::pin(async move {
            let (runs, context) =
                self.begin(plugin, "", None, |unit| unit.offers("tessera:plugin/consumer"))?;
            match runs {
                Runs::Here(pool) => pool.run(context, Consume(messages)).await,
                Runs::Away(away) => {
                    let messages = messages.into_iter().map(Into::into).collect();
                    away.edge(&context, Ask::Consume(messages)).await
                }
            }
        })
    }

    fn fire<'a>(
        &'a self,
        plugin: &'a str,
        name: &'a str,
        payload: &'a str,
    ) -> BoxFuture<'a, Result<Result<(), String>, CallError>> {
        Box::pin(async move {
            let (runs, context) =
                self.begin(plugin, "", None, |unit| unit.offers("tessera:plugin/timer"))?;
            match runs {
                Runs::Here(pool) => pool.run(context, Fire { name, payload }).await,
                Runs::Away(away) => {
                    let (name, payload) = (name.to_owned(), payload.to_owned());
                    away.edge(&context, Ask::Fire { name, payload }).await
                }
            }
        })
    }

    fn start<'a>(
        &'a self,
        plugin: &'a str,
    ) -> BoxFuture<'a, Result<Result<(), String>, CallError>> {
        Box::pin(async move {
            let (runs, context) = self.begin(plugin, "", None, |_| false)?;
            match runs {
                Runs::Here(pool) => pool.run(context, Start).await,
                Runs::Away(away) => away.edge(&context, Ask::Start).await,
            }
        })
    }
}
