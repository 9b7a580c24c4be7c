//! Rounds of hooks, recorded in a running server and played back against a module: what a module answered once it should
//! answer again.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use wasmtime::component::Val;

use crate::{
    contract::{from_json, to_json},
    pool::{CallFunction, functions_of},
    state::Context,
    tenant::Tenant,
};

/// Rounds and bytes of one recording at most.
const ROUNDS: usize = 1_000;
const BYTES: usize = 16 << 20;

/// What one module was asked, and what it said. It may hold what users wrote and the secrets that they logged in with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// `interface.function`, such as `tessera:hooks/event-policy.check-event`.
    pub hook: String,
    /// One for each parameter.
    pub params: Vec<Json>,
    /// Null where the function has no result.
    pub answer: Json,
}

/// The recordings of a tenant that are under way.
#[derive(Default)]
pub(crate) struct Recorder {
    /// Spares the lock where nothing is recorded.
    on: AtomicBool,
    recordings: Mutex<Vec<Recording>>,
}

struct Recording {
    plugin: String,
    left: usize,
    bytes: usize,
    rounds: Vec<Round>,
}

impl Recorder {
    fn recordings(&self) -> std::sync::MutexGuard<'_, Vec<Recording>> {
        self.recordings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, plugin: &str, rounds: usize) {
        let mut recordings = self.recordings();
        recordings.retain(|recording| recording.plugin != plugin);
        recordings.push(Recording {
            plugin: plugin.to_owned(),
            left: rounds.min(ROUNDS),
            bytes: 0,
            rounds: Vec::new(),
        });
        self.on.store(true, Ordering::Release);
    }

    /// Keeps a round if the module is recorded.
    pub(crate) fn keep(&self, plugin: &str, hook: &str, params: &[Val], answer: Option<&Val>) {
        if !self.on.load(Ordering::Acquire) {
            return;
        }
        let mut recordings = self.recordings();
        let Some(recording) = recordings.iter_mut().find(|it| it.plugin == plugin) else { return };
        if recording.left == 0 || recording.bytes > BYTES {
            return;
        }
        let params: Vec<Json> = params.iter().map(to_json).collect();
        let answer = answer.map_or(Json::Null, to_json);
        recording.bytes = params
            .iter()
            .chain([&answer])
            .fold(recording.bytes, |sum, json| sum.saturating_add(json.to_string().len()));
        // It is full: `bytes` stays above.
        if recording.bytes > BYTES {
            return;
        }
        recording.left -= 1;
        recording.rounds.push(Round { hook: hook.to_owned(), params, answer });
    }

    /// Whether a recording has all the rounds that it wants, or can hold.
    fn full(&self, plugin: &str) -> bool {
        let recordings = self.recordings();
        let recording = recordings.iter().find(|recording| recording.plugin == plugin);
        recording.is_none_or(|recording| recording.left == 0 || recording.bytes > BYTES)
    }

    fn end(&self, plugin: &str) -> Vec<Round> {
        let mut recordings = self.recordings();
        let at = recordings.iter().position(|recording| recording.plugin == plugin);
        let rounds = at.map(|at| recordings.swap_remove(at).rounds).unwrap_or_default();
        self.on.store(!recordings.is_empty(), Ordering::Release);
        rounds
    }
}

impl Tenant {
    /// Records what a module is asked on this node and what it answers from now on, up to so many rounds (1,000 at most).
    /// Takes the place of a recording of it that is under way.
    pub fn record(&self, plugin: &str, rounds: usize) {
        self.shared().recorder.begin(plugin, rounds);
    }

    /// Whether there is nothing more to wait for: the rounds are there, or nothing is recorded.
    #[must_use]
    pub fn has_recorded(&self, plugin: &str) -> bool {
        self.shared().recorder.full(plugin)
    }

    /// Ends a recording and gives its rounds, oldest first.
    #[must_use]
    pub fn recorded(&self, plugin: &str) -> Vec<Round> {
        self.shared().recorder.end(plugin)
    }

    /// Asks a module what a round asked, and gives what it answers now.
    ///
    /// # Errors
    ///
    /// It does not answer this hook, the parameters do not fit it, or the call failed; the text says which.
    pub async fn replay(&self, plugin: &str, round: &Round) -> Result<Json, String> {
        let set = self.plugins();
        let lacks = || format!("`{plugin}` does not answer `{}`", round.hook);
        let (index, unit) = set.pick(plugin, |_| true).ok_or_else(lacks)?;
        let pool = unit.pool().ok_or_else(lacks)?;
        let (interface, function) = round.hook.rsplit_once('.').ok_or_else(lacks)?;
        let (place, ty) = functions_of(&unit.plugin().exports)
            .enumerate()
            .find(|(_, (export, name))| export.base == interface && *name == function)
            .and_then(|(place, (export, name))| Some((place, export.functions.get(name)?)))
            .ok_or_else(lacks)?;
        if ty.params.len() != round.params.len() {
            let (wanted, given) = (ty.params.len(), round.params.len());
            return Err(format!("`{}` takes {wanted} parameters, not {given}", round.hook));
        }
        let both = ty.params.iter().zip(&round.params);
        let params = both
            .map(|((name, shape), json)| {
                from_json(shape, json).map_err(|error| format!("parameter `{name}`: {error}"))
            })
            .collect::<Result<Vec<Val>, String>>()?;
        let mut results: Vec<Val> = ty.result.iter().map(|_| Val::Bool(false)).collect();
        let now = Instant::now();
        let deadline = now.checked_add(pool.caps.limits.wall).unwrap_or(now);
        let context = Context::edge(Arc::from("replay"), deadline, Arc::clone(&set), index);
        let work = CallFunction { index: place, params: &params, results: &mut results };
        pool.run(context, work).await.map_err(|error| error.to_string())?;
        Ok(results.first().map_or(Json::Null, to_json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOOK: &str = "a:b/c.d";

    #[test]
    fn a_recording_holds_what_its_module_is_asked_and_no_more() {
        let recorder = Recorder::default();
        recorder.keep("m", HOOK, &[], None);
        recorder.begin("m", 2);
        assert!(!recorder.full("m"));
        for n in 0..3 {
            recorder.keep("m", HOOK, &[Val::U32(n)], Some(&Val::Bool(true)));
            recorder.keep("other", HOOK, &[], None);
        }
        assert!(recorder.full("m"));
        let rounds = recorder.end("m");
        let params: Vec<Vec<Json>> = rounds.iter().map(|round| round.params.clone()).collect();
        assert_eq!(params, [[Json::from(0)], [Json::from(1)]]);
        assert_eq!((rounds[0].hook.as_str(), &rounds[0].answer), (HOOK, &Json::from(true)));
        recorder.keep("m", HOOK, &[], None);
        assert!(recorder.end("m").is_empty());
    }

    #[test]
    fn answers_count_against_the_bytes_of_a_recording() {
        let recorder = Recorder::default();
        recorder.begin("m", 100);
        let long = Val::String("x".repeat(BYTES / 4));
        for _ in 0..3 {
            recorder.keep("m", HOOK, &[], Some(&long));
        }
        assert!(!recorder.full("m"));
        // Its quotation marks make the fourth too much.
        for _ in 0..2 {
            recorder.keep("m", HOOK, &[], Some(&long));
        }
        recorder.keep("m", HOOK, &[], None);
        assert!(recorder.full("m"));
        assert_eq!(recorder.end("m").len(), 3);
    }
}
