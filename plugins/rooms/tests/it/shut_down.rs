//! Rooms that are shut down, users who are deactivated.

use std::sync::Arc;

use serde_json::json;
use tessera_plugin_rooms::Plugin;
use tessera_sdk::bindings::rooms::exports::tessera::services::rooms::{Error, Guest};
use tessera_sdk::hooks::Refusal;
use tessera_sdk::storage::Batch;

use crate::harness::{ALICE, BOB, CAROL, Server, server};

const ADMIN: &str = "@admin:hs1";

fn delete(room: &str, block: bool) -> Result<u32, Error> {
    Plugin::delete_room(ADMIN.to_owned(), room.to_owned(), block)
}

fn public(server: &Server) -> String {
    let wish = json!({"preset": "public_chat", "visibility": "public", "room_alias_name": "here"});
    server.create(ALICE, &wish)
}

#[test]
fn room_that_is_shut_down_is_empty_and_cannot_be_found() {
    let server = server();
    let room = public(&server);
    let _ = server.join(BOB, &room).ok();
    let _ = server.about(ALICE, "invite", &room, CAROL).ok();
    assert_eq!(delete(&room, true).unwrap(), 0);
    for user in [ALICE, BOB, CAROL] {
        assert_eq!(server.membership(&room, user), "leave", "{user}");
    }
    assert_eq!(Plugin::room_of_alias("#here:hs1".to_owned()).unwrap(), None);
    let listed = server.get(ALICE, "get-visibility", &[("roomId", &room)]).ok();
    assert_eq!(listed["visibility"], "private");
    assert_eq!(server.join(BOB, &room).error(), (403, "M_FORBIDDEN".to_owned()));
    // Without a block the door opens again.
    assert_eq!(delete(&room, false).unwrap(), 0);
    let _ = server.join(BOB, &room).ok();
}

#[test]
fn many_users_leave_in_few_commits() {
    let server = server();
    let room = public(&server);
    for n in 0..60 {
        let _ = server.join(&format!("@u{n:02}:hs1"), &room).ok();
    }
    let _ = server.host.calls();
    assert_eq!(delete(&room, true).unwrap(), 0);
    // The closing; two looks at the members of one page and one at none; two rounds of read and commit.
    assert!(server.host.calls() <= 10);
    assert_eq!(server.membership(&room, "@u59:hs1"), "leave");
}

#[test]
fn join_that_had_looked_before_finds_the_door_shut() {
    let server = server();
    let room = public(&server);
    let id = room.clone();
    server.host.before_next_commit(move |host| {
        host.install();
        host.act_as("rooms");
        assert_eq!(delete(&id, true).unwrap(), 0);
    });
    assert_eq!(server.join(BOB, &room).error(), (403, "M_FORBIDDEN".to_owned()));
    assert_eq!(server.membership(&room, BOB), "");
}

#[test]
fn modules_may_keep_a_room_open() {
    let server = server();
    let room = public(&server);
    server.host.services(|services| {
        services.hooks.can_shut_down = Some(Arc::new(|_, who, _| {
            assert!(who.admin && who.user == ADMIN);
            let refusal = ("ORG_EXAMPLE_NO".to_owned(), "no".to_owned());
            Err(Refusal { status: 403, errcode: refusal.0, error: refusal.1 })
        }));
    });
    let answer = delete(&room, true);
    assert!(matches!(&answer, Err(Error::Refused((code, _))) if code == "ORG_EXAMPLE_NO"));
    assert_eq!(server.membership(&room, ALICE), "join");
}

#[test]
fn unknown_room_cannot_be_shut_down() {
    let _server = server();
    assert!(matches!(delete("!none:hs1", true), Err(Error::NotFound)));
}

#[test]
fn deactivated_users_leave_their_rooms() {
    let server = server();
    let room = public(&server);
    let _ = server.join(BOB, &room).ok();
    let invited = server.create(ALICE, &json!({"invite": [BOB]}));
    let tell = |change: &str| {
        let payload = json!({"user_id": BOB, "change": change}).to_string();
        server.host.acting("accounts", || {
            Batch::new().emit("accounts.users", BOB, payload).commit().unwrap();
        });
        server.host.deliver::<Plugin>("rooms", "accounts.users")
    };
    assert_eq!(tell("registered"), 1);
    assert_eq!(server.membership(&room, BOB), "join");
    assert_eq!(tell("deactivated"), 1);
    assert_eq!(server.membership(&room, BOB), "leave");
    assert_eq!(server.membership(&invited, BOB), "leave");
    let before = server.events(&room).len();
    assert_eq!(tell("deactivated"), 1);
    assert_eq!(server.events(&room).len(), before, "once is enough");
}
