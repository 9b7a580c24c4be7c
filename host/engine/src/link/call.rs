//! Calls from one plug-in to another, on values.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tessera_manifest::OnError;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Val},
};

use super::{
    hook::{self, Round},
    refusal,
};
use crate::{
    api::CallError,
    capabilities::log,
    contract::{Function, Interface},
    metrics::{Labels, Metrics},
    pool::{CallFunction, Pool},
    remote::AwayFunction,
    state::{Context, MAX_DEPTH, Shadowed, State},
    tenant::{Seen, Trial},
};

/// One imported function, and who answers it.
pub(crate) struct Link {
    pub(crate) kind: Kind,
    /// The one provider of a service, or the modules of a hook in order.
    pub(crate) providers: Vec<Provider>,
}

pub(crate) enum Kind {
    Service,
    /// The caller is told that it may not call it.
    NotGranted(String),
    Hook(Round),
}

/// A plug-in that answers.
pub(crate) struct Provider {
    pub(crate) plugin: Arc<str>,
    pub(crate) version: String,
    pub(crate) target: Target,
    /// Another version of it, which is tried or watched.
    pub(crate) tried: Option<Tried>,
    pub(crate) on_error: OnError,
    /// Longest call, and longest answer to a hook.
    pub(crate) wall: Duration,
    pub(crate) hook: Duration,
}

/// Where it runs.
pub(crate) enum Target {
    Here(Here),
    Away(AwayFunction),
}

/// A function of a plug-in in this process.
#[derive(Clone)]
pub(crate) struct Here {
    pub(crate) pool: Arc<Pool>,
    /// Its place in the set.
    pub(crate) unit: usize,
    /// The function's place among those that it offers.
    pub(crate) function: usize,
}

/// A version of a plug-in beside the one that counts.
pub(crate) struct Tried {
    pub(crate) trial: Arc<Trial>,
    pub(crate) here: Here,
    /// `interface.function`, for reports.
    pub(crate) name: Arc<str>,
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
            Kind::Service | Kind::NotGranted(_) => false,
        }
    }

    /// What a service is to a plug-in that may not call it.
    pub(crate) fn not_granted(caller: &str, import: &Interface, function: &str) -> Self {
        let name = format!("{}.{function}", import.base);
        let kind = Kind::NotGranted(format!(
            "not granted: {name} (`tessera plugin grant {caller} call={name}`)"
        ));
        Self { kind, providers: Vec::new() }
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
    let set = context.set.clone();
    let link = set
        .as_ref()
        .and_then(|set| set.links(context.unit).get(index))
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
            if let Err(error) = answered {
                fail(results, &error);
            }
        }
        Kind::NotGranted(what) => {
            crate::capabilities::refused(store.data(), "call", what);
            fail(results, &CallError::Unavailable(what.clone()));
        }
    }
    store.data_mut().call.inside = None;
    // A call took time that is not the caller's.
    store.set_epoch_deadline(1);
    Ok(())
}

fn fail(results: &mut [Val], error: &CallError) {
    if let Some(result) = results.first_mut() {
        *result = Val::Result(Err(Some(Box::new(host_error(error)))));
    }
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
    /// Whether a call that found no room may find some in a moment. Of other nodes that is not known here.
    pub(super) fn may_get_room(&self, context: &Context) -> bool {
        let takes_calls = matches!(&self.target, Target::Here(here) if here.pool.takes_calls());
        takes_calls && context.depth < MAX_DEPTH
    }

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
        let mut context =
            Context { deadline, depth: context.depth.saturating_add(1), ..context.clone() };
        let here = match &self.target {
            Target::Here(here) => here,
            Target::Away(function) => {
                if let Some(shadow) = &context.shadow {
                    // Whether it changes anything there is not known here.
                    shadow.note();
                    return Err(CallError::Unavailable("a shadow calls no other node".to_owned()));
                }
                return Box::pin(function.call(caller, &context, params, results)).await;
            }
        };
        let Some(tried) = &self.tried else { return here.call(context, params, results).await };
        if tried.trial.takes(&tried.here.pool) {
            match tried.here.call(context.clone(), params, results).await {
                // Nothing was started: the other version may have room.
                Err(CallError::Unavailable(_) | CallError::Overloaded) => {}
                ended => return ended,
            }
            return here.call(context, params, results).await;
        }
        if context.shadow.is_some() || !tried.trial.watches(&tried.name) {
            return here.call(context, params, results).await;
        }
        // Of what it may hold no more than the call itself.
        let copied = params.to_vec();
        let ended = here.call(context.clone(), params, results).await;
        if ended.is_ok() {
            context.deadline = deadline_of(self.wall);
            tried.shadow(context, copied, results.to_vec());
        }
        ended
    }
}

fn deadline_of(budget: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(budget).unwrap_or(now)
}

impl Here {
    async fn call(
        &self,
        context: Context,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<(), CallError> {
        let context = Context { unit: self.unit, ..context };
        let work = CallFunction { index: self.function, params, results };
        // Boxed: a call may call on, so the future would contain itself.
        Box::pin(self.pool.run(context, work)).await
    }
}

impl Tried {
    /// Calls it too, for its answer only, while the caller goes on with `answer`.
    fn shadow(&self, mut context: Context, params: Vec<Val>, answer: Vec<Val>) {
        let Some(room) = self.trial.room(&self.name) else { return };
        let (trial, here, name) =
            (Arc::clone(&self.trial), self.here.clone(), Arc::clone(&self.name));
        tokio::spawn(async move {
            let shadow = Arc::new(Shadowed::default());
            context.shadow = Some(Arc::clone(&shadow));
            let request_id = Arc::clone(&context.request_id);
            let mut other: Vec<Val> = answer.iter().map(|_| Val::Bool(false)).collect();
            let ended = here.call(context, &params, &mut other).await;
            let seen = match ended {
                _ if shadow.wrote() => Seen::Wrote,
                Err(error) => Seen::Failed(error.to_string()),
                Ok(()) if answer == other => Seen::Same,
                Ok(()) => Seen::Different { was: few(&answer), is: few(&other) },
            };
            trial.saw(&here.pool, &name, &request_id, seen);
            drop(room);
        });
    }
}

/// An answer in few words.
fn few(answer: &[Val]) -> String {
    refusal::text(answer.first())
}
