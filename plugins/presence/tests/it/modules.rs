//! What presence asks modules, and what they may ask of it.

use std::sync::Arc;

use serde_json::json;
use tessera_plugin_presence::Plugin;
use tessera_sdk::bindings::presence::exports::tessera::services::presence::{Error, Guest};
use tessera_sdk::hooks::presence_routes::Route;

use crate::server::*;

fn tell(server: &Server, user: &str, presence: &str) {
    let body = json!({ "presence": presence });
    server.ask(user, "PUT", "status", &[("userId", user)], &body).ok();
}

fn sees(server: &Server, viewer: &str, whose: &str) -> bool {
    server.ask(viewer, "GET", "status", &[("userId", whose)], &json!({})).status() == 200
}

#[test]
fn presence_goes_where_a_module_routes_it() {
    let server = server();
    assert!(!sees(&server, CAROL, ALICE));
    server.host.services(|services| {
        services.hooks.presence_routes = Some(Arc::new(|_, states| {
            let to = if states[0].presence == "online" { vec![CAROL.to_owned()] } else { vec![] };
            vec![Route { user: states[0].user.clone(), to }]
        }));
    });
    tell(&server, ALICE, "online");
    assert!(server.host.wakes().contains(&format!("user:{CAROL}")));
    assert!(sees(&server, CAROL, ALICE) && !sees(&server, ALICE, CAROL));
    tell(&server, ALICE, "offline");
    assert!(!sees(&server, CAROL, ALICE), "the routes are those of the last change");
}

#[test]
fn user_sees_those_whom_a_module_makes_interesting() {
    let server = server();
    server.host.services(|services| {
        services.hooks.presence_interests =
            Some(Arc::new(|_, user| if user == CAROL { vec![BOB.to_owned()] } else { vec![] }));
    });
    tell(&server, CAROL, "online");
    assert!(sees(&server, CAROL, BOB) && !sees(&server, BOB, CAROL));
    tell(&server, BOB, "online");
    assert!(server.host.wakes().contains(&format!("user:{CAROL}")));
}

#[test]
fn routes_of_a_module_that_is_gone_are_forgotten() {
    // By a change, and by the same status again.
    for next in ["offline", "online"] {
        let server = server();
        server.host.services(|services| {
            services.hooks.presence_routes = Some(Arc::new(|_, states| {
                vec![Route { user: states[0].user.clone(), to: vec![CAROL.to_owned()] }]
            }));
            services.hooks.presence_interests = Some(Arc::new(|_, user| match user {
                ALICE => vec![CAROL.to_owned()],
                CAROL => vec![BOB.to_owned()],
                _ => vec![],
            }));
        });
        tell(&server, ALICE, "online");
        tell(&server, CAROL, "online");
        assert!(sees(&server, CAROL, ALICE) && sees(&server, ALICE, CAROL));
        server.host.services(|services| {
            services.hooks.presence_routes = None;
            services.hooks.presence_interests = None;
        });
        tell(&server, ALICE, next);
        assert!(!sees(&server, ALICE, CAROL), "{next}: her interest is over");
        assert!(sees(&server, CAROL, BOB), "{next}: carol's are carol's");
        tell(&server, CAROL, next);
        let rows: Vec<(String,)> = server.rows("SELECT user_id FROM presence_routes");
        assert!(rows.is_empty(), "{next}: {rows:?}");
        assert!(!sees(&server, CAROL, ALICE), "{next}");
    }
}

#[test]
fn service_gets_and_sets_presence() {
    let server = server();
    let away = Some("away".to_owned());
    Plugin::set(ALICE.to_owned(), "unavailable".to_owned(), away.clone()).unwrap();
    assert!(server.host.wakes().contains(&format!("user:{BOB}")));
    let all = Plugin::get(vec![ALICE.to_owned(), BOB.to_owned()]).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].user.as_str(), all[0].presence.as_str()), (ALICE, "unavailable"));
    assert_eq!((&all[0].status_msg, all[0].last_active_ms), (&away, server.host.now_ms()));
    let asleep = Plugin::set(ALICE.to_owned(), "asleep".to_owned(), None);
    assert!(matches!(asleep, Err(Error::Refused((code, _))) if code == "M_INVALID_PARAM"));
}
