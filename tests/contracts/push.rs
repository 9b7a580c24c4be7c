//! `push`: rules, counts, progress. The function, views (`docs/views.md`).

use serde_json::{Value, json};

use crate::world::{Pair, World, syncs};

suite!(
    "push",
    [
        rules_are_given_with_the_defaults,
        a_changed_rule_is_given_and_told,
        counts_are_shown_for_each_member_but_the_sender,
        progress_comes_to_the_last_event_of_a_room,
    ]
);

async fn rules(world: &World, user: &str) -> Value {
    let given = world.ok("push.rules", &json!([user])).await;
    serde_json::from_str(given.as_str().unwrap()).unwrap()
}

fn ids(rules: &Value, kind: &str) -> Vec<String> {
    let rules = rules["global"][kind].as_array().unwrap();
    rules.iter().map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
}

async fn rules_are_given_with_the_defaults(world: World) {
    let alice = world.user("alice").await;
    let given = rules(&world, &alice.user_id).await;
    assert!(ids(&given, "override").contains(&".m.rule.master".to_owned()), "{given}");
    assert!(ids(&given, "underride").contains(&".m.rule.message".to_owned()), "{given}");
    let answer = alice.get("/pushrules/").await.unwrap();
    assert_eq!(ids(&answer, "override"), ids(&given, "override"));
}

async fn a_changed_rule_is_given_and_told(world: World) {
    let alice = world.user("alice").await;
    let since = alice.sync_token().await.unwrap();
    let rule = json!({"pattern": "cake", "actions": ["notify"]});
    alice.put("/pushrules/global/content/cake", &rule).await.unwrap();
    assert!(ids(&rules(&world, &alice.user_id).await, "content").contains(&"cake".to_owned()));
    let told = |sync: &Value| {
        let events = sync["account_data"]["events"].as_array()?;
        let event = events.iter().find(|event| event["type"] == "m.push_rules")?;
        Some(event["content"].clone())
    };
    let (content, _) = syncs(&alice, &since, told).await;
    assert!(ids(&content, "content").contains(&"cake".to_owned()), "{content}");
}

async fn counts_are_shown_for_each_member_but_the_sender(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let since = bob.sync_token().await.unwrap();
    alice.text(&room, "1", "one").await.unwrap();
    alice.text(&room, "2", "hello bob").await.unwrap();
    let counts = |sync: &Value| {
        let unread = &sync["rooms"]["join"][&room]["unread_notifications"];
        (unread["notification_count"] == 2).then(|| unread["highlight_count"].clone())
    };
    let (highlights, _) = syncs(&bob, &since, counts).await;
    let sql = "SELECT notification_count, highlight_count, thread_id FROM push_v1_counts \
               WHERE user_id = $1 AND room_id = $2";
    let rows = world.rows(sql, &[json!(bob.user_id.as_ref()), json!(room)]).await;
    let expected = json!({"notification_count": 2, "highlight_count": highlights, "thread_id": ""});
    assert_eq!(rows, [expected]);
    let own = world.rows(sql, &[json!(alice.user_id.as_ref()), json!(room)]).await;
    assert!(own.iter().all(|row| row["notification_count"] == 0), "{own:?}");
}

async fn progress_comes_to_the_last_event_of_a_room(world: World) {
    let Pair { alice, bob, room } = world.pair().await;
    let since = bob.sync_token().await.unwrap();
    let event = alice.text(&room, "1", "one").await.unwrap();
    let counted = |sync: &Value| {
        (sync["rooms"]["join"][&room]["unread_notifications"]["notification_count"] == 1)
            .then_some(())
    };
    syncs(&bob, &since, counted).await;
    let sql = "SELECT position FROM rooms_v1_events WHERE event_id = $1";
    let sent = world.rows(sql, &[json!(event)]).await;
    let sql = "SELECT position FROM push_v2_progress WHERE room_id = $1";
    assert_eq!(world.rows(sql, &[json!(room)]).await, sent);
}
