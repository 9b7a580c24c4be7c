//! What the edge asks of plug-ins on other nodes.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tessera_engine::{
    HookSettings, PluginSpec, Remote,
    api::{
        Answer, Body, BoxFuture, CallError, Credentials, Dispatch, Message, Principal,
        RateOverride, ResponseBody, WakeReason,
    },
    remote::{edge_service, refuse},
};

use super::{Pair, Wire};
use crate::{
    http::{WEB, request},
    pieces::{alice, pieces, text, told},
    support::{packed, packed_of},
};

/// A manifest with these routes; `slow` has a time-out of its own.
fn routes(ids: &[&str]) -> String {
    let route = |id: &&str| {
        let timeout = if *id == "slow" { "timeout = \"50ms\"" } else { "" };
        format!(
            "[[http.routes]]\nid = \"{id}\"\nmethods = [\"GET\"]\npaths = [\"/{id}\"]\nauth = \"none\"\n{timeout}\n"
        )
    };
    ids.iter().map(route).collect()
}

fn website() -> Vec<u8> {
    packed("web", &routes(&["answer", "slow", "park", "lie"]), "web", WEB)
}

async fn web() -> Pair {
    Pair::new(&[(website(), false)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_by_another_node() {
    let pair = web().await;
    let mut asked = request("answer");
    asked.body = Body::Bytes((0..=255).cycle().take(20_000).collect());
    let answer = pair.house.tenant.handle("web", asked).await.unwrap();
    let Answer::Done(response) = answer else { panic!("parked") };
    assert_eq!(response.status, 201);
    let ResponseBody::Bytes(bytes) = response.body else { panic!("no bytes") };
    assert_eq!(bytes, b"hello");
    let late = pair.house.tenant.handle("web", request("slow")).await.unwrap_err();
    assert_eq!(late, CallError::Timeout);
    let trapped = pair.house.tenant.handle("web", request("lie")).await.unwrap_err();
    assert!(matches!(&trapped, CallError::Trapped(text) if text.contains("watch")), "{trapped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_parked_by_another_node_waits_here() {
    let pair = web().await;
    let tenant = &pair.house.tenant;
    let before = pair.house.bus.subscriptions();
    let answer = tenant.handle("web", request("park")).await.unwrap();
    let Answer::Park(parked) = answer else { panic!("answered") };
    assert_eq!((parked.timeout, &*parked.state), (Duration::from_millis(1234), &b"he"[..]));
    assert!(!parked.watch.is_fired());
    assert_eq!(pair.house.bus.subscriptions(), before + 1, "none is left on the other node");
    pair.house.bus.notify("t", &["room"]);
    parked.watch.fired().await;
    let principal = Principal {
        user: "@a:t".to_owned(),
        device: Some("d".to_owned()),
        service: None,
        marks: vec!["admin".to_owned()],
        unlimited: true,
        rates: vec![RateOverride { class: "messages".to_owned(), per_second: 0.5, burst: 2 }],
    };
    let resumed =
        tenant.resume("web", "r1", "park", parked.state, WakeReason::Woken, Some(principal));
    let Answer::Done(response) = resumed.await.unwrap() else { panic!("parked") };
    assert_eq!(response.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_pieces_comes_from_another_node() {
    let pair = Pair::new(&[(pieces(), false), (website(), false)]).await;
    let tenant = &pair.house.tenant;
    let answer = tenant.handle("pieces", request("begin")).await.unwrap();
    let Answer::Begun(first, state) = answer else { panic!("{answer:?}") };
    assert_eq!((first.status, text(&first), &*state), (200, "hello", &b"abc"[..]));
    let next =
        async |state: &[u8], who| tenant.next("pieces", "r1", "begin", state.to_vec(), who).await;
    let piece = next(&state, None).await.unwrap().unwrap();
    assert_eq!(told(&piece), ("abc", Some("bc")));
    let piece = next(b"c", Some(alice())).await.unwrap().unwrap();
    assert_eq!(told(&piece), ("@alice:t", None));
    assert_eq!(next(b"e", None).await.unwrap().unwrap_err(), "hello");
    let trapped = next(b"x", None).await.unwrap_err();
    assert!(matches!(&trapped, CallError::Trapped(text) if text.contains("32768")), "{trapped}");
    assert_eq!(pair.wire.calls(), 5);
    // Neither a route nor the interface that is not there is asked for in vain.
    let error = tenant.next("pieces", "r1", "nowhere", vec![1], None).await.unwrap_err();
    assert!(matches!(&error, CallError::Unavailable(text) if text.contains("no route")), "{error}");
    let error = tenant.next("web", "r1", "answer", vec![1], None).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Unavailable(text) if text.contains("offers no")),
        "{error}"
    );
}

/// Notifies while the answer is under way.
struct Notifying(Arc<Wire>, OnceLock<tessera_bus::Bus>);

impl Remote for Notifying {
    fn call(
        &self,
        service: String,
        payload: Bytes,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, CallError>> {
        Box::pin(async move {
            let answer = self.0.call(service, payload, deadline).await;
            self.1.get().unwrap().notify("t", &["room"]);
            answer
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_up_while_the_answer_travels_is_not_missed() {
    let pair = web().await;
    let notifying = Arc::new(Notifying(Arc::clone(&pair.wire), OnceLock::new()));
    assert!(notifying.1.set(pair.house.bus.clone()).is_ok());
    let third = pair.house.add("t", HookSettings::default(), Some(notifying));
    let mut spec = PluginSpec::asked(pair.house.load(&website()));
    spec.local = false;
    third.install(vec![spec]).unwrap();
    let answer = third.handle("web", request("park")).await.unwrap();
    let Answer::Park(parked) = answer else { panic!("answered") };
    assert!(parked.watch.is_fired());
}

const EDGE: &str = r#"
package demo:edge@0.1.0;
world all {
    export tessera:plugin/authenticator@0.1.0;
    export tessera:plugin/consumer@0.1.0;
    export tessera:plugin/timer@0.1.0;
    export tessera:plugin/lifecycle@0.1.0;
}
"#;

/// Authenticates by the method: `G…` is nobody, `P…` is denied, anything else is the user `the name` for 7 ms on
/// the topic `the name`; consumes all but one; fires with the payload as its error; does not start.
const ALL_EDGE: &str = r#"
    (data (i32.const 2048) "not today")
    (func (export "tessera:plugin/authenticator@0.1.0#authenticate")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        (local $method i32)
        (local.set $method (i32.load8_u (local.get 2)))
        (memory.fill (i32.const 256) (i32.const 0) (i32.const 128))
        (global.set $next (i32.const 65536))
        (if (i32.eq (local.get $method) (i32.const 71)) (then (return (i32.const 256))))
        (if (i32.eq (local.get $method) (i32.const 80)) (then
            (i32.store8 (i32.const 256) (i32.const 1))
            (i32.store16 (i32.const 260) (i32.const 401))
            (i32.store (i32.const 264) (i32.const 2048))
            (i32.store (i32.const 268) (i32.const 9))
            (return (i32.const 256))))
        ;; ok(some(grant)): the user is the authenticator's name
        (i32.store8 (i32.const 260) (i32.const 1))
        (i32.store (i32.const 264) (local.get 0))
        (i32.store (i32.const 268) (local.get 1))
        (i32.store (i32.const 316) (i32.const 7))
        (i32.store (i32.const 400) (local.get 0))
        (i32.store (i32.const 404) (local.get 1))
        (i32.store (i32.const 320) (i32.const 400))
        (i32.store (i32.const 324) (i32.const 1))
        (i32.const 256))
    (func (export "tessera:plugin/consumer@0.1.0#handle") (param i32 i32) (result i32)
        (i32.store8 (i32.const 256) (i32.const 0))
        (i32.store (i32.const 260) (i32.sub (local.get 1) (i32.const 1)))
        (global.set $next (i32.const 65536))
        (i32.const 256))
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (call $text (local.get 2) (local.get 3)))
    (func (export "tessera:plugin/lifecycle@0.1.0#start") (result i32)
        (call $text (i32.const 2048) (i32.const 9)))
"#;

fn credentials(method: &str) -> Credentials {
    Credentials {
        name: "token".to_owned(),
        method: method.to_owned(),
        path: "/".to_owned(),
        query: "a=b".to_owned(),
        headers: vec![("authorization".to_owned(), "x".to_owned())],
        remote: "::1".to_owned(),
        body: vec![0, 159, 146, 150],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_interface_of_the_host_is_reached_on_another_node() {
    let plugin = packed_of(EDGE, "edge", "", "all", ALL_EDGE);
    let pair = Pair::new(&[(plugin, false)]).await;
    // Here and there the same.
    for tenant in [&pair.house.tenant, &pair.second] {
        let ask = async |method| tenant.authenticate("edge", credentials(method)).await.unwrap();
        assert!(ask("GET").await.unwrap().is_none());
        let denial = ask("POST").await.unwrap_err();
        assert_eq!((denial.status, &*denial.body), (401, "not today"));
        let grant = ask("DELETE").await.unwrap().unwrap();
        assert_eq!((&*grant.principal.user, grant.cache_ms), ("token", 7));
        assert_eq!(grant.topics, ["token"]);

        let message = |id| Message {
            id,
            topic: "events".to_owned(),
            key: "k".to_owned(),
            payload: "{}".to_owned(),
            position: u64::MAX,
            attempt: 1,
        };
        let messages = (0..3).map(message).collect();
        assert_eq!(tenant.consume("edge", messages).await, Ok(Ok(2)));
        assert_eq!(tenant.fire("edge", "n", "späť").await, Ok(Err("späť".to_owned())));
        assert_eq!(tenant.start("edge").await, Ok(Err("not today".to_owned())));
    }
    assert_eq!(pair.wire.calls(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_one_node_lacks_is_answered_by_one_that_has_it() {
    let pair = web().await;
    // An older version without the route, asked first and in turn.
    let third = pair.house.add("t", HookSettings::default(), None);
    let older = packed("web", &routes(&["slow"]), "web", WEB);
    let spec = PluginSpec::asked(pair.house.load(&older));
    pair.wire.serve(vec![edge_service("web")], &third);
    third.install(vec![spec]).unwrap();
    for _ in 0..4 {
        let answer = pair.house.tenant.handle("web", request("answer")).await;
        assert!(matches!(answer, Ok(Answer::Done(_))), "{answer:?}");
    }
    let error = pair.house.tenant.handle("web", request("nowhere")).await.unwrap_err();
    assert!(matches!(&error, CallError::Unavailable(text) if text.contains("no route")), "{error}");
}

/// A node that cannot wake the tenant, in front of one that can.
struct Reluctant(Arc<Wire>, AtomicUsize, CallError);

impl Remote for Reluctant {
    fn call(
        &self,
        service: String,
        payload: Bytes,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, CallError>> {
        if self.1.fetch_add(1, Ordering::SeqCst) == 0 {
            let answer = refuse(self.2.clone());
            return Box::pin(async { Ok(answer) });
        }
        self.0.call(service, payload, deadline)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_wake_the_tenant_is_passed_over() {
    let pair = web().await;
    for (error, passed) in
        [(CallError::Unavailable("asleep".to_owned()), true), (CallError::Overloaded, false)]
    {
        let remote = Reluctant(Arc::clone(&pair.wire), AtomicUsize::new(0), error);
        let third = pair.house.add("t", HookSettings::default(), Some(Arc::new(remote)));
        let mut spec = PluginSpec::asked(pair.house.load(&website()));
        spec.local = false;
        third.install(vec![spec]).unwrap();
        let answer = third.handle("web", request("answer")).await;
        assert_eq!(answer.is_ok(), passed, "{answer:?}");
    }
}
