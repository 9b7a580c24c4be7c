//! Keys of devices and users.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Answer, Session};

use super::Front;

/// Status and error code.
pub(crate) fn refused(answer: &Answer, status: u16, errcode: &str) {
    assert_eq!((answer.status, answer.errcode()), (status, errcode), "{}", answer.body);
}

async fn post(user: &Session, path: &str, body: &Value) -> Answer {
    user.call(Method::POST, path, Some(body)).await.unwrap()
}

/// A key that signs, of a seed that only this test has.
struct Signer(SigningKey);

impl Signer {
    fn new(front: &Front, name: &str) -> Self {
        let mut seed = [0; 32];
        for (place, byte) in seed.iter_mut().zip(front.name(name).bytes().rev().cycle()) {
            *place = byte;
        }
        Self(SigningKey::from_bytes(&seed))
    }

    fn public(&self) -> String {
        STANDARD_NO_PAD.encode(self.0.verifying_key().as_bytes())
    }

    fn key(&self, user: &str, usage: &str) -> Value {
        let public = self.public();
        json!({"user_id": user, "usage": [usage], "keys": {format!("ed25519:{public}"): public}})
    }

    fn sign_as(&self, mut object: Value, user: &str, id: &str) -> Value {
        let mut bare = object.clone();
        bare.as_object_mut().unwrap().remove("signatures");
        let signature = STANDARD_NO_PAD.encode(self.0.sign(bare.to_string().as_bytes()).to_bytes());
        object["signatures"][user][id] = signature.into();
        object
    }

    fn sign(&self, object: Value, user: &str) -> Value {
        self.sign_as(object, user, &format!("ed25519:{}", self.public()))
    }
}

fn device_keys(user: &Session, signer: &Signer) -> Value {
    let device = &user.device_id;
    let keys = json!({
        "user_id": user.user_id.as_ref(), "device_id": device.as_ref(),
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {format!("curve25519:{device}"): "c", format!("ed25519:{device}"): signer.public()},
    });
    signer.sign_as(keys, &user.user_id, &format!("ed25519:{device}"))
}

async fn query(viewer: &Session, user: &Session) -> Value {
    let body = json!({"device_keys": {user.user_id.as_ref(): []}});
    viewer.post("/keys/query", &body).await.unwrap()
}

#[tokio::test]
async fn uploaded_keys_are_found_by_others_and_end_with_the_device() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let signer = Signer::new(&front, "device");
    let keys = device_keys(&alice, &signer);
    let counts = alice.post("/keys/upload", &json!({"device_keys": keys})).await.unwrap();
    assert_eq!(counts, json!({"one_time_key_counts": {"signed_curve25519": 0}}));
    let (user, device) = (alice.user_id.as_ref(), alice.device_id.as_ref());
    let found = query(&bob, &alice).await;
    assert_eq!(found["device_keys"][user][device]["keys"], keys["keys"]);
    assert_eq!(found["device_keys"][user][device]["signatures"], keys["signatures"]);
    assert_eq!(found["failures"], json!({}));

    refused(
        &post(&bob, "/keys/upload", &json!({"device_keys": keys})).await,
        400,
        "M_INVALID_PARAM",
    );
    let partial = json!({"device_keys": {"user_id": user, "device_id": device}});
    refused(&post(&alice, "/keys/upload", &partial).await, 400, "M_BAD_JSON");
    refused(&post(&bob, "/keys/query", &json!({"device_keys": 5})).await, 400, "M_BAD_JSON");

    let name = json!({"display_name": "Phone"});
    alice.put(&format!("/devices/{device}"), &name).await.unwrap();
    let unsigned = query(&bob, &alice).await["device_keys"][user][device]["unsigned"].clone();
    assert_eq!(unsigned, json!({"device_display_name": "Phone"}));
    alice.post("/logout", &json!({})).await.unwrap();
    assert_eq!(query(&bob, &alice).await["device_keys"], json!({user: {}}));
}

#[tokio::test]
async fn one_time_keys_are_claimed_once_each() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let key = json!({"key": "k", "signatures": {}});
    for id in ["2", "1"] {
        let body = json!({"one_time_keys": {format!("signed_curve25519:{id}"): key}});
        alice.post("/keys/upload", &body).await.unwrap();
    }
    let fallback =
        json!({"fallback_keys": {"signed_curve25519:f": {"key": "f", "fallback": true}}});
    let counts = alice.post("/keys/upload", &fallback).await.unwrap();
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 2);
    let other = json!({"one_time_keys": {"signed_curve25519:1": {"key": "other"}}});
    refused(&post(&alice, "/keys/upload", &other).await, 400, "M_UNKNOWN");

    let (user, device) = (alice.user_id.as_ref(), alice.device_id.as_ref());
    let body = json!({"one_time_keys": {user: {device: "signed_curve25519"}}, "timeout": 10000});
    for id in ["2", "1", "f", "f"] {
        let claimed = bob.post("/keys/claim", &body).await.unwrap();
        let keys = claimed["one_time_keys"][user][device].as_object().unwrap();
        let names: Vec<_> = keys.keys().collect();
        assert_eq!(names, [&format!("signed_curve25519:{id}")]);
        assert_eq!(claimed["failures"], json!({}));
    }
    refused(&post(&bob, "/keys/claim", &json!({})).await, 400, "M_BAD_JSON");
}

#[tokio::test]
async fn many_who_claim_at_once_get_different_keys() {
    let front = Front::get().await;
    let alice = front.user("alice").await;
    let others = [front.user("bob").await, front.user("carol").await, front.user("dave").await];
    let keys: serde_json::Map<String, Value> =
        (0..30).map(|n| (format!("curve25519:{n}"), json!("k"))).collect();
    alice.post("/keys/upload", &json!({ "one_time_keys": keys })).await.unwrap();
    let body = json!({"one_time_keys": {alice.user_id.as_ref(): {alice.device_id.as_ref(): "curve25519"}}});
    let claims = others.iter().flat_map(|user| std::iter::repeat_n(user, 10)).map(|user| {
        let (user, body) = (user.clone(), body.clone());
        tokio::spawn(async move { user.post("/keys/claim", &body).await.unwrap() })
    });
    let mut names = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        let claimed = claim.await.unwrap();
        let keys = &claimed["one_time_keys"][alice.user_id.as_ref()][alice.device_id.as_ref()];
        names.extend(keys.as_object().unwrap().keys().cloned());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 30);
}

#[tokio::test]
async fn changed_keys_are_told_to_who_shares_a_room() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let room = alice.create_room(&json!({"preset": "public_chat"})).await.unwrap();
    bob.join(&room).await.unwrap();
    let since = bob.sync_token().await.unwrap();
    let keys = device_keys(&alice, &Signer::new(&front, "device"));
    alice.post("/keys/upload", &json!({"device_keys": keys})).await.unwrap();
    let to = bob.sync_token().await.unwrap();
    let changes = bob.get(&format!("/keys/changes?from={since}&to={to}")).await.unwrap();
    let changed = changes["changed"].as_array().unwrap();
    assert!(changed.contains(&json!(alice.user_id.as_ref())), "{changes}");
    bob.post(&format!("/rooms/{room}/leave"), &json!({})).await.unwrap();
    let left = bob.get(&format!("/keys/changes?from={to}&to={to}")).await.unwrap();
    assert_eq!(left["left"], json!([alice.user_id.as_ref()]));
    let missing = bob.call(Method::GET, "/keys/changes?from=s1", None).await.unwrap();
    refused(&missing, 400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn users_have_keys_that_sign_devices_and_other_users() {
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let [device, master, own, others, bobs] =
        ["device", "master", "own", "others", "bobs"].map(|name| Signer::new(&front, name));
    let user = alice.user_id.as_ref();
    let keys = device_keys(&alice, &device);
    alice.post("/keys/upload", &json!({"device_keys": keys})).await.unwrap();
    let lone = json!({"self_signing_key": own.key(user, "self_signing")});
    refused(&post(&alice, "/keys/device_signing/upload", &lone).await, 400, "M_MISSING_PARAM");
    let mut body = json!({
        "master_key": master.key(user, "master"),
        "self_signing_key": own.key(user, "self_signing"),
        "user_signing_key": master.sign(others.key(user, "user_signing"), user),
    });
    refused(&post(&alice, "/keys/device_signing/upload", &body).await, 400, "M_INVALID_SIGNATURE");
    body["self_signing_key"] = master.sign(own.key(user, "self_signing"), user);
    alice.post("/keys/device_signing/upload", &body).await.unwrap();
    alice.post("/keys/device_signing/upload", &body).await.unwrap();
    let found = query(&bob, &alice).await;
    assert_eq!(found["master_keys"][user], body["master_key"]);
    assert_eq!(found["self_signing_keys"][user], body["self_signing_key"]);
    assert_eq!(found["user_signing_keys"], json!({}));

    // Others in their place: only who knows the password.
    let mut new = json!({"master_key": bobs.key(user, "master")});
    let asked = post(&alice, "/keys/device_signing/upload", &new).await;
    assert_eq!(asked.status, 401, "{}", asked.body);
    let name = front.name("alice");
    new["auth"] = json!({
        "type": "m.login.password", "session": asked.body["session"], "password": format!("{name}'s password"),
        "identifier": {"type": "m.id.user", "user": name},
    });

    let of_bob = json!({"master_key": bobs.key(&bob.user_id, "master")});
    bob.post("/keys/device_signing/upload", &of_bob).await.unwrap();
    let signed = others.sign(bobs.key(&bob.user_id, "master"), user);
    let signatures = json!({
        user: {alice.device_id.as_ref(): own.sign(keys.clone(), user), "NONE": keys},
        bob.user_id.as_ref(): {bobs.public(): signed},
    });
    let answer = alice.post("/keys/signatures/upload", &signatures).await.unwrap();
    assert_eq!(answer["failures"][user]["NONE"]["errcode"], "M_NOT_FOUND");
    assert_eq!(answer["failures"].as_object().unwrap().len(), 1, "{answer}");
    let names =
        query(&bob, &alice).await["device_keys"][user][alice.device_id.as_ref()]["signatures"]
            [user]
            .clone();
    assert!(names.get(format!("ed25519:{}", own.public())).is_some(), "{names}");
    let seen = query(&alice, &bob).await["master_keys"][bob.user_id.as_ref()].clone();
    assert_eq!(seen, signed);
    refused(&post(&alice, "/keys/signatures/upload", &json!({user: 1})).await, 400, "M_BAD_JSON");

    alice.post("/keys/device_signing/upload", &new).await.unwrap();
    assert_eq!(query(&bob, &alice).await["master_keys"][user], new["master_key"]);
}

#[tokio::test]
async fn a_dehydrated_device_receives_for_its_user() {
    const PATH: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
    let front = Front::get().await;
    let (alice, bob) = (front.user("alice").await, front.user("bob").await);
    let ask = async |method: Method, path: &str, body: Option<Value>| {
        front.request(method, path, Some(&alice.token), body.as_ref()).await
    };
    refused(&ask(Method::GET, PATH, None).await, 404, "M_NOT_FOUND");
    let user = alice.user_id.as_ref();
    let keys = json!({
        "user_id": user, "device_id": "DEHYDRATED", "algorithms": [], "dehydrated": true,
        "keys": {"ed25519:DEHYDRATED": "e"}, "signatures": {},
    });
    let mut body = json!({"device_id": "DEHYDRATED", "device_data": {"algorithm": "x"}});
    refused(&ask(Method::PUT, PATH, Some(body.clone())).await, 400, "M_MISSING_PARAM");
    body["device_keys"] = keys.clone();
    let put = ask(Method::PUT, PATH, Some(body)).await;
    assert_eq!((put.status, &put.body), (200, &json!({"device_id": "DEHYDRATED"})));
    let found = query(&bob, &alice).await["device_keys"][user]["DEHYDRATED"].clone();
    assert_eq!(found["dehydrated"], true);
    let messages = json!({"messages": {user: {"DEHYDRATED": {"n": 1}}}});
    bob.put("/sendToDevice/m.room_key/1", &messages).await.unwrap();
    let events = format!("{PATH}/DEHYDRATED/events");
    let page = ask(Method::POST, &events, Some(json!({}))).await.ok().unwrap();
    let expected =
        json!([{"sender": bob.user_id.as_ref(), "type": "m.room_key", "content": {"n": 1}}]);
    assert_eq!(page["events"], expected);
    let rest = json!({"next_batch": page["next_batch"]});
    assert_eq!(ask(Method::POST, &events, Some(rest)).await.ok().unwrap()["events"], json!([]));
    let got = ask(Method::GET, PATH, None).await.ok().unwrap();
    assert_eq!(got, json!({"device_id": "DEHYDRATED", "device_data": {"algorithm": "x"}}));
    ask(Method::DELETE, PATH, None).await.ok().unwrap();
    refused(&ask(Method::DELETE, PATH, None).await, 404, "M_NOT_FOUND");
}
