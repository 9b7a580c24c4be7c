//! Plug-ins on several nodes: two tenants on one database, joined by a wire in memory.

mod edge;

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tessera_engine::{
    Health, HookSettings, PluginSpec, Remote, Tenant,
    api::{BoxFuture, CallError, Dispatch},
    remote::{services, tenant_of},
};
use tessera_manifest::OnError;

use crate::{
    calls::{caller, pass_on},
    hooks::{ALL, ASKER, FIRST, HOOKS, Module, PIPE, REFUSE, TELL},
    links::{CALL, CALLER, PROVIDER},
    support::{House, WIT, packed, packed_of},
};

/// What the wire does with a call that finds a node.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The node is lost with the call.
    Lose,
    /// No answer, ever.
    Hang,
    /// An answer that is none.
    Garble,
}

/// Nodes and what they serve.
struct Wire {
    nodes: Mutex<Vec<(String, Weak<Tenant>)>>,
    fault: Mutex<Fault>,
    /// Calls that found a node.
    calls: AtomicUsize,
    seen: Mutex<Vec<(String, Bytes)>>,
}

impl Wire {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            nodes: Mutex::default(),
            fault: Mutex::new(Fault::None),
            calls: AtomicUsize::new(0),
            seen: Mutex::default(),
        })
    }

    fn serve(&self, services: Vec<String>, tenant: &Arc<Tenant>) {
        let mut nodes = self.nodes.lock().unwrap();
        nodes.extend(services.into_iter().map(|service| (service, Arc::downgrade(tenant))));
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Remote for Wire {
    fn call(
        &self,
        service: String,
        payload: Bytes,
        _: Instant,
    ) -> BoxFuture<'_, Result<Bytes, CallError>> {
        let nodes: Vec<Arc<Tenant>> = self
            .nodes
            .lock()
            .unwrap()
            .iter()
            .filter(|(served, _)| *served == service)
            .filter_map(|(_, tenant)| tenant.upgrade())
            .collect();
        let fault = *self.fault.lock().unwrap();
        Box::pin(async move {
            if nodes.is_empty() {
                return Err(CallError::Unavailable(format!("nobody serves {service}")));
            }
            // In turn, as a queue group would.
            let turn = self.calls.fetch_add(1, Ordering::SeqCst);
            let tenant = Arc::clone(&nodes[turn % nodes.len()]);
            self.seen.lock().unwrap().push((service, payload.clone()));
            match fault {
                Fault::None => {
                    // A task of its own, as on another node.
                    let answer = tokio::spawn(async move { tenant.answer(payload).await });
                    Ok(answer.await.unwrap())
                }
                Fault::Lose => Err(CallError::Lost("the node is gone".to_owned())),
                Fault::Hang => std::future::pending().await,
                Fault::Garble => Ok(Bytes::from_static(b"\xff\x00nonsense")),
            }
        })
    }
}

/// Two nodes: the first runs the plug-ins marked true, the second the others.
struct Pair {
    house: House,
    second: Arc<Tenant>,
    wire: Arc<Wire>,
}

impl Pair {
    async fn with(
        hooks: HookSettings,
        plugins: &[(Vec<u8>, bool)],
        change: impl Fn(&mut PluginSpec),
    ) -> Self {
        let wire = Wire::new();
        let house = House::joined(hooks.clone(), Arc::clone(&wire) as _).await;
        let second = house.add("t", hooks, Some(Arc::clone(&wire) as _));
        let specs = |first: bool| {
            plugins
                .iter()
                .map(|(bytes, here)| {
                    let mut spec = PluginSpec::asked(house.load(bytes));
                    spec.local = *here == first;
                    change(&mut spec);
                    spec
                })
                .collect::<Vec<_>>()
        };
        for (tenant, first) in [(&house.tenant, true), (&second, false)] {
            let specs = specs(first);
            for spec in specs.iter().filter(|spec| spec.local) {
                wire.serve(services(&spec.plugin), tenant);
            }
            tenant.install(specs).unwrap();
        }
        Self { house, second, wire }
    }

    async fn new(plugins: &[(Vec<u8>, bool)]) -> Self {
        Self::with(HookSettings::default(), plugins, |_| {}).await
    }

    async fn fire(&self, plugin: &str, name: &str) -> Result<Result<(), String>, CallError> {
        self.house.fire(plugin, name).await
    }
}

fn provider() -> Vec<u8> {
    packed("provider", "", "provider", PROVIDER)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_call_goes_to_the_node_that_runs_the_provider() {
    let pair = Pair::new(&[(caller(), true), (provider(), false)]).await;
    assert_eq!(pair.fire("caller", "go").await.unwrap().unwrap_err().len(), 5);
    assert_eq!(pair.wire.calls(), 1);
    assert_eq!(pair.second.status()[1].instances, 1);
    let here = &pair.house.tenant.status()[1];
    assert_eq!((&here.health, here.instances), (&Health::Elsewhere, 0));
    assert_eq!(pair.house.metric("tessera_remote_calls_total", "ok"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_on_this_node_is_called_here() {
    let pair = Pair::new(&[(caller(), true), (provider(), true)]).await;
    pair.fire("caller", "go").await.unwrap().unwrap_err();
    assert_eq!(pair.wire.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_on_another_node_is_unknown_to_the_caller() {
    let code = r#"
        (func (export "demo:services/calc@0.1.0#add") (param i32 i32) (result i32) unreachable)
    "#;
    let provider = packed("provider", "", "provider", code);
    let pair = Pair::new(&[(caller(), true), (provider, false)]).await;
    let text = pair.fire("caller", "go").await.unwrap().unwrap_err();
    assert!(text.starts_with("trapped"), "{text}");
    for _ in 0..10 {
        pair.fire("caller", "go").await.unwrap().unwrap_err();
    }
    let text = pair.fire("caller", "go").await.unwrap().unwrap_err();
    assert!(text.starts_with("unavailable: paused"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_on_no_node_is_unavailable() {
    let pair = Pair::new(&[(caller(), true), (provider(), false)]).await;
    pair.wire.nodes.lock().unwrap().clear();
    let text = pair.fire("caller", "go").await.unwrap().unwrap_err();
    assert!(text.starts_with("unavailable: nobody serves call.provider."), "{text}");
    assert_eq!(pair.wire.calls(), 0);
    let error = pair.second.fire("caller", "go", "").await.unwrap_err();
    assert!(matches!(error, CallError::Unavailable(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_wire_what_runs_elsewhere_is_unavailable() {
    let house = House::new().await;
    let mut spec = PluginSpec::asked(house.load(&provider()));
    spec.local = false;
    let caller = PluginSpec::asked(house.load(&caller()));
    house.tenant.install(vec![caller, spec]).unwrap();
    let text = house.fire("caller", "go").await.unwrap().unwrap_err();
    assert!(text.contains("does not run on this node"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_lost_with_the_call_or_an_answer_that_is_none_is_unknown() {
    let pair = Pair::new(&[(caller(), true), (provider(), false)]).await;
    for (fault, begins) in [(Fault::Lose, "lost: the node"), (Fault::Garble, "lost: the answer")] {
        pair.wire.set(fault);
        let text = pair.fire("caller", "go").await.unwrap().unwrap_err();
        assert!(text.starts_with(begins), "{text}");
    }
    assert_eq!(pair.house.metric("tessera_remote_calls_total", "lost"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_is_given_up_in_time() {
    let slow = packed("provider", "[limits]\nwall = \"100ms\"", "provider", PROVIDER);
    let pair = Pair::new(&[(caller(), true), (slow, false)]).await;
    pair.wire.set(Fault::Hang);
    let text = pair.fire("caller", "go").await.unwrap().unwrap_err();
    assert!(text.contains("did not end in time"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_deadline_holds_on_the_other_node() {
    let code = r#"
        (func (export "demo:services/calc@0.1.0#add") (param i32 i32) (result i32)
            (loop $again (br $again))
            unreachable)
    "#;
    let slow = packed("provider", "[limits]\ncpu = \"60s\"\nwall = \"60s\"", "provider", code);
    let caller = packed("caller", &format!("{CALL}\n[limits]\nwall = \"100ms\""), "caller", CALLER);
    let pair = Pair::new(&[(caller, true), (slow, false)]).await;
    // Whichever of the two is told first.
    match pair.fire("caller", "go").await {
        Err(CallError::Timeout) => {}
        Ok(Err(text)) => assert!(text.contains("did not end in time"), "{text}"),
        other => panic!("{other:?}"),
    }
    // There it ends, too, although its own limits are far.
    let ended = async {
        while pair.second.status()[1].instances > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_a_circle_over_nodes_end_at_the_sixteenth() {
    let forth = pass_on("calc", "back")
        + r#"
        (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
            (call $fail (call $go)))
    "#;
    let pair = Pair::new(&[
        (packed("forth", "[grants]\ncall = [\"demo:services/back\"]", "forth", &forth), true),
        (packed("over", CALL, "over", &pass_on("back", "calc")), false),
    ])
    .await;
    assert_eq!(pair.fire("forth", "go").await.unwrap().unwrap_err().len(), 17);
    assert_eq!(pair.wire.calls(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_on_other_nodes_answer_in_their_order() {
    let a = Module { first: Some(7), all: 5, adds: 3, ..Module::new("a") };
    let b = Module { all: 11, adds: 20, ..Module::new("b") };
    let bad = Module { traps: true, ..Module::new("bad") };
    let no = Module { refuses: Some("no from no"), ..Module::new("no") };
    let run = async |modules: &[(&Module, bool)], on_error: OnError| {
        let order = modules.iter().map(|(module, _)| module.name.to_owned()).collect();
        let hooks = HookSettings {
            order: [("demo:hooks/rules".to_owned(), order)].into(),
            refusals: [("demo:hooks/rules".to_owned(), serde_json::json!("closed"))].into(),
        };
        let call = "[grants]\ncall = [\"demo:hooks/rules\"]";
        let mut plugins = vec![(packed_of(HOOKS, "asker", call, "asker", ASKER), true)];
        plugins.extend(modules.iter().map(|(module, here)| (module.packed(), *here)));
        Pair::with(hooks, &plugins, |spec| spec.on_error = on_error).await
    };
    let pair = run(&[(&b, false), (&a, true)], OnError::Deny).await;
    assert_eq!(pair.fire("asker", ALL).await.unwrap().unwrap_err().len(), 11 + 2 * 5);
    assert_eq!(pair.fire("asker", PIPE).await.unwrap().unwrap_err().len(), 33);
    assert_eq!(pair.fire("asker", FIRST).await.unwrap().unwrap_err().len(), 7);
    assert_eq!(pair.fire("asker", REFUSE).await, Ok(Ok(())));
    assert_eq!(pair.fire("asker", TELL).await, Ok(Ok(())));
    assert_eq!(pair.wire.calls(), 5);

    let pair = run(&[(&no, false), (&a, true)], OnError::Deny).await;
    assert_eq!(pair.fire("asker", REFUSE).await, Ok(Err("no from no".to_owned())));
    assert_eq!(pair.house.metric("tessera_hook_answers_total", "a"), 0.0, "a was not asked");

    let pair = run(&[(&bad, false), (&a, true)], OnError::Deny).await;
    assert_eq!(pair.fire("asker", REFUSE).await, Ok(Err("closed".to_owned())));
    pair.wire.nodes.lock().unwrap().clear();
    assert_eq!(pair.fire("asker", REFUSE).await, Ok(Err("closed".to_owned())), "nobody there");
    pair.wire.set(Fault::Hang);
    assert_eq!(pair.fire("asker", REFUSE).await, Ok(Err("closed".to_owned())));

    let pair = run(&[(&bad, false), (&a, true)], OnError::Allow).await;
    assert_eq!(pair.fire("asker", REFUSE).await, Ok(Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_side_by_side_get_the_calls_that_they_can_answer() {
    let wit = WIT.replacen("@0.1.0", "@0.2.0", 1);
    let newer = PROVIDER
        .replace("@0.1.0", "@0.2.0")
        .replace("(i32.add (local.get 0) (local.get 1))", "(i32.mul (local.get 0) (local.get 1))");
    let newer = packed_of(&wit, "provider", "", "provider", &newer);
    let pair = Pair::new(&[(caller(), true), (provider(), false)]).await;
    // A third node runs the next version, for callers of the next version.
    let third = pair.house.add("t", HookSettings::default(), None);
    let spec = PluginSpec::asked(pair.house.load(&newer));
    pair.wire.serve(services(&spec.plugin), &third);
    third.install(vec![spec]).unwrap();
    for _ in 0..6 {
        assert_eq!(pair.fire("caller", "go").await.unwrap().unwrap_err().len(), 5);
    }
    let caller = CALLER.replace("@0.1.0\" \"add", "@0.2.0\" \"add");
    let caller = packed_of(&wit, "caller", CALL, "caller", &caller);
    let fourth = pair.house.add("t", HookSettings::default(), Some(Arc::clone(&pair.wire) as _));
    let mut away = PluginSpec::asked(pair.house.load(&newer));
    away.local = false;
    fourth.install(vec![PluginSpec::asked(pair.house.load(&caller)), away]).unwrap();
    for _ in 0..6 {
        assert_eq!(fourth.fire("caller", "go", "").await.unwrap().unwrap_err().len(), 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_get_an_answer_and_start_nothing() {
    let pair = Pair::new(&[(caller(), true), (provider(), false)]).await;
    pair.fire("caller", "go").await.unwrap().unwrap_err();
    let payload = pair.wire.seen.lock().unwrap()[0].1.to_vec();
    assert_eq!(tenant_of(&payload), Some("t"));
    let before = pair.house.metric("tessera_calls_total", "ok");
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut hostile: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![1],
        vec![1, 255, 255, b't'],
        // A list, a map, a text and bytes of lengths that are not there.
        [&[1, 0, 1, b't'][..], &[0x9b, 255, 255, 255, 255, 255, 255, 255, 255]].concat(),
        [&[1, 0, 1, b't'][..], &[0xbb, 255, 255, 255, 255, 255, 255, 255, 255]].concat(),
        [&[1, 0, 1, b't'][..], &[0x7b, 0, 0, 255, 255, 255, 255, 255, 255]].concat(),
        [&[1, 0, 1, b't'][..], &[0x5b, 0, 0, 255, 255, 255, 255, 255, 255]].concat(),
        [&[1, 0, 1, b't'][..], &[0x81; 100_000]].concat(),
        [&[2][..], &payload[1..]].concat(),
        [&[1, 0, 1, b'u'][..], &payload[4..]].concat(),
    ];
    for end in 0..payload.len() {
        hostile.push(payload[..end].to_vec());
    }
    for bytes in hostile {
        assert!(!pair.second.answer(bytes.into()).await.is_empty());
    }
    assert_eq!(pair.house.metric("tessera_calls_total", "ok"), before, "nothing was started");
    // Turned bits may leave a call that is one; whatever they leave, there is an answer.
    for _ in 0..3_000 {
        let mut bytes = payload.clone();
        for _ in 0..=next() % 3 {
            let at = next() as usize % bytes.len();
            bytes[at] ^= 1 << (next() % 8);
        }
        assert!(!pair.second.answer(bytes.into()).await.is_empty());
    }
    let noise: Vec<u8> = (0..200).map(|_| next() as u8).collect();
    assert!(!pair.second.answer(noise.into()).await.is_empty());
    assert_eq!(pair.fire("caller", "go").await.unwrap().unwrap_err().len(), 5);
}
