//! Join, leave, invite, kick, ban, unban, knock, forget, joined_rooms.

use serde_json::{Value, json};
use tessera_sdk::params;

use crate::harness::{ALICE, BOB, CAROL, Server, server};

fn forbidden() -> (u16, String) {
    (403, "M_FORBIDDEN".to_owned())
}

fn joined_rooms(server: &Server, user: &str) -> Value {
    server.get(user, "joined-rooms", &[]).ok()["joined_rooms"].clone()
}

#[test]
fn public_rooms_are_joined_and_left() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat", "room_alias_name": "here"}));
    server.profile(BOB, Some("Bob"), None);
    assert_eq!(server.join(BOB, "#here:hs1").ok()["room_id"], room.as_str());
    assert_eq!(joined_rooms(&server, BOB), json!([room]));
    let before = server.events(&room).len();
    assert_eq!(
        server.events(&room)[before - 1]["content"],
        json!({"membership": "join", "displayname": "Bob"})
    );
    let _ = server.join(BOB, &room).ok();
    assert_eq!(server.events(&room).len(), before, "joining twice makes no event");
    let _ = server.leave(BOB, &room).ok();
    let _ = server.leave(BOB, &room).ok();
    assert_eq!(server.events(&room).len(), before + 1, "leaving twice makes no event");
    assert_eq!(joined_rooms(&server, BOB), json!([]));
    assert_eq!(server.membership(&room, BOB), "leave");
}

#[test]
fn private_rooms_need_an_invite() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    assert_eq!(server.join(BOB, &room).error(), forbidden());
    assert_eq!(server.about(BOB, "invite", &room, CAROL).error(), forbidden());
    let _ = server.about(ALICE, "invite", &room, BOB).ok();
    assert_eq!(server.membership(&room, BOB), "invite");
    let _ = server.join(BOB, &room).ok();
    assert_eq!(server.about(ALICE, "invite", &room, BOB).error(), forbidden());
}

#[test]
fn unknown_rooms_are_not_found() {
    let server = server();
    for target in ["!none:hs1", "#none:hs1", "!abcdef"] {
        assert_eq!(server.join(BOB, target).error(), (404, "M_NOT_FOUND".to_owned()), "{target}");
        let answer = server.ask(BOB, "POST", "knock", &[("roomIdOrAlias", target)], &json!({}));
        assert_eq!(answer.error(), (404, "M_NOT_FOUND".to_owned()), "{target}");
    }
    assert_eq!(server.leave(BOB, "!none:hs1").error(), forbidden());
}

#[test]
fn invite_is_rejected_or_taken_back() {
    let server = server();
    let room = server.create(ALICE, &json!({"invite": [BOB, CAROL]}));
    let _ = server.leave(BOB, &room).ok();
    let _ = server.about(ALICE, "kick", &room, CAROL).ok();
    for user in [BOB, CAROL] {
        assert_eq!(server.membership(&room, user), "leave");
        assert_eq!(server.join(user, &room).error(), forbidden());
    }
}

#[test]
fn kicking_and_banning_take_power() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    for user in [BOB, CAROL] {
        let _ = server.join(user, &room).ok();
    }
    for act in ["kick", "ban"] {
        assert_eq!(server.about(BOB, act, &room, CAROL).error(), forbidden());
        assert_eq!(server.about(BOB, act, &room, ALICE).error(), forbidden());
    }
    let _ = server.about(ALICE, "kick", &room, CAROL).ok();
    assert_eq!(server.about(ALICE, "kick", &room, CAROL).error(), forbidden());
    let _ = server.join(CAROL, &room).ok();
    let _ = server.about(ALICE, "ban", &room, CAROL).ok();
    assert_eq!(server.join(CAROL, &room).error(), forbidden());
    assert_eq!(server.leave(CAROL, &room).error(), forbidden());
    assert_eq!(server.about(ALICE, "invite", &room, CAROL).error(), forbidden());
    assert_eq!(server.about(BOB, "unban", &room, CAROL).error(), forbidden());
    let _ = server.about(ALICE, "unban", &room, CAROL).ok();
    assert_eq!(server.about(ALICE, "unban", &room, CAROL).error(), (403, "M_BAD_STATE".to_owned()));
    let _ = server.join(CAROL, &room).ok();
}

#[test]
fn somebody_who_was_never_there_can_be_banned() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.about(ALICE, "ban", &room, BOB).ok();
    assert_eq!(server.join(BOB, &room).error(), forbidden());
}

#[test]
fn every_change_is_recorded_and_wakes_its_user() {
    let server = server();
    let room = server.create(ALICE, &json!({"invite": [BOB]}));
    let _ = server.host.wakes();
    let _ = server.join(BOB, &room).ok();
    let _ = server.about(ALICE, "kick", &room, BOB).ok();
    let wakes = server.host.wakes();
    assert_eq!(wakes.iter().filter(|topic| **topic == format!("user:{BOB}")).count(), 2);
    let changes: Vec<(String, String)> = server.rows(
        "SELECT prev_membership, membership FROM rooms_v1_membership_changes WHERE user_id = $1 ORDER BY position",
        params![BOB],
    );
    let expected = [("", "invite"), ("invite", "join"), ("join", "leave")];
    assert_eq!(changes, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn reasons_are_kept() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.join(BOB, &room).ok();
    let body = json!({"user_id": BOB, "reason": "spam"});
    let _ = server.ask(ALICE, "POST", "kick", &[("roomId", &room)], &body).ok();
    assert_eq!(
        server.events(&room).last().unwrap()["content"],
        json!({"membership": "leave", "reason": "spam"})
    );
}

#[test]
fn knocking_asks_to_be_let_in() {
    let server = server();
    let rules =
        json!([{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]);
    let room = server.create(ALICE, &json!({"initial_state": rules, "name": "N"}));
    let knock = |user: &str, room: &str| {
        server.ask(user, "POST", "knock", &[("roomIdOrAlias", room)], &json!({"reason": "please"}))
    };
    assert_eq!(server.join(BOB, &room).error(), forbidden());
    let _ = knock(BOB, &room).ok();
    assert_eq!(server.membership(&room, BOB), "knock");
    let stripped: Vec<(Option<String>,)> = server
        .rows("SELECT stripped_state FROM rooms_v1_memberships WHERE user_id = $1", params![BOB]);
    assert!(stripped[0].0.as_ref().unwrap().contains("\"name\":\"N\""));
    let _ = server.about(ALICE, "invite", &room, BOB).ok();
    let _ = server.join(BOB, &room).ok();
    assert_eq!(knock(BOB, &room).error(), forbidden());
    let closed = server.create(ALICE, &json!({}));
    assert_eq!(knock(BOB, &closed).error(), forbidden());
}

#[test]
fn restricted_rooms_let_members_of_another_in() {
    for version in ["8", "10", "12"] {
        let server = server();
        let space = server.create(ALICE, &json!({"preset": "public_chat"}));
        let allow = json!([{"type": "m.room_membership", "room_id": space}]);
        let rules = json!([{"type": "m.room.join_rules", "state_key": "",
            "content": {"join_rule": "restricted", "allow": allow}}]);
        let body = json!({"initial_state": rules, "room_version": version, "power_level_content_override": {"invite": 50}});
        let room = server.create(ALICE, &body);
        assert_eq!(server.join(BOB, &room).error(), forbidden());
        // To say so oneself opens no door.
        let own = json!({"membership": "join", "join_authorised_via_users_server": ALICE});
        let answer = server.put_state(BOB, &room, "m.room.member", BOB, &own);
        assert_eq!(answer.error(), forbidden());
        let _ = server.join(BOB, &space).ok();
        let _ =
            server.put_state(BOB, &room, "m.room.member", BOB, &json!({"membership": "join"})).ok();
        let join = server.events(&room).pop().unwrap();
        assert_eq!(join["content"]["join_authorised_via_users_server"], ALICE);
        // Nobody is left who could let anyone in.
        let _ = server.leave(ALICE, &room).ok();
        let _ = server.join(CAROL, &space).ok();
        assert_eq!(server.join(CAROL, &room).error(), (400, "M_UNABLE_TO_GRANT_JOIN".to_owned()));
    }
}

#[test]
fn left_rooms_can_be_forgotten() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let forget = |user: &str| server.ask(user, "POST", "forget", &[("roomId", &room)], &json!({}));
    assert_eq!(forget(BOB).error(), (404, "M_NOT_FOUND".to_owned()));
    let _ = server.join(BOB, &room).ok();
    assert_eq!(forget(BOB).error(), (400, "M_UNKNOWN".to_owned()));
    let _ = server.leave(BOB, &room).ok();
    assert_eq!(server.get(BOB, "get-state", &[("roomId", &room)]).status(), 200);
    let _ = forget(BOB).ok();
    let _ = forget(BOB).ok();
    assert_eq!(server.get(BOB, "get-state", &[("roomId", &room)]).error(), forbidden());
    let forgotten = || {
        server.rows::<(bool,)>(
            "SELECT forgotten FROM rooms_v1_memberships WHERE user_id = $1",
            params![BOB],
        )[0]
        .0
    };
    assert!(forgotten());
    let _ = server.about(ALICE, "ban", &room, BOB).ok();
    let _ = server.about(ALICE, "unban", &room, BOB).ok();
    assert!(forgotten(), "what others do brings it back to nobody");
    let _ = server.join(BOB, &room).ok();
    assert!(!forgotten());
}

#[test]
fn invites_are_limited_by_sender() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    server.host.limit("invites", 2);
    let body = json!({"invite": [BOB, CAROL, "@dave:hs1"]});
    let answer = server.ask(ALICE, "POST", "create-room", &[], &body);
    assert_eq!(answer.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    for user in [BOB, CAROL] {
        let _ = server.about(ALICE, "invite", &room, user).ok();
    }
    let answer = server.about(ALICE, "invite", &room, "@dave:hs1");
    assert_eq!(answer.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
}

#[test]
fn what_a_client_says_beside_is_part_of_its_join() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let body = json!({"org.example.mood": "good", "membership": "ban", "reason": "hello",
        "join_authorised_via_users_server": ALICE});
    let _ = server.ask(BOB, "POST", "join-room", &[("roomId", &room)], &body).ok();
    let event = server.events(&room).pop().unwrap();
    let expected = json!({"membership": "join", "org.example.mood": "good", "reason": "hello"});
    assert_eq!(event["content"], expected);
}
