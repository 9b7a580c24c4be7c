//! A third-party module in the path of a message.

use reqwest::Method;
use serde_json::json;

use crate::common::{World, assert_error};

const CONFIG: &str = r#"
[plugins.keyword-policy]
source = "keyword-policy.wasm"
grants = { answer = "*" }
config = { words = ["casino"] }

[hooks.order]
"tessera:hooks/event-policy" = ["keyword-policy"]
"#;

#[tokio::test]
async fn policy_module_refuses_what_its_list_holds_and_nothing_else() {
    let world = World::start_with_config(CONFIG).await;
    let (user, room) = world.user_in_room("policy").await;
    let path = format!("/rooms/{room}/send/m.room.message/casino");
    let body = json!({"msgtype": "m.text", "body": "the casino is open"});
    let refused = user.call(Method::PUT, &path, Some(&body)).await.unwrap();
    assert_error(&refused, &[403], &["M_FORBIDDEN"]);
    assert!(refused.text("error").contains("casino"), "{refused:?}");
    world.still_serves(&user, &room).await;
    let page = user.get(&format!("/rooms/{room}/messages?dir=b&limit=100")).await.unwrap();
    assert!(!page.to_string().contains("casino"), "{page}");
}
