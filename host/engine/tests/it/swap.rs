//! Sets of plug-ins that change while calls run, and versions side by side.

use std::time::{Duration, Instant};

use tessera_engine::{
    Health, HookSettings, Plugin, PluginSpec, TrialMode, TrialSpec, TrialStatus,
    api::{CallError, Dispatch},
};

use crate::{
    hooks::{ASKER, HOOKS, Module},
    links::{CALL, CALLER, PROVIDER},
    support::{House, WIT, packed, packed_of},
};

fn caller() -> Vec<u8> {
    packed("caller", CALL, "caller", CALLER)
}

/// Works for some tenths of a second before it calls.
fn slow_caller() -> Vec<u8> {
    let spin = r#"
        (local $i i32)
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 300000000))))
        (call $add"#;
    packed("caller", CALL, "caller", &CALLER.replacen("(call $add", spin, 1))
}

/// Adds so much to each sum.
fn provider(more: u32) -> Vec<u8> {
    let sum = "(i32.add (local.get 0) (local.get 1))";
    let more = format!("(i32.add (i32.const {more}) {sum})");
    packed("provider", "", "provider", &PROVIDER.replacen(sum, &more, 1))
}

fn trapping() -> Vec<u8> {
    let code = r#"(func (export "demo:services/calc@0.1.0#add") (param i32 i32) (result i32) unreachable)"#;
    packed("provider", "", "provider", code)
}

/// Sets a timer before it answers.
fn writing() -> Vec<u8> {
    let wit = format!("{WIT}\nworld writer {{ import tessera:host/timers@0.1.0; export calc; }}\n");
    let code = r#"
        (import "tessera:host/timers@0.1.0" "set" (func $set (param i32 i32 i64 i32 i32 i32)))
        (func (export "demo:services/calc@0.1.0#add") (param i32 i32) (result i32)
            (call $set (i32.const 1024) (i32.const 3) (i64.const 0) (i32.const 1024) (i32.const 3) (i32.const 300))
            (i32.store8 (i32.const 256) (i32.const 0))
            (i32.store (i32.const 260) (i32.const 5))
            (i32.const 256))
    "#;
    packed_of(&wit, "provider", "", "writer", code)
}

fn spec(plugin: &Plugin) -> PluginSpec {
    PluginSpec::asked(plugin.clone())
}

fn with_trial(plugin: &Plugin, tried: &Plugin, mode: TrialMode) -> PluginSpec {
    let trial = Some(TrialSpec { spec: Box::new(spec(tried)), mode });
    PluginSpec { trial, ..spec(plugin) }
}

/// What the caller was told: the sum, or why not.
async fn sum(house: &House) -> Result<usize, String> {
    let text = house.fire("caller", "go").await.map_err(|error| error.to_string())?.unwrap_err();
    if text.chars().all(|each| each == '.' || each == '\0') { Ok(text.len()) } else { Err(text) }
}

fn trial(house: &House) -> TrialStatus {
    let status = house.tenant.status();
    status.into_iter().find(|one| one.name == "provider").unwrap().trial.unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_changed_keeps_its_instances() {
    let house = House::new().await;
    let [caller, one, two] = [caller(), provider(0), provider(10)].map(|bytes| house.load(&bytes));
    house.tenant.install(vec![spec(&caller), spec(&one)]).unwrap();
    assert_eq!(sum(&house).await, Ok(5));
    house.tenant.install(vec![spec(&caller), spec(&two)]).unwrap();
    let calls = |name: &str| {
        let status = house.tenant.status();
        status.iter().find(|one| one.name == name).unwrap().figures.calls
    };
    assert_eq!((calls("caller"), calls("provider")), (1, 0));
    assert_eq!(sum(&house).await, Ok(15), "the caller that was kept finds the new provider");
    // The old version's instance is gone, the caller's is the same one.
    assert_eq!(house.metric("tessera_instances", "provider"), 1.0);
    assert_eq!(house.metric("tessera_instances", "caller"), 1.0);
    // Other limits are another pool.
    let mut tighter = spec(&two);
    tighter.limits.cpu = Duration::from_secs(1);
    house.tenant.install(vec![spec(&caller), tighter]).unwrap();
    assert_eq!((calls("caller"), calls("provider")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_runs_ends_among_the_plug_ins_where_it_began() {
    let house = House::new().await;
    let [caller, one, two] =
        [slow_caller(), provider(0), provider(10)].map(|bytes| house.load(&bytes));
    house.tenant.install(vec![spec(&caller), spec(&one)]).unwrap();
    let tenant = house.tenant.clone();
    let running = tokio::spawn(async move { tenant.fire("caller", "go", "").await });
    until("it runs", || house.metric("tessera_instances", "caller") > 0.0).await;
    house.tenant.install(vec![spec(&caller), spec(&two)]).unwrap();
    // Its provider was not called yet.
    assert_eq!(running.await.unwrap().unwrap().unwrap_err().len(), 5);
    assert_eq!(sum(&house).await, Ok(15));
    until("the old one is gone", || house.metric("tessera_instances", "provider") <= 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_versions_change_under_load() {
    let house = House::new().await;
    let [caller, one, two] = [caller(), provider(0), provider(10)].map(|bytes| house.load(&bytes));
    house.tenant.install(vec![spec(&caller), spec(&one)]).unwrap();
    let loads = (0..8).map(|_| {
        let tenant = house.tenant.clone();
        tokio::spawn(async move {
            let mut seen = [0_u32; 2];
            for _ in 0..200 {
                match tenant.fire("caller", "go", "").await.unwrap().unwrap_err().len() {
                    5 => seen[0] += 1,
                    15 => seen[1] += 1,
                    other => panic!("{other}"),
                }
            }
            seen
        })
    });
    let loads: Vec<_> = loads.collect();
    for round in 0..20 {
        let provider = if round % 2 == 0 { &two } else { &one };
        house.tenant.install(vec![spec(&caller), spec(provider)]).unwrap();
        tokio::task::yield_now().await;
    }
    for load in loads {
        assert_eq!(load.await.unwrap().iter().sum::<u32>(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_exactly_its_share() {
    let house = House::new().await;
    let [caller, one, two] = [caller(), provider(0), provider(10)].map(|bytes| house.load(&bytes));
    let canary = TrialMode::Canary { share: 500 };
    house.tenant.install(vec![spec(&caller), with_trial(&one, &two, canary)]).unwrap();
    let mut new = 0;
    for _ in 0..200 {
        match sum(&house).await.unwrap() {
            15 => new += 1,
            other => assert_eq!(other, 5),
        }
    }
    assert_eq!(new, 10);
    let status = trial(&house);
    assert_eq!((status.share, status.figures.calls, status.figures.faults), (Some(500), 10, 0));
    // Put in for good it keeps its instances and figures.
    house.tenant.install(vec![spec(&caller), spec(&two)]).unwrap();
    assert_eq!(house.tenant.readings("provider").unwrap().0.calls, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_of_requests_from_the_edge_gets_its_share() {
    let house = House::new().await;
    let answers = |length: u32| {
        let code = format!(
            r#"(func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
                (call $fail (i32.const {length})))"#
        );
        house.load(&packed("timed", "", "timer", &code))
    };
    let (one, two) = (answers(1), answers(2));
    let canary = TrialMode::Canary { share: 2_500 };
    house.tenant.install(vec![with_trial(&one, &two, canary)]).unwrap();
    let mut lengths = Vec::new();
    for _ in 0..8 {
        lengths.push(house.fire("timed", "go").await.unwrap().unwrap_err().len());
    }
    assert_eq!(lengths, [1, 1, 1, 2, 1, 1, 1, 2]);
    let (old, new) = house.tenant.readings("timed").unwrap();
    assert_eq!((old.calls, new.unwrap().calls), (6, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_is_paused_gets_no_calls() {
    let house = House::new().await;
    let [caller, one, bad] = [caller(), provider(0), trapping()].map(|bytes| house.load(&bytes));
    let canary = TrialMode::Canary { share: 5_000 };
    house.tenant.install(vec![spec(&caller), with_trial(&one, &bad, canary)]).unwrap();
    let mut failed = 0;
    while !matches!(trial(&house).health, Health::Paused { .. }) {
        failed += u32::from(sum(&house).await.is_err());
        assert!(failed <= 10);
    }
    let figures = trial(&house).figures;
    assert_eq!((failed, figures.calls, figures.faults), (10, 10, 10));
    assert_eq!((sum(&house).await, sum(&house).await), (Ok(5), Ok(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_must_fit_all_who_call_it() {
    let house = House::new().await;
    let [caller, one] = [caller(), provider(0)].map(|bytes| house.load(&bytes));
    let wit = WIT.replacen("@0.1.0", "@0.2.0", 1);
    let code = PROVIDER.replace("demo:services/calc@0.1.0", "demo:services/calc@0.2.0");
    let other = house.load(&packed_of(&wit, "provider", "", "provider", &code));
    let canary = TrialMode::Canary { share: 1 };
    let refused = house.tenant.install(vec![spec(&caller), with_trial(&one, &other, canary)]);
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("`caller`") && text.contains("provides 0.2.0"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_compared_and_does_not_count() {
    let house = House::new().await;
    let [caller, one, two] = [caller(), provider(0), provider(10)].map(|bytes| house.load(&bytes));
    let shadow = || TrialMode::Shadow { functions: Vec::new() };
    house.tenant.install(vec![spec(&caller), with_trial(&one, &two, shadow())]).unwrap();
    for _ in 0..3 {
        assert_eq!(sum(&house).await, Ok(5));
    }
    let different =
        || trial(&house).compared.get("demo:services/calc.add").map_or(0, |seen| seen.different);
    until("three differences", || different() == 3).await;
    let example = trial(&house).compared["demo:services/calc.add"].example.clone().unwrap();
    assert!(example.0.contains('5') && example.1.contains("15"), "{example:?}");
    assert_eq!(house.metric("tessera_shadow_answers_total", "different"), 3.0);

    let again = house.load(&provider(0));
    house.tenant.install(vec![spec(&caller), with_trial(&one, &again, shadow())]).unwrap();
    assert_eq!(sum(&house).await, Ok(5));
    until("the same", || {
        trial(&house).compared.get("demo:services/calc.add").is_some_and(|seen| seen.same == 1)
    })
    .await;
    // Only what was named.
    let shadow = TrialMode::Shadow { functions: vec!["demo:services/other".to_owned()] };
    house.tenant.install(vec![spec(&caller), with_trial(&one, &two, shadow)]).unwrap();
    assert_eq!(sum(&house).await, Ok(5));
    assert_eq!(trial(&house).figures.calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_changes_nothing() {
    let house = House::new().await;
    let [caller, one, writes] = [caller(), provider(0), writing()].map(|bytes| house.load(&bytes));
    let shadow = TrialMode::Shadow { functions: Vec::new() };
    house.tenant.install(vec![spec(&caller), with_trial(&one, &writes, shadow)]).unwrap();
    assert_eq!(sum(&house).await, Ok(5));
    until("it was seen", || {
        trial(&house).compared.get("demo:services/calc.add").is_some_and(|seen| seen.wrote == 1)
    })
    .await;
    assert_eq!(house.database.timer_next().await.unwrap(), None);
    // By itself it does.
    house.tenant.install(vec![spec(&caller), spec(&writes)]).unwrap();
    assert_eq!(sum(&house).await, Ok(5));
    assert!(house.database.timer_next().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_traps_hurts_nobody() {
    let house = House::new().await;
    let [caller, one, bad] = [caller(), provider(0), trapping()].map(|bytes| house.load(&bytes));
    let shadow = TrialMode::Shadow { functions: Vec::new() };
    house.tenant.install(vec![spec(&caller), with_trial(&one, &bad, shadow)]).unwrap();
    for _ in 0..20 {
        assert_eq!(sum(&house).await, Ok(5));
    }
    until("its failures were seen", || {
        trial(&house).compared.get("demo:services/calc.add").is_some_and(|seen| seen.failed > 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_asked_in_another_order_after_a_change() {
    let house = House::new().await;
    let asker = house.load(&packed_of(
        HOOKS,
        "asker",
        "[grants]\ncall = [\"demo:hooks/rules\"]",
        "asker",
        ASKER,
    ));
    let module =
        |name, first| house.load(&Module { first: Some(first), ..Module::new(name) }.packed());
    let (one, two) = (module("one", 1), module("two", 2));
    let specs = || vec![spec(&asker), spec(&one), spec(&two)];
    house.tenant.install(specs()).unwrap();
    assert_eq!(house.fire("asker", "22").await.unwrap().unwrap_err().len(), 1);
    let order = [("demo:hooks/rules".to_owned(), vec!["two".to_owned()])].into();
    let hooks = HookSettings { order, ..HookSettings::default() };
    let prepared = house.tenant.prepare(specs(), Some(hooks)).unwrap();
    assert_eq!(prepared.fresh(), 0, "nobody lost an instance");
    assert_eq!(house.fire("asker", "22").await.unwrap().unwrap_err().len(), 1, "not yet");
    house.tenant.switch(prepared);
    assert_eq!(house.fire("asker", "22").await.unwrap().unwrap_err().len(), 2);
    // A later change keeps the order.
    house.tenant.install(specs()).unwrap();
    assert_eq!(house.fire("asker", "22").await.unwrap().unwrap_err().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_may_not_be_answered_is_as_if_nobody_did() {
    let house = House::new().await;
    let calls = "[grants]\ncall = [\"demo:hooks/rules\"]";
    let asker = spec(&house.load(&packed_of(HOOKS, "asker", calls, "asker", ASKER)));
    let module = house.load(&Module { first: Some(3), all: 4, ..Module::new("one") }.packed());
    let answers = |names: &[&str]| {
        let mut module = spec(&module);
        module.grants.answer = names.iter().map(|name| name.parse().unwrap()).collect();
        module
    };
    house.tenant.install(vec![asker.clone(), answers(&[])]).unwrap();
    assert_eq!(house.fire("asker", "22").await.unwrap(), Ok(()));
    house.tenant.install(vec![asker.clone(), answers(&["demo:hooks/rules.all"])]).unwrap();
    assert_eq!(house.fire("asker", "22").await.unwrap(), Ok(()));
    assert_eq!(house.fire("asker", "333").await.unwrap().unwrap_err().len(), 4);
    house.tenant.install(vec![asker, answers(&["demo:hooks/rules"])]).unwrap();
    assert_eq!(house.fire("asker", "22").await.unwrap().unwrap_err().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_start_is_not_put_in() {
    let house = House::new().await;
    let starts = |code: &str| {
        let code = format!(
            r#"(func (export "tessera:plugin/lifecycle@0.1.0#start") (result i32) {code})"#
        );
        house.load(&packed("begun", "", "lifecycle", &code))
    };
    let (good, bad) = (starts("(call $ok)"), starts("(call $fail (i32.const 4))"));
    let prepared = house.tenant.prepare(vec![spec(&good)], None).unwrap();
    prepared.start().await.unwrap();
    house.tenant.switch(prepared);
    let prepared = house.tenant.prepare(vec![spec(&bad)], None).unwrap();
    let error = prepared.start().await.unwrap_err().to_string();
    assert_eq!(error, "plug-in `begun` 0.1.0 does not start: ....");
    drop(prepared);
    assert_eq!(house.tenant.start("begun").await, Ok(Ok(())));
    assert!(!matches!(house.tenant.start("other").await, Ok(_) | Err(CallError::Trapped(_))));
}
