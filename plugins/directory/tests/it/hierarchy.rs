//! The rooms of a space.

use serde_json::{Value, json};

use crate::harness::{ALICE, BOB, Server, ids, server};

fn space(server: &Server, body: Value) -> String {
    let mut whole = json!({"creation_content": {"type": "m.space"}, "preset": "public_chat"});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    server.create(ALICE, &whole)
}

fn child(server: &Server, space: &str, room: &str, more: Value) {
    let mut content = json!({"via": ["hs1"]});
    content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.state(ALICE, space, "m.space.child", room, &content);
}

fn tree(server: &Server, user: &str, root: &str, query: &[(&str, &str)]) -> Value {
    server.get(Some(user), "hierarchy", &[("roomId", root)], query).ok()
}

#[test]
fn rooms_come_depth_first_in_the_order_of_their_parents() {
    let server = server();
    let root = space(&server, json!({"name": "Root"}));
    let sub = space(&server, json!({"name": "Sub"}));
    let open = json!({"preset": "public_chat"});
    let [first, second, deep] = [0; 3].map(|_| {
        server.host.advance(1);
        server.create(ALICE, &open)
    });
    child(&server, &root, &second, json!({"order": "b"}));
    child(&server, &root, &sub, json!({"order": "a", "suggested": true}));
    child(&server, &root, &first, json!({}));
    child(&server, &sub, &deep, json!({"suggested": true}));
    // Who names the root again makes no circle.
    child(&server, &sub, &root, json!({}));
    // Neither of these is a child.
    server.state(ALICE, &root, "m.space.child", "!x:hs1", &json!({}));
    server.state(ALICE, &root, "m.space.child", "!y:hs1", &json!({"via": []}));

    let answer = tree(&server, BOB, &root, &[]);
    assert_eq!(ids(&answer["rooms"]), [&root, &sub, &deep, &second, &first].map(Clone::clone));
    let told = &answer["rooms"][0];
    assert_eq!(told["name"], "Root");
    assert_eq!(told["room_type"], "m.space");
    assert_eq!(told["room_version"], "12");
    assert_eq!(told["num_joined_members"], 1);
    let children = told["children_state"].as_array().unwrap();
    assert_eq!(children.len(), 3);
    assert_eq!(children[0]["state_key"], sub.as_str());
    assert_eq!(children[0]["type"], "m.space.child");
    assert_eq!(children[0]["sender"], ALICE);
    assert_eq!(children[0]["content"]["via"], json!(["hs1"]));
    assert!(children[0]["origin_server_ts"].is_i64());
    assert_eq!(children[0].as_object().unwrap().len(), 5);
    assert_eq!(answer["rooms"][2]["children_state"], json!([]));

    let shallow = tree(&server, BOB, &root, &[("max_depth", "1")]);
    assert_eq!(ids(&shallow["rooms"]), [&root, &sub, &second, &first].map(Clone::clone));
    let suggested = tree(&server, BOB, &root, &[("suggested_only", "true")]);
    assert_eq!(ids(&suggested["rooms"]), [&root, &sub, &deep].map(Clone::clone));
    assert_eq!(suggested["rooms"][0]["children_state"].as_array().unwrap().len(), 1);

    let mut query = vec![("limit", "2")];
    let mut told = Vec::new();
    let mut token = String::new();
    loop {
        let page = tree(&server, BOB, &root, &query);
        told.extend(ids(&page["rooms"]));
        let Some(next) = page["next_batch"].as_str() else { break };
        token = next.to_owned();
        query = vec![("limit", "2"), ("from", &token)];
    }
    assert_eq!(told, ids(&answer["rooms"]));
    let changed = [("from", token.as_str()), ("suggested_only", "true")];
    let changed = server.get(Some(BOB), "hierarchy", &[("roomId", &root)], &changed);
    assert_eq!(changed.error(), (400, "M_INVALID_PARAM".to_owned()));
}

#[test]
fn only_rooms_that_the_user_may_see_are_told() {
    let server = server();
    let root = space(&server, json!({}));
    let private = server.create(ALICE, &json!({"preset": "private_chat"}));
    let invited = server.create(ALICE, &json!({"preset": "private_chat", "invite": [BOB]}));
    let rule = |content: Value| {
        let state = json!([{"type": "m.room.join_rules", "content": content}]);
        server.create(ALICE, &json!({"preset": "private_chat", "initial_state": state}))
    };
    let knock = rule(json!({"join_rule": "knock"}));
    let allow = json!([{"type": "m.room_membership", "room_id": root}]);
    let restricted = rule(json!({"join_rule": "restricted", "allow": allow}));
    let readable = json!([{"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}]);
    let readable =
        server.create(ALICE, &json!({"preset": "private_chat", "initial_state": readable}));
    let all = [&private, &invited, &knock, &restricted, &readable];
    for (room, order) in all.into_iter().zip(["a", "b", "c", "d", "e"]) {
        child(&server, &root, room, json!({"order": order}));
    }
    let told = tree(&server, BOB, &root, &[]);
    assert_eq!(ids(&told["rooms"]), [&root, &invited, &knock, &readable].map(Clone::clone));
    // Still named by the space, though not told.
    assert_eq!(told["rooms"][0]["children_state"].as_array().unwrap().len(), 5);
    server.join(BOB, &root);
    let told = tree(&server, BOB, &root, &[]);
    assert_eq!(
        ids(&told["rooms"]),
        [&root, &invited, &knock, &restricted, &readable].map(Clone::clone)
    );
    assert_eq!(told["rooms"][3]["allowed_room_ids"], json!([root]));
    assert_eq!(ids(&tree(&server, ALICE, &root, &[])["rooms"]).len(), 6);

    server.about(ALICE, "ban", &root, BOB);
    let banned = server.get(Some(BOB), "hierarchy", &[("roomId", &root)], &[]);
    assert_eq!(banned.error(), (403, "M_FORBIDDEN".to_owned()));
    let nowhere = server.get(Some(BOB), "hierarchy", &[("roomId", "!none:hs1")], &[]);
    assert_eq!(nowhere.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn wrong_parameters_are_refused() {
    let server = server();
    let root = space(&server, json!({}));
    for query in [
        ("limit", "0"),
        ("limit", "x"),
        ("max_depth", "-1"),
        ("suggested_only", "1"),
        ("from", "x"),
    ] {
        let answer = server.get(Some(ALICE), "hierarchy", &[("roomId", &root)], &[query]);
        assert_eq!(answer.error(), (400, "M_INVALID_PARAM".to_owned()), "{query:?}");
    }
}
