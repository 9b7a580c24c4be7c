use std::sync::Arc;

use serde_json::{Value, json};
use tessera_plugin_accounts::Plugin;
use tessera_sdk::storage::{Batch, query};
use tessera_test_host::{PluginUnderTest, TestHost};

use crate::words::{ANN, ask, ask_as, register, start};

const SET: &str = "account-data-set userId=@ann:hs1 type=";
const GET: &str = "account-data userId=@ann:hs1 type=";
const ROOM_SET: &str = "room-account-data-set userId=@ann:hs1 roomId=!r:hs1 type=";
const ROOM_GET: &str = "room-account-data userId=@ann:hs1 roomId=!r:hs1 type=";

#[test]
fn entries_are_kept_globally_and_for_each_room() {
    let host = start();
    let _ = host.wakes();
    ask(&host, "PUT", &format!("{SET}m.direct"), json!({ "@b:hs1": ["!r:hs1"] })).ok();
    assert_eq!(host.wakes(), ["user:@ann:hs1"]);
    ask(&host, "PUT", &format!("{ROOM_SET}org.x"), json!({ "a": 1 })).ok();
    let global = ask(&host, "GET", &format!("{GET}m.direct"), Value::Null).ok();
    assert_eq!(global, json!({ "@b:hs1": ["!r:hs1"] }));
    assert_eq!(ask(&host, "GET", &format!("{ROOM_GET}org.x"), Value::Null).ok(), json!({ "a": 1 }));
    let not_found = (404, "M_NOT_FOUND".to_owned());
    assert_eq!(ask(&host, "GET", &format!("{GET}org.x"), Value::Null).error(), not_found);
    assert_eq!(ask(&host, "GET", &format!("{ROOM_GET}m.direct"), Value::Null).error(), not_found);
}

#[test]
fn change_gets_a_new_position_and_the_same_again_does_not() {
    let host = start();
    let put = |n: u8| ask(&host, "PUT", &format!("{SET}x"), json!({ "n": n })).ok();
    put(1);
    let first = host.horizon();
    put(1);
    assert_eq!(host.horizon(), first);
    put(2);
    assert!(host.horizon() > first);
}

#[test]
fn only_the_owner_reads_and_writes() {
    let host = start();
    register(&host, "ann");
    for (method, path) in [("PUT", SET), ("GET", GET), ("PUT", ROOM_SET), ("GET", ROOM_GET)] {
        let answer = ask_as(&host, "@bob:hs1", "B", method, &format!("{path}x"), json!({}));
        assert_eq!(answer.error(), (403, "M_FORBIDDEN".to_owned()));
    }
}

#[test]
fn types_of_the_server_cannot_be_set_here() {
    let host = start();
    for path in [SET, ROOM_SET] {
        for kind in ["m.push_rules", "m.fully_read"] {
            let answer = ask(&host, "PUT", &format!("{path}{kind}"), json!({}));
            assert_eq!(answer.error(), (405, "M_BAD_JSON".to_owned()));
        }
    }
}

#[test]
fn push_rules_come_from_push() {
    let host = start();
    assert_eq!(ask(&host, "GET", &format!("{GET}m.push_rules"), Value::Null).status(), 503);
    host.services(|services| {
        services.push_rules =
            Arc::new(|_, user| Ok(format!("{{\"global\":{{\"of\":\"{user}\"}}}}")));
    });
    let rules = ask(&host, "GET", &format!("{GET}m.push_rules"), Value::Null).ok();
    assert_eq!(rules["global"]["of"], ANN);
}

#[test]
fn bad_contents_are_refused() {
    let host = start();
    let put = |body: &[u8]| {
        let request = host.request("PUT", "account-data-set").user(ANN).param("userId", ANN);
        request.param("type", "x").bytes(body).send::<Plugin>().error().1
    };
    assert_eq!(put(b"{"), "M_NOT_JSON");
    assert_eq!(put(b""), "M_NOT_JSON");
    assert_eq!(put(b"{\"a\":\"\xff\"}"), "M_NOT_JSON");
    assert_eq!(put(b"[]"), "M_BAD_JSON");
    assert_eq!(put(b"1"), "M_BAD_JSON");
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    assert_eq!(put(deep.as_bytes()), "M_BAD_JSON");
    let bad_room = "room-account-data-set userId=@ann:hs1 roomId=r type=x";
    assert_eq!(ask(&host, "PUT", bad_room, json!({})).error().1, "M_INVALID_PARAM");
    let long = format!("{SET}{}", "x".repeat(256));
    assert_eq!(ask(&host, "PUT", &long, json!({})).error().1, "M_INVALID_PARAM");
}

#[test]
fn nul_survives_in_content() {
    let host = start();
    let content = json!({ "a": "x\0y\u{1a}" });
    ask(&host, "PUT", &format!("{SET}x"), content.clone()).ok();
    assert_eq!(ask(&host, "GET", &format!("{GET}x"), Value::Null).ok(), content);
}

#[test]
fn data_of_a_room_that_is_gone_is_forgotten() {
    const ROOMS: PluginUnderTest = PluginUnderTest {
        name: "rooms",
        manifest: "name = \"rooms\"\nversion = \"0.1.0\"\n[topics]\nemits = [\"rooms.purged\"]\n",
        migrations: &[],
    };
    let host = TestHost::builder().plugin_in(".").plugin(ROOMS).start();
    register(&host, "ann");
    for room in ["!gone:hs1", "!cut:hs1"] {
        let path = format!("room-account-data-set userId=@ann:hs1 roomId={room} type=x");
        ask(&host, "PUT", &path, json!({ "a": 1 })).ok();
        let path = format!("tag-set userId=@ann:hs1 roomId={room} tag=u.t");
        ask(&host, "PUT", &path, json!({})).ok();
    }
    ask(&host, "PUT", "account-data-set userId=@ann:hs1 type=x", json!({ "a": 1 })).ok();
    host.acting("rooms", || {
        for (room, gone) in [("!gone:hs1", true), ("!cut:hs1", false), ("", true)] {
            let payload = json!({ "room_id": room, "gone": gone, "before": 9 }).to_string();
            Batch::new().emit("rooms.purged", room, payload).commit().unwrap();
        }
    });
    assert_eq!(host.deliver::<Plugin>("accounts", "rooms.purged"), 3);
    let left =
        query("SELECT room_id, type FROM accounts_account_data ORDER BY room_id, type", vec![]);
    let left: Vec<(String, String)> = left.unwrap().all().unwrap();
    let left: Vec<_> = left.iter().map(|(room, kind)| (room.as_str(), kind.as_str())).collect();
    assert_eq!(left, [("", "x"), ("!cut:hs1", "m.tag"), ("!cut:hs1", "x")]);
}
