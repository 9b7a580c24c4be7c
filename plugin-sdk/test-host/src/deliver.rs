//! Messages and timers: handed over when the test says so.

use tessera_sdk::bindings::consumer::exports::tessera::plugin::consumer::{
    Guest as Consumer, Message,
};
use tessera_sdk::bindings::timer::exports::tessera::plugin::timer::Guest as Timer;
use tessera_storage::{Delivery, OutboxQuery};

use crate::TestHost;

impl TestHost {
    /// Hands the waiting messages of a topic to a consumer until none is left; how many it settled.
    ///
    /// # Panics
    /// If the consumer answers with an error.
    pub fn deliver<C: Consumer>(&self, plugin: &str, topic: &str) -> usize {
        let mut settled = 0;
        loop {
            match self.deliver_once::<C>(plugin, topic) {
                Ok(0) => return settled,
                Ok(n) => settled += n,
                Err(error) => panic!("{plugin} could not handle {topic}: {error}"),
            }
        }
    }

    /// Hands over one batch, as the manifest sizes it; how many messages are settled.
    ///
    /// # Errors
    /// The consumer's; the first message that is not done has one more failed attempt.
    ///
    /// # Panics
    /// If the plug-in does not consume the topic.
    pub fn deliver_once<C: Consumer>(&self, plugin: &str, topic: &str) -> Result<usize, String> {
        let installed = self.shared.plugins.get(plugin).expect("a plug-in under test");
        let consumes = installed.manifest.topics.consumes.iter();
        let consumes = consumes
            .clone()
            .find(|consume| consume.topic.as_str() == topic)
            .unwrap_or_else(|| panic!("{plugin} does not consume {topic}"));
        let consumer = installed.prefix.clone();
        let waiting = || {
            self.block_on(self.database().outbox(OutboxQuery {
                topic: topic.to_owned(),
                consumer: consumer.clone(),
                in_flight: Vec::new(),
                now_ms: self.now_ms(),
                limit: consumes.batch,
                ..OutboxQuery::default()
            }))
            .unwrap_or_else(|error| panic!("outbox: {error}"))
        };
        let due = waiting();
        if due.is_empty() {
            return Ok(0);
        }
        let ids: Vec<u64> = due.iter().map(|delivery| delivery.id).collect();
        let messages = due.into_iter().map(message).collect();
        match self.acting(plugin, || C::handle(messages)) {
            Ok(n) => {
                for id in ids.iter().take(n as usize) {
                    self.block_on(self.database().ack(&consumer, *id))
                        .unwrap_or_else(|error| panic!("ack: {error}"));
                }
                Ok(n as usize)
            }
            Err(error) => {
                // Those before it may be done by commits of their own.
                let left: Vec<u64> = waiting().iter().map(|delivery| delivery.id).collect();
                if let Some(first) = ids.iter().find(|id| left.contains(id)) {
                    let again = Some(self.now_ms());
                    self.block_on(self.database().fail(&consumer, *first, &error, again))
                        .unwrap_or_else(|error| panic!("fail: {error}"));
                }
                Err(error)
            }
        }
    }

    /// Fires the timers of a plug-in that are due; how many there were.
    ///
    /// # Panics
    /// If one answers with an error.
    pub fn fire_timers<T: Timer>(&self, plugin: &str) -> usize {
        let installed = self.shared.plugins.get(plugin).expect("a plug-in under test");
        let due = self
            .block_on(self.database().timers_due(self.now_ms(), 1000))
            .unwrap_or_else(|error| panic!("timers: {error}"));
        let mut fired = 0;
        for timer in due.iter().filter(|timer| timer.plugin == installed.prefix) {
            self.acting(plugin, || T::fire(timer.name.clone(), timer.payload.clone()))
                .unwrap_or_else(|error| panic!("timer {}: {error}", timer.name));
            self.block_on(self.database().timer_finish(timer))
                .unwrap_or_else(|error| panic!("timers: {error}"));
            fired += 1;
        }
        fired
    }

    /// When the next timer of any plug-in is due, milliseconds since the Unix epoch.
    ///
    /// # Panics
    /// If the database cannot tell.
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        self.block_on(self.database().timer_next()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes a class of `limits::take` hold `n` for each key; without this it has no limit.
    pub fn limit(&self, class: &str, n: u32) {
        self.shared.memory.limit(class, n);
    }

    /// Makes `limits::cap` of this name give `n`, or no cap.
    pub fn cap(&self, name: &str, n: Option<u64>) {
        self.shared.memory.set_cap(name, n);
    }
}

fn message(delivery: Delivery) -> Message {
    Message {
        id: delivery.id,
        topic: delivery.topic,
        key: delivery.key,
        payload: delivery.payload,
        position: delivery.position,
        attempt: delivery.attempts + 1,
    }
}
