//! Asking all modules of a hook, and making one answer of theirs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tessera_manifest::OnError;
use tracing::Instrument as _;
use wasmtime::component::Val;

use super::{call::Provider, refusal};
use crate::{
    api::CallError,
    capabilities::Capabilities,
    contract::{Combine, Function, Interface, Shape},
    journal::{Event, Note},
    metrics::Metrics,
    state::Context,
    trace,
};

/// How long a module that had no room is left alone.
const AGAIN: Duration = Duration::from_millis(2);

/// How one function of a hook is asked.
pub(crate) struct Round {
    /// `interface.function`, for logs and metrics.
    name: String,
    combine: Combine,
    /// What a caller gets where a module that must answer does not; for results with a refusal.
    refusal: Option<Val>,
    metrics: Arc<Metrics>,
}

impl Round {
    /// `configured`: the refusal of the descriptor, as JSON.
    pub(crate) fn new(
        interface: &Interface,
        function: &str,
        ty: &Function,
        configured: Option<&serde_json::Value>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, String> {
        let combine = Combine::of(ty)?;
        let refusal = match &ty.result {
            Some(Shape::Result(_, Some(shape))) => Some(match configured {
                Some(json) => refusal::from_json(shape, json)?,
                None => refusal::plain(shape),
            }),
            _ => None,
        };
        let name = format!("{}.{function}", interface.base);
        Ok(Self { name, combine, refusal, metrics: Arc::clone(metrics) })
    }

    /// `interface.function`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is one of this hook's functions.
    pub(super) fn is_of(&self, hook: &str) -> bool {
        self.name.strip_prefix(hook).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The answer where nobody is asked.
    fn neutral(&self) -> Option<Val> {
        match self.combine {
            Combine::Refuse => Some(Val::Result(Ok(None))),
            Combine::Pipe => Some(Val::Result(Ok(Some(Box::new(Val::Option(None)))))),
            Combine::First => Some(Val::Option(None)),
            Combine::Concat => Some(Val::List(Vec::new())),
            Combine::Tell => None,
        }
    }
}

/// Asks the modules in order and leaves their common answer in `results`.
pub(super) async fn ask(
    round: &Round,
    providers: &[Provider],
    caller: &Capabilities,
    context: &Context,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let mut sum = round.neutral();
    // A pipe changes its subject; the other rules pass the parameters on as they are.
    let mut changed: Option<Vec<Val>> = None;
    for provider in providers {
        let mut answer: Vec<Val> = sum.iter().map(|_| Val::Bool(false)).collect();
        let params = changed.as_deref().unwrap_or(params);
        let answered = one(round, provider, caller, context, params, &mut answer).await;
        if !answered {
            if provider.on_error == OnError::Deny
                && let Some(refusal) = &round.refusal
            {
                sum = Some(Val::Result(Err(Some(Box::new(refusal.clone())))));
                break;
            }
            continue;
        }
        let Some(answer) = answer.pop() else { continue };
        match (round.combine, answer) {
            (Combine::Refuse | Combine::Pipe, refused @ Val::Result(Err(_))) => {
                sum = Some(refused);
                break;
            }
            (Combine::Pipe, Val::Result(Ok(Some(made)))) => {
                if let Val::Option(Some(subject)) = *made {
                    let mut next = params.to_vec();
                    if let Some(first) = next.first_mut() {
                        first.clone_from(&subject);
                    }
                    changed = Some(next);
                    sum = Some(Val::Result(Ok(Some(Box::new(Val::Option(Some(subject)))))));
                }
            }
            (Combine::First, found @ Val::Option(Some(_))) => {
                sum = Some(found);
                break;
            }
            (Combine::Concat, Val::List(more)) => {
                if let Some(Val::List(all)) = &mut sum {
                    all.extend(more);
                }
            }
            _ => {}
        }
    }
    if let (Some(sum), Some(result)) = (sum, results.first_mut()) {
        *result = sum;
    }
    Ok(())
}

/// Calls until the hook's budget is used up. A module that has no room for a moment is asked again: nothing was started.
async fn within_budget(
    provider: &Provider,
    caller: &str,
    context: &Context,
    params: &[Val],
    answer: &mut [Val],
) -> Result<(), CallError> {
    let start = Instant::now();
    let end =
        start.checked_add(provider.hook).map_or(context.deadline, |end| end.min(context.deadline));
    // What is left after the last try must do for an answer: a time-out would count against the module.
    let reserve = end.saturating_duration_since(start) / 4;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let ended = provider.call(caller, context, left, params, answer).await;
        let full = matches!(
            ended,
            Err(CallError::Unavailable(_) | CallError::Overloaded | CallError::Quota { .. })
        );
        if !full || !provider.may_get_room(context) {
            return ended;
        }
        if end.saturating_duration_since(Instant::now()) <= reserve.saturating_add(AGAIN) {
            return ended;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Asks one module within its budget. Gives whether it answered; what it did is in log and metrics.
async fn one(
    round: &Round,
    provider: &Provider,
    caller: &Capabilities,
    context: &Context,
    params: &[Val],
    answer: &mut [Val],
) -> bool {
    let start = Instant::now();
    let span = tracing::info_span!(
        target: trace::TARGET, "hook", hook = round.name, module = &*provider.plugin
    );
    let call = within_budget(provider, &caller.plugin, context, params, answer);
    let result = call.instrument(span).await;
    let labels = [&*caller.shared.tenant, &*provider.plugin, round.name.as_str()];
    round.metrics.hooks.with_label_values(&labels).observe(start.elapsed().as_secs_f64());
    let [tenant, module, hook] = labels;
    let count = |result| {
        round.metrics.hook_results.with_label_values(&[tenant, module, hook, result]).inc();
    };
    match result {
        Ok(()) => {
            caller.shared.recorder.keep(module, hook, params, answer.first());
            if let Some(Val::Result(Err(reason))) = answer.first() {
                count("refused");
                let reason = refusal::text(reason.as_deref());
                let note = Note {
                    function: hook,
                    reason: &reason,
                    request_id: &context.request_id,
                    ..Note::default()
                };
                caller.shared.journals.of(module).note(Event::Refusal, &provider.version, note);
                tracing::info!(
                    tenant, module, version = provider.version, hook, request_id = %context.request_id,
                    reason, "refused by a module"
                );
            } else {
                count("ok");
            }
            true
        }
        Err(error) => {
            count("failed");
            tracing::warn!(
                tenant, module, version = provider.version, hook, request_id = %context.request_id, %error,
                denied = provider.on_error == OnError::Deny && round.refusal.is_some(),
                "a module did not answer"
            );
            false
        }
    }
}
