//! How the answers of modules combine.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tessera_engine::{HookSettings, PluginSpec, api::Dispatch as _};
use tessera_manifest::OnError;
use tokio::task::JoinSet;

use crate::support::{House, packed_of};

pub const HOOKS: &str = r#"
package demo:hooks@0.1.0;

interface rules {
    refuse: func(n: u32) -> result<_, string>;
    first: func(n: u32) -> option<u32>;
    all: func(n: u32) -> list<u32>;
    pipe: func(n: u32) -> result<option<u32>, string>;
    tell: func(n: u32);
}

world module { export rules; export tessera:plugin/timer@0.1.0; }
world asker { import rules; export tessera:plugin/timer@0.1.0; }
"#;

/// `fire(name)`: the name's length says which function is asked, 1 to 5; the answer's length is
/// the number that came back, or the refusal's text is the answer. `ok`: nothing came back.
pub const ASKER: &str = r#"
    (import "demo:hooks/rules@0.1.0" "refuse" (func $refuse (param i32 i32)))
    (import "demo:hooks/rules@0.1.0" "first" (func $first (param i32 i32)))
    (import "demo:hooks/rules@0.1.0" "all" (func $all (param i32 i32)))
    (import "demo:hooks/rules@0.1.0" "pipe" (func $pipe (param i32 i32)))
    (import "demo:hooks/rules@0.1.0" "tell" (func $tell (param i32)))
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (local $i i32) (local $sum i32)
        (if (i32.eq (local.get 1) (i32.const 1)) (then
            (call $refuse (i32.const 10) (i32.const 256))
            (if (i32.load8_u (i32.const 256))
                (then (return (call $text (i32.load (i32.const 260)) (i32.load (i32.const 264)))))))) 
        (if (i32.eq (local.get 1) (i32.const 2)) (then
            (call $first (i32.const 10) (i32.const 256))
            (if (i32.load8_u (i32.const 256))
                (then (return (call $fail (i32.load (i32.const 260))))))))
        (if (i32.eq (local.get 1) (i32.const 3)) (then
            (call $all (i32.const 10) (i32.const 256))
            ;; the sum of a list's elements, each weighed with its place
            (block $end (loop $next
                (br_if $end (i32.eq (local.get $i) (i32.load (i32.const 260))))
                (local.set $sum (i32.add (local.get $sum) (i32.mul
                    (i32.add (local.get $i) (i32.const 1))
                    (i32.load (i32.add (i32.load (i32.const 256)) (i32.mul (local.get $i) (i32.const 4)))))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $next)))
            (return (call $fail (local.get $sum)))))
        (if (i32.eq (local.get 1) (i32.const 4)) (then
            (call $pipe (i32.const 10) (i32.const 256))
            (if (i32.load8_u (i32.const 256))
                (then (return (call $text (i32.load (i32.const 260)) (i32.load (i32.const 264))))))
            (if (i32.load8_u (i32.const 260))
                (then (return (call $fail (i32.load (i32.const 264))))))))
        (if (i32.eq (local.get 1) (i32.const 5)) (then (call $tell (i32.const 10))))
        (call $ok))
"#;

/// What one module answers.
#[derive(Clone)]
pub struct Module {
    pub name: &'static str,
    pub refuses: Option<&'static str>,
    pub first: Option<u32>,
    pub all: u32,
    pub adds: u32,
    pub traps: bool,
    pub loops: bool,
    /// It has one instance, much time, and works for some milliseconds before it answers.
    pub works: bool,
}

impl Module {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            refuses: None,
            first: None,
            all: 1,
            adds: 0,
            traps: false,
            loops: false,
            works: false,
        }
    }

    pub fn packed(&self) -> Vec<u8> {
        let start = if self.traps {
            "unreachable"
        } else if self.loops {
            "(loop $again (br $again))"
        } else if self.works {
            "(global.set $left (i32.const 5000000))
            (loop $again
                (global.set $left (i32.sub (global.get $left) (i32.const 1)))
                (br_if $again (global.get $left)))"
        } else {
            ""
        };
        let (refused, text) = self.refuses.map_or((0, ""), |text| (1, text));
        let length = text.len();
        let (some, first) = self.first.map_or((0, 0), |first| (1, first));
        let (all, adds) = (self.all, self.adds);
        let piped = u32::from(adds > 0);
        let code = format!(
            r#"
            (data (i32.const 2048) "{text}")
            (global $told (mut i32) (i32.const 0))
            (global $left (mut i32) (i32.const 0))
            (func $refusal
                (i32.store8 (i32.const 256) (i32.const {refused}))
                (i32.store (i32.const 260) (i32.const 2048))
                (i32.store (i32.const 264) (i32.const {length})))
            (func (export "demo:hooks/rules@0.1.0#refuse") (param i32) (result i32)
                {start}
                (call $refusal)
                (i32.const 256))
            (func (export "demo:hooks/rules@0.1.0#first") (param i32) (result i32)
                {start}
                (i32.store8 (i32.const 256) (i32.const {some}))
                (i32.store (i32.const 260) (i32.const {first}))
                (i32.const 256))
            (func (export "demo:hooks/rules@0.1.0#all") (param i32) (result i32)
                {start}
                (i32.store (i32.const 300) (i32.const {all}))
                (i32.store (i32.const 256) (i32.const 300))
                (i32.store (i32.const 260) (i32.const 1))
                (i32.const 256))
            (func (export "demo:hooks/rules@0.1.0#pipe") (param i32) (result i32)
                {start}
                (call $refusal)
                (if (i32.eqz (i32.const {refused})) (then
                    (i32.store8 (i32.const 260) (i32.const {piped}))
                    (i32.store (i32.const 264) (i32.add (local.get 0) (i32.const {adds})))))
                (i32.const 256))
            (func (export "demo:hooks/rules@0.1.0#tell") (param i32)
                {start}
                (global.set $told (i32.add (global.get $told) (i32.const 1))))
            (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
                (call $fail (global.get $told)))
        "#
        );
        let limits = if self.works { "hook = \"20s\"\ninstances = 1" } else { "hook = \"100ms\"" };
        let rest = format!("[hooks]\nprovides = [\"demo:hooks/rules\"]\n[limits]\n{limits}");
        packed_of(HOOKS, self.name, &rest, "module", &code)
    }
}

async fn house(modules: &[Module], order: &[&str], on_error: OnError) -> House {
    let order = order.iter().map(ToString::to_string).collect();
    let hooks = HookSettings {
        order: [("demo:hooks/rules".to_owned(), order)].into(),
        refusals: [("demo:hooks/rules".to_owned(), serde_json::json!("closed"))].into(),
    };
    let house = House::with(hooks).await;
    let call = "[grants]\ncall = [\"demo:hooks/rules\"]";
    let mut specs =
        vec![PluginSpec::asked(house.load(&packed_of(HOOKS, "asker", call, "asker", ASKER)))];
    for module in modules {
        let mut spec = PluginSpec::asked(house.load(&module.packed()));
        spec.on_error = on_error;
        specs.push(spec);
    }
    house.tenant.install(specs).unwrap();
    house
}

pub const REFUSE: &str = "1";
pub const FIRST: &str = "12";
pub const ALL: &str = "123";
pub const PIPE: &str = "1234";
pub const TELL: &str = "12345";

#[tokio::test(flavor = "multi_thread")]
async fn without_modules_nobody_objects() {
    let house = house(&[], &[], OnError::Deny).await;
    for what in [REFUSE, FIRST, PIPE, TELL] {
        assert_eq!(house.fire("asker", what).await, Ok(Ok(())), "{what}");
    }
    assert_eq!(house.fire("asker", ALL).await, Ok(Err(String::new())));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_refusal_ends_the_round() {
    let a = Module { refuses: Some("no from a"), ..Module::new("a") };
    let b = Module { refuses: Some("no from b"), ..Module::new("b") };
    let yes = Module::new("yes");
    let house = house(&[a, b, yes], &["yes", "b", "a"], OnError::Deny).await;
    assert_eq!(house.fire("asker", REFUSE).await, Ok(Err("no from b".to_owned())));
    assert_eq!(house.metric("tessera_hook_answers_total", "a"), 0.0, "a was not asked");
    assert_eq!(house.metric("tessera_hook_answers_total", "yes"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_counts() {
    let none = Module::new("none");
    let a = Module { first: Some(7), ..Module::new("a") };
    let b = Module { first: Some(9), ..Module::new("b") };
    let house = house(&[a, b, none], &["none", "b", "a"], OnError::Deny).await;
    assert_eq!(house.fire("asker", FIRST).await.unwrap().unwrap_err().len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_put_together_in_order() {
    let a = Module { all: 5, ..Module::new("a") };
    let b = Module { all: 11, ..Module::new("b") };
    let house = house(&[a, b], &["b", "a"], OnError::Deny).await;
    // 1·11 + 2·5
    assert_eq!(house.fire("asker", ALL).await.unwrap().unwrap_err().len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_passes_on_what_the_one_before_made() {
    let a = Module { adds: 3, ..Module::new("a") };
    let b = Module { adds: 20, ..Module::new("b") };
    let still = Module::new("still");
    let piped = house(&[a.clone(), still.clone(), b], &["a", "still", "b"], OnError::Deny).await;
    assert_eq!(piped.fire("asker", PIPE).await.unwrap().unwrap_err().len(), 33);

    let no = Module { refuses: Some("no"), ..Module::new("no") };
    let refused = house(&[a, no], &["a", "no"], OnError::Deny).await;
    assert_eq!(refused.fire("asker", PIPE).await, Ok(Err("no".to_owned())));

    let unchanged = house(&[still], &[], OnError::Deny).await;
    assert_eq!(unchanged.fire("asker", PIPE).await, Ok(Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_told_even_if_one_traps() {
    let bad = Module { traps: true, ..Module::new("bad") };
    let house =
        house(&[Module::new("a"), bad, Module::new("z")], &["a", "bad", "z"], OnError::Deny).await;
    assert_eq!(house.fire("asker", TELL).await, Ok(Ok(())));
    for name in ["a", "z"] {
        assert_eq!(house.fire(name, "go").await.unwrap().unwrap_err().len(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_traps_denies_with_the_configured_refusal() {
    let bad = Module { traps: true, ..Module::new("bad") };
    let house = house(&[bad], &[], OnError::Deny).await;
    assert_eq!(house.fire("asker", REFUSE).await, Ok(Err("closed".to_owned())));
    assert_eq!(house.fire("asker", PIPE).await, Ok(Err("closed".to_owned())));
    assert_eq!(house.fire("asker", FIRST).await, Ok(Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_traps_is_passed_over_where_the_operator_allows_it() {
    let bad = Module { traps: true, ..Module::new("bad") };
    let house = house(&[bad], &[], OnError::Allow).await;
    assert_eq!(house.fire("asker", REFUSE).await, Ok(Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_over_its_budget_is_cut_off() {
    let slow = Module { loops: true, ..Module::new("slow") };
    let house = house(&[slow], &[], OnError::Deny).await;
    let start = std::time::Instant::now();
    assert_eq!(house.fire("asker", REFUSE).await, Ok(Err("closed".to_owned())));
    assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(house.metric("tessera_hook_answers_total", "failed"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_without_room_for_a_moment_is_asked_again() {
    let busy = Module { works: true, ..Module::new("busy") };
    let house = house(&[busy], &[], OnError::Deny).await;
    let until = Instant::now() + Duration::from_secs(60);
    // Until one of them did find the only place taken.
    while house.metric("tessera_limits_hit_total", "slots") == 0.0 {
        assert!(Instant::now() < until, "they never met");
        let mut asked = JoinSet::new();
        for _ in 0..6 {
            let tenant = Arc::clone(&house.tenant);
            asked.spawn(async move { tenant.fire("asker", REFUSE, "").await });
        }
        assert_eq!(asked.join_all().await, vec![Ok(Ok(())); 6]);
    }
    assert_eq!(house.metric("tessera_hook_answers_total", "failed"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_paused_is_not_asked_again() {
    let bad = Module { traps: true, works: true, ..Module::new("bad") };
    let house = house(&[bad], &[], OnError::Deny).await;
    let calls = || house.metric("tessera_calls_total", "bad");
    // Ten traps pause it; what comes then is refused at once, each with one try.
    for n in 1..=12 {
        assert_eq!(house.fire("asker", REFUSE).await, Ok(Err("closed".to_owned())));
        assert_eq!(calls(), f64::from(n));
    }
}
