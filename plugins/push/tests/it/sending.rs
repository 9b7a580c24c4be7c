//! What gateways are told.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_plugin_push::Plugin;
use tessera_sdk::bindings::host::fetch::{Body, Error, Response};
use tessera_sdk::params;
use tessera_sdk::storage::Batch;

use crate::world::*;

const URL: &str = "https://push.example.org/_matrix/push/v1/notify";

/// Status and body.
type Reply = Result<(u16, Value), Error>;

/// A gateway: what it was told, and what it answers next.
#[derive(Clone, Default)]
struct Gateway {
    told: Arc<Mutex<Vec<Value>>>,
    /// Empty: 200 without anything rejected.
    answers: Arc<Mutex<Vec<Reply>>>,
}

impl Gateway {
    fn of(world: &World) -> Self {
        let gateway = Self::default();
        let (told, answers) = (Arc::clone(&gateway.told), Arc::clone(&gateway.answers));
        world.host.services(|services| {
            services.fetch = Arc::new(move |request| {
                assert_eq!((&*request.url, &*request.method), (URL, "POST"));
                let Body::Bytes(bytes) = &request.body else { panic!("no body") };
                let body: Value = serde_json::from_slice(bytes).unwrap();
                told.lock().unwrap().push(body["notification"].clone());
                let mut answers = answers.lock().unwrap();
                let answer = if answers.is_empty() {
                    Ok((200, json!({ "rejected": [] })))
                } else {
                    answers.remove(0)
                };
                answer.map(|(status, body)| Response {
                    status,
                    headers: Vec::new(),
                    body: Body::Bytes(body.to_string().into_bytes()),
                })
            });
        });
        gateway
    }

    /// What it was told since the last look.
    fn told(&self) -> Vec<Value> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn answer(&self, answer: Reply) {
        self.answers.lock().unwrap().push(answer);
    }
}

fn set(world: &World, user: &str, data: Value) {
    set_with(world, user, &json!({ "data": data }));
}

fn set_with(world: &World, user: &str, more: &Value) {
    let mut body = json!({
        "app_id": "org.example", "pushkey": format!("key of {user}"), "kind": "http",
        "app_display_name": "App", "device_display_name": "Phone", "lang": "en", "append": true,
        "data": { "url": URL },
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    world.request(user, "POST", "pushers-set", &[], Some(&body)).ok();
}

/// Alice, bob and carol in a room; bob has a pusher.
fn world_with_pusher(data: Value) -> (World, Gateway) {
    let world = world_with_room();
    for user in [ALICE, BOB, CAROL] {
        world.device(user);
    }
    let gateway = Gateway::of(&world);
    set(&world, BOB, data);
    (world, gateway)
}

/// Lets everything be evaluated, and sent.
fn run(world: &World) {
    world.deliver();
    world.host.fire_timers::<Plugin>("push");
}

fn ids(told: &[Value]) -> Vec<&str> {
    told.iter().filter_map(|one| one["event_id"].as_str()).collect()
}

#[test]
fn a_gateway_is_told_what_its_user_is_notified_of() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL, "more": 1 }));
    world.state(ROOM, ALICE, "m.room.name", "", &json!({ "name": "Tea" }));
    world.say(BOB, "my own");
    let sent = world.say(ALICE, "hello");
    run(&world);
    let told = gateway.told();
    assert_eq!(ids(&told), [&sent.id]);
    assert_eq!(
        told[0],
        json!({
            "event_id": sent.id, "id": sent.id, "room_id": ROOM, "type": "m.room.message", "sender": ALICE,
            "sender_display_name": "Some One", "room_name": "Tea", "prio": "low",
            "content": { "msgtype": "m.text", "body": "hello" }, "counts": told[0]["counts"],
            "devices": [{
                "app_id": "org.example", "pushkey": format!("key of {BOB}"), "data": { "more": 1 },
                "pushkey_ts": world.host.now_ms() / 1000, "tweaks": {},
            }],
        })
    );
    world.send(ALICE, &mention(BOB));
    run(&world);
    let told = gateway.told();
    assert_eq!(told[0]["devices"][0]["tweaks"]["highlight"], true);
    assert_eq!(told[0]["prio"], "high");
    // Nothing is told twice.
    world.host.advance(3_600_000);
    run(&world);
    assert!(gateway.told().is_empty());
}

#[test]
fn who_wants_only_ids_is_told_no_more() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL, "format": "event_id_only" }));
    let sent = world.say(ALICE, "secret");
    run(&world);
    assert_eq!(
        gateway.told(),
        [json!({
            "event_id": sent.id, "room_id": ROOM, "prio": "low", "counts": { "unread": 1 },
            "devices": [{
                "app_id": "org.example", "pushkey": format!("key of {BOB}"),
                "pushkey_ts": world.host.now_ms() / 1000, "data": { "format": "event_id_only" },
            }],
        })]
    );
}

#[test]
fn a_muted_room_and_a_disabled_pusher_are_silent() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    world.mute(BOB);
    set_with(&world, CAROL, &json!({ "org.matrix.msc3881.enabled": false }));
    world.say(ALICE, "hello");
    run(&world);
    assert!(gateway.told().is_empty());
    // A mention goes through.
    let sent = world.send(ALICE, &mention(BOB));
    run(&world);
    assert_eq!(ids(&gateway.told()), [&sent.id]);
}

#[test]
fn the_badge_falls_when_messages_are_read() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    world.say(ALICE, "1");
    let second = world.say(ALICE, "2");
    run(&world);
    assert_eq!(gateway.told().last().unwrap()["counts"], json!({ "unread": 2 }));
    world.receipt(BOB, "", &second);
    run(&world);
    let told = gateway.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["counts"], json!({ "unread": 0 }));
    assert!(told[0].get("event_id").is_none());
    // The same receipt again changes no count.
    world.receipt(BOB, "", &second);
    run(&world);
    assert!(gateway.told().is_empty());
}

#[test]
fn what_is_read_before_its_turn_is_not_told() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    gateway.answer(Ok((502, Value::Null)));
    let sent = world.say(ALICE, "1");
    run(&world);
    assert_eq!(gateway.told().len(), 1);
    world.receipt(BOB, "", &sent);
    world.deliver();
    world.host.advance(60_000);
    run(&world);
    assert!(ids(&gateway.told()).is_empty());
}

#[test]
fn a_gateway_that_fails_is_asked_again_ever_later() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    for _ in 0..3 {
        gateway.answer(Err(Error::Timeout));
    }
    let first = world.say(ALICE, "1");
    run(&world);
    assert_eq!(ids(&gateway.told()), [&first.id]);
    // What comes meanwhile waits behind it.
    let second = world.say(ALICE, "2");
    run(&world);
    assert!(gateway.told().is_empty(), "the first second is not over");
    for wait in [1_000, 2_000] {
        world.host.advance(wait - 1);
        run(&world);
        assert!(gateway.told().is_empty());
        world.host.advance(1);
        run(&world);
        assert_eq!(ids(&gateway.told()), [&first.id]);
    }
    world.host.advance(4_000);
    run(&world);
    assert_eq!(ids(&gateway.told()), [&first.id, &second.id]);
    // After a success the first wait is a short one again.
    gateway.answer(Ok((500, Value::Null)));
    let third = world.say(ALICE, "3");
    run(&world);
    world.host.advance(1_000);
    run(&world);
    assert_eq!(ids(&gateway.told()), [&third.id, &third.id]);
}

#[test]
fn a_day_later_nobody_wants_to_hear_of_it() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    gateway.answer(Err(Error::Timeout));
    world.say(ALICE, "1");
    run(&world);
    assert_eq!(gateway.told().len(), 1);
    world.host.advance(25 * 3_600_000);
    run(&world);
    assert!(ids(&gateway.told()).is_empty());
}

#[test]
fn a_rejected_key_is_forgotten() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    gateway.answer(Ok((200, json!({ "rejected": ["another key"] }))));
    world.say(ALICE, "1");
    run(&world);
    assert_eq!(pushers(&world), 1);
    gateway.answer(Ok((200, json!({ "rejected": [format!("key of {BOB}")] }))));
    world.say(ALICE, "2");
    run(&world);
    assert_eq!(pushers(&world), 0);
    gateway.told();
    world.say(ALICE, "3");
    run(&world);
    assert!(gateway.told().is_empty());
}

fn pushers(world: &World) -> usize {
    let list = world.request(BOB, "GET", "pushers", &[], None).ok();
    list["pushers"].as_array().unwrap().len()
}

#[test]
fn a_device_that_logged_out_is_told_nothing() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    let gone = "DELETE FROM accounts_devices WHERE user_id = $1";
    world.host.acting("accounts", || Batch::new().run(gone, params![BOB]).commit()).unwrap();
    world.say(ALICE, "1");
    run(&world);
    assert!(gateway.told().is_empty());
    world.device(BOB);
    assert_eq!(pushers(&world), 0, "it does not come back with another device of the name");
}

#[test]
fn an_invite_is_pushed_to_the_invited_alone() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    let dave = "@dave:hs1";
    world.device(dave);
    set(&world, dave, json!({ "url": URL }));
    world.say(ALICE, "before");
    run(&world);
    gateway.told();
    let invite = world.member(ROOM, ALICE, dave, "invite");
    run(&world);
    let told = gateway.told();
    assert_eq!(ids(&told), [&invite.id]);
    assert_eq!(
        (&told[0]["user_is_target"], &told[0]["membership"]),
        (&json!(true), &json!("invite"))
    );
    assert_eq!(told[0]["devices"][0]["pushkey"], format!("key of {dave}"));
}

#[test]
fn who_joins_hears_of_nothing_before() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    let dave = "@dave:hs1";
    world.device(dave);
    set(&world, dave, json!({ "url": URL }));
    world.say(ALICE, "before");
    world.join(ROOM, dave);
    let after = world.say(ALICE, "after");
    run(&world);
    let told = gateway.told();
    let of_dave: Vec<&Value> = told
        .iter()
        .filter(|one| one["devices"][0]["pushkey"] == format!("key of {dave}"))
        .collect();
    assert_eq!(of_dave.len(), 1);
    assert_eq!(of_dave[0]["event_id"], after.id);
}

#[test]
fn a_process_that_dies_before_sending_forgets_nothing() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    let sent = world.say(ALICE, "1");
    // Evaluated; whoever would have served the shard is gone with what it had taken.
    world.deliver();
    let taken = "UPDATE push_pushers SET next_ms = $1";
    let until = world.host.now_ms() + 60_000;
    world.host.acting("push", || Batch::new().run(taken, params![until]).commit()).unwrap();
    world.host.fire_timers::<Plugin>("push");
    assert!(gateway.told().is_empty());
    world.host.advance(60_000);
    world.host.fire_timers::<Plugin>("push");
    assert_eq!(ids(&gateway.told()), [&sent.id]);
}

#[test]
fn a_pusher_set_again_while_its_gateway_rejects_the_old_one_stays() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    gateway.answer(Ok((200, json!({ "rejected": [format!("key of {BOB}")] }))));
    let host = world.host.clone();
    let first = std::sync::atomic::AtomicBool::new(true);
    world.host.services(|services| {
        let answers = Arc::clone(&services.fetch);
        services.fetch = Arc::new(move |request| {
            let host = host.clone();
            if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                let again = std::thread::spawn(move || {
                    host.install();
                    let body = json!({
                        "app_id": "org.example", "pushkey": format!("key of {BOB}"), "kind": "http", "lang": "en",
                        "app_display_name": "App", "device_display_name": "New", "data": { "url": URL },
                    });
                    host.acting("push", || {
                        let request = host.request("POST", "pushers-set").user(BOB).device("D");
                        request.json(&body).send::<Plugin>().ok();
                    });
                });
                again.join().unwrap();
            }
            answers(request)
        });
    });
    let sent = world.say(ALICE, "1");
    run(&world);
    assert_eq!(pushers(&world), 1);
    world.host.advance(61_000);
    run(&world);
    assert_eq!(
        ids(&gateway.told()),
        [&sent.id, &sent.id],
        "the new one is told of what the old one did not want"
    );
}

#[test]
fn of_very_much_that_waits_only_the_newest_is_told() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    for _ in 0..12 {
        gateway.answer(Ok((500, json!({}))));
    }
    world.say(ALICE, "fails");
    run(&world);
    for n in 0..300 {
        world.say(ALICE, &n.to_string());
    }
    world.deliver();
    let waiting = || {
        let sql = "SELECT COUNT(*) AS n FROM push_queue";
        tessera_sdk::storage::query(sql, params![]).unwrap().first::<(i64,)>().unwrap().unwrap().0
    };
    assert_eq!(waiting(), 200);
    for _ in 0..12 {
        world.host.advance(3_600_000);
        world.host.fire_timers::<Plugin>("push");
    }
    world.host.advance(1);
    let _ = gateway.told();
    world.host.fire_timers::<Plugin>("push");
    assert_eq!(waiting(), 0);
}

#[test]
fn a_slow_gateway_does_not_hold_a_turn_beyond_its_time() {
    let (world, gateway) = world_with_pusher(json!({ "url": URL }));
    let (host, told) = (world.host.clone(), Arc::clone(&gateway.told));
    world.host.services(|services| {
        services.fetch = Arc::new(move |request| {
            let Body::Bytes(bytes) = &request.body else { panic!("no body") };
            told.lock().unwrap().push(serde_json::from_slice(bytes).unwrap());
            host.advance(9_000);
            Ok(Response { status: 200, headers: Vec::new(), body: Body::Bytes(b"{}".to_vec()) })
        });
    });
    let last = (0..4).map(|n| world.say(ALICE, &n.to_string())).last().unwrap();
    world.deliver();
    let before = world.host.now_ms();
    world.host.fire_timers::<Plugin>("push");
    assert_eq!(gateway.told().len(), 2);
    assert!(world.host.now_ms() - before < 30_000);
    world.receipt(BOB, "", &last);
    world.deliver();
    world.host.fire_timers::<Plugin>("push");
    assert_eq!(gateway.told().len(), 1, "the rest is read: what is left is the count");
}
