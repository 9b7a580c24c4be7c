//! Who syncs is online.

use std::sync::{Arc, Mutex};

use tessera_sdk::services::presence::Status;

use crate::world::*;

/// What presence was told: user, state, message.
type Calls = Arc<Mutex<Vec<(String, String, Option<String>)>>>;

fn watched(world: &World) -> Calls {
    let calls = Calls::default();
    let seen = Arc::clone(&calls);
    world.host.services(|services| {
        services.presence_of = Arc::new(|_, users| {
            let status = |user: &String| Status {
                user: user.clone(),
                presence: "unavailable".to_owned(),
                status_msg: Some("away".to_owned()),
                last_active_ms: 0,
            };
            Ok(users.iter().map(status).collect())
        });
        services.set_presence = Arc::new(move |_, user, presence, message| {
            let call = (user.to_owned(), presence.to_owned(), message.map(str::to_owned));
            seen.lock().unwrap().push(call);
            Ok(())
        });
    });
    calls
}

#[test]
fn a_sync_marks_its_user_once_in_a_while_and_keeps_the_message() {
    let world = world_with_room();
    let calls = watched(&world);
    world.sync(ALICE, &[]);
    world.sync(ALICE, &[]);
    let online = (ALICE.to_owned(), "online".to_owned(), Some("away".to_owned()));
    assert_eq!(calls.lock().unwrap().as_slice(), std::slice::from_ref(&online));
    world.host.advance(61_000);
    world.sync(ALICE, &[]);
    assert_eq!(*calls.lock().unwrap(), [online.clone(), online]);
}

#[test]
fn a_sync_says_what_the_client_wants() {
    let world = world_with_room();
    let calls = watched(&world);
    world.sync(ALICE, &[("set_presence", "offline")]);
    assert!(calls.lock().unwrap().is_empty(), "not marked at all");
    world.sync(ALICE, &[]);
    world.sync(ALICE, &[("set_presence", "unavailable")]);
    let states: Vec<String> = calls.lock().unwrap().iter().map(|call| call.1.clone()).collect();
    assert_eq!(states, ["online", "unavailable"]);
    let answer = world.get(ALICE, "sync", &[], &[("set_presence", "asleep")]);
    assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()));
}

#[test]
fn a_sync_is_answered_without_presence() {
    let world = world_with_room();
    assert!(world.sync(ALICE, &[])["next_batch"].is_string());
}
