//! Answers in pieces.

use tessera_engine::api::{
    Answer, CallError, Dispatch, Piece, Principal, Response, ResponseBody, WakeReason,
};

use crate::{
    http::{WEB, request},
    support::{House, packed},
};

pub const ROUTES: &[&str] = &["begin", "fail", "park", "none", "large"];

/// By the route's name: `begin` begins with `hello` and goes on with `abc`, `fail` does so with 404, `park` parks after having said that it
/// goes on, `none` begins with no body, `large` tries a state that is too large and gives the error. Resumed, `begin` begins, and
/// others end.
///
/// A piece is the state (or the user, if there is one), and its state goes on without the first byte. A state that begins with `e` is an
/// error, `t` a trap, `m` leads to a state that is too large, `x` to 32769 bytes and `y` to 32768.
pub const PIECES: &str = r#"
    (import "tessera:host/bus@0.1.0" "watch" (func $watch (param i32 i32) (result i64)))
    (import "tessera:host/answer@0.1.0" "continue-with" (func $continue (param i32 i32 i32)))
    (data (i32.const 2048) "hello")
    (data (i32.const 2064) "abc")
    (data (i32.const 2072) "room")
    (func $done (param $status i32) (param $kind i32) (param $at i32) (param $length i32) (result i32)
        (i32.store8 (i32.const 256) (i32.const 0))
        (i32.store16 (i32.const 264) (local.get $status))
        (i32.store (i32.const 268) (i32.const 0))
        (i32.store (i32.const 272) (i32.const 0))
        (i32.store8 (i32.const 276) (local.get $kind))
        (i32.store (i32.const 280) (local.get $at))
        (i32.store (i32.const 284) (local.get $length))
        (global.set $next (i32.const 65536))
        (i32.const 256))
    (func $hello (param $status i32) (result i32)
        (call $done (local.get $status) (i32.const 1) (i32.const 2048) (i32.const 5)))
    (func (export "tessera:plugin/http@0.1.0#handle") (param i32) (result i32)
        (local $route i32)
        (local.set $route (i32.load8_u (i32.load (local.get 0))))
        (if (i32.eq (local.get $route) (i32.const 108)) (then
            (call $continue (i32.const 4096) (i32.const 16385) (i32.const 400))
            (if (i32.eqz (i32.load8_u (i32.const 400))) (then unreachable))
            (return (call $done (i32.const 201) (i32.const 1) (i32.load (i32.const 404)) (i32.load (i32.const 408))))))
        ;; Said again, the last one counts.
        (call $continue (i32.const 2048) (i32.const 5) (i32.const 400))
        (call $continue (i32.const 2064) (i32.const 3) (i32.const 400))
        (if (i32.load8_u (i32.const 400)) (then unreachable))
        (if (i32.eq (local.get $route) (i32.const 98)) (then (return (call $hello (i32.const 200)))))
        (if (i32.eq (local.get $route) (i32.const 102)) (then (return (call $hello (i32.const 404)))))
        (if (i32.eq (local.get $route) (i32.const 110)) (then
            (return (call $done (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0)))))
        (i32.store (i32.const 400) (i32.const 2072))
        (i32.store (i32.const 404) (i32.const 4))
        (i32.store8 (i32.const 256) (i32.const 1))
        (i64.store (i32.const 264) (call $watch (i32.const 400) (i32.const 1)))
        (i32.store (i32.const 272) (i32.const 1234))
        (i32.store (i32.const 276) (i32.const 2048))
        (i32.store (i32.const 280) (i32.const 2))
        (global.set $next (i32.const 65536))
        (i32.const 256))
    (func (export "tessera:plugin/http@0.1.0#resume") (param i32) (result i32)
        (if (i32.eq (i32.load8_u (i32.load (local.get 0))) (i32.const 98)) (then
            (call $continue (i32.const 2064) (i32.const 3) (i32.const 400))))
        (call $hello (i32.const 202)))
    (func (export "tessera:plugin/continuation@0.1.0#next") (param $in i32) (result i32)
        (local $at i32) (local $length i32) (local $kind i32)
        (local.set $at (i32.load offset=8 (local.get $in)))
        (local.set $length (i32.load offset=12 (local.get $in)))
        (local.set $kind (i32.load8_u (local.get $at)))
        (global.set $next (i32.const 65536))
        (if (i32.eq (local.get $kind) (i32.const 101)) (then
            (return (call $text (i32.const 2048) (i32.const 5)))))
        (if (i32.eq (local.get $kind) (i32.const 116)) (then unreachable))
        (i32.store8 (i32.const 512) (i32.const 0))
        (i32.store (i32.const 516) (local.get $at))
        (i32.store (i32.const 520) (local.get $length))
        (if (i32.load8_u offset=16 (local.get $in)) (then
            (i32.store (i32.const 516) (i32.load offset=20 (local.get $in)))
            (i32.store (i32.const 520) (i32.load offset=24 (local.get $in)))))
        (i32.store8 (i32.const 524) (i32.gt_u (local.get $length) (i32.const 1)))
        (i32.store (i32.const 528) (i32.add (local.get $at) (i32.const 1)))
        (i32.store (i32.const 532) (i32.sub (local.get $length) (i32.const 1)))
        (if (i32.eq (local.get $kind) (i32.const 109)) (then (i32.store (i32.const 532) (i32.const 16385))))
        (if (i32.eq (local.get $kind) (i32.const 120)) (then (i32.store (i32.const 520) (i32.const 32769))))
        (if (i32.eq (local.get $kind) (i32.const 121)) (then (i32.store (i32.const 520) (i32.const 32768))))
        (i32.const 512))
"#;

/// The fixture; what it gives at once has 32 KiB at most.
pub fn pieces() -> Vec<u8> {
    let route = |id: &&str| {
        format!(
            "[[http.routes]]\nid = \"{id}\"\nmethods = [\"GET\"]\npaths = [\"/{id}\"]\nauth = \"none\"\n"
        )
    };
    let routes: String = ROUTES.iter().map(route).collect();
    packed("pieces", &format!("[limits]\nresult = \"32KiB\"\n{routes}"), "pieces", PIECES)
}

pub fn alice() -> Principal {
    Principal {
        user: "@alice:t".to_owned(),
        device: None,
        service: None,
        marks: Vec::new(),
        unlimited: false,
        rates: Vec::new(),
    }
}

pub fn text(response: &Response) -> &str {
    let ResponseBody::Bytes(bytes) = &response.body else { panic!("no bytes") };
    std::str::from_utf8(bytes).unwrap()
}

/// Bytes and state of a piece, as text.
pub fn told(piece: &Piece) -> (&str, Option<&str>) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (text(&piece.bytes), piece.more.as_deref().map(text))
}

async fn house() -> House {
    let house = House::new().await;
    house.install(&[pieces()]);
    house
}

async fn next(house: &House, state: &str) -> Result<Result<Piece, String>, CallError> {
    house.tenant.next("pieces", "r1", "begin", state.into(), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_begun_and_goes_on_until_there_is_no_more() {
    let house = house().await;
    let answer = house.tenant.handle("pieces", request("begin")).await.unwrap();
    let Answer::Begun(first, state) = answer else { panic!("{answer:?}") };
    assert_eq!((first.status, text(&first)), (200, "hello"));
    assert_eq!(state, b"abc", "what was said last");
    assert_eq!(house.tenant.status()[0].idle, 1, "nothing is held");

    let answer =
        house.tenant.resume("pieces", "r1", "begin", vec![1], WakeReason::Woken, None).await;
    assert!(matches!(answer.unwrap(), Answer::Begun(..)), "one that was parked may go on as well");

    let piece = next(&house, "abc").await.unwrap().unwrap();
    assert_eq!(told(&piece), ("abc", Some("bc")));
    let piece = next(&house, "c").await.unwrap().unwrap();
    assert_eq!(told(&piece), ("c", None));
    let piece = house.tenant.next("pieces", "r1", "begin", b"c".to_vec(), Some(alice())).await;
    assert_eq!(told(&piece.unwrap().unwrap()), ("@alice:t", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_success_that_is_there_goes_on() {
    let house = house().await;
    let answer = house.tenant.handle("pieces", request("fail")).await.unwrap();
    let Answer::Done(response) = answer else { panic!("{answer:?}") };
    assert_eq!((response.status, text(&response)), (404, "hello"));

    let answer = house.tenant.handle("pieces", request("park")).await.unwrap();
    let Answer::Park(parked) = answer else { panic!("{answer:?}") };
    let resumed =
        house.tenant.resume("pieces", "r1", "park", parked.state, WakeReason::Woken, None).await;
    let resumed = resumed.unwrap();
    let Answer::Done(response) = resumed else { panic!("{resumed:?}") };
    assert_eq!(response.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_goes_on_begins_with_bytes() {
    let house = house().await;
    let error = house.tenant.handle("pieces", request("none")).await.unwrap_err();
    assert!(matches!(&error, CallError::Trapped(text) if text.contains("bytes")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_state_is_told_to_who_says_it() {
    let house = house().await;
    let answer = house.tenant.handle("pieces", request("large")).await.unwrap();
    let Answer::Done(response) = answer else { panic!("{answer:?}") };
    assert_eq!(response.status, 201);
    assert_eq!(text(&response), "a state of 16385 bytes; at most 16384");
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_keep_the_limits() {
    let house = house().await;
    let piece = next(&house, "y").await.unwrap().unwrap();
    assert_eq!(piece.bytes.len(), 32_768);
    for (state, limit) in [("x", "32768"), ("mm", "16384")] {
        let error = next(&house, state).await.unwrap_err();
        assert!(matches!(&error, CallError::Trapped(text) if text.contains(limit)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_and_a_trap_are_told_apart() {
    let house = house().await;
    assert_eq!(next(&house, "e").await.unwrap().unwrap_err(), "hello");
    let error = next(&house, "t").await.unwrap_err();
    assert!(matches!(error, CallError::Trapped(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_offers_no_pieces_is_unavailable() {
    let house = House::new().await;
    house.install(&[packed("web", "", "web", WEB)]);
    let error = house.tenant.next("web", "r1", "answer", vec![1], None).await.unwrap_err();
    let says = |text: &str| text.contains("offers no tessera:plugin/continuation");
    assert!(matches!(&error, CallError::Unavailable(text) if says(text)), "{error}");
}
