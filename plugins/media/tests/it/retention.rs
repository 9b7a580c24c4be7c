//! What rooms and users end.

use serde_json::{Value, json};
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

use crate::world::*;

const DAY_MS: u64 = 86_400_000;
const ROOM: &str = "!r:hs1";
const OTHER: &str = "!o:hs1";

fn kept_for_30_days() -> Server {
    server_with(&json!({ "retention-by-room": [{ "room": ROOM, "days": 30 }] }))
}

fn statuses<const N: usize>(server: &Server, ids: [&String; N]) -> [u16; N] {
    ids.map(|id| server.download(id).status())
}

impl Server {
    fn pass(&self) {
        self.sweep();
        self.timers();
    }
}

#[test]
fn what_old_events_of_a_room_name_goes() {
    let server = kept_for_30_days();
    let [old, again, young, elsewhere] =
        ["1", "2", "3", "4"].map(|text| server.upload(BOB, text.as_bytes(), "a/b"));
    for id in [&old, &again] {
        server.image(ROOM, BOB, id);
    }
    server.image(OTHER, BOB, &elsewhere);
    server.host.advance(20 * DAY_MS);
    server.image(ROOM, BOB, &again);
    server.image(ROOM, BOB, &young);
    server.pass();
    assert_eq!(statuses(&server, [&old, &again, &young, &elsewhere]), [200; 4]);
    server.host.advance(11 * DAY_MS);
    server.pass();
    assert_eq!(statuses(&server, [&old, &again, &young, &elsewhere]), [404, 200, 200, 200]);
    server.host.advance(20 * DAY_MS);
    server.pass();
    assert_eq!(statuses(&server, [&old, &again, &young, &elsewhere]), [404, 404, 404, 200]);
    let left: Vec<(String,)> = server.rows("SELECT room_id FROM media_mentions");
    assert_eq!(left, [(OTHER.to_owned(),)]);
    server.counts_hold();
}

#[test]
fn what_something_else_needs_stays() {
    let server = kept_for_30_days();
    let ids =
        ["1", "2", "3", "4", "5", "6", "7"].map(|text| server.upload(BOB, text.as_bytes(), "a/b"));
    for id in &ids {
        server.image(ROOM, BOB, id);
    }
    let [in_room, picture, profile, protected, quarantined, pack, plain] = &ids;
    server.image(OTHER, ALICE, in_room);
    let uri = |id: &str| format!("mxc://hs1/{id}");
    server.event(ROOM, ALICE, "m.room.avatar", Some(""), &json!({ "url": uri(picture) }));
    let images = json!({ "images": { "a": { "url": uri(pack) } } });
    server.event(OTHER, ALICE, "im.ponies.room_emotes", Some("x"), &images);
    server.host.acting("accounts", || {
        let sql = "INSERT INTO accounts_profiles (user_id, avatar_url) VALUES ($1, $2)";
        Batch::new().run(sql, params![BOB, uri(profile)]).commit().unwrap();
    });
    server.admin("POST", "admin-protect", &[("mediaId", protected)]).answer.ok();
    let at = [("serverName", "hs1"), ("mediaId", quarantined.as_str())];
    server.admin("POST", "admin-quarantine", &at).answer.ok();
    server.host.advance(31 * DAY_MS);
    server.pass();
    server.admin("POST", "admin-unquarantine", &at).answer.ok();
    let got = statuses(&server, [in_room, picture, profile, protected, quarantined, pack, plain]);
    assert_eq!(got, [200, 200, 200, 200, 200, 200, 404]);
    // The room's picture is another one now.
    server.event(ROOM, ALICE, "m.room.avatar", Some(""), &json!({}));
    server.pass();
    assert_eq!(statuses(&server, [in_room, picture]), [200, 404]);
}

#[test]
fn nobody_ends_what_others_uploaded() {
    let server =
        server_with(&json!({ "retention-from-rooms": true, "retention-from-rooms-min-days": 0 }));
    let id = server.upload(BOB, b"1", "a/b");
    // A room made for it.
    server.event(ROOM, ALICE, "m.room.retention", Some(""), &json!({ "max_lifetime": 1 }));
    server.image(ROOM, ALICE, &id);
    let sticker = json!({ "url": format!("mxc://hs1/{id}") });
    server.event(ROOM, BOB, "m.sticker", None, &sticker);
    server.host.advance(DAY_MS);
    server.pass();
    assert_eq!(server.download(&id).status(), 200);
}

#[test]
fn room_says_how_long_where_the_operator_lets_it() {
    let hour = 3_600_000;
    for (config, says, goes) in [
        (json!({}), json!({ "max_lifetime": hour }), false),
        (json!({ "retention-from-rooms": true }), json!({ "max_lifetime": hour }), true),
        (
            json!({ "retention-from-rooms": true, "retention-from-rooms-min-days": 9 }),
            json!({ "max_lifetime": hour }),
            false,
        ),
        (json!({ "retention-from-rooms": true }), json!({ "max_lifetime": 9 * DAY_MS }), false),
        (json!({ "retention-from-rooms": true }), json!({ "max_lifetime": "1d" }), false),
        (
            json!({ "retention-from-rooms": true, "retention-by-room": [{ "room": ROOM, "days": 9 }] }),
            json!({ "max_lifetime": hour }),
            false,
        ),
        (
            json!({ "retention-from-rooms": true, "retention-by-room": [{ "room": "*", "days": 9 }] }),
            json!({ "max_lifetime": hour }),
            true,
        ),
        (
            json!({ "retention-by-room": [{ "room": "*", "days": 1 }] }),
            json!({ "max_lifetime": 9 * DAY_MS }),
            true,
        ),
    ] {
        let server = server_with(&config);
        let id = server.upload(BOB, b"1", "a/b");
        server.event(ROOM, ALICE, "m.room.retention", Some(""), &says);
        server.image(ROOM, BOB, &id);
        server.host.advance(2 * DAY_MS);
        server.pass();
        assert_eq!(server.download(&id).status() == 404, goes, "{config} {says}");
    }
}

#[test]
fn room_keeps_no_more_bytes_than_it_may() {
    let server = server_with(&json!({ "retention-by-room": [{ "room": "*", "bytes": 1000 }] }));
    let ids = [1_u8, 2, 3].map(|n| {
        let id = server.upload(BOB, &[n; 400], "a/b");
        server.image(ROOM, BOB, &id);
        server.host.advance(1_000);
        id
    });
    let [first, second, third] = &ids;
    server.pass();
    assert_eq!(statuses(&server, [first, second, third]), [404, 200, 200]);
    server.pass();
    assert_eq!(statuses(&server, [first, second, third]), [404, 200, 200]);
}

#[test]
fn long_history_and_many_files_are_gone_through_in_rounds() {
    let server = server_with(
        &json!({ "retention-by-room": [{ "room": "*", "days": 1 }], "max-bytes-per-user": 0 }),
    );
    let ids: Vec<String> = (0..700)
        .map(|n| {
            let id = server.upload(BOB, format!("{n}").as_bytes(), "a/b");
            server.image(&format!("!{}:hs1", n % 3), BOB, &id);
            id
        })
        .collect();
    // A room that is gone keeps nothing.
    server.host.acting("rooms", || {
        Batch::new()
            .run("DELETE FROM rooms_rooms WHERE room_id = '!1:hs1'", vec![])
            .commit()
            .unwrap();
    });
    server.host.advance(2 * DAY_MS);
    server.pass();
    assert!(ids.iter().all(|id| server.download(id).status() == 404));
    let left: Vec<(String,)> = server.rows("SELECT media_id FROM media_mentions");
    assert!(left.is_empty());
    server.counts_hold();
}

#[test]
fn users_have_limits_of_their_own() {
    let server = server_with(&json!({
        "retention-local-days": 30, "max-bytes-per-user": 500,
        "limits-by-user": [{ "user": BOB, "bytes": 900, "days": 5 }, { "user": "@carol:hs1", "days": 0 }],
    }));
    assert_eq!(server.try_upload(ALICE, &[1; 600], "a/b", None).status(), 403);
    let bob = server.upload(BOB, &[2; 600], "a/b");
    assert_eq!(server.try_upload(BOB, &[3; 600], "a/b", None).status(), 403);
    let [alice, carol] = [ALICE, "@carol:hs1"].map(|user| server.upload(user, b"1", "a/b"));
    server.host.advance(6 * DAY_MS);
    server.sweep();
    let left =
        || server.rows::<(String,)>("SELECT media_id FROM media_files ORDER BY user_id").len();
    assert_eq!((left(), server.download(&bob).status()), (2, 404));
    server.host.advance(30 * DAY_MS);
    server.sweep();
    assert_eq!(statuses(&server, [&alice, &carol]), [404, 200]);
}

#[test]
fn encrypted_rooms_end_nothing() {
    let server = server_with(&json!({ "retention-by-room": [{ "room": "*", "days": 1 }] }));
    let id = server.upload(BOB, b"1", "application/octet-stream");
    let hidden: Value = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "bXhjOi8v" });
    server.event(ROOM, BOB, "m.room.encrypted", None, &hidden);
    server.host.advance(9 * DAY_MS);
    server.pass();
    assert_eq!(server.download(&id).status(), 200);
}

#[test]
fn pass_over_many_rooms_goes_on_where_it_was() {
    let server = server_with(&json!({ "retention-by-room": [{ "room": "*", "days": 1 }] }));
    let old = server.upload(BOB, b"old", "a/b");
    server.image("!z:hs1", BOB, &old);
    server.host.advance(2 * DAY_MS);
    let rows = (0..1_200).map(|n| params![format!("!{n:04}:hs1"), server.host.now_ms()]).collect();
    Batch::new()
        .run_many(
            "INSERT INTO media_mentions (media_id, room_id, newest_ms, own) \
             VALUES ('young', $1, $2, TRUE)",
            rows,
        )
        .commit()
        .unwrap();
    server.sweep();
    let _ = server.host.calls();
    while server.host.fire_timers::<tessera_plugin_media::Plugin>("media") > 0 {
        let calls = server.host.calls();
        assert!(calls < 1_000, "{calls}");
        server.host.advance(1_000);
    }
    assert_eq!(server.download(&old).status(), 404);
    let left: Vec<(String,)> = server.rows("SELECT state FROM media_progress WHERE name = 'pass'");
    assert!(left[0].0.contains(r#""done":"""#), "{left:?}");
}

#[test]
fn picture_in_force_stays_though_another_branch_names_it_too() {
    let server = kept_for_30_days();
    let id = server.upload(BOB, b"1", "a/b");
    server.image(ROOM, BOB, &id);
    let picture = json!({ "url": format!("mxc://hs1/{id}") });
    server.event(ROOM, ALICE, "m.room.avatar", Some(""), &picture);
    let force: Vec<(String,)> =
        server.host.acting("rooms", || server.rows("SELECT event_id FROM rooms_state"));
    server.event(ROOM, BOB, "m.room.avatar", Some(""), &picture);
    // The first one wins.
    server.host.acting("rooms", || {
        let sql = "UPDATE rooms_state SET event_id = $1";
        Batch::new().run(sql, params![&force[0].0]).commit().unwrap();
    });
    server.host.advance(31 * DAY_MS);
    server.pass();
    assert_eq!(server.download(&id).status(), 200);
}

#[test]
fn what_is_named_while_it_is_being_ended_stays() {
    let server = kept_for_30_days();
    let [again, profile] = ["1", "2"].map(|text| server.upload(BOB, text.as_bytes(), "a/b"));
    for id in [&again, &profile] {
        server.image(ROOM, BOB, id);
        server.host.advance(1);
    }
    server.pass();
    server.host.advance(31 * DAY_MS);
    let (named, shown) = (again.clone(), profile.clone());
    server.host.before_next_commit(move |host| {
        let server = Server { host: host.clone() };
        server.image(OTHER, ALICE, &named);
        server.host.acting("accounts", || {
            let sql = "INSERT INTO accounts_profiles (user_id, avatar_url) VALUES ($1, $2)";
            let uri = format!("mxc://hs1/{shown}");
            Batch::new().run(sql, params!["@ghost:hs1", uri]).commit().unwrap();
        });
    });
    server.pass();
    assert_eq!(statuses(&server, [&again, &profile]), [200; 2]);
    server.counts_hold();
}

#[test]
fn one_round_ends_so_many_files_of_all_users_with_a_time_of_their_own() {
    let users = [ALICE, BOB].map(|user| json!({ "user": user, "days": 1 }));
    let server = server_with(&json!({ "limits-by-user": users }));
    for n in 0..300 {
        server.upload([ALICE, BOB][n % 2], format!("{n}").as_bytes(), "a/b");
    }
    server.host.advance(2 * DAY_MS);
    let left = || server.rows::<(String,)>("SELECT media_id FROM media_files").len();
    server.sweep();
    assert_eq!(left(), 100);
    assert!(server.host.next_timer().unwrap() <= server.host.now_ms() + 1_000);
    server.sweep();
    assert_eq!(left(), 0);
}
