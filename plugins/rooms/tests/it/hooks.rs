//! What modules are asked, and what becomes of their answers: `tessera:hooks`.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_plugin_rooms::Plugin;
use tessera_sdk::bindings::rooms::exports::tessera::services::rooms::Guest;
use tessera_sdk::hooks::presentation::Field;
use tessera_sdk::hooks::{Objection, Refusal};
use tessera_sdk::storage::{self, Batch};
use tessera_test_host::{TestAnswer, TestHost};

use crate::harness::{ALICE, BOB, CAROL, Server, event_id, server};

type Log = Arc<Mutex<Vec<String>>>;

fn no() -> Refusal {
    Refusal { status: 451, errcode: "ORG_EXAMPLE_NO".to_owned(), error: "no".to_owned() }
}

fn is_no(answer: &TestAnswer) {
    assert_eq!(answer.error(), (451, "ORG_EXAMPLE_NO".to_owned()));
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

/// Another writer is faster once.
fn lose_a_race(host: &TestHost) {
    host.before_next_commit(|host| {
        host.install();
        host.act_as("rooms");
        let bump = "UPDATE rooms_rooms SET revision = revision + 1";
        Batch::new().run(bump, vec![]).commit().unwrap();
    });
}

/// A module that knows the questions about rooms and refuses those that hold a word.
fn strict(server: &Server, word: &'static str) -> Log {
    let log = Log::default();
    let note = {
        let log = Arc::clone(&log);
        move |question: String| {
            log.lock().unwrap().push(question.clone());
            if question.contains(word) { Err(no()) } else { Ok(()) }
        }
    };
    server.host.services(|services| {
        let hooks = &mut services.hooks;
        let ask = note.clone();
        hooks.may_join = Some(Arc::new(move |_, who, _, invited| {
            ask(format!("join {} {} {invited}", who.user, who.admin))
        }));
        let ask = note.clone();
        hooks.may_invite =
            Some(Arc::new(move |_, who, invitee, _| ask(format!("invite {} {invitee}", who.user))));
        let ask = note.clone();
        hooks.may_send_state = Some(Arc::new(move |_, _, _, kind, key, content| {
            ask(format!("state {kind} {key:?} {content}"))
        }));
        let ask = note.clone();
        hooks.may_create_alias =
            Some(Arc::new(move |_, _, alias, room| ask(format!("alias {alias} {room}"))));
        let ask = note.clone();
        hooks.may_publish = Some(Arc::new(move |_, _, room| ask(format!("publish {room}"))));
        let ask = note.clone();
        hooks.visibility_can_be_modified =
            Some(Arc::new(move |_, _, _, visibility| ask(format!("visibility {visibility}"))));
        let ask = note;
        hooks.can_shut_down =
            Some(Arc::new(move |_, who, _| ask(format!("shut down {} {}", who.user, who.admin))));
    });
    log
}

#[test]
fn joins_and_invites_are_asked_about() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let log = strict(&server, "@carol");
    let _ = server.about(ALICE, "invite", &room, BOB).ok();
    let _ = server.join(BOB, &room).ok();
    let _ = server.join(BOB, &room).ok();
    assert_eq!(
        taken(&log),
        ["invite @alice:hs1 @bob:hs1", "join @bob:hs1 false true"],
        "who is there already asks for nothing"
    );
    is_no(&server.about(ALICE, "invite", &room, CAROL));
    is_no(&server.join(CAROL, &room));
    assert_eq!(taken(&log), ["invite @alice:hs1 @carol:hs1", "join @carol:hs1 false false"]);
    assert_eq!(server.membership(&room, CAROL), "");
    let _ = server.leave(BOB, &room).ok();
    assert!(taken(&log).is_empty(), "everybody may go");
}

#[test]
fn joins_by_a_state_event_are_asked_about_too() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let log = strict(&server, "join");
    is_no(&server.put_state(BOB, &room, "m.room.member", BOB, &json!({"membership": "join"})));
    assert_eq!(taken(&log), ["join @bob:hs1 false false"]);
}

#[test]
fn administrators_are_told_to_modules() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let log = strict(&server, "-");
    let request = server.host.request("POST", "join").user(BOB).device("DEV").mark("admin");
    let request = request.param("roomIdOrAlias", &room).json(&json!({}));
    let _ = request.send::<Plugin>().ok();
    assert_eq!(taken(&log), ["join @bob:hs1 true false"]);
}

#[test]
fn state_events_are_asked_about() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let _ = server.join(BOB, &room).ok();
    let log = strict(&server, "secret");
    let _ = server.put_state(ALICE, &room, "m.room.topic", "", &json!({"topic": "x"})).ok();
    assert_eq!(taken(&log), [r#"state m.room.topic "" {"topic":"x"}"#]);
    is_no(&server.put_state(ALICE, &room, "m.room.topic", "", &json!({"topic": "secret"})));
    assert_eq!(server.events(&room).last().unwrap()["content"]["topic"], "x");
    let _ = taken(&log);
    let _ = server.about(ALICE, "kick", &room, BOB).ok();
    assert_eq!(taken(&log), [r#"state m.room.member "@bob:hs1" {"membership":"leave"}"#]);
    server.text(ALICE, &room, "a message is no state");
    assert!(taken(&log).is_empty());
}

#[test]
fn aliases_and_the_public_list_are_asked_about() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let log = strict(&server, "#bad");
    let put = |alias: &str| {
        server.ask(ALICE, "PUT", "put-alias", &[("roomAlias", alias)], &json!({"room_id": room}))
    };
    let _ = put("#good:hs1").ok();
    is_no(&put("#bad:hs1"));
    assert_eq!(taken(&log), [format!("alias #good:hs1 {room}"), format!("alias #bad:hs1 {room}")]);
    let list = |how: &str| {
        let body = json!({"visibility": how});
        server.ask(ALICE, "PUT", "put-visibility", &[("roomId", &room)], &body)
    };
    let _ = list("public").ok();
    let _ = list("private").ok();
    let expected =
        [format!("publish {room}"), "visibility public".into(), "visibility private".into()];
    assert_eq!(taken(&log), expected);
    strict(&server, "visibility private");
    let _ = list("public").ok();
    is_no(&list("private"));
    let answer = server.get(ALICE, "get-visibility", &[("roomId", &room)]).ok();
    assert_eq!(answer["visibility"], "public");
}

#[test]
fn new_room_is_asked_about_as_far_as_the_user_chose() {
    let server = server();
    let log = strict(&server, "#bad");
    let events = Log::default();
    let seen = Arc::clone(&events);
    server.host.services(move |services| {
        services.hooks.check_event = Some(Arc::new(move |_, event, _| {
            let event: Value = serde_json::from_str(event).unwrap();
            seen.lock().unwrap().push(event["type"].as_str().unwrap().to_owned());
            Ok(())
        }));
    });
    let wish = json!({
        "name": "N", "visibility": "public", "room_alias_name": "good", "invite": [BOB],
        "initial_state": [{"type": "m.room.avatar", "content": {"url": "mxc://hs1/a"}}],
    });
    let room = server.create(ALICE, &wish);
    assert_eq!(taken(&events), ["m.room.avatar", "m.room.name", "m.room.member"]);
    let expected = [
        format!("alias #good:hs1 {room}"),
        format!("publish {room}"),
        "visibility public".to_owned(),
        "invite @alice:hs1 @bob:hs1".to_owned(),
    ];
    assert_eq!(taken(&log), expected);
    is_no(&server.ask(ALICE, "POST", "create-room", &[], &json!({"room_alias_name": "bad"})));
}

#[test]
fn request_to_create_a_room_can_be_changed_or_refused() {
    let server = server();
    server.host.services(|services| {
        services.hooks.create_room = Some(Arc::new(|_, request, who| {
            let mut request: Value = serde_json::from_str(request).unwrap();
            if request["name"] == "no" {
                return Err(no());
            }
            request["topic"] = json!(format!("made by {}", who.user));
            request["room_version"] = json!("10");
            Ok(Some(request.to_string()))
        }));
    });
    let room = server.create(ALICE, &json!({"name": "yes"}));
    let events = server.events(&room);
    assert_eq!(events[0]["content"]["room_version"], "10");
    let topic = events.iter().find(|event| event["type"] == "m.room.topic").unwrap();
    assert_eq!(topic["content"]["topic"], "made by @alice:hs1");
    is_no(&server.ask(ALICE, "POST", "create-room", &[], &json!({"name": "no"})));
    server.host.services(|services| {
        let wrong = json!({"preset": "none"}).to_string();
        services.hooks.create_room = Some(Arc::new(move |_, _, _| Ok(Some(wrong.clone()))));
    });
    let answer = server.ask(ALICE, "POST", "create-room", &[], &json!({}));
    assert_eq!(
        answer.error().1,
        "M_INVALID_PARAM",
        "a module's request is checked like a client's"
    );
}

#[test]
fn upgrade_is_asked_about_before_anything_is_made() {
    let server = server();
    let room = server.create(ALICE, &json!({"room_version": "10"}));
    let asked = Log::default();
    let log = Arc::clone(&asked);
    server.host.services(move |services| {
        services.hooks.create_room = Some(Arc::new(move |_, request, _| {
            log.lock().unwrap().push(request.to_owned());
            Err(no())
        }));
    });
    let wish = json!({"new_version": "12"});
    is_no(&server.ask(ALICE, "POST", "upgrade", &[("roomId", &room)], &wish));
    let request: Value = serde_json::from_str(&taken(&asked)[0]).unwrap();
    assert_eq!(request["room_version"], "12");
    assert_eq!(request["creation_content"]["predecessor"]["room_id"], room.as_str());
    assert_eq!(server.rows::<(String,)>("SELECT room_id FROM rooms_rooms", vec![]).len(), 1);
    let log = strict(&server, "tombstone");
    is_no(&server.ask(ALICE, "POST", "upgrade", &[("roomId", &room)], &wish));
    assert_eq!(taken(&log), [r#"state m.room.tombstone "" {}"#]);
}

/// A module that writes in capitals, refuses what is rude, and notes what it was asked.
fn shouting(server: &Server) -> Log {
    let log = Log::default();
    let seen = Arc::clone(&log);
    server.host.services(move |services| {
        services.hooks.check_allowed = Some(Arc::new(move |_, content, event, context| {
            let kinds: Vec<String> = context
                .auth_state
                .iter()
                .map(|event| serde_json::from_str::<Value>(event).unwrap())
                .map(|event| event["type"].as_str().unwrap().to_owned())
                .collect();
            let version = &context.room_version;
            seen.lock().unwrap().push(format!("{version} {} {kinds:?}", context.sender));
            let event: Value = serde_json::from_str(event).unwrap();
            let content: Value = serde_json::from_str(content).unwrap();
            assert_eq!(event["content"], content);
            match content["body"].as_str() {
                Some("rude") => Err(no()),
                Some(body) => {
                    Ok(Some(json!({"msgtype": "m.text", "body": body.to_uppercase()}).to_string()))
                }
                None => Ok(None),
            }
        }));
    });
    log
}

#[test]
fn content_that_a_module_gives_is_what_is_sent() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let log = shouting(&server);
    lose_a_race(&server.host);
    let id = server.text(ALICE, &room, "hello");
    let event = server.event(&id);
    assert_eq!(event["content"]["body"], "HELLO");
    assert_eq!(server.events(&room).last().unwrap()["content"]["body"], "HELLO");
    let kinds = r#"["m.room.power_levels", "m.room.member", "m.room.create"]"#;
    assert_eq!(taken(&log), [format!("12 @alice:hs1 {kinds}")], "a lost race asks nobody twice");
    let rude = json!({"msgtype": "m.text", "body": "rude"});
    is_no(&server.send(ALICE, &room, "m.room.message", "rude", &rude));
    // What was sent can be found by the words that were sent.
    let hits = storage::search("messages", "HELLO", None, 10, 0).unwrap();
    assert_eq!(hits.len(), 1);
}

#[test]
fn content_that_a_module_gives_is_authorised_anew() {
    let server = server();
    let levels = json!({"users": {BOB: 50}, "events": {"m.room.power_levels": 50}});
    let room = server
        .create(ALICE, &json!({"preset": "public_chat", "power_level_content_override": levels}));
    let _ = server.join(BOB, &room).ok();
    server.host.services(|services| {
        let too_much = json!({"users": {BOB: 100}}).to_string();
        services.hooks.check_allowed = Some(Arc::new(move |_, _, _, _| Ok(Some(too_much.clone()))));
    });
    let same = json!({"users": {BOB: 50}, "events": {"m.room.power_levels": 50}, "ban": 49});
    let answer = server.put_state(BOB, &room, "m.room.power_levels", "", &same);
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
}

#[test]
fn content_that_is_none_is_not_sent() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    server.host.services(|services| {
        services.hooks.check_allowed = Some(Arc::new(|_, _, _, _| Ok(Some("[1.5]".to_owned()))));
    });
    let body = json!({"msgtype": "m.text", "body": "x"});
    let answer = server.send(ALICE, &room, "m.room.message", "t", &body);
    assert_eq!(answer.error().0, 500);
    assert!(!server.host.logs().is_empty());
}

#[test]
fn pretended_request_gets_the_same_answer_again() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    let before = server.events(&room).len();
    server.host.services(|services| {
        services.hooks.check_event = Some(Arc::new(|_, _, _| Err(Objection::Pretend)));
    });
    let body = json!({"msgtype": "m.text", "body": "x"});
    let first = event_id(&server.send(ALICE, &room, "m.room.message", "t", &body));
    server.host.advance(1000);
    let again = event_id(&server.send(ALICE, &room, "m.room.message", "t", &body));
    assert_eq!(first, again);
    assert_eq!(server.events(&room).len(), before);
}

#[test]
fn pretended_part_of_a_new_room_is_left_out() {
    let server = server();
    server.host.services(|services| {
        services.hooks.check_event =
            Some(Arc::new(
                |_, event, _| {
                    if event.contains("topic") { Err(Objection::Pretend) } else { Ok(()) }
                },
            ));
    });
    let room = server.create(ALICE, &json!({"name": "N", "topic": "T", "room_version": "11"}));
    let events = server.events(&room);
    let has = |kind: &str| events.iter().any(|event| event["type"] == kind);
    assert!(has("m.room.name") && !has("m.room.topic"));
}

#[test]
fn shadow_banned_users_are_seen_by_nobody() {
    let server = server();
    let room = server.create(ALICE, &json!({"preset": "public_chat"}));
    let banned = |method: &str, route: &str, placeholders: &[(&str, &str)], body: &Value| {
        let mut request = server.host.request(method, route).user(BOB).device("DEV");
        for (name, value) in placeholders {
            request = request.param(name, value);
        }
        request.mark("shadow-banned").json(body).send::<Plugin>().ok()
    };
    banned("POST", "join", &[("roomIdOrAlias", &room)], &json!({}));
    assert_eq!(server.membership(&room, BOB), "join", "they come and go");
    let before = server.events(&room).len();
    let message = [("roomId", room.as_str()), ("eventType", "m.room.message"), ("txnId", "t")];
    let answer = banned("PUT", "send", &message, &json!({"msgtype": "m.text", "body": "x"}));
    assert!(answer["event_id"].as_str().unwrap().starts_with('$'));
    banned("POST", "invite", &[("roomId", &room)], &json!({"user_id": CAROL}));
    banned("PUT", "put-alias", &[("roomAlias", "#a:hs1")], &json!({"room_id": room}));
    assert_eq!(server.events(&room).len(), before);
    assert_eq!(server.membership(&room, CAROL), "");
    assert_eq!(Plugin::room_of_alias("#a:hs1".to_owned()).unwrap(), None);
    let own = banned("POST", "create-room", &[], &json!({"invite": [CAROL]}));
    assert_eq!(server.membership(own["room_id"].as_str().unwrap(), CAROL), "");
}

#[test]
fn room_of_a_shadow_banned_user_is_not_to_be_found() {
    let server = server();
    let body = json!({"visibility": "public", "room_alias_name": "spam", "name": "Spam"});
    let create = |user: &str, mark: Option<&str>| {
        let request = server.host.request("POST", "create-room").user(user).device("DEV");
        let request = mark.into_iter().fold(request, |request, mark| request.mark(mark));
        request.json(&body).send::<Plugin>()
    };
    let listed = || server.rows::<(String,)>("SELECT room_id FROM rooms_v1_listed", vec![]).len();
    let room = create(BOB, Some("shadow-banned")).ok()["room_id"].as_str().unwrap().to_owned();
    assert_eq!(server.membership(&room, BOB), "join");
    assert!(!server.events(&room).iter().any(|event| event["type"] == "m.room.canonical_alias"));
    assert_eq!(listed(), 0);
    assert_eq!(Plugin::room_of_alias("#spam:hs1".to_owned()).unwrap(), None);
    let room = create(ALICE, None).ok()["room_id"].clone();
    assert_eq!(listed(), 1);
    let found = Plugin::room_of_alias("#spam:hs1".to_owned()).unwrap();
    assert_eq!(found.map(Value::from), Some(room));
    // As anybody would be, they are told that it is taken.
    assert_eq!(create(BOB, Some("shadow-banned")).error().1, "M_ROOM_IN_USE");
}

/// A module that is asked about an event reads the room, and sends an event into it, before it answers.
#[test]
fn module_may_act_in_the_room_while_it_is_asked() {
    let server = server();
    let room = server.create(ALICE, &json!({"name": "N"}));
    let state = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&state);
    server.host.services(move |services| {
        services.hooks.check_event = Some(Arc::new(move |host, event, origin| {
            let event: Value = serde_json::from_str(event).unwrap();
            if event["content"]["body"] == "hello" {
                host.acting("rooms", || {
                    let kinds = vec!["m.room.name".to_owned()];
                    *seen.lock().unwrap() = Plugin::state(origin.room_id.clone(), kinds).unwrap();
                    let content = r#"{"msgtype":"m.notice","body":"somebody says hello"}"#;
                    let (room, kind) = (origin.room_id.clone(), "m.room.message".to_owned());
                    Plugin::send_as(origin.sender.clone(), room, kind, None, content.to_owned())
                })
                .unwrap();
            }
            Ok(())
        }));
    });
    server.text(ALICE, &room, "hello");
    let events = server.events(&room);
    let bodies: Vec<_> =
        events.iter().filter_map(|event| event["content"]["body"].as_str()).collect();
    assert_eq!(bodies, ["somebody says hello", "hello"]);
    let name: Value = serde_json::from_str(&state.lock().unwrap()[0]).unwrap();
    assert_eq!(name["content"]["name"], "N");
}

#[test]
fn hooks_take_no_storage_call() {
    let server = server();
    let room = server.create(ALICE, &json!({}));
    strict(&server, "-");
    server.host.services(|services| {
        services.hooks.check_event = Some(Arc::new(|_, _, _| Ok(())));
        services.hooks.check_allowed = Some(Arc::new(|_, _, _, _| Ok(None)));
    });
    let _ = server.host.calls();
    server.text(ALICE, &room, "hi");
    assert_eq!(server.host.calls(), 2);
}

#[test]
fn events_that_are_read_get_the_fields_of_modules() {
    let server = server();
    let room = server.create(ALICE, &json!({"name": "N"}));
    let event = server.text(ALICE, &room, "hi");
    server.host.services(|services| {
        services.hooks.unsigned_fields = Some(Arc::new(|_, events, viewer| {
            let field = |n| Field {
                event: n,
                name: "org.example.viewer".to_owned(),
                value: json!(viewer).to_string(),
            };
            (0..u32::try_from(events.len()).unwrap()).map(field).collect()
        }));
    });
    let has = |event: &Value| event["unsigned"]["org.example.viewer"] == ALICE;
    assert!(has(&server.read(ALICE, &room, &event).ok()));
    let state = server.get(ALICE, "get-state", &[("roomId", &room)]).ok();
    assert!(state.as_array().unwrap().len() > 4 && state.as_array().unwrap().iter().all(has));
    let members = server.get(ALICE, "members", &[("roomId", &room)]).ok();
    assert!(has(&members["chunk"][0]));
    let request =
        server.host.request("GET", "get-state-event").user(ALICE).query("format", "event");
    let request = request.param("roomId", &room).param("eventType", "m.room.name");
    assert!(has(&request.send::<Plugin>().ok()));
}
