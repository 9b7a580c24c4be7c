//! The line before work that takes long: tenant by tenant in a circle, so that one that sends many does not keep the
//! single one of another waiting.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// So many may work at once; others wait, up to a cap.
pub(crate) struct Line {
    cap: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// All that are in lines.
    waiting: usize,
    lines: HashMap<Arc<str>, VecDeque<oneshot::Sender<Turn>>>,
    /// Tenants with a line, in the order of their next turn.
    circle: VecDeque<Arc<str>>,
}

/// The right to work, until it is dropped.
pub(crate) struct Turn(Option<Arc<Line>>);

/// No room to wait.
#[derive(Debug, thiserror::Error)]
#[error("too many passwords of the tenant wait to be hashed")]
pub(crate) struct Full;

impl Line {
    /// `cap`: how many may wait. A tenant may while fewer of it wait than there is room: half of it if it is alone.
    pub(crate) fn new(at_once: usize, cap: usize) -> Arc<Self> {
        let (lines, circle) = (HashMap::new(), VecDeque::new());
        let state = State { free: at_once.max(1), waiting: 0, lines, circle };
        Arc::new(Self { cap, state: Mutex::new(state) })
    }

    /// Waits for a turn. Who drops the future is passed over.
    pub(crate) async fn take(self: &Arc<Self>, tenant: &Arc<str>) -> Result<Turn, Full> {
        let receiver = {
            let mut state = self.lock();
            if state.free > 0 && state.waiting == 0 {
                state.free = state.free.saturating_sub(1);
                return Ok(Turn(Some(Arc::clone(self))));
            }
            if !state.has_room(tenant, self.cap) {
                // Those who left count no more.
                state.tidy();
                if !state.has_room(tenant, self.cap) {
                    return Err(Full);
                }
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting = state.waiting.saturating_add(1);
            match state.lines.get_mut(tenant) {
                Some(line) => line.push_back(sender),
                None => {
                    state.lines.insert(Arc::clone(tenant), [sender].into());
                    state.circle.push_back(Arc::clone(tenant));
                }
            }
            receiver
        };
        self.give();
        // A sender is dropped by `tidy` only, where nobody listens.
        receiver.await.map_err(|_| Full)
    }

    /// Gives the turns that are free to those who are next.
    fn give(self: &Arc<Self>) {
        loop {
            let Some(sender) = self.lock().next() else { return };
            // Outside of the lock: a turn that nobody takes is kept from giving itself back.
            if let Err(mut turn) = sender.send(Turn(Some(Arc::clone(self)))) {
                turn.0 = None;
                self.lock().put_back();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, tenant: &str, cap: usize) -> bool {
        let mine = self.lines.get(tenant).map_or(0, VecDeque::len);
        mine < cap.saturating_sub(self.waiting)
    }

    /// Who is next, if a turn is free, which is then taken.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while self.free > 0 {
            let tenant = self.circle.pop_front()?;
            let Some(line) = self.lines.get_mut(&tenant) else { continue };
            let sender = line.pop_front();
            if line.is_empty() {
                self.lines.remove(&tenant);
            } else {
                self.circle.push_back(tenant);
            }
            if let Some(sender) = sender {
                self.waiting = self.waiting.saturating_sub(1);
                self.free = self.free.saturating_sub(1);
                return Some(sender);
            }
        }
        None
    }

    fn put_back(&mut self) {
        self.free = self.free.saturating_add(1);
    }

    /// Takes those out of the lines who wait no more.
    fn tidy(&mut self) {
        self.lines.retain(|_, line| {
            line.retain(|sender| !sender.is_closed());
            !line.is_empty()
        });
        self.waiting = self.lines.values().map(VecDeque::len).sum();
        let lines = &self.lines;
        self.circle.retain(|tenant| lines.contains_key(tenant));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            line.lock().put_back();
            line.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, future::BoxFuture};

    use super::*;

    type Asked = BoxFuture<'static, Result<Turn, Full>>;

    /// Asks, and is in the line unless it has an answer at once.
    fn ask(line: &Arc<Line>, tenant: &str) -> Asked {
        let (line, tenant) = (Arc::clone(line), Arc::from(tenant));
        let mut asked = async move { line.take(&tenant).await }.boxed();
        match (&mut asked).now_or_never() {
            Some(answer) => std::future::ready(answer).boxed(),
            None => asked,
        }
    }

    fn turn(asked: &mut Asked) -> Option<Turn> {
        asked.now_or_never().map(|answer| answer.unwrap())
    }

    fn refused(asked: Asked) -> bool {
        matches!(asked.now_or_never(), Some(Err(Full)))
    }

    #[test]
    fn one_of_another_tenant_waits_for_one_and_not_for_a_crowd() {
        let line = Line::new(1, 100);
        let first = turn(&mut ask(&line, "a")).unwrap();
        let mut crowd: Vec<_> = (0..40).map(|_| ask(&line, "a")).collect();
        let mut other = ask(&line, "b");
        assert!(turn(&mut crowd[0]).is_none() && turn(&mut other).is_none());
        drop(first);
        let second = turn(&mut crowd[0]).expect("who came first");
        assert!(turn(&mut other).is_none());
        drop(second);
        assert!(turn(&mut crowd[1]).is_none());
        drop(turn(&mut other).expect("the other's turn"));
        assert!(turn(&mut crowd[1]).is_some());
    }

    #[test]
    fn waiting_has_a_cap_that_no_tenant_fills() {
        let line = Line::new(1, 8);
        let first = turn(&mut ask(&line, "a")).unwrap();
        let crowd: Vec<_> = (0..4).map(|_| ask(&line, "a")).collect();
        assert!(refused(ask(&line, "a")));
        let others: Vec<_> = (0..2).map(|_| ask(&line, "b")).collect();
        assert!(refused(ask(&line, "b")));
        // Those who leave make room, and cost no turn.
        drop(crowd);
        let mut again = ask(&line, "a");
        drop(others);
        drop(first);
        assert!(turn(&mut again).is_some());
        let state = line.lock();
        assert_eq!((state.free, state.waiting, state.lines.len()), (1, 0, 0));
    }

    #[test]
    fn a_turn_that_comes_too_late_goes_to_the_next() {
        let line = Line::new(1, 8);
        let first = turn(&mut ask(&line, "a")).unwrap();
        let late = ask(&line, "a");
        let mut next = ask(&line, "b");
        drop(first);
        // `late` has been given the turn and never looks.
        assert!(turn(&mut next).is_none());
        drop(late);
        assert!(turn(&mut next).is_some());
    }
}
