//! The public list.

use serde_json::{Value, json};

use crate::harness::{ALICE, BOB, configured, ids, server};

#[test]
fn listed_rooms_are_found() {
    let server = server();
    let body =
        json!({"visibility": "public", "name": "Cats", "topic": "Purr", "room_alias_name": "cats"});
    let cats = server.create(ALICE, &body);
    let space =
        json!({"visibility": "public", "name": "Dogs", "creation_content": {"type": "m.space"}});
    let dogs = server.create(ALICE, &space);
    server.create(ALICE, &json!({"name": "hidden"}));
    server.join(BOB, &dogs);
    let list = server.get(None, "public-rooms", &[], &[]).ok();
    assert_eq!(list["total_room_count_estimate"], 2);
    assert_eq!(ids(&list["chunk"]), [dogs.clone(), cats.clone()]);
    assert_eq!(list["chunk"][0]["room_type"], "m.space");
    assert_eq!(list["chunk"][0]["num_joined_members"], 2);
    let expected = json!({"room_id": cats, "name": "Cats", "topic": "Purr", "canonical_alias": "#cats:hs1",
        "num_joined_members": 1, "world_readable": false, "guest_can_join": false, "join_rule": "public"});
    assert_eq!(list["chunk"][1], expected);

    let first = server.get(None, "public-rooms", &[], &[("limit", "1")]).ok();
    let token = first["next_batch"].as_str().unwrap();
    assert!(first.get("prev_batch").is_none());
    let second = server.get(None, "public-rooms", &[], &[("limit", "1"), ("since", token)]).ok();
    assert_eq!(ids(&second["chunk"]), std::slice::from_ref(&cats));
    assert!(second.get("next_batch").is_none());
    let back = second["prev_batch"].as_str().unwrap();
    let again = server.get(None, "public-rooms", &[], &[("limit", "1"), ("since", back)]).ok();
    assert_eq!(ids(&again["chunk"]), std::slice::from_ref(&dogs));
    let all = server.get(None, "public-rooms", &[], &[("limit", "0")]).ok();
    assert_eq!(ids(&all["chunk"]).len(), 2);

    let search = |filter: Value| {
        ids(&server.post(BOB, "search-public-rooms", &json!({"filter": filter})).ok()["chunk"])
    };
    assert_eq!(search(json!({"generic_search_term": "pURr"})), std::slice::from_ref(&cats));
    assert_eq!(search(json!({"generic_search_term": "#cats"})), std::slice::from_ref(&cats));
    assert_eq!(search(json!({"generic_search_term": "at"})), std::slice::from_ref(&cats));
    assert!(search(json!({"generic_search_term": "hidden"})).is_empty());
    assert_eq!(search(json!({"room_types": ["m.space"]})), [dogs]);
    assert_eq!(search(json!({"room_types": [null]})), [cats]);
    assert!(search(json!({"generic_search_term": "purr", "room_types": ["m.space"]})).is_empty());
}

#[test]
fn pages_are_counted_by_what_the_list_holds() {
    let server = server();
    let body = json!({"visibility": "public"});
    let gone = server.create(ALICE, &body);
    server.join(BOB, &gone);
    let there = server.create(ALICE, &body);
    // It goes while somebody reads: the list still has it.
    server.host.acting("rooms", || {
        tessera_sdk::storage::Batch::new()
            .run("DELETE FROM rooms_rooms WHERE room_id = $1", tessera_sdk::params![&gone])
            .commit()
            .unwrap();
    });
    let first = server.get(None, "public-rooms", &[], &[("limit", "1")]).ok();
    assert_eq!(first["chunk"], json!([]));
    let token = first["next_batch"].as_str().unwrap();
    let second = server.get(None, "public-rooms", &[], &[("limit", "1"), ("since", token)]).ok();
    assert_eq!(ids(&second["chunk"]), [there]);
    assert!(second.get("next_batch").is_none());
}

#[test]
fn wrong_questions_are_refused() {
    let server = server();
    let bad = server.get(None, "public-rooms", &[], &[("since", "x")]);
    assert_eq!(bad.error(), (400, "M_INVALID_PARAM".to_owned()));
    let bad = server.get(None, "public-rooms", &[], &[("limit", "-1")]);
    assert_eq!(bad.error(), (400, "M_INVALID_PARAM".to_owned()));
    let other = server.get(None, "public-rooms", &[], &[("server", "elsewhere")]);
    assert_eq!(other.error(), (404, "M_NOT_FOUND".to_owned()));
    let bad = server.post(ALICE, "search-public-rooms", &json!({"filter": {"room_types": "x"}}));
    assert_eq!(bad.error(), (400, "M_BAD_JSON".to_owned()));
}

#[test]
fn list_can_be_for_users_only_or_off() {
    let closed = configured(&json!({"public-rooms-without-login": false}));
    closed.create(ALICE, &json!({"visibility": "public"}));
    let nobody = closed.get(None, "public-rooms", &[], &[]);
    assert_eq!(nobody.error(), (401, "M_MISSING_TOKEN".to_owned()));
    let list = closed.get(Some(BOB), "public-rooms", &[], &[]).ok();
    assert_eq!(ids(&list["chunk"]).len(), 1);
    drop(closed);
    let off = configured(&json!({"public-rooms": false}));
    off.create(ALICE, &json!({"visibility": "public"}));
    let list = off.get(Some(BOB), "public-rooms", &[], &[]).ok();
    assert_eq!(list, json!({"chunk": [], "total_room_count_estimate": 0}));
}
