//! Who may use a processor: guests of all tenants take turns, and the tenant that used least lately goes first.
//!
//! What is handed out is the leave to poll a guest, for a tick at most, not a whole call: a call that waits for
//! storage or another plug-in holds nothing. While there is room nothing waits and no lock is taken. A guest that
//! used up its tick stands in line again; so those who flood wait here, each tenant in a line of its own, and not
//! in the line of the runtime, where all would have to wait behind them.
//!
//! One place is kept for tenants of which nothing runs now, so that a short call of theirs begins at once. It
//! helps where the runtime has a thread more than there are places.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use crate::quota::Account;

/// The places of the process.
pub(crate) struct Fair {
    /// Guests that may be polled at once.
    places: u32,
    running: AtomicU32,
    /// Tickets in all lines; spares the lock where there are none.
    waiting: AtomicUsize,
    lines: Mutex<Vec<Line>>,
}

/// The tickets of one tenant, in order.
struct Line {
    account: Arc<Account>,
    tickets: VecDeque<Arc<Ticket>>,
}

struct Ticket {
    state: AtomicU8,
    waker: Mutex<Waker>,
}

const WAITING: u8 = 0;
const GRANTED: u8 = 1;

/// The turn of one call: in line, or about to be polled, or neither.
pub(crate) struct Turn<'a> {
    fair: &'a Fair,
    account: &'a Arc<Account>,
    ticket: Option<Arc<Ticket>>,
    /// Holds a place.
    polling: bool,
}

impl Fair {
    pub(crate) fn new(places: u32) -> Self {
        Self {
            places: places.max(1),
            running: AtomicU32::new(0),
            waiting: AtomicUsize::new(0),
            lines: Mutex::default(),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place if there is one for this tenant.
    fn take(&self, account: &Account) -> bool {
        // One more for those of whom nothing runs.
        let extra = u32::from(account.running.load(Ordering::SeqCst) == 0);
        let limit = self.places.saturating_add(extra);
        let step = |running: u32| (running < limit).then(|| running.saturating_add(1));
        let taken = self.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step).is_ok();
        if taken {
            account.running.fetch_add(1, Ordering::SeqCst);
        }
        taken
    }

    fn give_back(&self, account: &Account) {
        account.running.fetch_sub(1, Ordering::SeqCst);
        self.running.fetch_sub(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.hand_out(&mut self.lines());
        }
    }

    /// Gives free places to those who wait, those of the tenant first that used least lately.
    fn hand_out(&self, lines: &mut Vec<Line>) {
        loop {
            let mut order: Vec<(u64, usize)> = lines
                .iter()
                .enumerate()
                .map(|(index, line)| (line.account.lately(), index))
                .collect();
            order.sort_unstable();
            // One after another, for the place that is kept is not for all of them.
            let next = order
                .iter()
                .map(|(_, index)| *index)
                .find(|index| lines.get(*index).is_some_and(|line| self.take(&line.account)));
            let Some(index) = next else { return };
            let Some(line) = lines.get_mut(index) else { return };
            if let Some(ticket) = line.tickets.pop_front() {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                ticket.grant();
            }
            if line.tickets.is_empty() {
                lines.remove(index);
            }
        }
    }

    fn enter_line(&self, account: &Arc<Account>, waker: &Waker) -> Arc<Ticket> {
        let ticket =
            Arc::new(Ticket { state: AtomicU8::new(WAITING), waker: Mutex::new(waker.clone()) });
        let mut lines = self.lines();
        // Seen by who gives a place back from here on; one given back before is found below.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        match lines.iter_mut().find(|line| Arc::ptr_eq(&line.account, account)) {
            Some(line) => line.tickets.push_back(Arc::clone(&ticket)),
            None => lines
                .push(Line { account: Arc::clone(account), tickets: [Arc::clone(&ticket)].into() }),
        }
        self.hand_out(&mut lines);
        ticket
    }

    /// Takes a ticket out of the line, or back if it was granted.
    fn leave(&self, account: &Arc<Account>, ticket: &Arc<Ticket>) {
        let mut lines = self.lines();
        if ticket.granted() {
            drop(lines);
            self.give_back(account);
            return;
        }
        let Some(index) = lines.iter().position(|line| Arc::ptr_eq(&line.account, account)) else {
            return;
        };
        let Some(line) = lines.get_mut(index) else { return };
        let before = line.tickets.len();
        line.tickets.retain(|other| !Arc::ptr_eq(other, ticket));
        self.waiting.fetch_sub(before.saturating_sub(line.tickets.len()), Ordering::SeqCst);
        if line.tickets.is_empty() {
            lines.remove(index);
        }
    }
}

impl Ticket {
    fn granted(&self) -> bool {
        self.state.load(Ordering::SeqCst) == GRANTED
    }

    fn grant(&self) {
        self.state.store(GRANTED, Ordering::SeqCst);
        self.waker.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}

impl<'a> Turn<'a> {
    pub(crate) fn new(fair: &'a Fair, account: &'a Arc<Account>) -> Self {
        Self { fair, account, ticket: None, polling: false }
    }

    /// Ready: the guest may be polled now, and then [`Turn::end`] is called.
    pub(crate) fn begin(&mut self, cx: &Context<'_>) -> Poll<()> {
        match &self.ticket {
            Some(ticket) => {
                // Before the look, so that a grant meanwhile wakes the task that polls now.
                let mut waker = ticket.waker.lock().unwrap_or_else(PoisonError::into_inner);
                if ticket.granted() {
                    drop(waker);
                    self.ticket = None;
                    self.polling = true;
                    return Poll::Ready(());
                }
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            None => {
                if self.fair.waiting.load(Ordering::SeqCst) == 0 && self.fair.take(self.account) {
                    self.polling = true;
                    return Poll::Ready(());
                }
                let ticket = self.fair.enter_line(self.account, cx.waker());
                if ticket.granted() {
                    self.polling = true;
                    return Poll::Ready(());
                }
                self.ticket = Some(ticket);
                Poll::Pending
            }
        }
    }

    /// The poll is over.
    pub(crate) fn end(&mut self) {
        self.polling = false;
        self.fair.give_back(self.account);
    }

    /// Instead of [`Turn::end`], where the guest used up its tick: it stands in line again, and is woken when it
    /// is its turn.
    pub(crate) fn again(&mut self, cx: &Context<'_>) {
        self.polling = false;
        self.account.running.fetch_sub(1, Ordering::SeqCst);
        self.fair.running.fetch_sub(1, Ordering::SeqCst);
        self.ticket = Some(self.fair.enter_line(self.account, cx.waker()));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.fair.leave(self.account, &ticket);
        }
        // Only a panic comes between a beginning and its end.
        if self.polling {
            self.end();
        }
    }
}
