//! The calls of [`Dispatch`], on the tenant's pools.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Tenant, set::PluginSet};
use crate::{
    api::{
        Answer, BoxFuture, CallError, Credentials, Denial, Dispatch, Grant, Message, Principal,
        Request, WakeReason,
    },
    pool::{Authenticate, Consume, Fire, Handle, Pool, Resume, Start, Work},
    state::Context,
};

/// Far enough for a limit of any size, near enough not to overflow a clock.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl Tenant {
    /// One call from the edge. It runs to its end in the set that was there when it began.
    async fn edge<W: Work>(
        &self,
        plugin: &str,
        request_id: &str,
        timeout: impl FnOnce(&PluginSet, &Pool) -> Duration,
        work: W,
    ) -> Result<W::Output, CallError> {
        let set = self.set.load_full();
        let pool = set
            .pool(plugin)
            .ok_or_else(|| CallError::Unavailable(format!("no plug-in is named `{plugin}`")))?;
        let now = Instant::now();
        let deadline = now.checked_add(timeout(&set, pool).min(YEAR)).unwrap_or(now);
        let context = Context { request_id: Arc::from(request_id), deadline, depth: 0 };
        pool.run(context, work).await
    }
}

fn wall(_: &PluginSet, pool: &Pool) -> Duration {
    pool.caps.limits.wall
}

impl Dispatch for Tenant {
    fn authenticate<'a>(
        &'a self,
        plugin: &'a str,
        credentials: Credentials,
    ) -> BoxFuture<'a, Result<Result<Option<Grant>, Denial>, CallError>> {
        Box::pin(self.edge(plugin, "", wall, Authenticate(credentials)))
    }

    fn handle<'a>(
        &'a self,
        plugin: &'a str,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, CallError>> {
        Box::pin(async move {
            let request_id = request.request_id.clone();
            let route = request.route.clone();
            let timeout = |set: &PluginSet, pool: &Pool| {
                set.timeout(plugin, &route).unwrap_or(pool.caps.limits.wall)
            };
            self.edge(plugin, &request_id, timeout, Handle(request)).await
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
        let timeout = move |set: &PluginSet, pool: &Pool| {
            set.timeout(plugin, route).unwrap_or(pool.caps.limits.wall)
        };
        let work = Resume { route, state, reason, principal };
        Box::pin(self.edge(plugin, request_id, timeout, work))
    }

    fn consume<'a>(
        &'a self,
        plugin: &'a str,
        messages: Vec<Message>,
    ) -> BoxFuture<'a, Result<Result<u32, String>, CallError>> {
        Box::pin(self.edge(plugin, "", wall, Consume(messages)))
    }

    fn fire<'a>(
        &'a self,
        plugin: &'a str,
        name: &'a str,
        payload: &'a str,
    ) -> BoxFuture<'a, Result<Result<(), String>, CallError>> {
        Box::pin(self.edge(plugin, "", wall, Fire { name, payload }))
    }

    fn start<'a>(
        &'a self,
        plugin: &'a str,
    ) -> BoxFuture<'a, Result<Result<(), String>, CallError>> {
        Box::pin(self.edge(plugin, "", wall, Start))
    }
}
