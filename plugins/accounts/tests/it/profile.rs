use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;

use crate::words::{ANN, ask, ask_as, register, start};

const FIELD: &str = "profile-field userId=@ann:hs1 keyName=";
const SET: &str = "profile-field-set userId=@ann:hs1 keyName=";
const DELETE: &str = "profile-field-delete userId=@ann:hs1 keyName=";

#[test]
fn display_name_reaches_profile_rooms_and_topic() {
    let host = start();
    register(&host, "ann");
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    host.services(|services| {
        services.profile_changed = Arc::new(move |_, user, name, avatar| {
            seen.lock().unwrap().push(format!("{user} {name:?} {avatar:?}"));
            Ok(())
        });
    });
    let _ = host.wakes();
    ask(&host, "PUT", &format!("{SET}displayname"), json!({ "displayname": "Ann" })).ok();
    assert_eq!(*told.lock().unwrap(), ["@ann:hs1 Some(\"Ann\") None"]);
    let message = &host.messages("accounts.profiles")[0];
    let expected = json!({ "user_id": ANN, "displayname": "Ann", "avatar_url": null });
    assert_eq!(*message, expected);
    assert_eq!(host.wakes(), ["user:@ann:hs1"]);
    let field = ask(&host, "GET", &format!("{FIELD}displayname"), Value::Null).ok();
    assert_eq!(field, json!({ "displayname": "Ann" }));

    ask(&host, "PUT", &format!("{SET}displayname"), json!({ "displayname": "Ann" })).ok();
    assert_eq!(told.lock().unwrap().len(), 1, "the same name again is no change");
    ask(&host, "DELETE", &format!("{DELETE}displayname"), Value::Null).ok();
    let profile = ask(&host, "GET", "profile userId=@ann:hs1", Value::Null).ok();
    assert_eq!(profile, json!({}));
}

#[test]
fn new_name_of_a_shadow_banned_user_is_told_to_no_room() {
    let host = start();
    register(&host, "ann");
    let told = Arc::new(Mutex::new(0));
    let seen = told.clone();
    host.services(|services| {
        services.profile_changed = Arc::new(move |_, _, _, _| {
            *seen.lock().unwrap() += 1;
            Ok(())
        });
    });
    let set = |name: &str, mark: Option<&str>| {
        let request = host.request("PUT", "profile-field-set").user(ANN).device("DEV");
        let request = request.param("userId", ANN).param("keyName", "displayname");
        let request = mark.into_iter().fold(request, |request, mark| request.mark(mark));
        request.json(&json!({ "displayname": name })).send::<Plugin>().ok();
    };
    set("Spam", Some("shadow-banned"));
    let profile = ask(&host, "GET", "profile userId=@ann:hs1", Value::Null).ok();
    assert_eq!(profile, json!({ "displayname": "Spam" }), "they see it themselves");
    assert_eq!((host.messages("accounts.profiles").len(), *told.lock().unwrap()), (0, 0));
    set("Ann", None);
    assert_eq!((host.messages("accounts.profiles").len(), *told.lock().unwrap()), (1, 1));
}

#[test]
fn rooms_that_cannot_be_told_learn_it_later() {
    let host = start();
    register(&host, "ann");
    let body = json!({ "avatar_url": "mxc://hs1/a" });
    ask(&host, "PUT", &format!("{SET}avatar_url"), body.clone()).ok();
    assert_eq!(host.messages("accounts.profiles").len(), 1);
    assert_eq!(ask(&host, "GET", "profile userId=@ann:hs1", Value::Null).ok(), body);
}

#[test]
fn other_fields_are_kept_as_json() {
    let host = start();
    register(&host, "ann");
    let body = json!({ "m.tz": "Europe/Berlin" });
    ask(&host, "PUT", &format!("{SET}m.tz"), body.clone()).ok();
    let nested = json!({ "org.x": { "a": [1, null] } });
    ask(&host, "PUT", &format!("{SET}org.x"), nested).ok();
    assert_eq!(ask(&host, "GET", &format!("{FIELD}m.tz"), Value::Null).ok(), body);
    let profile = ask(&host, "GET", "profile userId=@ann:hs1", Value::Null).ok();
    assert_eq!(profile, json!({ "m.tz": "Europe/Berlin", "org.x": { "a": [1, null] } }));
    ask(&host, "DELETE", &format!("{DELETE}m.tz"), Value::Null).ok();
    let gone = ask(&host, "GET", &format!("{FIELD}m.tz"), Value::Null);
    assert_eq!(gone.error(), (404, "M_NOT_FOUND".to_owned()));
    assert_eq!(host.messages("accounts.profiles").len(), 0);
}

#[test]
fn bad_fields_are_refused() {
    let host = start();
    register(&host, "ann");
    let big = "x".repeat(70_000);
    let cases = [
        ("displayname", json!({ "displayname": 1 }), "M_INVALID_PARAM"),
        ("displayname", json!({ "displayname": "x".repeat(1025) }), "M_INVALID_PARAM"),
        ("displayname", json!({ "name": "x" }), "M_MISSING_PARAM"),
        ("displayname", json!([]), "M_BAD_JSON"),
        ("Bad", json!({ "Bad": 1 }), "M_INVALID_PARAM"),
        (&"a".repeat(256), json!({}), "M_KEY_TOO_LARGE"),
        ("m.big", json!({ "m.big": big }), "M_PROFILE_TOO_LARGE"),
    ];
    for (name, body, code) in cases {
        let answer = ask(&host, "PUT", &format!("{SET}{name}"), body);
        assert_eq!(answer.error(), (400, code.to_owned()), "{name}");
    }
}

#[test]
fn anothers_profile_can_be_read_but_not_changed() {
    let host = start();
    register(&host, "ann");
    register(&host, "bob");
    let path = format!("{SET}displayname");
    let answer = ask_as(&host, "@bob:hs1", "B", "PUT", &path, json!({ "displayname": "x" }));
    assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
    let path = format!("{FIELD}displayname");
    assert_eq!(ask_as(&host, "@bob:hs1", "B", "GET", &path, Value::Null).ok(), json!({}));
}

#[test]
fn unknown_users_have_no_profile() {
    let host = start();
    for (user, status) in [("@x:hs1", 404), ("@x:elsewhere", 404), ("x", 400)] {
        let answer = ask(&host, "GET", &format!("profile userId={user}"), Value::Null);
        assert_eq!(answer.status(), status, "{user}");
    }
}

#[test]
fn of_two_changes_at_once_both_are_told_whatever_the_order() {
    let host = start();
    register(&host, "ann");
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    // The avatar comes while the name is on its way to the rooms, and is quicker.
    let once = Mutex::new(true);
    host.services(|services| {
        services.profile_changed = Arc::new(move |host, _, name, avatar| {
            if std::mem::take(&mut *once.lock().unwrap()) {
                let body = json!({ "avatar_url": "mxc://hs1/a" });
                ask(host, "PUT", &format!("{SET}avatar_url"), body).ok();
            }
            let told = (name.map(str::to_owned), avatar.map(str::to_owned));
            seen.lock().unwrap().push(told);
            Ok(())
        });
    });
    ask(&host, "PUT", &format!("{SET}displayname"), json!({ "displayname": "Ann" })).ok();
    let newest = (Some("Ann".to_owned()), Some("mxc://hs1/a".to_owned()));
    assert_eq!(told.lock().unwrap().last(), Some(&newest));
    // And where the one is stored before the other has looked.
    host.before_next_commit(|host| {
        ask(host, "PUT", &format!("{SET}avatar_url"), json!({ "avatar_url": "mxc://hs1/b" })).ok();
    });
    ask(&host, "PUT", &format!("{SET}displayname"), json!({ "displayname": "Anna" })).ok();
    let expected = json!({ "user_id": ANN, "displayname": "Anna", "avatar_url": "mxc://hs1/b" });
    assert_eq!(host.messages("accounts.profiles").pop().unwrap(), expected);
    let newest = (Some("Anna".to_owned()), Some("mxc://hs1/b".to_owned()));
    assert_eq!(told.lock().unwrap().last(), Some(&newest));
}
