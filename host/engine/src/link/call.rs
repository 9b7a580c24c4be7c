//! Calls from one plug-in to another, on values.

use std::sync::{Arc, OnceLock, Weak};

use tessera_manifest::OnError;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Val},
};

use super::hook::{self, Round};
use crate::{
    api::CallError,
    contract::Interface,
    metrics::Metrics,
    pool::{CallFunction, Pool},
    state::{Context, MAX_DEPTH, State},
};

/// One imported function, and who answers it.
pub(crate) struct Link {
    pub(crate) kind: Kind,
    /// Filled in once the pools of all plug-ins are there.
    pub(crate) providers: OnceLock<Vec<Provider>>,
}

pub(crate) enum Kind {
    Service,
    Hook(Round),
}

/// A plug-in that answers.
pub(crate) struct Provider {
    pub(crate) pool: Weak<Pool>,
    /// Among the functions that it offers.
    pub(crate) function: usize,
    pub(crate) on_error: OnError,
}

impl Link {
    pub(crate) fn service() -> Self {
        Self { kind: Kind::Service, providers: OnceLock::new() }
    }

    pub(crate) fn hook(round: Round) -> Self {
        Self { kind: Kind::Hook(round), providers: OnceLock::new() }
    }

    /// What a link between `import`'s function and whoever answers it is.
    pub(crate) fn of(
        import: &Interface,
        function: &str,
        refusals: &std::collections::BTreeMap<String, serde_json::Value>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, String> {
        if !import.is_hook() {
            return Ok(Self::service());
        }
        let ty = import.functions.get(function).ok_or("no such function")?;
        Ok(Self::hook(Round::new(import, function, ty, refusals.get(&import.base), metrics)?))
    }
}

/// Defines an imported function in a caller's linker.
pub(crate) fn define(
    linker: &mut Linker<State>,
    interface: &str,
    function: &str,
    link: Arc<Link>,
) -> wasmtime::Result<()> {
    linker.instance(interface)?.func_new_async(function, move |store, _type, params, results| {
        let link = Arc::clone(&link);
        Box::new(async move { call(store, &link, params, results).await })
    })
}

async fn call(
    mut store: StoreContextMut<'_, State>,
    link: &Link,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let state = store.data_mut();
    state.enter()?;
    let context = state.call.context.clone();
    let providers = link.providers.get().map_or(&[][..], Vec::as_slice);
    match &link.kind {
        Kind::Hook(round) => hook::ask(round, providers, &context, params, results).await?,
        Kind::Service => {
            let answered = match providers.first() {
                Some(provider) => provider.call(&context, None, params, results).await,
                None => Err(CallError::Unavailable("no provider".to_owned())),
            };
            if let (Err(error), Some(result)) = (answered, results.first_mut()) {
                *result = Val::Result(Err(Some(Box::new(host_error(&error)))));
            }
        }
    }
    // A call took time that is not the caller's.
    store.set_epoch_deadline(1);
    Ok(())
}

/// The two cases that every service's error has.
fn host_error(error: &CallError) -> Val {
    let case = match error {
        CallError::Unavailable(_) | CallError::Overloaded => "unavailable",
        CallError::Timeout | CallError::Trapped(_) => "unknown",
    };
    Val::Variant(case.to_owned(), Some(Box::new(Val::String(error.to_string()))))
}

impl Provider {
    /// Calls, one level deeper, until the caller's deadline or `budget`, whatever is earlier.
    pub(super) async fn call(
        &self,
        context: &Context,
        budget: Option<std::time::Duration>,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<(), CallError> {
        let pool = self
            .pool
            .upgrade()
            .ok_or_else(|| CallError::Unavailable("the provider was unloaded".to_owned()))?;
        if context.depth >= MAX_DEPTH {
            return Err(CallError::Unavailable(format!(
                "calls are nested deeper than {MAX_DEPTH}"
            )));
        }
        let wall = budget.unwrap_or(pool.caps.limits.wall);
        let deadline = std::time::Instant::now()
            .checked_add(wall)
            .map_or(context.deadline, |own| own.min(context.deadline));
        let context = Context {
            request_id: Arc::clone(&context.request_id),
            deadline,
            depth: context.depth.saturating_add(1),
        };
        // Boxed: a call may call on, so the future would contain itself.
        let work = CallFunction { index: self.function, params, results };
        Box::pin(pool.run(context, work)).await
    }
}
