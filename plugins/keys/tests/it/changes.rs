//! GET /keys/changes: who is met and who is left.

use serde_json::Value;

use crate::server::*;

#[test]
fn who_comes_into_a_shared_room_has_changed() {
    let server = server();
    let since = server.token();
    server.member(ROOM, CAROL, "join");
    assert_eq!(server.changes(ALICE, &since), (vec![CAROL.to_owned()], vec![]));
    let (mut changed, left) = server.changes(CAROL, &since);
    changed.sort();
    assert_eq!((changed, left), (vec![ALICE.to_owned(), BOB.to_owned()], vec![]));
    assert_eq!(server.changes(ALICE, &server.token()), (vec![], vec![]));
}

#[test]
fn who_shares_no_room_any_more_is_left() {
    let server = server();
    let since = server.token();
    server.member(ROOM, BOB, "leave");
    assert_eq!(server.changes(ALICE, &since), (vec![], vec![BOB.to_owned()]));
    assert_eq!(server.changes(BOB, &since), (vec![], vec![ALICE.to_owned()]));
    server.member("!other:hs1", ALICE, "join");
    server.member("!other:hs1", BOB, "join");
    assert_eq!(server.changes(ALICE, &since), (vec![BOB.to_owned()], vec![]));
}

#[test]
fn who_left_a_room_that_both_left_is_left() {
    let server = server();
    let since = server.token();
    server.member(ROOM, ALICE, "leave");
    server.member(ROOM, BOB, "leave");
    assert_eq!(server.changes(ALICE, &since), (vec![], vec![BOB.to_owned()]));
}

#[test]
fn one_who_still_shares_another_room_is_not_left() {
    let server = server();
    server.member("!other:hs1", ALICE, "join");
    server.member("!other:hs1", BOB, "join");
    let since = server.token();
    server.member(ROOM, BOB, "leave");
    assert!(server.changes(ALICE, &since).1.is_empty());
}

#[test]
fn tokens_are_needed() {
    let server = server();
    let ask = |query: &str| {
        let answer = server.ask((ALICE, "A1"), ("GET", "changes"), &[], query, &Value::Null);
        answer.error().1
    };
    assert_eq!(ask("from=s1"), "M_MISSING_PARAM");
    assert_eq!(ask("to=s1"), "M_MISSING_PARAM");
    assert_eq!(ask("from=x&to=s1"), "M_INVALID_PARAM");
    assert_eq!(ask("from=s1&to=1"), "M_INVALID_PARAM");
    let answer =
        server.ask((ALICE, "A1"), ("GET", "changes"), &[], "from=s1_2_3&to=s9", &Value::Null);
    answer.ok();
}
