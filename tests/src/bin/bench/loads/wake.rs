//! Idle long polls and what wakes them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tessera_tests::{
    api::{self, Session},
    random::Random,
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    Options,
    figure::{Figure, figure},
    measure::{self, Window, as_f64, millis, percentile},
    people::{People, Room},
    target::Target,
};

/// Members of a small room: this many wake per message.
const TEN: usize = 10;
/// Messages at most.
const MESSAGES: usize = 300;
/// Messages to the one large room.
const LARGE_MESSAGES: usize = 5;
/// How long a message may take to reach everybody.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long polls get to arrive at the server before memory and latency are looked at.
const SETTLE: Duration = Duration::from_secs(3);

/// A poll that came back with an event.
struct Woken {
    event_id: String,
    at: Instant,
}

pub(crate) async fn tens(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let users = target.people.users(options.clients).await?;
    let rooms =
        People::rooms(&users, (options.clients / TEN).max(1), TEN.min(options.clients)).await?;
    let mut parked = Parked::park(target, &rooms).await?;
    let mut figures = Vec::new();
    figures.extend(parked.memory_kib.map(|kib| figure("wake: memory per idle sync", kib, "KiB")));
    let answered_before = parked.answers.load(Ordering::Relaxed);
    let window = Window::open(target.pid)?;
    let mut latencies = Vec::new();
    let started = Instant::now();
    let mut messages = 0;
    for (turn, room) in rooms.iter().cycle().enumerate().take(MESSAGES) {
        if started.elapsed() > options.patience() {
            break;
        }
        latencies.extend(parked.message(room, turn).await?);
        messages += 1;
    }
    let spent = window.close()?;
    let wakes = latencies.len();
    let answers = parked.answers.load(Ordering::Relaxed).saturating_sub(answered_before);
    figures.extend([
        figure("wake: p50", millis(percentile(&mut latencies, 0.5)), "ms"),
        figure("wake: p99", millis(percentile(&mut latencies, 0.99)), "ms"),
    ]);
    figures.extend(spent.cpu_ms_each(wakes).map(|ms| figure("wake: CPU per wake", ms, "ms")));
    // More than 1: polls were answered again for something else, such as counts that came late.
    figures.push(figure("wake: answers for each wake", as_f64(answers) / as_f64(wakes.max(1)), ""));
    figures.push(figure("wake: messages", spent.rate(messages), "/s"));
    Ok(figures)
}

pub(crate) async fn one_room(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let members = target.people.users(options.clients).await?;
    let rooms = People::rooms(&members, 1, options.clients).await?;
    let room = rooms.first().context("no room")?;
    let mut parked = Parked::park(target, &rooms).await?;
    let mut last = Vec::new();
    let window = Window::open(target.pid)?;
    for turn in 0..LARGE_MESSAGES {
        let mut latencies = parked.message(room, turn).await?;
        last.push(percentile(&mut latencies, 1.0));
        tokio::time::sleep(SETTLE).await;
    }
    let spent = window.close()?;
    let wakes = options.clients * LARGE_MESSAGES;
    let mut figures =
        vec![figure("one room: last answer", millis(percentile(&mut last, 0.5)), "ms")];
    figures.push(figure("one room: last answer, worst", millis(percentile(&mut last, 1.0)), "ms"));
    figures.extend(spent.cpu_ms_each(wakes).map(|ms| figure("one room: CPU per wake", ms, "ms")));
    Ok(figures)
}

/// Clients that poll for ever.
struct Parked {
    woken: mpsc::Receiver<Woken>,
    memory_kib: Option<f64>,
    /// Polls that were answered, with or without a message.
    answers: Arc<AtomicUsize>,
    /// Makes transaction ids that no other load of these users has.
    tag: u64,
    polls: JoinSet<Result<()>>,
}

impl Parked {
    /// Parks each member of these rooms once.
    async fn park(target: &Target, rooms: &[Room]) -> Result<Self> {
        let members: Arc<Vec<(Session, String)>> = Arc::new(
            rooms
                .iter()
                .flat_map(|r| r.members.iter().map(|m| (m.clone(), r.id.clone())))
                .collect(),
        );
        let count = members.len();
        let tokens = Arc::new(std::sync::Mutex::new(vec![String::new(); count]));
        measure::run(16, count, Duration::from_secs(600), {
            let (members, tokens) = (members.clone(), tokens.clone());
            move |_, turn| {
                let (members, tokens) = (members.clone(), tokens.clone());
                async move {
                    let token = members.get(turn).context("member")?.0.sync_token().await?;
                    let mut tokens = tokens.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
                    tokens.get_mut(turn).context("slot")?.push_str(&token);
                    Ok(())
                }
            }
        })
        .await?;
        tokio::time::sleep(SETTLE).await;
        let before = target.rss_kib()?;
        let (sender, woken) = mpsc::channel(count.max(1));
        let tokens = tokens.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.clone();
        let mut polls = JoinSet::new();
        let answers = Arc::new(AtomicUsize::new(0));
        for ((member, room), token) in members.iter().cloned().zip(tokens) {
            polls.spawn(poll(member, room, token, sender.clone(), answers.clone()));
        }
        tokio::time::sleep(SETTLE).await;
        let memory_kib = target
            .rss_kib()?
            .zip(before)
            .map(|(after, before)| (after - before) / as_f64(count.max(1)));
        Ok(Self { woken, memory_kib, answers, tag: Random::fresh_seed(), polls })
    }

    /// Sends one message and waits for everyone in the room. Gives the time from the answer of the PUT to each.
    async fn message(&mut self, room: &Room, turn: usize) -> Result<Vec<Duration>> {
        if let Some(ended) = self.polls.try_join_next() {
            ended.context("a poll panicked")?.context("a poll ended")?;
        }
        let sender = room.members.first().context("no members")?;
        let event_id =
            sender.text(&room.id, &format!("wake-{}-{turn}", self.tag), "wake up").await?;
        let answered = Instant::now();
        let mut latencies = Vec::new();
        while latencies.len() < room.members.len() {
            let woken = tokio::time::timeout(PATIENCE, self.woken.recv()).await;
            let woken = woken
                .with_context(|| format!("{} of {} woke", latencies.len(), room.members.len()))?;
            let woken = woken.context("the polls ended")?;
            ensure!(woken.event_id == event_id, "woken by another event");
            latencies.push(woken.at.saturating_duration_since(answered));
        }
        Ok(latencies)
    }
}

async fn poll(
    member: Session,
    room: String,
    mut token: String,
    woken: mpsc::Sender<Woken>,
    answers: Arc<AtomicUsize>,
) -> Result<()> {
    loop {
        let answer = member.sync(Some(&token), Duration::from_secs(90), "").await?;
        let at = Instant::now();
        answers.fetch_add(1, Ordering::Relaxed);
        token = api::string(&answer, "next_batch")?;
        // A join that was under way when the token was taken is no wake-up of this load.
        let messages = api::timeline(&answer, &room)
            .iter()
            .filter(|e| e.get("type").is_some_and(|t| t == "m.room.message"));
        for event in messages {
            let event_id = api::string(event, "event_id")?;
            woken.send(Woken { event_id, at }).await.ok().context("the load is over")?;
        }
    }
}
