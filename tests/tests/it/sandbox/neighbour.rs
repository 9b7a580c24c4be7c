//! Somebody who has nothing to do with the attacks and sends messages all the while.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tessera_tests::api::Session;
use tokio::task::JoinHandle;

use super::Place;

pub(crate) struct Neighbour {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Fared>,
}

/// How the neighbour fared.
#[derive(Debug, Default)]
pub(crate) struct Fared {
    pub(crate) sent: usize,
    pub(crate) failed: usize,
    times: Vec<Duration>,
}

impl Neighbour {
    /// A user and a room of theirs.
    pub(crate) async fn user(place: &Place, name: &str) -> (Session, String) {
        let url = place.server.url();
        let user = match Session::register(&place.http, &url, name).await {
            Ok(user) => user,
            Err(_taken) => Session::login(&place.http, &url, name).await.unwrap(),
        };
        let room = user.create_room(&json!({"preset": "public_chat"})).await.unwrap();
        (user, room)
    }

    pub(crate) async fn start(place: &Place) -> Self {
        let (user, room) = Self::user(place, "neighbour").await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = tokio::spawn(async move {
            let mut fared = Fared::default();
            while !stopped.load(Ordering::Relaxed) {
                let at = Instant::now();
                let txn = format!("{}-{}", room.len(), fared.sent);
                match user.text(&room, &txn, "good morning").await {
                    Ok(_) => fared.times.push(at.elapsed()),
                    Err(error) => {
                        eprintln!("the neighbour's message failed: {error:#}");
                        fared.failed += 1;
                    }
                }
                fared.sent += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            fared
        });
        Self { stop, work }
    }

    pub(crate) async fn end(self) -> Fared {
        self.stop.store(true, Ordering::Relaxed);
        self.work.await.unwrap()
    }

    /// Goes on for so long.
    pub(crate) async fn rest_of(self, time: Duration) -> Fared {
        tokio::time::sleep(time).await;
        let fared = self.end().await;
        assert!(fared.sent > 0 && fared.failed == 0, "{fared}");
        fared
    }
}

impl fmt::Display for Fared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = |percent: usize| {
            times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)))
        };
        let ms = |percent| at(percent).copied().unwrap_or_default().as_secs_f64() * 1000.0;
        let (sent, failed) = (self.sent, self.failed);
        write!(f, "{sent} sent, {failed} failed, p50 {:.1} ms, p99 {:.1} ms", ms(50), ms(99))
    }
}
