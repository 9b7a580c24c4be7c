//! Calls from one plug-in to another, on values.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tessera_manifest::OnError;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Val},
};

use super::hook::{self, Round};
use crate::{
    api::CallError,
    capabilities::log,
    contract::{Function, Interface},
    metrics::{Labels, Metrics},
    pool::{CallFunction, Pool},
    remote::AwayFunction,
    state::{Context, MAX_DEPTH, State},
};

/// One imported function, and who answers it.
pub(crate) struct Link {
    pub(crate) kind: Kind,
    /// The one provider of a service, or the modules of a hook in order.
    pub(crate) providers: Vec<Provider>,
}

pub(crate) enum Kind {
    Service,
    Hook(Round),
}

/// A plug-in that answers.
pub(crate) struct Provider {
    pub(crate) plugin: Arc<str>,
    pub(crate) version: String,
    pub(crate) target: Target,
    pub(crate) on_error: OnError,
    /// Longest call, and longest answer to a hook.
    pub(crate) wall: Duration,
    pub(crate) hook: Duration,
}

/// Where it runs.
pub(crate) enum Target {
    /// In this process; the function's place among those that it offers.
    Here(Weak<Pool>, usize),
    Away(AwayFunction),
}

impl Link {
    /// What a link between `import`'s function and whoever answers it is.
    pub(crate) fn of(
        import: &Interface,
        function: &str,
        refusals: &std::collections::BTreeMap<String, serde_json::Value>,
        metrics: &Arc<Metrics>,
        providers: Vec<Provider>,
    ) -> Result<Self, String> {
        if !import.is_hook() {
            return Ok(Self { kind: Kind::Service, providers });
        }
        let ty = import.functions.get(function).ok_or("no such function")?;
        let round = Round::new(import, function, ty, refusals.get(&import.base), metrics)?;
        Ok(Self { kind: Kind::Hook(round), providers })
    }
}

impl Link {
    /// Whether it leads to a function of this hook (without version) that somebody answers.
    pub(crate) fn answers(&self, hook: &str) -> bool {
        match &self.kind {
            Kind::Hook(round) => round.is_of(hook) && !self.providers.is_empty(),
            Kind::Service => false,
        }
    }

    /// Has its figures forgotten with the tenant.
    pub(crate) fn note(&self, labels: &Labels) {
        if let Kind::Hook(round) = &self.kind {
            for provider in &self.providers {
                labels.hook(&provider.plugin, round.name());
            }
        }
    }
}

/// The functions that a plug-in imports from others, in the order in which its links are kept.
fn imported(imports: &[Interface]) -> impl Iterator<Item = (&Interface, &str, &Function)> {
    imports.iter().filter(|import| import.is_between_plugins()).flat_map(|import| {
        import.functions.iter().map(move |(name, ty)| (import, name.as_str(), ty))
    })
}

/// Defines all of [`imported`] in a linker. Where a function leads is found in the store: so a component is linked
/// once, whatever its tenants and their providers are.
pub(crate) fn define(linker: &mut Linker<State>, imports: &[Interface]) -> wasmtime::Result<()> {
    for (index, (import, function, _)) in imported(imports).enumerate() {
        linker.instance(&import.name)?.func_new_async(
            function,
            move |store, _type, params, results| {
                Box::new(async move { call(store, index, params, results).await })
            },
        )?;
    }
    Ok(())
}

async fn call(
    mut store: StoreContextMut<'_, State>,
    index: usize,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let state = store.data_mut();
    state.enter()?;
    let context = state.call.context.clone();
    let caps = Arc::clone(&state.caps);
    state.call.inside = Some("another plug-in");
    if context.depth >= MAX_DEPTH {
        log::refused(state, "depth", "it calls others that call others too deep");
    }
    let link = caps
        .links
        .get()
        .and_then(|links| links.get(index))
        .ok_or_else(|| wasmtime::format_err!("the plug-ins are not linked yet"))?;
    match &link.kind {
        Kind::Hook(round) => {
            hook::ask(round, &link.providers, &caps, &context, params, results).await?;
        }
        Kind::Service => {
            let answered = match link.providers.first() {
                Some(provider) => {
                    provider.call(&caps.plugin, &context, provider.wall, params, results).await
                }
                None => Err(CallError::Unavailable("no provider".to_owned())),
            };
            if let (Err(error), Some(result)) = (answered, results.first_mut()) {
                *result = Val::Result(Err(Some(Box::new(host_error(&error)))));
            }
        }
    }
    store.data_mut().call.inside = None;
    // A call took time that is not the caller's.
    store.set_epoch_deadline(1);
    Ok(())
}

/// The two cases that every service's error has.
fn host_error(error: &CallError) -> Val {
    let case = match error {
        CallError::Unavailable(_) | CallError::Overloaded | CallError::Quota { .. } => {
            "unavailable"
        }
        CallError::Timeout | CallError::Trapped(_) | CallError::Lost(_) => "unknown",
    };
    Val::Variant(case.to_owned(), Some(Box::new(Val::String(error.to_string()))))
}

impl Provider {
    /// Calls, one level deeper, until the caller's deadline or `budget`, whatever is earlier.
    pub(super) async fn call(
        &self,
        caller: &str,
        context: &Context,
        budget: Duration,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<(), CallError> {
        if context.depth >= MAX_DEPTH {
            return Err(CallError::Unavailable(format!(
                "calls are nested deeper than {MAX_DEPTH}"
            )));
        }
        let deadline = Instant::now()
            .checked_add(budget)
            .map_or(context.deadline, |own| own.min(context.deadline));
        let context = Context {
            request_id: Arc::clone(&context.request_id),
            deadline,
            depth: context.depth.saturating_add(1),
        };
        match &self.target {
            Target::Here(pool, index) => {
                let pool = pool.upgrade().ok_or_else(|| {
                    CallError::Unavailable("the provider was unloaded".to_owned())
                })?;
                // Boxed: a call may call on, so the future would contain itself.
                let work = CallFunction { index: *index, params, results };
                Box::pin(pool.run(context, work)).await
            }
            Target::Away(function) => {
                Box::pin(function.call(caller, &context, params, results)).await
            }
        }
    }
}
