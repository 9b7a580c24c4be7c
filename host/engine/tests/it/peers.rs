//! Who answers a hook, as its caller is told.

use crate::{
    hooks::{HOOKS, Module},
    support::{House, packed_of},
};

/// `fire(name)` asks whether the hook `name` is answered: an error of one byte if so.
const CODE: &str = r#"
    (import "tessera:host/peers@0.1.0" "answered" (func $answered (param i32 i32) (result i32)))
    (import "demo:hooks/rules@0.1.0" "tell" (func $tell (param i32)))
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (if (call $answered (local.get 0) (local.get 1)) (then (return (call $fail (i32.const 1)))))
        (call $ok))
"#;

fn asker() -> Vec<u8> {
    let wit = format!(
        "{HOOKS}\nworld curious {{ import tessera:host/peers@0.1.0; import rules; \
         export tessera:plugin/timer@0.1.0; }}"
    );
    packed_of(&wit, "asker", "[grants]\ncall = [\"demo:hooks/rules\"]", "curious", CODE)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_told_whether_anybody_answers_its_hook() {
    let house = House::new().await;
    let answered = async |hook: &str| house.fire("asker", hook).await.unwrap().is_err();
    house.install(&[asker()]);
    assert!(!answered("demo:hooks/rules").await);
    house.install(&[asker(), Module::new("a").packed()]);
    assert!(answered("demo:hooks/rules").await);
    assert!(answered("demo:hooks/rules@0.1.0").await);
    for other in ["demo:hooks/rule", "demo:hooks/rules.tell", "demo:hooks", ""] {
        assert!(!answered(other).await, "{other}");
    }
}
