//! The calls of [`Dispatch`], on the tenant's pools or on those of another node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Tenant,
    set::{PluginSet, Runs},
};
use crate::{
    api::{
        Answer, BoxFuture, CallError, Credentials, Denial, Dispatch, Grant, Message, Principal,
        Request, WakeReason,
    },
    pool::{Authenticate, Consume, Fire, Handle, Resume, Start},
    remote::wire::{Ask, Raw, WireVerdict},
    state::Context,
};

/// Far enough for a limit of any size, near enough not to overflow a clock.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl Tenant {
    /// Where a call from the edge runs. It ends in the set that was there when it began.
    fn begin(
        &self,
        plugin: &str,
        request_id: &str,
        route: Option<&str>,
    ) -> Result<(Arc<PluginSet>, Runs, Context), CallError> {
        let set = self.set.load_full();
        let runs = set.runs(plugin).cloned().ok_or_else(|| {
            CallError::Unavailable(if *self.closed.borrow() {
                format!("tenant `{}` was closed", self.name())
            } else {
                format!("no plug-in is named `{plugin}`")
            })
        })?;
        let wall = match &runs {
            Runs::Here(pool) => pool.caps.limits.wall,
            Runs::Away(away) => away.wall,
        };
        let time = route.and_then(|route| set.timeout(plugin, route)).unwrap_or(wall);
        let now = Instant::now();
        let deadline = now.checked_add(time.min(YEAR)).unwrap_or(now);
        let context = Context { request_id: Arc::from(request_id), deadline, depth: 0 };
        Ok((set, runs, context))
    }
}

impl Dispatch for Tenant {
    fn authenticate<'a>(
        &'a self,
        plugin: &'a str,
        credentials: Credentials,
    ) -> BoxFuture<'a, Result<Result<Option<Grant>, Denial>, CallError>> {
        Box::pin(async move {
            let (_set, runs, context) = self.begin(plugin, "", None)?;
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

    fn handle<'a>(
        &'a self,
        plugin: &'a str,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, CallError>> {
        Box::pin(async move {
            let (_set, runs, context) =
                self.begin(plugin, &request.request_id, Some(&request.route))?;
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
            let (_set, runs, context) = self.begin(plugin, request_id, Some(route))?;
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

    fn consume<'a>(
        &'a self,
        plugin: &'a str,
        messages: Vec<Message>,
    ) -> BoxFuture<'a, Result<Result<u32, String>, CallError>> {
        Box::pin(async move {
            let (_set, runs, context) = self.begin(plugin, "", None)?;
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
            let (_set, runs, context) = self.begin(plugin, "", None)?;
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
            let (_set, runs, context) = self.begin(plugin, "", None)?;
            match runs {
                Runs::Here(pool) => pool.run(context, Start).await,
                Runs::Away(away) => away.edge(&context, Ask::Start).await,
            }
        })
    }
}
