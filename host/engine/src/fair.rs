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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures::task::{ArcWake, noop_waker, waker};

    use super::*;
    use crate::quota::TenantQuotas;

    fn account() -> Arc<Account> {
        Arc::new(Account::new(TenantQuotas::default()))
    }

    /// Used so much in each second from now on.
    fn charge(account: &Account, each: Duration) {
        for second in 0..10 {
            account.charge(each, Instant::now() + Duration::from_secs(second));
        }
    }

    fn begin(turn: &mut Turn<'_>) -> bool {
        turn.begin(&Context::from_waker(&noop_waker())).is_ready()
    }

    #[test]
    fn while_there_is_room_nothing_waits() {
        let (fair, a) = (Fair::new(2), account());
        let mut turns: Vec<Turn<'_>> = (0..3).map(|_| Turn::new(&fair, &a)).collect();
        assert!(begin(&mut turns[0]) && begin(&mut turns[1]));
        assert!(!begin(&mut turns[2]), "both places are taken");
        turns[0].end();
        assert!(begin(&mut turns[2]));
        assert!(!begin(&mut turns[0]));
    }

    #[test]
    fn who_used_least_lately_goes_first() {
        let fair = Fair::new(1);
        let (busy, quiet, holder) = (account(), account(), account());
        charge(&busy, Duration::from_millis(500));
        charge(&quiet, Duration::from_millis(5));
        let mut first = Turn::new(&fair, &holder);
        assert!(begin(&mut first));
        // Each takes the place that is kept for those of whom nothing runs; the next ones wait.
        let (mut busy_runs, mut b, mut q) =
            (Turn::new(&fair, &busy), Turn::new(&fair, &busy), Turn::new(&fair, &quiet));
        assert!(begin(&mut busy_runs));
        assert!(!begin(&mut b) && !begin(&mut q));
        busy_runs.end();
        assert!(begin(&mut q), "the quiet one");
        assert!(!begin(&mut b));
        q.end();
        assert!(begin(&mut b));
    }

    #[test]
    fn a_tenant_of_which_nothing_runs_need_not_wait_for_one_that_floods() {
        let (fair, flood, quiet) = (Fair::new(2), account(), account());
        charge(&flood, Duration::from_millis(900));
        let mut floods: Vec<Turn<'_>> = (0..10).map(|_| Turn::new(&fair, &flood)).collect();
        let begun = floods.iter_mut().map(begin).filter(|begun| *begun).count();
        assert_eq!(begun, 2, "no more than there are places");
        let mut turn = Turn::new(&fair, &quiet);
        assert!(begin(&mut turn));
        let mut second = Turn::new(&fair, &quiet);
        assert!(!begin(&mut second), "one place is kept, not more");
    }

    #[test]
    fn who_leaves_the_line_leaves_no_place_behind() {
        let (fair, a, b) = (Fair::new(1), account(), account());
        let mut first = Turn::new(&fair, &a);
        assert!(begin(&mut first));
        let mut waits = Turn::new(&fair, &a);
        assert!(!begin(&mut waits));
        drop(waits);
        let mut granted = Turn::new(&fair, &a);
        assert!(!begin(&mut granted));
        first.end();
        // It has the place now, and goes away with it.
        drop(granted);
        assert_eq!(fair.waiting.load(Ordering::SeqCst), 0);
        assert_eq!(fair.running.load(Ordering::SeqCst), 0);
        assert_eq!(a.running.load(Ordering::SeqCst), 0);
        assert!(begin(&mut Turn::new(&fair, &b)));
    }

    #[test]
    fn a_poll_that_panics_gives_its_place_back() {
        let (fair, a) = (Fair::new(1), account());
        let mut turn = Turn::new(&fair, &a);
        assert!(begin(&mut turn));
        drop(turn);
        assert_eq!(fair.running.load(Ordering::SeqCst), 0);
    }

    struct Woken(AtomicUsize);

    impl ArcWake for Woken {
        fn wake_by_ref(woken: &Arc<Self>) {
            woken.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_is_woken_when_it_is_its_turn() {
        let (fair, a) = (Fair::new(1), account());
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let mut first = Turn::new(&fair, &a);
        assert!(begin(&mut first));
        let mut waits = Turn::new(&fair, &a);
        assert!(!begin(&mut waits));
        // Polled by another task since.
        let waker = waker(Arc::clone(&woken));
        assert!(waits.begin(&Context::from_waker(&waker)).is_pending());
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        first.end();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    /// A task of the runtime: woken, it stands in the runtime's line.
    struct Task(usize, Arc<Mutex<VecDeque<usize>>>);

    impl ArcWake for Task {
        fn wake_by_ref(task: &Arc<Self>) {
            task.1.lock().unwrap_or_else(PoisonError::into_inner).push_back(task.0);
        }
    }

    #[test]
    fn two_that_flood_get_the_same_whatever_their_numbers() {
        let (fair, many, few) = (Fair::new(1), account(), account());
        let line: Arc<Mutex<VecDeque<usize>>> = Arc::new(Mutex::new((0..66).collect()));
        let accounts: Vec<&Arc<Account>> =
            (0..66).map(|task| if task < 64 { &many } else { &few }).collect();
        let mut turns: Vec<Turn<'_>> =
            accounts.iter().map(|account| Turn::new(&fair, account)).collect();
        let mut polls = [0_u32; 2];
        // One thread, and all of them want to run all the time; who may takes a tick.
        while polls[0] + polls[1] < 1_000 {
            let next = line.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let task = next.expect("somebody may run");
            let waker = waker(Arc::new(Task(task, Arc::clone(&line))));
            let cx = Context::from_waker(&waker);
            if turns[task].begin(&cx).is_ready() {
                charge(accounts[task], Duration::from_millis(1));
                polls[usize::from(task >= 64)] += 1;
                turns[task].again(&cx);
            }
        }
        let [many, few] = polls;
        assert!(many.abs_diff(few) <= 20, "{many} and {few}");
    }
}
