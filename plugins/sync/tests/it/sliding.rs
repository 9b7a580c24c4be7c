//! Simplified sliding sync.

mod connection;
mod extensions;
mod horizon;
mod lists;
mod load;
mod parking;
mod rooms;
mod state;

use serde_json::{Value, json};
use tessera_plugin_sync::Plugin;
use tessera_sdk::params;
use tessera_test_host::TestAnswer;

use crate::world::*;

/// A request in the form of `/v4/sync`, by device `D`.
pub(crate) fn ask(world: &World, user: &str, body: &Value) -> TestAnswer {
    let _ = world.host.calls();
    world.host.request("POST", "sliding").user(user).device("D").json(body).send::<Plugin>()
}

/// A request in the older form.
pub(crate) fn ask_old(
    world: &World,
    user: &str,
    query: &[(&str, &str)],
    body: &Value,
) -> TestAnswer {
    let _ = world.host.calls();
    let mut request = world.host.request("POST", "sliding-unstable").user(user).device("D");
    for (name, value) in query {
        request = request.query(name, value);
    }
    request.json(body).send::<Plugin>()
}

/// One list of all rooms, timelines of 10, some state.
pub(crate) fn all() -> Value {
    json!({ "lists": { "all": {
        "range": [0, 99],
        "timeline_limit": 10,
        "required_state": { "include": [
            { "type": "m.room.create", "state_key": "" },
            { "type": "m.room.topic", "state_key": "" },
        ] },
    } } })
}

/// The same with a token.
pub(crate) fn with_pos(body: &Value, pos: &str) -> Value {
    let mut body = body.clone();
    body["pos"] = pos.into();
    body
}

pub(crate) fn pos(body: &Value) -> String {
    body["pos"].as_str().unwrap().to_owned()
}

/// Asks anew, or from where an answer ended.
pub(crate) fn next(world: &World, user: &str, body: &Value, after: Option<&Value>) -> Value {
    match after {
        Some(after) => ask(world, user, &with_pos(body, &pos(after))).ok(),
        None => ask(world, user, body).ok(),
    }
}

/// Ids of the rooms told of.
pub(crate) fn told(body: &Value) -> Vec<&str> {
    body["rooms"].as_object().unwrap().keys().map(String::as_str).collect()
}

pub(crate) fn timeline<'a>(body: &'a Value, room: &str) -> Vec<&'a str> {
    ids(&body["rooms"][room]["timeline"])
}

pub(crate) fn state<'a>(body: &'a Value, room: &str) -> Vec<&'a str> {
    types(&body["rooms"][room]["required_state"])
}

/// State that is gone: what state resolution may do when an event comes.
pub(crate) fn unset(world: &World, room: &str, kind: &str) {
    world.say(room, ALICE, "what makes it so");
    world.run(
        "rooms",
        "INSERT INTO rooms_state_deltas (position, room_id, type, state_key, event_id, prev_event_id) \
         SELECT $P, s.room_id, s.type, s.state_key, NULL, s.event_id FROM rooms_current_state s \
         WHERE s.room_id = $1 AND s.type = $2",
        params![room, kind],
        "",
    );
    world.run(
        "rooms",
        "DELETE FROM rooms_current_state WHERE room_id = $1 AND type = $2",
        params![room, kind],
        "",
    );
}

/// A one-time key of device `D`.
pub(crate) fn one_time_key(world: &World, user: &str) {
    world.run(
        "keys",
        "INSERT INTO keys_one_time (user_id, device_id, algorithm, key_id, json, position) \
         VALUES ($1, 'D', 'signed_curve25519', 'k', '{}', $P)",
        params![user],
        &format!("user:{user}"),
    );
}
