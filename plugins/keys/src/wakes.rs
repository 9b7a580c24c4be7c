//! Wake-ups, of which there may be more than one commit takes.

use tessera_sdk::log;
use tessera_sdk::storage::Batch;

/// Topics of one commit: below what the host takes, with room for others.
const PER_COMMIT: usize = 900;

/// Topics that the first commit does not wake. Say [`Wakes::rest`] once it is done.
#[derive(Debug)]
#[must_use = "the rest is woken after the commit"]
pub(crate) struct Wakes(Vec<String>);

/// Adds as many wake-ups to a batch as it takes.
pub(crate) fn add(batch: Batch, mut topics: Vec<String>) -> (Batch, Wakes) {
    let rest = topics.split_off(topics.len().min(PER_COMMIT));
    (topics.into_iter().fold(batch, Batch::wake), Wakes(rest))
}

impl Wakes {
    /// Wakes the others, by commits of nothing else: each takes a position, so it waits until the first can be seen, as its own
    /// wake-ups do. What is told is true already, so a failure is nobody's but of those who learn of it with their next sync.
    pub(crate) fn rest(self) {
        for topics in self.0.chunks(PER_COMMIT) {
            let mut batch = Batch::new();
            let _ = batch.take_positions(1);
            let batch = topics.iter().fold(batch, |batch, topic| batch.wake(topic.as_str()));
            if let Err(error) = batch.commit_blind() {
                log::warn("not everybody is woken", &[("reason", &format!("{error:?}"))]);
                return;
            }
        }
    }
}
