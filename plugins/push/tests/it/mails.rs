//! Mails of missed messages.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_plugin_push::Plugin;
use tessera_sdk::bindings::host::mail::{Error, Message};
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

use crate::world::*;

const MINUTE: u64 = 60_000;
const ADDRESS: &str = "bob@example.com";

#[derive(Clone, Default)]
struct Relay {
    sent: Arc<Mutex<Vec<Message>>>,
    fails: Arc<Mutex<Option<Error>>>,
}

impl Relay {
    fn sent(&self) -> Vec<Message> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

fn pusher(address: &str) -> Value {
    json!({
        "app_id": "m.email", "pushkey": address, "kind": "email", "app_display_name": "Email Notifications",
        "device_display_name": address, "lang": "en", "data": { "brand": "Teahouse" },
    })
}

fn world_with_mail() -> (World, Relay) {
    let world = room_in(world_with(&json!({ "base-url": "https://matrix.example.org/" })));
    world.device(BOB);
    let own = "INSERT INTO accounts_threepids (user_id, medium, address, validated_ms, added_ms) \
         VALUES ($1, 'email', $2, 1, 1)";
    world
        .host
        .acting("accounts", || Batch::new().run(own, params![BOB, ADDRESS]).commit())
        .unwrap();
    let relay = Relay::default();
    let kept = relay.clone();
    world.host.services(|services| {
        services.mail = Arc::new(move |message| match kept.fails.lock().unwrap().take() {
            Some(error) => Err(error),
            None => {
                kept.sent.lock().unwrap().push(message.clone());
                Ok(())
            }
        });
    });
    world.request(BOB, "POST", "pushers-set", &[], Some(&pusher(ADDRESS))).ok();
    (world, relay)
}

fn run(world: &World) {
    world.deliver();
    world.host.fire_timers::<Plugin>("push");
}

#[test]
fn what_stays_unread_is_told_in_one_mail() {
    let (world, relay) = world_with_mail();
    world.state(ROOM, ALICE, "m.room.name", "", &json!({ "name": "Tea" }));
    world.say(ALICE, "one\r\nBcc: eve@example.com");
    run(&world);
    world.host.advance(9 * MINUTE);
    world.say(ALICE, "two");
    run(&world);
    assert!(relay.sent().is_empty(), "it may still be read");
    world.host.advance(MINUTE);
    run(&world);
    let sent = relay.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((&*sent[0].to, &*sent[0].subject), (ADDRESS, "[Teahouse] You have messages in Tea"));
    assert!(
        sent[0].text.contains("  Some One: one  Bcc: eve@example.com\n  Some One: two\n"),
        "{}",
        sent[0].text
    );
    assert!(sent[0].text.contains("https://matrix.example.org/_tessera/push/unsubscribe?token="));
}

#[test]
fn what_is_read_in_time_is_not_mailed() {
    let (world, relay) = world_with_mail();
    let sent = world.say(ALICE, "one");
    run(&world);
    world.receipt(BOB, "", &sent);
    run(&world);
    world.host.advance(60 * MINUTE);
    run(&world);
    assert!(relay.sent().is_empty());
}

#[test]
fn mails_become_seldom() {
    let (world, relay) = world_with_mail();
    let mut at = Vec::new();
    for minute in 0..60 * 48 {
        if minute % 5 == 0 {
            world.say(ALICE, "still there?");
        }
        world.host.advance(MINUTE);
        run(&world);
        if !relay.sent().is_empty() {
            at.push(minute);
        }
    }
    assert!((3..=6).contains(&at.len()), "{at:?}");
}

#[test]
fn a_relay_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let (world, relay) = world_with_mail();
    world.say(ALICE, "one");
    run(&world);
    *relay.fails.lock().unwrap() = Some(Error::Unavailable("busy".to_owned()));
    world.host.advance(10 * MINUTE);
    run(&world);
    assert!(relay.sent().is_empty());
    world.host.advance(1_000);
    run(&world);
    assert_eq!(relay.sent().len(), 1);
    *relay.fails.lock().unwrap() = Some(Error::Refused("no such box".to_owned()));
    world.say(ALICE, "two");
    run(&world);
    world.host.advance(24 * 60 * MINUTE - 1);
    run(&world);
    assert!(relay.fails.lock().unwrap().is_none(), "it was asked");
    world.host.advance(60 * MINUTE);
    run(&world);
    assert!(relay.sent().is_empty());
}

#[test]
fn an_address_of_somebody_else_is_refused() {
    let (world, _) = world_with_mail();
    let answer = world.request(BOB, "POST", "pushers-set", &[], Some(&pusher("carol@example.com")));
    assert_eq!(answer.error(), (400, "M_THREEPID_NOT_FOUND".to_owned()));
    let answer = world.request(ALICE, "POST", "pushers-set", &[], Some(&pusher(ADDRESS)));
    assert_eq!(answer.error(), (400, "M_THREEPID_NOT_FOUND".to_owned()));
}

#[test]
fn the_link_in_a_mail_ends_them_when_its_button_is_pressed() {
    let (world, relay) = world_with_mail();
    world.say(ALICE, "one");
    run(&world);
    world.host.advance(10 * MINUTE);
    run(&world);
    let text = relay.sent().remove(0).text;
    let token = text.rsplit("token=").next().unwrap().trim();
    let ask = |method: &str, token: &str| {
        let request = world.host.request(method, "unsubscribe").query("token", token);
        request.send::<Plugin>().status()
    };
    let left = || {
        world.request(BOB, "GET", "pushers", &[], None).ok()["pushers"].as_array().unwrap().len()
    };
    assert_eq!((ask("GET", token), left()), (200, 1));
    assert_eq!((ask("POST", "wrong"), left()), (200, 1));
    assert_eq!((ask("POST", token), left()), (200, 0));
    assert_eq!(ask("POST", ""), 400);
}

#[test]
fn an_address_that_is_given_up_gets_no_mail() {
    let (world, relay) = world_with_mail();
    world.say(ALICE, "one");
    run(&world);
    let gone = "DELETE FROM accounts_threepids WHERE user_id = $1";
    world.host.acting("accounts", || Batch::new().run(gone, params![BOB]).commit()).unwrap();
    world.host.advance(10 * MINUTE);
    run(&world);
    assert!(relay.sent().is_empty());
    let list = world.request(BOB, "GET", "pushers", &[], None).ok();
    assert_eq!(list["pushers"], json!([]));
}

#[test]
fn a_pusher_that_turns_to_mail_can_be_ended_by_a_link() {
    let (world, relay) = world_with_mail();
    let mut http = pusher(ADDRESS);
    http["app_id"] = "turns".into();
    http["kind"] = "http".into();
    http["data"] = json!({ "url": "https://push.example/_matrix/push/v1/notify" });
    world.request(BOB, "POST", "pushers-set", &[], Some(&http)).ok();
    let mut email = pusher(ADDRESS);
    email["app_id"] = "turns".into();
    world.request(BOB, "POST", "pushers-set", &[], Some(&email)).ok();
    world.say(ALICE, "one");
    run(&world);
    world.host.advance(10 * MINUTE);
    run(&world);
    let sent = relay.sent();
    assert_eq!(sent.len(), 2);
    for mail in sent {
        let (_, link) = mail.text.split_once("unsubscribe?token=").unwrap();
        assert!(link.chars().take_while(char::is_ascii_alphanumeric).count() > 10, "{link}");
    }
}
