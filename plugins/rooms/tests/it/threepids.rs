//! Invites by address, against an identity server that the test plays.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use tessera_plugin_rooms::Plugin;
use tessera_sdk::fetch::{Body, Response};
use tessera_test_host::{TestAnswer, TestHost};

use crate::harness::{ALICE, BOB, CAROL, Server, configured};

type Calls = Arc<Mutex<Vec<(String, Value)>>>;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn public() -> String {
    STANDARD_NO_PAD.encode(key().verifying_key().to_bytes())
}

/// `bob@example.org` is Bob; everybody else is unknown. Gives what was asked.
fn identity_server(host: &TestHost, valid: bool) -> Calls {
    let calls = Calls::default();
    let log = Arc::clone(&calls);
    let url = "https://is.example/_matrix/identity/v2/";
    host.services(|services| {
        services.fetch = Arc::new(move |request| {
            let body = match &request.body {
                Body::Bytes(bytes) => serde_json::from_slice(bytes).unwrap(),
                _ => Value::Null,
            };
            log.lock().unwrap().push((request.url.clone(), body.clone()));
            let path = request.url.strip_prefix(url).unwrap();
            let token = ("authorization".to_owned(), "Bearer secret".to_owned());
            assert_eq!(request.headers.contains(&token), !path.starts_with("pubkey"));
            let key =
                json!({"public_key": public(), "key_validity_url": format!("{url}pubkey/isvalid")});
            let known = tessera_sdk::digest::sha256(b"bob@example.org email salt");
            let answer = match path {
                "hash_details" => json!({"algorithms": ["sha256"], "lookup_pepper": "salt"}),
                "lookup" if body["addresses"][0] == known => json!({"mappings": {known: BOB}}),
                "lookup" => json!({"mappings": {body["addresses"][0].as_str().unwrap(): null}}),
                "store-invite" => {
                    json!({"token": "t0k3n", "public_keys": [key], "display_name": "c...@e..."})
                }
                path if path.starts_with("pubkey/isvalid?public_key=") => json!({"valid": valid}),
                other => panic!("asked for {other}"),
            };
            let body = Body::Bytes(answer.to_string().into_bytes());
            Ok(Response { status: 200, headers: vec![], body })
        });
    });
    calls
}

fn server() -> Server {
    configured(&json!({"identity-servers": ["is.example"]}))
}

fn invite(server: &Server, user: &str, room: &str, address: &str) -> TestAnswer {
    let body = threepid(address);
    server.ask(user, "POST", "invite", &[("roomId", room)], &body)
}

fn threepid(address: &str) -> Value {
    json!({"id_server": "is.example", "id_access_token": "secret", "medium": "email", "address": address})
}

/// The proof that the address is `mxid`'s, signed by the identity server.
fn proof(mxid: &str, token: &str) -> Value {
    let signed = format!(r#"{{"mxid":"{mxid}","sender":"{ALICE}","token":"{token}"}}"#);
    let signature = STANDARD_NO_PAD.encode(key().sign(signed.as_bytes()).to_bytes());
    json!({"mxid": mxid, "sender": ALICE, "token": token, "signatures": {"is.example": {"ed25519:0": signature}}})
}

fn accept(server: &Server, user: &str, room: &str, proof: &Value) -> TestAnswer {
    let body = json!({"third_party_signed": proof});
    server.ask(user, "POST", "join-room", &[("roomId", room)], &body)
}

#[test]
fn known_address_is_invited_as_its_user() {
    let server = server();
    let _ = identity_server(&server.host, true);
    let room = server.create(ALICE, &json!({}));
    let _ = invite(&server, ALICE, &room, "Bob@Example.org").ok();
    assert_eq!(server.membership(&room, BOB), "invite");
    let again = server.create(ALICE, &json!({"invite_3pid": [threepid("bob@example.org")]}));
    assert_eq!(server.membership(&again, BOB), "invite");
}

#[test]
fn unknown_address_gets_an_invite_that_its_owner_accepts() {
    let server = server();
    let calls = identity_server(&server.host, true);
    let room = server.create(ALICE, &json!({"name": "Cats"}));
    let _ = invite(&server, ALICE, &room, "carol@example.org").ok();
    let told = calls.lock().unwrap().last().unwrap().1.clone();
    let expected = json!({"medium": "email", "address": "carol@example.org", "room_id": room, "sender": ALICE,
        "sender_display_name": "Alice", "sender_avatar_url": "mxc://hs1/alice", "room_name": "Cats",
        "room_join_rules": "invite"});
    assert_eq!(told, expected);
    let path = [
        ("roomId", room.as_str()),
        ("eventType", "m.room.third_party_invite"),
        ("stateKey", "t0k3n"),
    ];
    let pending = server.get(ALICE, "get-state-event", &path).ok();
    assert_eq!(pending["display_name"], "c...@e...");
    assert_eq!(pending["public_key"], public());
    assert_eq!(pending["public_keys"].as_array().unwrap().len(), 1);

    let forbidden = (403, "M_FORBIDDEN".to_owned());
    let mut forged = proof(CAROL, "t0k3n");
    forged["signatures"]["is.example"]["ed25519:0"] = STANDARD_NO_PAD.encode([0; 64]).into();
    assert_eq!(accept(&server, CAROL, &room, &forged).error(), forbidden);
    assert_eq!(accept(&server, CAROL, &room, &proof(CAROL, "other")).error(), forbidden);
    assert_eq!(accept(&server, BOB, &room, &proof(CAROL, "t0k3n")).error(), forbidden);
    let half = json!({"mxid": CAROL, "token": "t0k3n"});
    assert_eq!(accept(&server, CAROL, &room, &half).error(), (400, "M_BAD_JSON".to_owned()));
    assert_eq!(server.membership(&room, CAROL), "");
    let _ = accept(&server, CAROL, &room, &proof(CAROL, "t0k3n")).ok();
    assert_eq!(server.membership(&room, CAROL), "join");
    let events = server.events(&room);
    let invited = &events[events.len() - 2];
    assert_eq!(invited["sender"], ALICE);
    assert_eq!(invited["content"]["third_party_invite"]["display_name"], "c...@e...");
    assert_eq!(invited["content"]["third_party_invite"]["signed"]["mxid"], CAROL);
}

#[test]
fn identity_server_tells_whose_an_address_has_become() {
    let server = server();
    let _ = identity_server(&server.host, true);
    let room = server.create(ALICE, &json!({}));
    let _ = invite(&server, ALICE, &room, "carol@example.org").ok();
    let bind = |mxid: &str, room: &str| {
        let invite =
            json!({"room_id": room, "sender": ALICE, "mxid": mxid, "signed": proof(mxid, "t0k3n")});
        let body = json!({"medium": "email", "address": "carol@example.org", "mxid": mxid, "invites": [invite]});
        server.host.request("PUT", "onbind").json(&body).send::<Plugin>()
    };
    let forbidden = (403, "M_FORBIDDEN".to_owned());
    assert_eq!(bind(CAROL, "!none:hs1").error(), forbidden);
    assert_eq!(server.membership(&room, CAROL), "");
    // Nobody learns without a proof who is in the room.
    let forged = |mxid: &str| {
        let mut signed = proof(mxid, "t0k3n");
        signed["signatures"]["is.example"]["ed25519:0"] = STANDARD_NO_PAD.encode([0; 64]).into();
        let invite = json!({"room_id": room, "sender": ALICE, "mxid": mxid, "signed": signed});
        let body = json!({"medium": "email", "address": "x", "mxid": mxid, "invites": [invite]});
        server.host.request("PUT", "onbind").json(&body).send::<Plugin>()
    };
    assert_eq!(forged(ALICE).error(), forbidden);
    assert_eq!(forged(CAROL).error(), forbidden);
    let _ = bind(CAROL, &room).ok();
    assert_eq!(server.membership(&room, CAROL), "invite");
    let _ = server.join(CAROL, &room).ok();
    // The same words again bring nobody back.
    let _ = server.leave(CAROL, &room).ok();
    let _ = bind(CAROL, &room).ok();
    assert_eq!(server.membership(&room, CAROL), "leave");
    let other = bind("@carol:elsewhere", &room);
    assert_eq!(other.error(), (400, "M_INVALID_PARAM".to_owned()));
}

#[test]
fn key_that_was_taken_back_lets_nobody_in() {
    let server = server();
    let _ = identity_server(&server.host, false);
    let room = server.create(ALICE, &json!({}));
    let _ = invite(&server, ALICE, &room, "carol@example.org").ok();
    let answer = accept(&server, CAROL, &room, &proof(CAROL, "t0k3n"));
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn identity_server_is_asked_only_for_those_who_may_invite() {
    let server = server();
    let calls = identity_server(&server.host, true);
    let room = server.create(ALICE, &json!({}));
    let forbidden = (403, "M_FORBIDDEN".to_owned());
    assert_eq!(invite(&server, BOB, &room, "x@example.org").error(), forbidden);
    let ask =
        |body: Value| server.ask(ALICE, "POST", "invite", &[("roomId", &room)], &body).error();
    let mut elsewhere = threepid("x@example.org");
    elsewhere["id_server"] = "elsewhere.example".into();
    assert_eq!(ask(elsewhere), (403, "M_SERVER_NOT_TRUSTED".to_owned()));
    let mut path = threepid("x@example.org");
    path["id_server"] = "is.example/x?".into();
    assert_eq!(ask(path), (400, "M_INVALID_PARAM".to_owned()));
    assert_eq!(
        ask(json!({"id_server": "is.example", "medium": "email"})),
        (400, "M_MISSING_PARAM".to_owned())
    );
    assert_eq!(ask(json!({})), (400, "M_MISSING_PARAM".to_owned()));
    assert!(calls.lock().unwrap().is_empty());
}

#[test]
fn identity_server_that_is_away_is_no_success() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let answer = invite(&server, ALICE, &room, "x@example.org");
    assert_eq!(answer.error(), (502, "M_UNKNOWN".to_owned()));
    server.host.services(|services| {
        services.fetch = Arc::new(|_| {
            let body = json!({"errcode": "M_TERMS_NOT_SIGNED", "error": "first"}).to_string();
            Ok(Response { status: 403, headers: vec![], body: Body::Bytes(body.into_bytes()) })
        });
    });
    let answer = invite(&server, ALICE, &room, "x@example.org");
    assert_eq!(answer.error(), (403, "M_TERMS_NOT_SIGNED".to_owned()));
}

#[test]
fn modules_are_asked_about_invites_by_address() {
    use tessera_sdk::hooks::Refusal;
    let refusal = |errcode: &str| Refusal {
        status: 403,
        errcode: errcode.to_owned(),
        error: "no".to_owned(),
    };
    let server = server();
    let calls = identity_server(&server.host, true);
    let room = server.create(ALICE, &json!({}));
    server.host.services(|services| {
        services.hooks.may_invite_threepid = Some(Arc::new(move |_, who, threepid, _| {
            assert_eq!((who.user.as_str(), threepid.medium.as_str()), (ALICE, "email"));
            if threepid.address == "a@example.org" { Err(refusal("ORG_USER")) } else { Ok(()) }
        }));
        services.hooks.threepid_can_be_invited = Some(Arc::new(move |_, threepid, _| {
            if threepid.address == "b@example.org" { Err(refusal("ORG_ROOM")) } else { Ok(()) }
        }));
    });
    assert_eq!(
        invite(&server, ALICE, &room, "a@example.org").error(),
        (403, "ORG_USER".to_owned())
    );
    assert_eq!(
        invite(&server, ALICE, &room, "b@example.org").error(),
        (403, "ORG_ROOM".to_owned())
    );
    assert!(calls.lock().unwrap().is_empty());
    let _ = invite(&server, ALICE, &room, "c@example.org").ok();
}
