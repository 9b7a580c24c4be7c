//! Calls between plug-ins.

use tessera_engine::api::{CallError, Dispatch};

use crate::{
    links::{CALL, CALLER, PROVIDER},
    support::{House, packed},
};

pub fn caller() -> Vec<u8> {
    packed("caller", CALL, "caller", CALLER)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_call_gives_the_providers_answer() {
    let house = House::new().await;
    house.install(&[caller(), packed("provider", "", "provider", PROVIDER)]);
    assert_eq!(house.fire("caller", "go").await.unwrap().unwrap_err().len(), 5);
    assert_eq!(house.metric("tessera_calls_total", "demo:services/calc@0.1.0.add"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_in_the_provider_is_unknown_to_the_caller() {
    let house = House::new().await;
    let code = r#"
        (func (export "demo:services/calc@0.1.0#add") (param i32 i32) (result i32) unreachable)
    "#;
    house.install(&[caller(), packed("provider", "", "provider", code)]);
    let text = house.fire("caller", "go").await.unwrap().unwrap_err();
    assert!(text.starts_with("trapped"), "{text}");
    assert_eq!(house.metric("tessera_instances_poisoned_total", "provider"), 1.0);
    assert_eq!(house.metric("tessera_instances_poisoned_total", "caller"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_out_of_time_is_unknown_to_the_caller() {
    let house = House::new().await;
    let code = r#"
        (func (export "demo:services/calc@0.1.0#add") (param i32 i32) (result i32)
            (loop $again (br $again))
            unreachable)
    "#;
    house.install(&[caller(), packed("provider", "[limits]\nwall = \"50ms\"", "provider", code)]);
    let text = house.fire("caller", "go").await.unwrap().unwrap_err();
    assert!(text.contains("did not end in time"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_provider_is_unavailable_to_the_caller() {
    let house = House::new().await;
    let code = r#"
        (func (export "demo:services/calc@0.1.0#add") (param i32 i32) (result i32) unreachable)
    "#;
    house.install(&[caller(), packed("provider", "", "provider", code)]);
    for _ in 0..10 {
        house.fire("caller", "go").await.unwrap().unwrap_err();
    }
    let text = house.fire("caller", "go").await.unwrap().unwrap_err();
    assert!(text.starts_with("unavailable: paused"), "{text}");
}

/// `add` of one calls `add` of the other, and gives one more than it gets; on an error it gives 1.
pub fn pass_on(from: &str, to: &str) -> String {
    format!(
        r#"
        (import "demo:services/{to}@0.1.0" "add" (func $add (param i32 i32 i32)))
        (func $go (result i32)
            (local $at i32)
            (call $add (i32.const 0) (i32.const 0) (i32.const 256))
            (if (result i32) (i32.load8_u (i32.const 256))
                (then (i32.const 1))
                (else (i32.add (i32.load (i32.const 260)) (i32.const 1)))))
        (func (export "demo:services/{from}@0.1.0#add") (param i32 i32) (result i32)
            (i32.store (i32.const 260) (call $go))
            (i32.store8 (i32.const 256) (i32.const 0))
            (i32.const 256))
    "#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_a_circle_end_at_the_sixteenth() {
    let house = House::new().await;
    let forth = pass_on("calc", "back")
        + r#"
        (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
            (call $fail (call $go)))
    "#;
    house.install(&[
        packed("forth", "[grants]\ncall = [\"demo:services/back\"]", "forth", &forth),
        packed("over", CALL, "over", &pass_on("back", "calc")),
    ]);
    // Depth 0 and sixteen nested calls each add one.
    assert_eq!(house.fire("forth", "go").await.unwrap().unwrap_err().len(), 17);
    // No call waited for what its caller holds, so all of them can do it at once.
    let all = futures::future::join_all((0..8).map(|_| house.fire("forth", "go"))).await;
    for one in all {
        assert!(one.is_ok(), "{one:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_unavailable() {
    let house = House::new().await;
    house.install(&[packed("provider", "", "provider", PROVIDER)]);
    assert!(matches!(house.fire("nobody", "go").await, Err(CallError::Unavailable(_))));
    let text = house.fire("provider", "go").await.unwrap_err().to_string();
    assert!(text.contains("offers no tessera:plugin/timer"), "{text}");
    assert_eq!(house.tenant.start("provider").await, Ok(Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn start_gives_the_plugins_own_reason() {
    let house = House::new().await;
    let code = r#"
        (data (i32.const 2048) "no smtp host")
        (func (export "tessera:plugin/lifecycle@0.1.0#start") (result i32)
            (call $text (i32.const 2048) (i32.const 12)))
    "#;
    house.install(&[packed("starts", "", "lifecycle", code)]);
    assert_eq!(house.tenant.start("starts").await, Ok(Err("no smtp host".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_call_is_quick() {
    let house = House::new().await;
    house.install(&[caller(), packed("provider", "", "provider", PROVIDER)]);
    house.fire("caller", "go").await.unwrap().unwrap_err();
    let start = std::time::Instant::now();
    const CALLS: u32 = 2_000;
    for _ in 0..CALLS {
        house.fire("caller", "go").await.unwrap().unwrap_err();
    }
    let each = start.elapsed() / CALLS;
    println!("warm call with one nested service call: {each:?}");
    // A hundred times what it takes: only a new instance for each call is that slow.
    assert!(each < std::time::Duration::from_millis(2), "{each:?}");
}
