//! Puts tenants to sleep that nobody uses, and wakes sleepers that have something to do.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tessera_storage::now_ms;
use tokio::{sync::Semaphore, task::JoinSet, time::MissedTickBehavior};

use super::{
    Tenants,
    running::Running,
    table::{Asleep, Entry, Origin},
};

/// A timer that is due so soon keeps a tenant awake: sleeping and waking again costs more.
const SOON: Duration = Duration::from_secs(60);

/// How often sleepers are looked at. A timer of a sleeper fires so much later at most.
const LOOK: Duration = Duration::from_secs(1);

/// Sleepers that are woken at the same moment for what is due there: requests go before them.
const WAKING: usize = 4;

/// How often it is looked whether a node died that had tenants awake, and how long it must not have been seen: at a start
/// the others are not seen at once.
const LOOK_FOR_DEAD: Duration = Duration::from_secs(2);
const DEAD: Duration = Duration::from_secs(10);

/// Sleepers looked at together.
const PAGE: u32 = 64;

/// What was due in a tenant that did not wake is tried again after so many milliseconds.
const AGAIN_MS: u64 = 60_000;

impl Tenants {
    /// Runs until dropped.
    pub(crate) async fn tend(self: Arc<Self>) {
        let after = self.host.plugins().descriptor().sleep.after.get();
        let tick = (after / 4).clamp(Duration::from_millis(50), LOOK);
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval(LOOK_FOR_DEAD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut missing = HashMap::new();
        let room = Arc::new(Semaphore::new(WAKING));
        let mut work = JoinSet::new();
        match self.registry.left_awake().await {
            Ok(names) => {
                let waiting = names.iter().filter_map(|name| self.entry(name)).count();
                if waiting > 0 {
                    tracing::info!(tenants = waiting, "waking tenants that were awake at the end");
                }
                for entry in names.iter().filter_map(|name| self.entry(name)) {
                    work.spawn(self.wake_later(entry, &room));
                }
            }
            Err(error) => tracing::error!("cannot see which tenants have work left: {error:#}"),
        }
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.wake_due(&room, &mut work).await;
                    self.put_to_sleep(after, &mut work);
                }
                _ = looks.tick() => self.take_over(&mut missing, &room, &mut work).await,
                () = self.crowded.notified() => self.put_to_sleep(after, &mut work),
            }
            while work.try_join_next().is_some() {}
        }
    }

    /// Wakes a tenant when there is room.
    fn wake_later(
        self: &Arc<Self>,
        entry: Arc<Entry>,
        room: &Arc<Semaphore>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (me, room) = (Arc::clone(self), Arc::clone(room));
        async move {
            let Ok(_room) = room.acquire_owned().await else { return };
            me.wake_for_work(&entry).await;
        }
    }

    /// Wakes a tenant that may have something to do. Where it does not wake this is tried again in a while; a suspended
    /// one is woken when it goes on.
    pub(super) async fn wake_for_work(&self, entry: &Arc<Entry>) {
        let Err(error) = self.wake_at_leisure(entry).await else { return };
        tracing::debug!(tenant = %entry.name, %error, "not woken");
        if matches!(error, Asleep::Suspended) || self.is_stopping() {
            return;
        }
        let _gate = entry.gate.lock().await;
        if entry.is_suspended() || entry.awake().is_some() {
            return;
        }
        let later = now_ms().saturating_add(AGAIN_MS);
        if let Err(error) = self.registry.asleep(&entry.name, Some(later)).await {
            tracing::error!(tenant = %entry.name, "what is due there may be late: {error:#}");
        }
    }

    async fn wake_due(self: &Arc<Self>, room: &Arc<Semaphore>, work: &mut JoinSet<()>) {
        let due = match self.registry.due(now_ms(), PAGE).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!("cannot see which sleepers have something due: {error:#}");
                return;
            }
        };
        for name in due {
            // Also where it is suspended or gone from the descriptor: it counts as awake then, and is woken when it
            // can be.
            match self.registry.claim(&name).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    tracing::warn!(tenant = name, "{error:#}");
                    return;
                }
            }
            if let Some(entry) = self.entry(&name) {
                work.spawn(self.wake_later(entry, room));
            }
        }
    }

    /// Wakes the tenants of nodes that have not been seen for a while: they may have work there that nobody else
    /// knows of. `missing`: since when nodes are not seen.
    async fn take_over(
        self: &Arc<Self>,
        missing: &mut HashMap<String, Instant>,
        room: &Arc<Semaphore>,
        work: &mut JoinSet<()>,
    ) {
        let Some(member) = &self.host.member else { return };
        let busy = match self.registry.busy_nodes().await {
            Ok(busy) => busy,
            Err(error) => {
                return tracing::warn!("cannot see which nodes have tenants awake: {error:#}");
            }
        };
        let live: Vec<String> = member.cluster.nodes().into_iter().map(|node| node.name).collect();
        missing.retain(|node, _| busy.contains(node) && !live.contains(node));
        for node in busy.into_iter().filter(|node| !live.contains(node)) {
            let since = *missing.entry(node.clone()).or_insert_with(Instant::now);
            if since.elapsed() < DEAD || self.registry.is_mine(&node) {
                continue;
            }
            match self.registry.take_over(&node).await {
                Ok(names) => {
                    tracing::info!(
                        node,
                        tenants = names.len(),
                        "taking over from a node that is gone"
                    );
                    for entry in names.iter().filter_map(|name| self.entry(name)) {
                        work.spawn(self.wake_later(entry, room));
                    }
                }
                Err(error) => tracing::warn!(node, "{error:#}"),
            }
        }
    }

    /// Those that nobody has used for `after`, and of more than may be awake those used longest ago.
    fn put_to_sleep(self: &Arc<Self>, after: Duration, work: &mut JoinSet<()>) {
        let max = self.host.plugins().descriptor().sleep.awake_max.get() as usize;
        let mut crowd = self.awake.load(Ordering::Acquire).saturating_sub(max);
        let now = now_ms();
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let mut idle: Vec<(u64, Arc<Entry>)> = Vec::new();
        for entry in self.entries() {
            let Some(running) = entry.awake() else { continue };
            if entry.origin == Origin::Lone && self.len() == 1 {
                continue;
            }
            // Its entry has it, and this loop.
            if Arc::strong_count(&running) > 2 || !running.is_unasked() {
                running.touch();
                continue;
            }
            idle.push((running.used_ms(), entry));
        }
        idle.sort_unstable_by_key(|(used, _)| *used);
        for (used, entry) in idle {
            if crowd == 0 && now.saturating_sub(used) < after {
                break;
            }
            crowd = crowd.saturating_sub(1);
            let me = Arc::clone(self);
            work.spawn(async move { me.to_sleep(&entry).await });
        }
    }

    /// Puts a tenant to sleep unless it is used or has something to do.
    async fn to_sleep(&self, entry: &Arc<Entry>) {
        let Ok(_gate) = entry.gate.try_lock() else { return };
        let Some(running) = entry.awake() else { return };
        let soon = SOON.min(self.host.plugins().descriptor().sleep.after.get());
        match running.has_work(soon).await {
            Ok(false) => {}
            Ok(true) => return running.touch(),
            Err(error) => {
                tracing::warn!(tenant = %entry.name, "it stays awake: {error:#}");
                return running.touch();
            }
        }
        drop(running);
        // Whoever changes the plug-ins must see all that are awake.
        let Ok(_unchanged) = self.host.changing.try_read() else { return };
        let Some(running) = entry.running.swap(None) else { return };
        if !running.is_alone() {
            running.touch();
            entry.running.store(Some(running));
            return;
        }
        self.awake.fetch_sub(1, Ordering::AcqRel);
        let patience = self.host.plugins().descriptor().http.drain.get();
        if let Err(error) = self.close(entry, &running, patience).await {
            tracing::error!(tenant = %entry.name, "it did not go to sleep well: {error:#}");
            // What it has to do is not known: look in a while.
            let later = now_ms().saturating_add(AGAIN_MS);
            if let Err(error) = self.registry.asleep(&entry.name, Some(later)).await {
                tracing::error!(tenant = %entry.name, "{error:#}");
            }
        }
        self.forget(&entry.name);
        tracing::debug!(tenant = %entry.name, "asleep");
        drop::<Arc<Running>>(running);
    }
}
