//! Users who take no invites.

use serde_json::{Value, json};
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

use crate::harness::{ALICE, BOB, CAROL, Server, server};

fn config(server: &Server, user: &str, content: &Value) {
    server.host.acting("accounts", || {
        Batch::new()
            .run(
                "INSERT INTO accounts_data (user_id, room_id, type, content) VALUES ($1, '', $2, $3)",
                params![user, "m.invite_permission_config", content.to_string()],
            )
            .commit()
            .unwrap();
    });
}

#[test]
fn who_blocks_invites_gets_none() {
    let server = server();
    config(&server, BOB, &json!({"default_action": "block"}));
    config(&server, CAROL, &json!({"default_action": "surprise"}));
    let blocked = (403, "M_INVITE_BLOCKED".to_owned());
    let room = server.create(ALICE, &json!({}));
    assert_eq!(server.about(ALICE, "invite", &room, BOB).error(), blocked);
    let content = json!({"membership": "invite"});
    assert_eq!(server.put_state(ALICE, &room, "m.room.member", BOB, &content).error(), blocked);
    let body = json!({"invite": [CAROL, BOB]});
    assert_eq!(server.ask(ALICE, "POST", "create-room", &[], &body).error(), blocked);
    assert_eq!(server.membership(&room, BOB), "");
    assert_eq!(server.rows::<(String,)>("SELECT room_id FROM rooms_rooms", vec![]).len(), 1);
    // A ban or a kick is no invite, and what the server does not know blocks nothing.
    let _ = server.about(ALICE, "ban", &room, BOB).ok();
    let _ = server.about(ALICE, "invite", &room, CAROL).ok();
    assert_eq!(server.membership(&room, CAROL), "invite");
}
