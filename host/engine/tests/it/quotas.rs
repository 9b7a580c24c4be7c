//! What tenants may use, and that they give it back.

use std::{sync::Arc, time::Duration};

use tessera_engine::{
    HookSettings, PluginSpec, Tenant, TenantQuotas,
    api::{CallError, Dispatch},
};

use crate::{
    limits::{COUNTER, LOOP},
    support::{House, packed, packed_of},
};

fn spec(house: &House, bytes: &[u8]) -> PluginSpec {
    PluginSpec::asked(house.load(bytes))
}

/// Waits until a condition holds, for ten seconds at most.
async fn until(condition: impl Fn() -> bool) {
    let patient = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), patient).await.unwrap();
}

/// `fire` works for some 100 ms and ends.
const WORK: &str = r#"
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (local $i i32)
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (i32.store (i32.const 256) (local.get $i))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 150000000))))
        (call $ok))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_over_its_cpu_is_slowed_and_then_refused_and_others_are_not() {
    let house = House::new().await;
    house.install(&[packed("work", "[limits]\ncpu = \"60s\"\nwall = \"60s\"", "timer", WORK)]);
    let other = house.add("other", HookSettings::default(), None);
    other.install(vec![spec(&house, &packed("counter", "", "timer", COUNTER))]).unwrap();
    // Twenty milliseconds at once.
    house.tenant.set_quotas(TenantQuotas { cpu: Some(0.002), ..TenantQuotas::default() });
    assert_eq!(house.fire("work", "go").await, Ok(Ok(())), "slow, not dead");
    let refused = house.fire("work", "go").await.unwrap_err();
    let CallError::Quota { retry_after, what } = &refused else { panic!("{refused}") };
    assert!(what == "cpu" && *retry_after > Duration::ZERO, "{refused}");
    assert!(other.fire("counter", "go", "").await.is_ok());
    let usage = house.tenant.usage();
    assert!(usage.cpu_seconds > 0.01 && usage.refused == 1, "{usage:?}");
    assert!(other.usage().cpu_seconds < usage.cpu_seconds);
    assert_eq!(house.metric("tessera_calls_total", "quota"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_over_its_memory_waits_for_an_instance_and_is_then_refused() {
    let house = House::new().await;
    let quick = packed("counter", "", "timer", COUNTER);
    let hangs = packed("loop", "[limits]\ncpu = \"60s\"\nwall = \"60s\"", "timer", LOOP);
    house.install(&[quick, hangs]);
    house.tenant.set_quotas(TenantQuotas { memory: Some(100 << 10), ..TenantQuotas::default() });
    // Idle ones of the tenant give way.
    assert!(house.fire("counter", "go").await.is_ok());
    let tenant = Arc::clone(&house.tenant);
    let hanging = tokio::spawn(async move { tenant.fire("loop", "a", "").await });
    until(|| house.metric("tessera_instances", "loop") == 1.0).await;
    assert_eq!(house.metric("tessera_instances", "counter"), 0.0);
    let refused = house.fire("counter", "go").await.unwrap_err();
    assert!(matches!(&refused, CallError::Quota { what, .. } if what == "memory"), "{refused}");
    // One that waits gets what another gives back.
    let tenant = Arc::clone(&house.tenant);
    let waiting = tokio::spawn(async move {
        loop {
            match tenant.fire("counter", "go", "").await {
                Err(CallError::Quota { .. }) => {}
                other => return other,
            }
        }
    });
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    assert!(waiting.await.unwrap().is_ok());
    let usage = house.tenant.usage();
    assert_eq!((usage.instances, usage.memory >= 128 << 10), (1, true), "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_instances_of_one_tenant_make_room_for_those_of_another() {
    let house = House::of(HookSettings::default(), 2).await;
    let bytes = packed("counter", "", "timer", COUNTER);
    let tenants: Vec<Arc<Tenant>> =
        (0..6).map(|n| house.add(&format!("n{n}"), HookSettings::default(), None)).collect();
    for tenant in &tenants {
        tenant.install(vec![spec(&house, &bytes)]).unwrap();
    }
    for _ in 0..3 {
        for tenant in &tenants {
            let counted = tenant.fire("counter", "go", "").await.unwrap().unwrap_err().len();
            assert_eq!(counted, 1, "the one before it used longest ago was dropped");
        }
    }
    // Those used last are still there.
    assert_eq!(tenants[5].fire("counter", "go", "").await.unwrap().unwrap_err().len(), 2);
    assert!(house.metric("tessera_instances", "") <= 2.0);
}

const CAPS: &str = r#"
package demo:counts@0.1.0;
world counts { import tessera:host/limits@0.1.0; export tessera:plugin/timer@0.1.0; }
"#;

/// Answers with a text as long as the cap of that name, or `ok` where there is none.
const ASKS_CAP: &str = r#"
    (import "tessera:host/limits@0.1.0" "cap" (func $cap (param i32 i32 i32)))
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (call $cap (local.get 0) (local.get 1) (i32.const 256))
        (if (i32.load8_u (i32.const 256)) (then (return (call $fail (i32.load (i32.const 264))))))
        (call $ok))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_learns_how_many_the_tenant_may_have() {
    let house = House::new().await;
    house.install(&[packed_of(CAPS, "counts", "", "counts", ASKS_CAP)]);
    assert_eq!(house.fire("counts", "users").await, Ok(Ok(())));
    let counts = [("users".to_owned(), 12)].into();
    house.tenant.set_quotas(TenantQuotas { counts, ..TenantQuotas::default() });
    assert_eq!(house.fire("counts", "users").await.unwrap().unwrap_err().len(), 12);
    assert_eq!(house.fire("counts", "rooms").await, Ok(Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_tenant_gives_everything_back() {
    let house = House::new().await;
    let tenant = house.add("sleeper", HookSettings::default(), None);
    let counter = packed("counter", "", "timer", COUNTER);
    tenant.install(vec![spec(&house, &counter)]).unwrap();
    let timers = tokio::spawn(Arc::clone(&tenant).run_timers());
    assert!(tenant.fire("counter", "go", "").await.is_ok());
    assert!(tenant.fire("counter", "x", "").await.is_err());
    assert!(house.metric("tessera_calls_total", "sleeper") > 0.0);
    assert_eq!(tenant.usage().instances, 0, "it trapped");
    assert!(tenant.fire("counter", "go", "").await.is_ok());
    assert_eq!(tenant.usage().instances, 1);

    tenant.close();
    assert_eq!(tenant.usage().instances, 0);
    let refused = tenant.fire("counter", "go", "").await.unwrap_err();
    assert!(
        matches!(&refused, CallError::Unavailable(text) if text.contains("closed")),
        "{refused}"
    );
    tenant.install(vec![spec(&house, &counter)]).unwrap();
    assert!(tenant.fire("counter", "go", "").await.is_err(), "closed for good");
    timers.await.unwrap();
    drop(tenant);
    let series = || {
        let families = house.registry.gather();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        metrics.filter(|one| one.get_label().iter().any(|pair| pair.value() == "sleeper")).count()
    };
    until(|| series() == 0).await;
    // And wakes again.
    let tenant = house.add("sleeper", HookSettings::default(), None);
    tenant.install(vec![spec(&house, &counter)]).unwrap();
    assert!(tenant.fire("counter", "go", "").await.is_ok());
    assert!(series() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_runs_when_the_tenant_is_closed_ends_well() {
    let house = House::new().await;
    house.install(&[packed("work", "", "timer", WORK)]);
    let tenant = Arc::clone(&house.tenant);
    let running = tokio::spawn(async move { tenant.fire("work", "go", "").await });
    until(|| house.tenant.usage().instances == 1).await;
    house.tenant.close();
    assert_eq!(running.await.unwrap(), Ok(Ok(())));
    until(|| house.tenant.usage().instances == 0).await;
}
