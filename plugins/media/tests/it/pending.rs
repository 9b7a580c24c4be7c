//! Media ids that are filled later.

use tessera_sdk::http::WakeReason;

use crate::world::*;

#[test]
fn id_is_made_first_and_filled_later() {
    let server = server();
    let made = server.create(ALICE).answer.ok();
    let id = id_of(&made);
    assert_eq!(made["unused_expires_at"], server.host.now_ms() + 24 * 3_600_000);
    let waiting = server.download(&id);
    let parked = waiting.answer.parked().unwrap();
    assert_eq!(parked.timeout_ms, 20_000);
    let _ = server.host.wakes();
    assert_eq!(server.upload_to(ALICE, &id, b"later").answer.ok(), serde_json::json!({}));
    assert!(server.host.watch_fired(parked.watch));
    let got = server.resume("download", &waiting, WakeReason::Woken);
    assert_eq!((got.bytes(), got.header("content-type")), (b"later".to_vec(), "image/png"));
    server.counts_hold();
}

#[test]
fn waiting_ends() {
    let server = server();
    let id = id_of(&server.create(ALICE).answer.ok());
    let waiting = server.download(&id);
    let over = server.resume("download", &waiting, WakeReason::Timeout);
    assert_eq!(over.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
    let at_once = server.send(server.at("download", &id).query("timeout_ms", "0").build());
    assert_eq!(at_once.error(), (504, "M_NOT_YET_UPLOADED".to_owned()));
    let long = server.send(server.at("download", &id).query("timeout_ms", "99999999").build());
    assert_eq!(long.answer.parked().unwrap().timeout_ms, 60_000);
    // Woken for nothing: it waits for what is left.
    server.host.advance(5_000);
    let again = server.resume("download", &waiting, WakeReason::Woken);
    assert_eq!(again.answer.parked().unwrap().timeout_ms, 15_000);
    let wrong = server.send(server.at("download", &id).query("timeout_ms", "soon").build());
    assert_eq!(wrong.error(), (400, "M_INVALID_PARAM".to_owned()));
}

#[test]
fn id_is_filled_once_by_whom_it_belongs_to_while_it_lasts() {
    let server = server();
    let id = id_of(&server.create(ALICE).answer.ok());
    assert_eq!(server.upload_to(BOB, &id, b"x").error(), (403, "M_FORBIDDEN".to_owned()));
    server.upload_to(ALICE, &id, b"x").answer.ok();
    let again = server.upload_to(ALICE, &id, b"y").error();
    assert_eq!(again, (409, "M_CANNOT_OVERWRITE_MEDIA".to_owned()));
    assert_eq!(server.upload_to(ALICE, "NOBODYS", b"y").error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(server.download(&id).bytes(), b"x");

    let late = id_of(&server.create(ALICE).answer.ok());
    server.host.advance(24 * 3_600_000);
    assert_eq!(server.upload_to(ALICE, &late, b"y").error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(server.download(&late).error(), (404, "M_NOT_FOUND".to_owned()));
    server.sweep();
    let left: Vec<(String,)> = server.rows("SELECT media_id FROM media_files");
    assert_eq!(left, [(id,)]);
}

#[test]
fn two_who_fill_an_id_at_once_do_not_both() {
    let server = server();
    let id = id_of(&server.create(ALICE).answer.ok());
    let other = id.clone();
    server.host.before_next_commit(move |host| {
        let server = Server { host: host.clone() };
        assert_eq!(server.upload_to(ALICE, &other, b"first").status(), 200);
    });
    let second = server.upload_to(ALICE, &id, b"second").error();
    assert_eq!(second, (409, "M_CANNOT_OVERWRITE_MEDIA".to_owned()));
    assert_eq!(server.download(&id).bytes(), b"first");
    server.counts_hold();
}

#[test]
fn ids_that_wait_to_be_filled_are_few() {
    let server = server();
    let first = id_of(&server.create(ALICE).answer.ok());
    server.create(ALICE).answer.ok();
    server.create(ALICE).answer.ok();
    assert_eq!(server.create(ALICE).error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    server.create(BOB).answer.ok();
    server.upload_to(ALICE, &first, b"x").answer.ok();
    server.create(ALICE).answer.ok();
}

#[test]
fn nobody_waits_on_the_open_paths_for_what_will_not_be_found_there() {
    let server = server();
    let id = id_of(&server.create(ALICE).answer.ok());
    let error = server.send(server.at("download-open", &id).build()).error();
    assert_eq!(error, (404, "M_NOT_FOUND".to_owned()));
}
