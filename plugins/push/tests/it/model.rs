//! Long random histories, delivered in batches of random size, against a model that counts each event for each user.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::world::*;

const MUTED: &str = "@muted:hs1";
const KEEN: &str = "@keen:hs1";
const USERS: [&str; 5] = [ALICE, BOB, CAROL, MUTED, KEEN];

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// One event of the model.
struct Told {
    position: u64,
    thread: String,
    sender: &'static str,
    mentioned: Option<&'static str>,
    cake: bool,
}

#[derive(Default)]
struct Model {
    events: Vec<Told>,
    /// Since when, and up to where read in each thread (empty key `*`: in all).
    joined: BTreeMap<&'static str, u64>,
    read: BTreeMap<(&'static str, String), u64>,
}

impl Model {
    fn read(&mut self, user: &'static str, thread: &str, position: u64) {
        let at = self.read.entry((user, thread.to_owned())).or_default();
        *at = position.max(*at);
    }

    fn counts(&self, user: &'static str, thread: &str) -> (i64, i64) {
        let Some(joined) = self.joined.get(user) else { return (0, 0) };
        let read = |thread: &str| self.read.get(&(user, thread.to_owned())).copied().unwrap_or(0);
        let from = read(thread).max(read("*")).max(*joined);
        let mut counts = (0, 0);
        for event in &self.events {
            if event.position <= from || event.thread != thread || event.sender == user {
                continue;
            }
            let mentioned = event.mentioned == Some(user);
            let cake = user == KEEN && event.cake;
            counts.0 += i64::from(mentioned || user != MUTED);
            counts.1 += i64::from(mentioned || cake);
        }
        counts
    }
}

fn history(seed: u64) {
    let mut chance = Chance(seed);
    let world = world();
    let mut model = Model::default();
    world.create(ROOM, ALICE);
    model.joined.insert(ALICE, 0);
    world.mute(MUTED);
    let cake = json!({ "pattern": "cake", "actions": ["notify", { "set_tweak": "highlight" }] });
    world.rule(KEEN, "content", "cake", &cake).ok();
    let mut threads: BTreeSet<String> = [String::new()].into();
    for step in 0..160 {
        let user = USERS[chance.below(USERS.len())];
        let inside = model.joined.contains_key(user);
        match chance.below(12) {
            0 | 1 => {
                if inside && user != ALICE {
                    world.member(ROOM, user, user, "leave");
                    model.joined.remove(user);
                    model.read.retain(|(known, _), _| *known != user);
                } else {
                    let event = world.join(ROOM, user);
                    model.joined.entry(user).or_insert(event.position);
                }
            }
            2 | 3 if inside && !model.events.is_empty() => {
                let event = &model.events[chance.below(model.events.len())];
                let thread = if event.thread.is_empty() { "main" } else { &event.thread };
                let all = chance.below(2) == 0;
                let stored = Stored { id: format!("$r{step}"), position: event.position };
                let key = if all { "*".to_owned() } else { event.thread.clone() };
                world.receipt(user, if all { "" } else { thread }, &stored);
                model.read(user, &key, stored.position);
            }
            4 => {
                world.event(ROOM, user, "m.reaction", None, &json!({}));
            }
            _ if inside => {
                let cake = chance.below(3) == 0;
                let mentioned = (chance.below(4) == 0).then(|| USERS[chance.below(USERS.len())]);
                let list: Vec<&String> = threads.iter().collect();
                let thread = list[chance.below(list.len())].clone();
                let mut content = json!({ "body": if cake { "some cake" } else { "some tea" } });
                if let Some(user) = mentioned {
                    content["m.mentions"] = json!({ "user_ids": [user, "@far:hs2"] });
                }
                if !thread.is_empty() {
                    content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": thread });
                }
                let event = world.send(user, &content);
                if threads.len() < 3 && thread.is_empty() {
                    threads.insert(event.id.clone());
                }
                model.read(user, &thread, event.position);
                model.events.push(Told {
                    position: event.position,
                    thread,
                    sender: user,
                    mentioned,
                    cake,
                });
            }
            _ => {}
        }
        if chance.below(6) == 0 {
            world.deliver_receipts();
        }
        if chance.below(5) == 0 {
            world.deliver_events();
            if chance.below(2) == 0 {
                world.deliver_receipts();
                for user in USERS {
                    for thread in &threads {
                        let expected = model.counts(user, thread);
                        assert_eq!(
                            world.unread_in(user, thread),
                            expected,
                            "seed {seed}, step {step}: {user} in thread {thread:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn counts_are_those_of_the_model() {
    for seed in 1..=12 {
        history(seed);
    }
}
