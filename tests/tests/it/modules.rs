//! Modules of third parties on a running server: every example, through a client; what they may do, in which order they are
//! asked, and what happens when one fails.

mod antispam;
mod invites;
mod order;
mod outside;
mod password;
mod rules;
mod scripts;
mod spam;

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{Answer, Session};

use crate::common::World;

/// A server that knows `@NAME:hs1` as an administrator, with more lines in its descriptor.
async fn world(more: &str) -> World {
    World::start_with_config(&format!("{}\n{more}", admin_config())).await
}

/// Whoever knows this secret makes administrators.
const SECRET: &str = "a secret of the operator";

fn admin_config() -> String {
    format!("[plugins.accounts.config]\nshared-secret = \"{SECRET}\"\n")
}

/// A new administrator.
async fn admin(world: &World, name: &str) -> Session {
    use hmac::{Hmac, KeyInit, Mac};
    let path = "/_synapse/admin/v1/register";
    let nonce = world.request(Method::GET, path, None, None).await.ok().unwrap();
    let nonce = nonce["nonce"].as_str().unwrap();
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update([nonce, name, "a password", "admin"].join("\0").as_bytes());
    let body = json!({
        "nonce": nonce, "username": name, "password": "a password", "admin": true,
        "mac": hex::encode(mac.finalize().into_bytes()),
    });
    let made = world.request(Method::POST, path, None, Some(&body)).await.ok().unwrap();
    Session::from_login(&world.http, &world.base, &made).unwrap()
}

/// Sends a text, whatever the answer.
async fn send(user: &Session, room: &str, txn: &str, body: &str) -> Answer {
    let path = format!("/rooms/{room}/send/m.room.message/{txn}");
    let content = json!({"msgtype": "m.text", "body": body});
    user.call(Method::PUT, &path, Some(&content)).await.unwrap()
}

/// Invites somebody, whatever the answer.
async fn invite(user: &Session, room: &str, other: &str) -> Answer {
    let body = json!({"user_id": other});
    user.call(Method::POST, &format!("/rooms/{room}/invite"), Some(&body)).await.unwrap()
}

/// The bodies of a room's messages, oldest first.
async fn bodies(user: &Session, room: &str) -> Vec<String> {
    let page = user.get(&format!("/rooms/{room}/messages?dir=f&limit=1000")).await.unwrap();
    let body = |event: &Value| event["content"]["body"].as_str().map(str::to_owned);
    page["chunk"].as_array().unwrap().iter().filter_map(body).collect()
}
