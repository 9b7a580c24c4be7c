//! What is checked when plug-ins are linked.

use tessera_engine::{LinkError, PluginSpec};

use crate::support::{House, WIT, packed, packed_of};

pub const CALL: &str = "[grants]\ncall = [\"demo:services/calc\"]";

/// Calls `calc.add(2, 3)` and answers with a text as long as the sum, or with the error's text.
pub const CALLER: &str = r#"
    (import "demo:services/calc@0.1.0" "add" (func $add (param i32 i32 i32)))
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (call $add (i32.const 2) (i32.const 3) (i32.const 256))
        (if (result i32) (i32.load8_u (i32.const 256))
            (then (call $text (i32.load (i32.const 264)) (i32.load (i32.const 268))))
            (else (call $fail (i32.load (i32.const 260))))))
"#;

pub const PROVIDER: &str = r#"
    (func (export "demo:services/calc@0.1.0#add") (param i32 i32) (result i32)
        (i32.store8 (i32.const 256) (i32.const 0))
        (i32.store (i32.const 260) (i32.add (local.get 0) (local.get 1)))
        (i32.const 256))
"#;

fn caller(rest: &str) -> Vec<u8> {
    packed("caller", rest, "caller", CALLER)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_provider_is_an_error_at_load() {
    let house = House::new().await;
    let error = house.try_install(&[caller(CALL)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "plug-in `caller` imports `demo:services/calc@0.1.0`, which no plug-in provides"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_not_granted_is_unavailable_and_the_rest_works() {
    let house = House::new().await;
    // Nobody needs to be there for what may not be called.
    house.install(&[caller("")]);
    let told = house.fire("caller", "go").await.unwrap().unwrap_err();
    assert_eq!(
        told,
        "unavailable: not granted: demo:services/calc.add (`tessera plugin grant caller call=demo:services/calc.add`)"
    );
    house.install(&[caller(CALL), packed("provider", "", "provider", PROVIDER)]);
    assert_eq!(house.fire("caller", "go").await.unwrap().unwrap_err().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_may_not_be_provided_is_as_if_it_were_not_there() {
    let house = House::new().await;
    let spec = |bytes: &[u8]| PluginSpec::asked(house.load(bytes));
    let mut provider = spec(&packed("provider", "", "provider", PROVIDER));
    provider.grants.provide.clear();
    let refused = house.tenant.install(vec![spec(&caller(CALL)), provider]).unwrap_err();
    assert!(matches!(refused, LinkError::Missing { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_mismatch_names_both_sides_and_the_place() {
    let house = House::new().await;
    let wit = WIT.replacen(
        "add: func(a: u32, b: u32) -> result<u32, error>;",
        "add: func(a: u32, b: string) -> result<u32, error>;",
        1,
    );
    let code = PROVIDER.replacen("(param i32 i32)", "(param i32 i32 i32)", 1);
    let provider = packed_of(&wit, "provider", "", "provider", &code);
    let error = house.try_install(&[caller(CALL), provider]).unwrap_err().to_string();
    for part in
        ["`caller`", "`provider`", "demo:services/calc@0.1.0", "`add`", "`b`", "u32", "string"]
    {
        assert!(error.contains(part), "{part} in: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_outside_the_range_is_an_error_at_load() {
    let house = House::new().await;
    let wit = WIT.replacen("@0.1.0", "@0.2.0", 1);
    let code = PROVIDER.replace("demo:services/calc@0.1.0", "demo:services/calc@0.2.0");
    let provider = packed_of(&wit, "provider", "", "provider", &code);
    let error = house.try_install(&[caller(CALL), provider.clone()]).unwrap_err().to_string();
    assert!(error.contains("wants version ^0.1.0") && error.contains("provides 0.2.0"), "{error}");

    let wide = format!("{CALL}\n[requires]\n\"demo:services/calc\" = \">=0.1, <0.3\"");
    house.install(&[caller(&wide), provider]);
    assert_eq!(house.fire("caller", "go").await.unwrap().unwrap_err().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_providers_of_one_service_are_an_error() {
    let house = House::new().await;
    let error = house
        .try_install(&[
            caller(CALL),
            packed("one", "", "provider", PROVIDER),
            packed("two", "", "provider", PROVIDER),
        ])
        .unwrap_err();
    assert!(error.to_string().ends_with("several plug-ins provide: one, two"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_install_leaves_the_old_set_running() {
    let house = House::new().await;
    house.install(&[caller(CALL), packed("provider", "", "provider", PROVIDER)]);
    house.try_install(&[caller(CALL)]).unwrap_err();
    assert_eq!(house.fire("caller", "go").await.unwrap().unwrap_err().len(), 5);
}
