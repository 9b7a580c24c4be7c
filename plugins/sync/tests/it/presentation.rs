//! Fields that modules add to events: `tessera:hooks/presentation`.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_sdk::hooks::presentation::Field;

use crate::world::{ALICE, BOB, ROOM, World, joined, token, world_with_room};

type Asked = Arc<Mutex<Vec<(Vec<Value>, String)>>>;

/// A module that numbers what it is shown, and tries to lie about the age.
fn numbering(world: &World) -> Asked {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    world.host.services(move |services| {
        services.hooks.unsigned_fields = Some(Arc::new(move |_, events, viewer| {
            let shown = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
            log.lock().unwrap().push((shown, viewer.to_owned()));
            let field = |event: usize, name: &str, value: String| Field {
                event: u32::try_from(event).unwrap(),
                name: name.to_owned(),
                value,
            };
            (0..events.len())
                .flat_map(|n| {
                    let number = field(n, "org.example.n", format!("{{\"n\":{n}}}"));
                    [number, field(n, "age", "-1".to_owned())]
                })
                .collect()
        }));
    });
    asked
}

fn is_numbered(event: &Value) -> bool {
    event["unsigned"]["org.example.n"]["n"].is_u64() && event["unsigned"]["age"] != -1
}

fn all<'a>(lists: impl IntoIterator<Item = &'a Value>) -> Vec<&'a Value> {
    lists.into_iter().flat_map(|list| list.as_array().unwrap()).collect()
}

#[test]
fn every_event_of_a_sync_gets_its_fields() {
    let world = world_with_room();
    world.say(ROOM, ALICE, "hello");
    let asked = numbering(&world);
    let body = world.sync(BOB, &[]);
    let room = joined(&body, ROOM);
    let events = all([&room["timeline"]["events"], &room["state"]["events"]]);
    assert!(events.len() > 3 && events.iter().all(|event| is_numbered(event)), "{room}");
    assert!(events.iter().all(|event| event.get("room_id").is_none()), "{room}");
    let asked = asked.lock().unwrap();
    assert_eq!((asked.len(), asked[0].1.as_str()), (1, BOB));
    assert_eq!(asked[0].0.len(), events.len());
    assert!(asked[0].0.iter().all(|event| event["room_id"] == ROOM), "modules see the room");
}

#[test]
fn large_answers_are_shown_in_batches() {
    let world = world_with_room();
    let since = token(&world.sync(BOB, &[]));
    for n in 0..201 {
        world.say(ROOM, ALICE, &n.to_string());
    }
    let asked = numbering(&world);
    let filter = json!({"room": {"timeline": {"limit": 250}}}).to_string();
    let body = world.sync(BOB, &[("since", since.as_str()), ("filter", filter.as_str())]);
    let events = all([&joined(&body, ROOM)["timeline"]["events"]]);
    assert_eq!(events.len(), 201);
    assert!(events.iter().all(|event| is_numbered(event)));
    assert_eq!(events[200]["unsigned"]["org.example.n"]["n"], 0, "the first of the second batch");
    let sizes: Vec<usize> = asked.lock().unwrap().iter().map(|(shown, _)| shown.len()).collect();
    assert_eq!(sizes, [200, 1]);
}

#[test]
fn history_gets_its_fields() {
    let world = world_with_room();
    let event = world.say(ROOM, ALICE, "hello");
    numbering(&world);
    let page = world.room_get(BOB, "messages", &[("dir", "b")]).ok();
    assert!(all([&page["chunk"]]).iter().all(|event| is_numbered(event)), "{page}");
    let context = world.host.request("GET", "context").user(BOB).device("DEV");
    let context = context.param("roomId", ROOM).param("eventId", &event);
    let context = context.send::<tessera_plugin_sync::Plugin>().ok();
    let mut events = all([&context["events_before"], &context["state"]]);
    events.push(&context["event"]);
    assert!(events.len() > 3 && events.iter().all(|event| is_numbered(event)), "{context}");
}

#[test]
fn nobody_is_asked_about_fields_that_the_client_filters_out() {
    let world = world_with_room();
    let asked = numbering(&world);
    for filter in [json!({"event_fields": ["content.body"]}), json!({"event_format": "federation"})]
    {
        world.sync(BOB, &[("filter", filter.to_string().as_str())]);
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn fields_take_no_storage_call() {
    let world = world_with_room();
    let since = token(&world.sync(BOB, &[]));
    world.say(ROOM, ALICE, "hello");
    let _ = world.host.calls();
    world.since(BOB, &since);
    let plain = world.host.calls();
    numbering(&world);
    world.since(BOB, &since);
    assert_eq!(world.host.calls(), plain);
}
