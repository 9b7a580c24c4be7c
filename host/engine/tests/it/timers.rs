//! Timers fire from the database.

use std::{sync::Arc, time::Duration};

use crate::support::{House, packed};

/// Fails until it is told to stop: a name of one byte fails.
const TIMER: &str = r#"
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (if (i32.eq (local.get 1) (i32.const 1)) (then (return (call $fail (i32.const 3)))))
        (call $ok))
"#;

/// Waits until a condition holds, for ten seconds at most.
async fn until(condition: impl AsyncFn() -> bool) {
    let patient = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), patient).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_timer_fires_and_is_finished() {
    let house = House::new().await;
    house.install(&[packed("clock", "", "timer", TIMER)]);
    house.database.timer_set("clock", "now", 1, "payload").await.unwrap();
    let task = tokio::spawn(Arc::clone(&house.tenant).run_timers());
    until(async || house.database.timer_next().await.unwrap().is_none()).await;
    assert_eq!(house.metric("tessera_calls_total", "fire"), 1.0);
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_fails_is_tried_again_and_does_not_stop_others() {
    let house = House::new().await;
    house.install(&[packed("clock", "", "timer", TIMER)]);
    house.database.timer_set("clock", "x", 1, "").await.unwrap();
    let task = tokio::spawn(Arc::clone(&house.tenant).run_timers());
    until(async || house.metric("tessera_calls_total", "fire") >= 1.0).await;
    house.database.timer_set("clock", "later", 2, "").await.unwrap();
    // A timer is taken off the table after its call was counted.
    let left = async || -> Vec<String> {
        let due = house.database.timers_due(u64::MAX >> 1, 10).await.unwrap();
        due.into_iter().map(|timer| timer.name).collect()
    };
    until(async || left().await.len() == 1).await;
    until(async || house.metric("tessera_calls_total", "fire") >= 3.0).await;
    assert_eq!(left().await, ["x"], "the one that fails stays");
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_timers_that_fail_does_not_hide_those_of_others() {
    let house = House::new().await;
    let broken = TIMER.replace("(i32.const 1))", "(local.get 1))");
    house.install(&[packed("clock", "", "timer", TIMER), packed("broken", "", "timer", &broken)]);
    let names: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    let set = |name: &'_ String| {
        let (database, name) = (house.database.clone(), name.clone());
        async move { database.timer_set("broken", &name, 1, "").await.unwrap() }
    };
    futures::future::join_all(names.iter().map(set)).await;
    // Of a plug-in that is not there any more: these fail, too.
    house.database.timer_set("gone", "x", 1, "").await.unwrap();
    house.database.timer_set("clock", "last", 2, "").await.unwrap();
    let task = tokio::spawn(Arc::clone(&house.tenant).run_timers());
    until(async || {
        let left = house.database.timers_due(u64::MAX >> 1, 1_000).await.unwrap();
        assert!(left.len() >= 601, "none that fails is lost");
        left.iter().all(|timer| timer.plugin != "clock")
    })
    .await;
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_is_set_for_later_fires_when_it_is_due() {
    let house = House::new().await;
    house.install(&[packed("clock", "", "timer", TIMER)]);
    let task = tokio::spawn(Arc::clone(&house.tenant).run_timers());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let due = now.as_millis() as u64 + 300;
    house.database.timer_set("clock", "later", due, "").await.unwrap();
    // As `timers.set` does, on whichever node.
    house.bus.notify("t", &["\u{1}timers"]);
    until(async || house.metric("tessera_calls_total", "fire") >= 1.0).await;
    until(async || house.database.timer_next().await.unwrap().is_none()).await;
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_fire_each_timer_once() {
    let house = House::new().await;
    let bytes = packed("clock", "", "timer", TIMER);
    house.install(std::slice::from_ref(&bytes));
    let second = house.add("t", tessera_engine::HookSettings::default(), None);
    second.install(vec![tessera_engine::PluginSpec::asked(house.load(&bytes))]).unwrap();
    for n in 0..100 {
        house.database.timer_set("clock", &format!("name {n}"), 1, "").await.unwrap();
    }
    let tasks: Vec<_> = [Arc::clone(&house.tenant), second]
        .into_iter()
        .map(|tenant| tokio::spawn(tenant.run_timers()))
        .collect();
    until(async || house.database.timer_next().await.unwrap().is_none()).await;
    assert_eq!(house.metric("tessera_calls_total", "fire"), 100.0);
    tasks.iter().for_each(|task| task.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_node_had_claimed_is_fired_by_another() {
    let house = House::new().await;
    house.install(&[packed("clock", "", "timer", TIMER)]);
    house.database.timer_set("clock", "orphan", 1, "").await.unwrap();
    // Claimed by a node that does nothing more.
    let claimed = house.database.timers_claim(10, 10, 10, Duration::from_secs(1)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let task = tokio::spawn(Arc::clone(&house.tenant).run_timers());
    until(async || house.database.timer_next().await.unwrap().is_none()).await;
    assert_eq!(house.metric("tessera_calls_total", "fire"), 1.0);
    task.abort();
}
