//! Turns of parked requests that go on, and of further pieces of answers: tenant by tenant in a circle, so that a topic
//! that ten thousand requests of one tenant watch does not put them before another's single one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::share::Lone;

/// `[http] max-resumes` turns. Who waits for one is a parked request or an answer that a connection takes, so their number
/// has a cap.
pub(crate) struct Turns {
    queue: Mutex<Queue>,
}

struct Queue {
    free: usize,
    next: u64,
    lone: Lone,
    tenants: HashMap<Arc<str>, Tenant>,
    /// Tenants with somebody waiting, in the order of their next turn.
    circle: VecDeque<Arc<str>>,
}

#[derive(Default)]
struct Tenant {
    /// Turns that it has.
    going: usize,
    /// In the order of coming.
    waiting: BTreeMap<u64, oneshot::Sender<Turn>>,
}

/// The right to go on, until it is dropped.
pub(crate) struct Turn {
    of: Arc<Turns>,
    /// Until it is given back.
    tenant: Option<Arc<str>>,
}

/// A request in the queue; leaves it when it is dropped.
struct Waiter<'a> {
    turns: &'a Turns,
    tenant: &'a Arc<str>,
    id: u64,
}

impl Turns {
    pub(crate) fn new(turns: usize, lone: Lone) -> Arc<Self> {
        let (tenants, circle) = (HashMap::new(), VecDeque::new());
        let queue = Queue { free: turns, next: 0, lone, tenants, circle };
        Arc::new(Self { queue: Mutex::new(queue) })
    }

    /// Waits for a turn. Dropping the future leaves the queue.
    pub(crate) async fn take(self: &Arc<Self>, tenant: &Arc<str>) -> Turn {
        loop {
            let (sender, receiver) = oneshot::channel();
            let id = {
                let mut queue = self.lock();
                let id = queue.next;
                queue.next += 1;
                let mine = queue.tenants.entry(Arc::clone(tenant)).or_default();
                mine.waiting.insert(id, sender);
                if mine.waiting.len() == 1 {
                    queue.circle.push_back(Arc::clone(tenant));
                }
                id
            };
            let _waiter = Waiter { turns: self, tenant, id };
            self.give();
            // A sender is only dropped with the queue, which `self` keeps; waiting anew is right in any case.
            if let Ok(turn) = receiver.await {
                return turn;
            }
        }
    }

    /// Gives the turns that are free to those who are next.
    fn give(self: &Arc<Self>) {
        loop {
            let next = self.lock().pop();
            let Some((tenant, sender)) = next else { return };
            // Outside of the lock: what nobody takes any more is dropped here.
            let turn = Turn { of: Arc::clone(self), tenant: Some(tenant) };
            if let Err(mut turn) = sender.send(turn)
                && let Some(tenant) = turn.tenant.take()
            {
                self.lock().put_back(&tenant);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Who is next, if there is a turn for one.
    fn pop(&mut self) -> Option<(Arc<str>, oneshot::Sender<Turn>)> {
        if self.free == 0 {
            return None;
        }
        for _ in 0..self.circle.len() {
            let name = self.circle.pop_front()?;
            let Some(tenant) = self.tenants.get_mut(&name) else { continue };
            // As with places: nobody has more than are free.
            if tenant.going >= self.free && !(self.lone)() {
                self.circle.push_back(name);
                continue;
            }
            let Some((_, sender)) = tenant.waiting.pop_first() else { continue };
            tenant.going += 1;
            self.free -= 1;
            if !tenant.waiting.is_empty() {
                self.circle.push_back(Arc::clone(&name));
            }
            return Some((name, sender));
        }
        None
    }

    fn put_back(&mut self, name: &Arc<str>) {
        self.free += 1;
        if let Some(tenant) = self.tenants.get_mut(name) {
            tenant.going -= 1;
            self.tidy(name);
        }
    }

    fn leave(&mut self, name: &Arc<str>, id: u64) {
        let Some(tenant) = self.tenants.get_mut(name) else { return };
        if tenant.waiting.remove(&id).is_some() && tenant.waiting.is_empty() {
            self.circle.retain(|waits| waits != name);
        }
        self.tidy(name);
    }

    fn tidy(&mut self, name: &Arc<str>) {
        if self.tenants.get(name).is_some_and(|it| it.going == 0 && it.waiting.is_empty()) {
            self.tenants.remove(name);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(tenant) = self.tenant.take() {
            self.of.lock().put_back(&tenant);
            self.of.give();
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.turns.lock().leave(self.tenant, self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::{Turn, Turns};

    fn ask(turns: &Arc<Turns>, tenant: &str) -> BoxFuture<'static, Turn> {
        let (turns, tenant) = (Arc::clone(turns), Arc::from(tenant));
        let mut asked = async move { turns.take(&tenant).await }.boxed();
        // Into the queue.
        match (&mut asked).now_or_never() {
            Some(turn) => std::future::ready(turn).boxed(),
            None => asked,
        }
    }

    fn has(asked: &mut BoxFuture<'static, Turn>) -> Option<Turn> {
        asked.now_or_never()
    }

    #[test]
    fn tenants_take_turns_however_many_each_sends() {
        let turns = Turns::new(1, Arc::new(|| false));
        let first = has(&mut ask(&turns, "a")).unwrap();
        let mut of_a: Vec<_> = (0..100).map(|_| ask(&turns, "a")).collect();
        let mut of_b = ask(&turns, "b");
        assert!(has(&mut of_b).is_none());
        drop(first);
        let second = has(&mut of_a[0]).expect("who came first");
        assert!(has(&mut of_b).is_none());
        drop(second);
        assert!(has(&mut of_a[1]).is_none());
        drop(has(&mut of_b).expect("the other tenant's turn"));
        assert!(has(&mut of_a[1]).is_some());
    }

    #[test]
    fn one_tenant_leaves_turns_for_others() {
        let turns = Turns::new(4, Arc::new(|| false));
        let going: Vec<_> = (0..4).filter_map(|_| has(&mut ask(&turns, "a"))).collect();
        assert_eq!(going.len(), 2);
        assert!(has(&mut ask(&turns, "b")).is_some());
        let turns = Turns::new(4, Arc::new(|| true));
        let going: Vec<_> = (0..4).filter_map(|_| has(&mut ask(&turns, "a"))).collect();
        assert_eq!(going.len(), 4, "a lone one has all");
        drop(going);
        // Until another comes.
        let alone = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&alone);
        let turns = Turns::new(4, Arc::new(move || asked.load(Ordering::Relaxed)));
        alone.store(false, Ordering::Relaxed);
        let going: Vec<_> = (0..4).filter_map(|_| has(&mut ask(&turns, "a"))).collect();
        assert_eq!(going.len(), 2);
    }

    #[test]
    fn who_leaves_the_queue_or_gets_a_turn_too_late_costs_none() {
        let turns = Turns::new(1, Arc::new(|| true));
        let first = has(&mut ask(&turns, "a")).unwrap();
        let left = ask(&turns, "a");
        let late = ask(&turns, "b");
        drop(left);
        drop(first);
        // `late` has been given the turn and never looks.
        assert!(has(&mut ask(&turns, "a")).is_none());
        drop(late);
        assert!(has(&mut ask(&turns, "c")).is_some());
        let queue = turns.queue.lock().unwrap();
        assert_eq!((queue.free, queue.tenants.len(), queue.circle.len()), (1, 0, 0));
    }
}
