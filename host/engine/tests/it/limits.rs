//! What a hostile or broken guest can do: nothing to anybody else.

use std::time::{Duration, Instant};

use tessera_engine::{Event, Health, HookSettings, api::CallError};

use crate::support::{House, packed};

/// `fire` counts its calls; a name of one byte traps.
pub const COUNTER: &str = r#"
    (global $calls (mut i32) (i32.const 0))
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (if (i32.eq (local.get 1) (i32.const 1)) (then unreachable))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (call $fail (global.get $calls)))
"#;

fn count(answer: Result<Result<(), String>, CallError>) -> usize {
    answer.unwrap().unwrap_err().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_discards_the_instance() {
    let house = House::new().await;
    house.install(&[packed("counter", "", "timer", COUNTER)]);
    assert_eq!(count(house.fire("counter", "go").await), 1);
    assert_eq!(count(house.fire("counter", "go").await), 2);
    let trapped = house.fire("counter", "x").await.unwrap_err();
    assert!(matches!(trapped, CallError::Trapped(_)), "{trapped}");
    assert_eq!(count(house.fire("counter", "go").await), 1, "a fresh instance counts anew");
    assert_eq!(house.metric("tessera_instances_poisoned_total", "counter"), 1.0);
    assert_eq!(house.metric("tessera_instances", "counter"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_retires_after_its_calls() {
    let house = House::new().await;
    house.install(&[packed("counter", "[limits]\ncalls-per-instance = 2", "timer", COUNTER)]);
    let mut counts = Vec::new();
    for _ in 0..4 {
        counts.push(count(house.fire("counter", "go").await));
    }
    assert_eq!(counts, [1, 2, 1, 2]);
    assert_eq!(house.metric("tessera_instances_retired_total", "counter"), 2.0);
}

pub const LOOP: &str = r#"
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (loop $again (br $again))
        unreachable)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_ends_at_the_cpu_limit_while_neighbours_go_on() {
    let house = House::new().await;
    house.install(&[
        packed("loop", "[limits]\ncpu = \"300ms\"\nwall = \"20s\"", "timer", LOOP),
        packed("counter", "", "timer", COUNTER),
    ]);
    // Warm, so that what is measured is the neighbour's call.
    count(house.fire("counter", "go").await);
    let start = Instant::now();
    let loops = async {
        // More of them than there are threads.
        let all = tokio::join!(
            house.fire("loop", "a"),
            house.fire("loop", "b"),
            house.fire("loop", "c"),
            house.fire("loop", "d")
        );
        (all, start.elapsed())
    };
    let neighbour = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            count(house.fire("counter", "go").await);
        }
        start.elapsed()
    };
    let (((a, b, c, d), loops_took), neighbour_took) = tokio::join!(loops, neighbour);
    for ended in [a, b, c, d] {
        let CallError::Trapped(reason) = ended.unwrap_err() else { panic!("not trapped") };
        assert!(reason.contains("CPU time"), "{reason}");
    }
    assert!(neighbour_took < loops_took, "{neighbour_took:?} against {loops_took:?}");
    assert_eq!(house.metric("tessera_limits_hit_total", "cpu"), 4.0);
    assert!(house.metric("tessera_cpu_seconds_total", "loop") > 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_is_charged_to_the_wall_and_not_to_the_cpu() {
    let house = House::new().await;
    house.install(&[packed("loop", "[limits]\ncpu = \"20s\"\nwall = \"100ms\"", "timer", LOOP)]);
    assert_eq!(house.fire("loop", "a").await, Err(CallError::Timeout));
    assert_eq!(house.metric("tessera_limits_hit_total", "wall"), 1.0);
    assert_eq!(house.metric("tessera_instances", "loop"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_discards_the_instance() {
    let house = House::new().await;
    house.install(&[packed("loop", "[limits]\ncpu = \"20s\"", "timer", LOOP)]);
    let dropped = tokio::time::timeout(Duration::from_millis(50), house.fire("loop", "a")).await;
    assert!(dropped.is_err());
    assert_eq!(house.metric("tessera_instances_poisoned_total", "loop"), 1.0);
    assert_eq!(house.metric("tessera_instances", "loop"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_bomb_ends_at_the_limit() {
    let house = House::new().await;
    let code = r#"
        (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
            (loop $more
                (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
            unreachable)
    "#;
    house.install(&[packed("bomb", "[limits]\nmemory = \"8MiB\"", "timer", code)]);
    let CallError::Trapped(reason) = house.fire("bomb", "go").await.unwrap_err() else {
        panic!("not trapped")
    };
    assert!(reason.contains("memory over 8388608 bytes"), "{reason}");
    assert_eq!(house.metric("tessera_limits_hit_total", "memory"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_count_as_memory() {
    let house = House::new().await;
    let code = r#"
        (table $t 0 funcref)
        (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
            (if (i32.eq (table.grow $t (ref.null func) (i32.const 65536)) (i32.const -1))
                (then unreachable))
            (call $ok))
    "#;
    house.install(&[packed("tables", "[limits]\nmemory = \"512KiB\"", "timer", code)]);
    let CallError::Trapped(reason) = house.fire("tables", "go").await.unwrap_err() else {
        panic!("not trapped")
    };
    assert!(reason.contains("memory over"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_recursion_is_a_trap() {
    let house = House::new().await;
    let code = r#"
        (func $down (param i32) (result i32)
            (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
        (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
            (call $fail (call $down (i32.const 0))))
    "#;
    house.install(&[packed("deep", "", "timer", code)]);
    let CallError::Trapped(reason) = house.fire("deep", "go").await.unwrap_err() else {
        panic!("not trapped")
    };
    assert!(reason.contains("stack"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn host_calls_are_counted() {
    let house = House::new().await;
    let code = r#"
        (import "tessera:host/config@0.1.0" "get" (func $get (param i32)))
        (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
            (loop $again
                (call $get (i32.const 256))
                (br $again))
            unreachable)
    "#;
    house.install(&[packed("chatty", "[limits]\nhost-calls = 50", "logging", code)]);
    let CallError::Trapped(reason) = house.fire("chatty", "go").await.unwrap_err() else {
        panic!("not trapped")
    };
    assert!(reason.contains("more than 50 host calls"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_traps_again_and_again_is_paused_and_the_others_go_on() {
    let house = House::new().await;
    house.install(&[packed("bad", "", "timer", COUNTER), packed("good", "", "timer", COUNTER)]);
    for _ in 0..10 {
        assert!(matches!(house.fire("bad", "x").await, Err(CallError::Trapped(_))));
    }
    let refused = house.fire("bad", "go").await.unwrap_err();
    assert!(
        matches!(&refused, CallError::Unavailable(text) if text.contains("paused")),
        "{refused}"
    );
    let status = house.tenant.status();
    let health = |name: &str| {
        status
            .iter()
            .find(|status| status.name == name)
            .map(|status| status.health.clone())
            .unwrap()
    };
    assert!(matches!(health("bad"), Health::Paused { .. }));
    assert_eq!(health("good"), Health::Running);
    assert_eq!(count(house.fire("good", "go").await), 1);
    assert!(house.tenant.release("bad"));
    assert_eq!(count(house.fire("bad", "go").await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_the_queue_are_refused_at_once() {
    let house = House::new().await;
    let limits = "[limits]\ninstances = 1\ncpu = \"200ms\"";
    let plugin = house.load(&packed("loop", limits, "timer", LOOP));
    let mut spec = tessera_engine::PluginSpec::asked(plugin);
    spec.limits.queue = 1;
    house.tenant.install(vec![spec]).unwrap();
    let (a, b, c) =
        tokio::join!(house.fire("loop", "a"), house.fire("loop", "b"), house.fire("loop", "c"));
    let all = [a, b, c];
    let overloaded = all.iter().filter(|one| **one == Err(CallError::Overloaded)).count();
    let trapped = all.iter().filter(|one| matches!(one, Err(CallError::Trapped(_)))).count();
    assert_eq!((overloaded, trapped), (1, 2), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_instances_make_room_for_others() {
    let house = House::of(tessera_engine::HookSettings::default(), 2).await;
    let names = ["a", "b", "c", "d"];
    house.install(&names.map(|name| packed(name, "", "timer", COUNTER)));
    for name in names {
        assert_eq!(count(house.fire(name, "go").await), 1, "{name}");
    }
    assert!(house.metric("tessera_instances", "") <= 2.0);
}

/// The limits by which the plug-in's newest faults ended.
fn limits_of(house: &House, plugin: &str) -> Vec<String> {
    let faults = house.tenant.journal(plugin).into_iter();
    faults.filter(|entry| entry.event == Event::Fault).map(|entry| entry.limit).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_a_call_is_named_in_the_journal_and_counted() {
    let house = House::new().await;
    let deep = r#"
        (func $down (param i32) (result i32)
            (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
        (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
            (call $fail (call $down (i32.const 0))))
    "#;
    let bomb = r#"
        (table $t 0 funcref)
        (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
            (loop $more (br_if $more
                (i32.ne (table.grow $t (ref.null func) (i32.const 4096)) (i32.const -1))))
            unreachable)
    "#;
    let huge = r#"
        (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
            (drop (memory.grow (i32.const 64)))
            (call $text (i32.const 1024) (i32.const 2097152)))
    "#;
    house.install(&[
        packed("deep", "", "timer", deep),
        packed("tables", "", "timer", bomb),
        packed("loop", "[limits]\ncpu = \"20ms\"", "timer", LOOP),
        packed("late", "[limits]\ncpu = \"20s\"\nwall = \"20ms\"", "timer", LOOP),
        packed("huge", "[limits]\nresult = \"1MiB\"", "timer", huge),
        packed("counter", "", "timer", COUNTER),
    ]);
    for (plugin, limit) in [
        ("deep", "stack"),
        ("tables", "memory"),
        ("loop", "cpu"),
        ("late", "wall"),
        ("huge", "result"),
        ("counter", ""),
    ] {
        assert!(house.fire(plugin, "x").await.is_err(), "{plugin}");
        assert_eq!(limits_of(&house, plugin), [limit], "{plugin}");
        if !limit.is_empty() {
            assert!(house.metric("tessera_limits_hit_total", limit) >= 1.0, "{plugin}: {limit}");
        }
        let faults = house.tenant.faults(plugin);
        let last = faults.last.expect("a fault");
        assert_eq!((faults.count, last.function.as_str()), (1, "fire"), "{plugin}");
        assert_eq!((last.version.as_str(), last.reason.is_empty()), ("0.1.0", false), "{plugin}");
    }
    // The neighbour goes on.
    assert_eq!(count(house.fire("counter", "go").await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_late_again_and_again_pauses_and_the_journal_says_so() {
    let house = House::new().await;
    house.install(&[packed("late", "[limits]\ncpu = \"20s\"\nwall = \"5ms\"", "timer", LOOP)]);
    for _ in 0..10 {
        assert_eq!(house.fire("late", "x").await, Err(CallError::Timeout));
    }
    let refused = house.fire("late", "x").await.unwrap_err();
    assert!(matches!(&refused, CallError::Unavailable(text) if text.contains("paused")));
    assert!(house.tenant.release("late"));
    let events: Vec<Event> = house.tenant.journal("late").iter().map(|entry| entry.event).collect();
    assert_eq!(events[9..], [Event::Paused, Event::Fault, Event::Released]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_brings_much_with_it_has_a_pool_of_its_own_and_is_not_worn_by_that() {
    let change = |config: &mut tessera_engine::EngineConfig| {
        (config.instances, config.large_instances) = (1, 1);
    };
    let house = House::configured(HookSettings::default(), None, change).await;
    // Most of what it may have, from the start: as an interpreter's heap.
    let large = format!("(table 90000 funcref)\n{COUNTER}");
    house.install(&[
        packed("small", "", "timer", COUNTER),
        packed("large", "[limits]\nmemory = \"1MiB\"", "timer", &large),
    ]);
    for round in 1..4 {
        for plugin in ["small", "large"] {
            // Neither has to make room for the other.
            assert_eq!(count(house.fire(plugin, "go").await), round, "{plugin}");
        }
    }
    assert_eq!(house.metric("tessera_instances", ""), 2.0);
    assert_eq!(house.metric("tessera_instances_retired_total", "large"), 0.0);
}
