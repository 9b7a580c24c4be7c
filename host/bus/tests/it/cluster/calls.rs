use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tessera_bus::{BoxFuture, CallFailure, CallHeaders, Cluster, Serve};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::support::{Mortal, own_server, server, soon, until};

/// Answers with what it was given, and its trace.
struct Echo;

impl Serve for Echo {
    fn serve<'a>(&'a self, payload: Bytes, headers: CallHeaders) -> BoxFuture<'a, Bytes> {
        Box::pin(async move {
            match headers.traceparent {
                Some(trace) => Bytes::from([trace.as_bytes(), b" ", &payload].concat()),
                None => payload,
            }
        })
    }
}

/// Answers when it is let.
#[derive(Default)]
struct Gate {
    begun: AtomicU32,
    ended: AtomicU32,
    open: Option<Semaphore>,
    dropped: Arc<Notify>,
}

impl Gate {
    fn closed() -> Arc<Self> {
        Arc::new(Self { open: Some(Semaphore::new(0)), ..Self::default() })
    }

    fn let_through(&self, calls: usize) {
        self.open.as_ref().unwrap().add_permits(calls);
    }

    fn begun(&self) -> u32 {
        self.begun.load(Ordering::SeqCst)
    }
}

struct Told(Arc<Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Serve for Gate {
    fn serve<'a>(&'a self, payload: Bytes, _: CallHeaders) -> BoxFuture<'a, Bytes> {
        Box::pin(async move {
            let _told = Told(Arc::clone(&self.dropped));
            self.begun.fetch_add(1, Ordering::SeqCst);
            if let Some(open) = &self.open {
                open.acquire().await.unwrap().forget();
            }
            self.ended.fetch_add(1, Ordering::SeqCst);
            payload
        })
    }
}

fn text(failure: &CallFailure) -> String {
    failure.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reaches_a_service_with_its_headers() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let _served = two.serve("echo.v1", Arc::new(Echo)).await.unwrap();
    let answer = one.call("echo.v1", Bytes::from_static(b"hello"), soon()).await.unwrap();
    assert_eq!(answer, "hello");
    let headers = CallHeaders { traceparent: Some("00-1-2-01".into()) };
    let answer = one.call_with("echo.v1", Bytes::from_static(b"x"), headers, soon()).await.unwrap();
    assert_eq!(answer, "00-1-2-01 x");
    // A node may call what it serves itself.
    assert_eq!(two.call("echo.v1", Bytes::new(), soon()).await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_payloads_go_there_and_back() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let _served = two.serve("echo", Arc::new(Echo)).await.unwrap();
    // Around one message, and far beyond.
    for size in [1 << 20, (1 << 20) - 1_041, (1 << 20) - 1_040, (1 << 20) - 1_039, 10_000_000] {
        let payload: Bytes = (0..size).map(|at| (at % 251) as u8).collect();
        let answer = one.call("echo", payload.clone(), soon()).await.unwrap();
        assert!(answer == payload, "{size} bytes came back otherwise");
    }
    // Several at once share the connection.
    let payload = Bytes::from(vec![7; 3 << 20]);
    let calls = (0..6).map(|_| one.call("echo", payload.clone(), soon()));
    for answer in futures::future::join_all(calls).await {
        assert!(answer.unwrap() == payload);
    }
    let failure = one.call("echo", Bytes::from(vec![0; (64 << 20) + 1]), soon()).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Unavailable(_)), "{failure}");
}

/// Answers so late that the server tells before that it is at work.
struct Slow;

impl Serve for Slow {
    fn serve<'a>(&'a self, payload: Bytes, _: CallHeaders) -> BoxFuture<'a, Bytes> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            payload.slice(..3)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_call_that_takes_its_time_is_answered() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let _served = two.serve("slow", Arc::new(Slow)).await.unwrap();
    let payload = Bytes::from(vec![7; 3 << 20]);
    let answer = one.call("slow", payload, soon()).await.unwrap();
    assert_eq!(answer, [7, 7, 7].as_slice());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_serves_is_unavailable_at_once() {
    let Some(server) = server() else { return };
    let one = server.join("one").await;
    let failure = one.call("nobody", Bytes::new(), soon()).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Unavailable(_)), "{failure}");
    let failure = one.call("no.*", Bytes::new(), soon()).await.unwrap_err();
    assert!(text(&failure).contains("cannot name a service"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_beyond_its_deadline_is_unknown_and_dropped_by_the_server() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let gate = Gate::closed();
    let served = two.serve("gate", gate.clone()).await.unwrap();
    // Long enough to get there on a machine that has much to do.
    let deadline = Instant::now() + Duration::from_secs(2);
    let failure = one.call("gate", Bytes::new(), deadline).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Unknown(_)), "{failure}");
    gate.dropped.notified().await;
    until("nothing is in hand", || served.in_hand() == 0).await;
    assert_eq!((gate.begun(), gate.ended.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_caller_went_away_is_dropped_by_the_server() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let gate = Gate::closed();
    let served = two.serve("gate", gate.clone()).await.unwrap();
    let call = tokio::spawn({
        let one = one.clone();
        async move { one.call("gate", Bytes::new(), soon()).await }
    });
    until("it is in hand", || gate.begun() == 1).await;
    call.abort();
    gate.dropped.notified().await;
    until("nothing is in hand", || served.in_hand() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_a_service_takes_are_overloaded() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let gate = Gate::closed();
    let _served = two.serve_limited("gate", gate.clone(), 2).await.unwrap();
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let one = one.clone();
            tokio::spawn(async move { one.call("gate", Bytes::new(), soon()).await })
        })
        .collect();
    until("two are in hand", || gate.begun() == 2).await;
    let failure = one.call("gate", Bytes::new(), soon()).await.unwrap_err();
    assert_eq!(failure, CallFailure::Unavailable("overloaded".into()));
    gate.let_through(2);
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_killed_node_are_unknown_and_later_ones_go_elsewhere() {
    let Some(server) = server() else { return };
    let one = server.join("one").await;
    let (mortal, config) = (Mortal::new(), server.config("two"));
    let gate = Gate::closed();
    let service = gate.clone();
    let _held = mortal
        .run(async move {
            let two = Cluster::connect(config).await.unwrap();
            let served = two.serve("gate", service).await.unwrap();
            (two, served)
        })
        .await;
    let call = tokio::spawn({
        let one = one.clone();
        async move { one.call("gate", Bytes::new(), soon()).await }
    });
    until("it is in hand", || gate.begun() == 1).await;
    mortal.kill();
    let failure = call.await.unwrap().unwrap_err();
    assert!(matches!(failure, CallFailure::Unknown(_)), "{failure}");
    // It was not the call's deadline that ended it: the node's silence has told.
    assert!(!text(&failure).contains("no answer in time"), "{failure}");
    let failure = one.call("gate", Bytes::new(), soon()).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Unavailable(_)), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_makes_calls_unknown_and_holds_new_ones_back() {
    let Some(mut server) = own_server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let gate = Gate::closed();
    let _gate = two.serve("gate", gate.clone()).await.unwrap();
    let _echo = two.serve("echo", Arc::new(Echo)).await.unwrap();
    let call = tokio::spawn({
        let one = one.clone();
        async move { one.call("gate", Bytes::new(), soon()).await }
    });
    until("it is in hand", || gate.begun() == 1).await;
    server.nats().kill();
    let failure = call.await.unwrap().unwrap_err();
    assert!(matches!(failure, CallFailure::Unknown(_)), "{failure}");
    let failure = one.call("echo", Bytes::new(), soon()).await.unwrap_err();
    assert_eq!(failure, CallFailure::Unavailable("not connected to NATS".into()));

    server.nats().restart().unwrap();
    let mut answer = one.call("echo", Bytes::from_static(b"1"), soon()).await;
    let end = soon();
    while answer.is_err() && Instant::now() < end {
        answer = one.call("echo", Bytes::from_static(b"1"), soon()).await;
    }
    assert_eq!(answer.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_a_node_drains() {
    let Some(server) = server() else { return };
    let caller = server.join("caller").await;
    let (one, two) = (server.join("one").await, server.join("two").await);
    let stays = one.serve("echo", Arc::new(Echo)).await.unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (caller, stop) = (caller.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    caller.call("echo", Bytes::from_static(b"x"), soon()).await.unwrap();
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for _ in 0..10 {
        let goes = two.serve("echo", Arc::new(Echo)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        goes.drain().await;
        assert_eq!(goes.in_hand(), 0);
        drop(goes);
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
    drop(stays);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_calls_in_hand_end() {
    let Some(server) = server() else { return };
    let (one, two) = (server.join("one").await, server.join("two").await);
    let gate = Gate::closed();
    let served = Arc::new(two.serve("gate", gate.clone()).await.unwrap());
    let call = tokio::spawn({
        let one = one.clone();
        async move { one.call("gate", Bytes::from_static(b"x"), soon()).await }
    });
    until("it is in hand", || gate.begun() == 1).await;
    let drain = tokio::spawn({
        let served = Arc::clone(&served);
        async move { served.drain().await }
    });
    let failure = loop {
        // Those that still arrive before the drain has begun are held by the gate too.
        let deadline = Instant::now() + Duration::from_millis(100);
        match one.call("gate", Bytes::new(), deadline).await.unwrap_err() {
            CallFailure::Unknown(_) => {}
            failure => break failure,
        }
    };
    assert!(matches!(failure, CallFailure::Unavailable(_)), "{failure}");
    assert!(!drain.is_finished());
    gate.let_through(1);
    assert_eq!(call.await.unwrap().unwrap(), "x");
    drain.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_panics_fails_its_call_only() {
    struct Panics;
    impl Serve for Panics {
        fn serve<'a>(&'a self, payload: Bytes, _: CallHeaders) -> BoxFuture<'a, Bytes> {
            Box::pin(async move {
                assert!(payload.is_empty(), "on purpose");
                payload
            })
        }
    }
    let Some(server) = server() else { return };
    let one = server.join("one").await;
    let _served = one.serve("panics", Arc::new(Panics)).await.unwrap();
    let failure = one.call("panics", Bytes::from_static(b"x"), soon()).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Unknown(_)), "{failure}");
    assert_eq!(one.call("panics", Bytes::new(), soon()).await.unwrap(), "");
}
