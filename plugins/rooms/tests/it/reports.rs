//! What users tell the operator of.

use serde_json::{Value, json};
use tessera_test_host::TestAnswer;

use crate::harness::{ALICE, BOB, Server, server};

fn report(server: &Server, route: &str, params: &[(&str, &str)], body: &Value) -> TestAnswer {
    server.ask(BOB, "POST", route, params, body)
}

#[test]
fn reports_are_kept_and_told() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let event = server.text(ALICE, &room, "hello");
    let body = json!({"reason": "spam"});
    let _ = report(&server, "report-room", &[("roomId", &room)], &body).ok();
    let of_event = [("roomId", room.as_str()), ("eventId", event.as_str())];
    let stranger = report(&server, "report-event", &of_event, &body);
    assert_eq!(stranger.error(), (404, "M_NOT_FOUND".to_owned()));
    let _ = server.join(BOB, &room).ok();
    let _ = report(&server, "report-event", &of_event, &json!({"score": -100})).ok();
    let _ = report(&server, "report-user", &[("userId", ALICE)], &json!({"reason": ""})).ok();
    let rows = server.rows::<(String, String, String, String)>(
        "SELECT kind, room_id, user_id, reason FROM rooms_reports ORDER BY kind",
        vec![],
    );
    let row = |kind: &str, room: &str, user: &str, reason: &str| {
        (kind.to_owned(), room.to_owned(), user.to_owned(), reason.to_owned())
    };
    let expected = [
        row("event", &room, ALICE, ""),
        row("room", &room, "", "spam"),
        row("user", "", ALICE, ""),
    ];
    assert_eq!(rows, expected);
    let told = server.host.messages("rooms.reports");
    assert_eq!(told.len(), 3);
    assert_eq!(told[0]["reporter"], BOB);
    assert_eq!(told[1]["event_id"], event.as_str());
}

#[test]
fn what_is_not_there_cannot_be_reported() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.join(BOB, &room).ok();
    let why = json!({"reason": "x"});
    let not_found = (404, "M_NOT_FOUND".to_owned());
    let answer = report(&server, "report-room", &[("roomId", "!none:hs1")], &why);
    assert_eq!(answer.error(), not_found);
    let answer = report(&server, "report-event", &[("roomId", &room), ("eventId", "$none")], &why);
    assert_eq!(answer.error(), not_found);
    for user in ["@nobody:hs1", "@nobody:elsewhere"] {
        let answer = report(&server, "report-user", &[("userId", user)], &why);
        assert_eq!(answer.error(), not_found);
    }
    let of_room = [("roomId", room.as_str())];
    let answer = report(&server, "report-room", &of_room, &json!({}));
    assert_eq!(answer.error(), (400, "M_MISSING_PARAM".to_owned()));
    for bad in [json!({"reason": 1}), json!({"reason": "x", "score": "1"})] {
        let answer = report(&server, "report-room", &of_room, &bad);
        assert_eq!(answer.error(), (400, "M_BAD_JSON".to_owned()));
    }
    let answer = report(&server, "report-room", &of_room, &json!({"reason": "x".repeat(9_000)}));
    assert_eq!(answer.error(), (413, "M_TOO_LARGE".to_owned()));
    server.host.limit("reports", 0);
    let answer = report(&server, "report-room", &of_room, &why);
    assert_eq!(answer.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
}
