use std::sync::{Arc, Mutex};

use futures::FutureExt;
use tessera_bus::{Bus, BusConfig, WatchError};

#[test]
fn a_watch_fires_on_each_of_its_topics_and_on_no_other() {
    let bus = Bus::default();
    for topic in ["a", "b"] {
        let watch = bus.watch("t", &["a", "b"]).unwrap();
        bus.notify("t", &["c"]);
        assert!(!watch.is_fired());
        bus.notify("t", &[topic]);
        assert!(watch.is_fired());
        assert!(watch.fired().now_or_never().is_some());
    }
}

#[test]
fn tenants_do_not_wake_one_another() {
    let bus = Bus::default();
    let watch = bus.watch("one", &["a"]).unwrap();
    bus.notify("two", &["a"]);
    assert!(!watch.is_fired());
}

#[tokio::test]
async fn a_waiting_task_is_woken() {
    let bus = Bus::default();
    let watch = bus.watch("t", &["a"]).unwrap();
    let waiting = tokio::spawn(async move { watch.fired().await });
    tokio::task::yield_now().await;
    bus.notify("t", &["a"]);
    waiting.await.unwrap();
}

#[test]
fn a_dropped_watch_leaves_nothing_behind() {
    let bus = Bus::default();
    let watches: Vec<_> = (0..100).map(|_| bus.watch("t", &["a", "b", "a"]).unwrap()).collect();
    assert_eq!(bus.subscriptions(), 200, "doubles count once");
    drop(watches);
    assert_eq!(bus.subscriptions(), 0);
}

#[test]
fn caps_are_kept_and_given_back() {
    let bus = Bus::new(BusConfig { topics_per_watch: 2, subscriptions: 3, seed: None });
    let error = bus.watch("t", &["a", "b", "c"]).unwrap_err();
    assert_eq!(error, WatchError::TooManyTopics { asked: 3, cap: 2 });
    let held = bus.watch("t", &["a", "b"]).unwrap();
    assert_eq!(bus.watch("t", &["c", "d"]).unwrap_err(), WatchError::Full { cap: 3 });
    drop(held);
    assert!(bus.watch("t", &["c", "d"]).is_ok());
}

#[test]
fn what_fired_after_the_mark_is_not_missed() {
    let bus = Bus::default();
    bus.notify("t", &["a"]);
    let mark = bus.mark();
    assert!(!bus.watch_since(mark, "t", &["a"]).unwrap().is_fired(), "it fired before the mark");
    bus.notify("t", &["a"]);
    assert!(bus.watch_since(mark, "t", &["a"]).unwrap().is_fired());
    assert!(!bus.watch_since(bus.mark(), "t", &["a"]).unwrap().is_fired());
}

#[test]
fn listeners_have_run_when_notify_returns() {
    let bus = Bus::default();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let listening = bus.subscribe_all({
        let seen = Arc::clone(&seen);
        move |topics| seen.lock().unwrap().extend_from_slice(topics)
    });
    bus.notify("t", &["a", "b"]);
    assert_eq!(*seen.lock().unwrap(), [bus.topic("t", "a"), bus.topic("t", "b")]);
    drop(listening);
    bus.notify("t", &["c"]);
    assert_eq!(seen.lock().unwrap().len(), 2, "a dropped listener is not called");
}

#[test]
fn threads_that_watch_and_notify_miss_nothing() {
    let bus = Bus::default();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let bus = &bus;
            scope.spawn(move || {
                for round in 0..2_000 {
                    let topic = format!("{thread}:{round}");
                    let watch = bus.watch("t", &[topic.as_str(), "shared"]).unwrap();
                    bus.notify("t", &[topic.as_str()]);
                    assert!(watch.is_fired());
                }
            });
        }
    });
    assert_eq!(bus.subscriptions(), 0);
}
