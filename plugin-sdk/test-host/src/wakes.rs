//! Wake-ups: recorded, and matched with watches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tessera_storage::Wake;

use crate::memory::Memory;

#[derive(Debug)]
struct Watch {
    topics: Vec<String>,
    fired: bool,
}

#[derive(Debug, Default)]
struct State {
    woken: Vec<String>,
    watches: HashMap<u64, Watch>,
    last: u64,
    /// Commits whose wake-ups wait for the horizon.
    held: Option<Vec<String>>,
}

/// Everything that woke or watched.
#[derive(Debug)]
pub(crate) struct Wakes {
    state: Mutex<State>,
    memory: Arc<Memory>,
}

impl Wakes {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self { state: Mutex::default(), memory }
    }

    pub(crate) fn watch(&self, topics: &[String]) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.last += 1;
        let id = state.last;
        state.watches.insert(id, Watch { topics: topics.to_vec(), fired: false });
        id
    }

    pub(crate) fn wake(&self, topics: &[String]) {
        let mut state = self.state.lock().unwrap();
        for watch in state.watches.values_mut() {
            watch.fired |= watch.topics.iter().any(|topic| topics.contains(topic));
        }
        state.woken.extend_from_slice(topics);
        drop(state);
        self.memory.woken(topics);
    }

    /// From now on the wake-ups of commits wait for [`Wakes::release`].
    pub(crate) fn hold(&self) {
        self.state.lock().unwrap().held.get_or_insert_default();
    }

    pub(crate) fn release(&self) {
        let held = self.state.lock().unwrap().held.take();
        self.wake(&held.unwrap_or_default());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().woken)
    }

    pub(crate) fn fired(&self, watch: u64) -> bool {
        self.state.lock().unwrap().watches.get(&watch).is_some_and(|watch| watch.fired)
    }

    pub(crate) fn topics(&self, watch: u64) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.watches.get(&watch).map(|watch| watch.topics.clone()).unwrap_or_default()
    }
}

impl Wake for Wakes {
    fn committed(&self, topics: &[String], _horizon: u64) {
        if let Some(held) = &mut self.state.lock().unwrap().held {
            held.extend_from_slice(topics);
            return;
        }
        self.wake(topics);
    }
}
