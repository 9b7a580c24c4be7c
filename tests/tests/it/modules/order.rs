//! Several modules on one hook: the order of the descriptor, and what a failing one means.

use super::{
    invite,
    outside::{Outside, Reply},
    send, world,
};
use crate::common::assert_error;

const TWO: &str = r#"
[plugins.spam-filter]
grants = "asked"
config = { copies = 1 }

[plugins.keyword-policy]
grants = "asked"
config = { words = ["carpets"] }

[hooks.order]
"tessera:hooks/event-policy" = [FIRST]
"#;

#[tokio::test]
async fn first_refusal_ends_the_round_in_the_order_of_the_descriptor() {
    let cases = [
        // The word ends the round each time: the filter never counts.
        (r#""keyword-policy", "spam-filter""#, ["carpets", "carpets"]),
        // The filter is asked first: it lets one through to the word, then speaks itself.
        (r#""spam-filter", "keyword-policy""#, ["carpets", "often enough"]),
    ];
    for (order, expected) in cases {
        let world = world(&TWO.replace("FIRST", order)).await;
        let (user, room) = world.user_in_room("ordered").await;
        for (txn, word) in expected.into_iter().enumerate() {
            let refused = send(&user, &room, &txn.to_string(), "buy my fine carpets").await;
            assert_error(&refused, &[403], &["M_FORBIDDEN"]);
            assert!(refused.text("error").contains(word), "{order}: {refused:?}");
        }
    }
}

/// A module whose service never answers, and that has less time for a hook than it would wait.
#[tokio::test]
async fn time_out_means_what_on_error_says() {
    let outside = Outside::start().await;
    outside.reply("/user_may_invite", Reply::Silence);
    for (on_error, status) in [("deny", 403), ("allow", 200)] {
        let world = world(&format!(
            "[plugins.http-antispam]\ngrants = \"asked\"\non-error = \"{on_error}\"\nlimits = {{ hook = \"500ms\" }}\n\
             config = {{ base-url = \"{}\", timeout-ms = 5000 }}\n",
            outside.url
        ))
        .await;
        let (alice, room) = world.user_in_room("alice").await;
        let bob = world.user("bob").await;
        let answer = invite(&alice, &room, &bob.user_id).await;
        assert_eq!(answer.status, status, "{on_error}: {answer:?}");
        world.still_serves(&alice, &room).await;
    }
}

/// A module that traps on each message: it may not even call the host for its configuration.
#[tokio::test]
async fn trap_means_what_on_error_says_and_the_server_goes_on() {
    for (on_error, status) in [("deny", 403), ("allow", 200)] {
        let world = world(&format!(
            "[plugins.keyword-policy]\ngrants = \"asked\"\non-error = \"{on_error}\"\nlimits = {{ host-calls = 0 }}\n"
        ))
        .await;
        let (user, room) = world.user_in_room("alice").await;
        for txn in 0..3 {
            let sent = send(&user, &room, &txn.to_string(), "anything").await;
            assert_eq!(sent.status, status, "{on_error}: {sent:?}");
        }
        let log = world.server.log();
        for word in ["keyword-policy", "host-calls", "check-event"] {
            assert!(log.contains(word), "no {word} in the log: {log}");
        }
        // What the module is not asked about goes on.
        let name = user.get(&format!("/rooms/{room}/joined_members")).await.unwrap();
        assert!(name["joined"][&*user.user_id].is_object(), "{name}");
    }
}
