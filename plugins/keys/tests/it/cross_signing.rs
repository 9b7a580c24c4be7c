//! POST /keys/device_signing/upload and /keys/signatures/upload.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_sdk::services::accounts::Proven;

use crate::server::*;
use crate::signer::Signer;

struct Keys {
    master: Signer,
    own: Signer,
    others: Signer,
}

impl Keys {
    fn new(seed: u8) -> Self {
        let [master, own, others] = [seed, seed + 1, seed + 2].map(Signer::new);
        Self { master, own, others }
    }

    fn body(&self, user: &str) -> Value {
        json!({
            "master_key": self.master.key(user, "master"),
            "self_signing_key": self.master.sign(self.own.key(user, "self_signing"), user),
            "user_signing_key": self.master.sign(self.others.key(user, "user_signing"), user),
        })
    }

    fn upload(&self, server: &Server, user: &str, device: &str) {
        server.post((user, device), "device-signing", &self.body(user)).ok();
    }
}

/// From now on accounts lets those through whose `auth` is `true`; what was asked.
fn accounts(server: &Server) -> Arc<Mutex<Vec<String>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    server.host.services(move |services| {
        services.prove = Arc::new(move |_, proof| {
            seen.lock().unwrap().push(format!("{} {}", proof.user, proof.scope));
            let body: Value = serde_json::from_str(&proof.body).unwrap();
            if body["auth"] == json!(true) {
                return Ok(Proven::Yes);
            }
            Ok(Proven::No((401, json!({"flows": [], "session": "s"}).to_string())))
        });
    });
    asked
}

/// Alice's device with a key that signs.
fn signing_device(server: &Server) -> (Signer, Value) {
    let device = Signer::new(90);
    let mut keys = device_keys(ALICE, "A1");
    keys["keys"]["ed25519:A1"] = device.public().into();
    keys["signatures"] = json!({});
    let keys = device.sign_as(keys, ALICE, "ed25519:A1");
    server.post((ALICE, "A1"), "upload", &json!({"device_keys": keys})).ok();
    (device, keys)
}

#[test]
fn the_first_keys_need_no_proof_and_are_seen_by_whom_they_concern() {
    let server = server();
    let since = server.token();
    let keys = Keys::new(1);
    keys.upload(&server, ALICE, "A1");
    let mut wakes = server.host.wakes();
    wakes.sort();
    assert_eq!(wakes, [format!("room:{ROOM}"), format!("user:{ALICE}")]);
    assert_eq!(server.changes(BOB, &since).0, [ALICE]);
    let body = keys.body(ALICE);
    for (viewer, user_signing) in
        [(ALICE, json!({ALICE: body["user_signing_key"]})), (BOB, json!({}))]
    {
        let answer = server.query(viewer, &[ALICE]);
        assert_eq!(answer["master_keys"], json!({ALICE: body["master_key"]}));
        assert_eq!(answer["self_signing_keys"], json!({ALICE: body["self_signing_key"]}));
        assert_eq!(answer["user_signing_keys"], user_signing, "{viewer}");
    }
}

#[test]
fn other_keys_need_a_proof_and_the_same_ones_do_not() {
    let server = server();
    let asked = accounts(&server);
    Keys::new(1).upload(&server, ALICE, "A1");
    Keys::new(1).upload(&server, ALICE, "A1");
    assert!(asked.lock().unwrap().is_empty());
    let _ = server.host.wakes();
    let mut body = Keys::new(11).body(ALICE);
    let answer = server.post((ALICE, "A1"), "device-signing", &body);
    assert_eq!((answer.status(), answer.json()["session"].clone()), (401, json!("s")));
    assert_eq!(*asked.lock().unwrap(), [format!("{ALICE} keys.device-signing")]);
    assert!(server.host.wakes().is_empty());
    body["auth"] = json!(true);
    server.post((ALICE, "A1"), "device-signing", &body).ok();
    let answer = server.query(BOB, &[ALICE]);
    assert_eq!(answer["master_keys"][ALICE], body["master_key"]);
}

#[test]
fn without_an_answer_of_accounts_nothing_is_replaced() {
    let server = server();
    Keys::new(1).upload(&server, ALICE, "A1");
    let answer = server.post((ALICE, "A1"), "device-signing", &Keys::new(11).body(ALICE));
    assert_eq!(answer.status(), 503);
    assert_eq!(
        server.query(BOB, &[ALICE])["master_keys"][ALICE],
        Keys::new(1).body(ALICE)["master_key"]
    );
}

#[test]
fn of_two_first_sets_at_once_the_later_needs_a_proof() {
    let server = server();
    let asked = accounts(&server);
    server.host.before_next_commit(|host| {
        Keys::new(1).upload(&Server { host: host.clone() }, ALICE, "A1");
    });
    let answer = server.post((ALICE, "A2"), "device-signing", &Keys::new(11).body(ALICE));
    assert_eq!(answer.status(), 401);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn a_new_master_key_leaves_nothing_that_the_old_one_signed() {
    let server = server();
    accounts(&server);
    let (device, keys) = signing_device(&server);
    let old = Keys::new(1);
    old.upload(&server, ALICE, "A1");
    let master = device.sign_as(old.body(ALICE)["master_key"].clone(), ALICE, "ed25519:A1");
    let body = json!({ALICE: {"A1": old.own.sign(keys, ALICE), old.master.public(): master}});
    assert_eq!(server.post((ALICE, "A1"), "signatures", &body).ok(), json!({"failures": {}}));
    let new = Signer::new(50);
    let body = json!({"master_key": new.key(ALICE, "master"), "auth": true});
    server.post((ALICE, "A1"), "device-signing", &body).ok();
    let answer = server.query(ALICE, &[ALICE]);
    assert_eq!(answer["self_signing_keys"], json!({}));
    assert_eq!(answer["user_signing_keys"], json!({}));
    assert_eq!(answer["master_keys"][ALICE], new.key(ALICE, "master"));
    let signatures = &answer["device_keys"][ALICE]["A1"]["signatures"][ALICE];
    assert_eq!(signatures.as_object().unwrap().len(), 1, "{signatures}");
    let left: Vec<(i64,)> = server.rows("SELECT COUNT(*) FROM keys_signatures");
    assert_eq!(left, [(0,)]);
}

#[test]
fn a_new_user_signing_key_is_told_to_its_owner_alone() {
    let server = server();
    accounts(&server);
    let keys = Keys::new(1);
    let body = json!({"master_key": keys.master.key(ALICE, "master")});
    server.post((ALICE, "A1"), "device-signing", &body).ok();
    let since = server.token();
    let _ = server.host.wakes();
    let key = keys.master.sign(keys.others.key(ALICE, "user_signing"), ALICE);
    let body = json!({"user_signing_key": key, "auth": true});
    server.post((ALICE, "A1"), "device-signing", &body).ok();
    assert_eq!(server.host.wakes(), [format!("user:{ALICE}")]);
    assert_eq!(server.changes(ALICE, &since).0, [ALICE]);
    assert!(server.changes(BOB, &since).0.is_empty());
}

#[test]
fn keys_that_make_no_sense_are_refused() {
    let server = server();
    let keys = Keys::new(1);
    let stranger = Signer::new(70);
    let master = keys.master.key(ALICE, "master");
    let own = keys.own.key(ALICE, "self_signing");
    let mut named_otherwise = master.clone();
    named_otherwise["keys"] = json!({"ed25519:x": "y"});
    let mut two = master.clone();
    two["keys"]["ed25519:x"] = json!("x");
    let device = json!({"user_id": ALICE, "usage": ["master"], "keys": {"ed25519:A2": "A2"}});
    for (body, status, code) in [
        (json!({"self_signing_key": own}), 400, "M_MISSING_PARAM"),
        (json!({}), 400, "M_MISSING_PARAM"),
        (json!({"master_key": keys.master.key(BOB, "master")}), 400, "M_INVALID_PARAM"),
        (json!({"master_key": keys.master.key(ALICE, "self_signing")}), 400, "M_INVALID_PARAM"),
        (json!({"master_key": named_otherwise}), 400, "M_INVALID_PARAM"),
        (json!({"master_key": two}), 400, "M_INVALID_PARAM"),
        (json!({"master_key": "x"}), 400, "M_INVALID_PARAM"),
        (json!({"master_key": device}), 403, "M_FORBIDDEN"),
        (json!({"master_key": master, "self_signing_key": own}), 400, "M_INVALID_SIGNATURE"),
        (
            json!({"master_key": master, "self_signing_key": stranger.sign_as(own.clone(), ALICE, &keys.master.id())}),
            400,
            "M_INVALID_SIGNATURE",
        ),
        (json!([]), 400, "M_BAD_JSON"),
    ] {
        let error = server.post((ALICE, "A1"), "device-signing", &body).error();
        assert_eq!(error, (status, code.to_owned()), "{body}");
    }
    assert_eq!(server.query(ALICE, &[ALICE])["master_keys"], json!({}));
}

#[test]
fn a_signed_device_is_seen_by_all_and_told_of() {
    let server = server();
    let (device, stored) = signing_device(&server);
    let keys = Keys::new(1);
    keys.upload(&server, ALICE, "A1");
    let since = server.token();
    let mut bare = stored.clone();
    bare.as_object_mut().unwrap().remove("signatures");
    let signed = keys.own.sign(bare, ALICE);
    let master = device.sign_as(keys.master.key(ALICE, "master"), ALICE, "ed25519:A1");
    let body = json!({ALICE: {"A1": signed, keys.master.public(): master}});
    assert_eq!(server.post((ALICE, "A1"), "signatures", &body).ok(), json!({"failures": {}}));
    assert_eq!(server.changes(BOB, &since).0, [ALICE]);
    for viewer in [ALICE, BOB] {
        let answer = server.query(viewer, &[ALICE]);
        let names = &answer["device_keys"][ALICE]["A1"]["signatures"][ALICE];
        assert_eq!(names["ed25519:A1"], stored["signatures"][ALICE]["ed25519:A1"]);
        assert_eq!(names[keys.own.id()], signed["signatures"][ALICE][keys.own.id()]);
        assert_eq!(answer["master_keys"][ALICE], master);
    }
    let since = server.token();
    server.post((ALICE, "A1"), "signatures", &body).ok();
    assert!(server.changes(BOB, &since).0.is_empty(), "the same ones are no change");
}

#[test]
fn signatures_on_others_are_seen_by_their_maker_alone() {
    let server = server();
    let (alices, bobs) = (Keys::new(1), Keys::new(20));
    alices.upload(&server, ALICE, "A1");
    bobs.upload(&server, BOB, "B1");
    let since = server.token();
    let _ = server.host.wakes();
    let signed = alices.others.sign(bobs.master.key(BOB, "master"), ALICE);
    let body = json!({BOB: {bobs.master.public(): signed}});
    assert_eq!(server.post((ALICE, "A1"), "signatures", &body).ok(), json!({"failures": {}}));
    assert_eq!(server.host.wakes(), [format!("user:{ALICE}")]);
    assert_eq!(server.changes(ALICE, &since).0, [BOB]);
    assert!(server.changes(BOB, &since).0.is_empty());
    assert_eq!(server.query(ALICE, &[BOB])["master_keys"][BOB], signed);
    for viewer in [BOB, CAROL] {
        let master = server.query(viewer, &[BOB])["master_keys"][BOB].clone();
        assert_eq!(master, bobs.master.key(BOB, "master"), "{viewer}");
    }
}

#[test]
fn signatures_that_do_not_hold_are_named_and_the_others_stored() {
    let server = server();
    let (_, stored) = signing_device(&server);
    let (alices, bobs) = (Keys::new(1), Keys::new(20));
    alices.upload(&server, ALICE, "A1");
    bobs.upload(&server, BOB, "B1");
    let mut changed = stored.clone();
    changed["algorithms"] = json!([]);
    let forged =
        Signer::new(70).sign_as(bobs.master.key(BOB, "master"), ALICE, &alices.others.id());
    for (body, user, key, code) in [
        (
            json!({ALICE: {"A1": alices.own.sign(changed, ALICE)}}),
            ALICE,
            "A1",
            "M_INVALID_SIGNATURE",
        ),
        (json!({ALICE: {"A1": stored}}), ALICE, "A1", "M_INVALID_SIGNATURE"),
        (
            json!({ALICE: {"A9": alices.own.sign(stored.clone(), ALICE)}}),
            ALICE,
            "A9",
            "M_NOT_FOUND",
        ),
        (
            json!({BOB: {bobs.master.public(): forged}}),
            BOB,
            &*bobs.master.public(),
            "M_INVALID_SIGNATURE",
        ),
        (
            json!({BOB: {"B1": alices.others.sign(device_keys(BOB, "B1"), ALICE)}}),
            BOB,
            "B1",
            "M_NOT_FOUND",
        ),
        (json!({CAROL: {"x": {}}}), CAROL, "x", "M_NOT_FOUND"),
    ] {
        let mut both = body.clone();
        both[ALICE]["A1"] = match &body[ALICE]["A1"] {
            Value::Null => alices.own.sign(stored.clone(), ALICE),
            given => given.clone(),
        };
        let answer = server.post((ALICE, "A1"), "signatures", &both).ok();
        assert_eq!(answer["failures"][user][key]["errcode"], code, "{body}");
        assert_eq!(answer["failures"].as_object().unwrap().len(), 1, "{answer}");
    }
    let signatures = &server.query(BOB, &[ALICE])["device_keys"][ALICE]["A1"]["signatures"][ALICE];
    assert!(signatures.get(alices.own.id()).is_some(), "{signatures}");
    for body in [json!([]), json!({ALICE: []}), json!({ALICE: {"A1": 1}})] {
        assert_eq!(server.post((ALICE, "A1"), "signatures", &body).error().1, "M_BAD_JSON");
    }
}
