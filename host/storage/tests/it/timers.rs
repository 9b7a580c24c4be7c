use tessera_storage::{DatabaseConfig, Error};


use super::Fixture;

#[tokio::test]
async fn timers_come_due_in_order_and_outlive_a_restart() {
    let f = Fixture::new().await;
    f.db.timer_set("rooms", "later", 300, "c").await.unwrap();
    f.db.timer_set("rooms", "soon", 100, "a").await.unwrap();
    f.db.timer_set("sync", "soon", 200, "b").await.unwrap();
    let db = f.reopen(DatabaseConfig::default()).await;
    assert_eq!(db.timer_next().await.unwrap(), Some(100));
    let due = db.timers_due(250, 10).await.unwrap();
    let payloads: Vec<_> = due.iter().map(|t| t.payload.as_str()).collect();
    assert_eq!(payloads, ["a", "b"]);
    for timer in &due {
        db.timer_finish(timer).await.unwrap();
    }
    assert_eq!(db.timers_due(250, 10).await.unwrap(), []);
    assert!(db.timer_cancel("rooms", "later").await.unwrap());
    assert!(!db.timer_cancel("rooms", "later").await.unwrap());
    assert_eq!(db.timer_next().await.unwrap(), None);
}

#[tokio::test]
async fn a_timer_set_anew_is_not_finished_by_its_old_run() {
    let f = Fixture::new().await;
    f.db.timer_set("rooms", "t", 100, "old").await.unwrap();
    let old = f.db.timers_due(100, 10).await.unwrap().remove(0);
    f.db.timer_cancel("rooms", "t").await.unwrap();
    f.db.timer_set("rooms", "t", 100, "new").await.unwrap();
    f.db.timer_finish(&old).await.unwrap();
    assert_eq!(f.db.timers_due(100, 10).await.unwrap()[0].payload, "new");
}

#[tokio::test]
async fn timers_have_a_cap() {
    let f = Fixture::with(DatabaseConfig { timers: 2, ..DatabaseConfig::default() }).await;
    for name in ["a", "b", "a"] {
        f.db.timer_set("rooms", name, 1, "").await.unwrap();
    }
    let third = f.db.timer_set("rooms", "c", 1, "").await;
    assert!(matches!(third, Err(Error::TooLarge(_))), "{third:?}");
    f.db.timer_set("sync", "c", 1, "").await.unwrap();
    assert_eq!(f.db.timers_due(1, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn no_plugin_hides_the_timers_of_others() {
    let f = Fixture::new().await;
    for name in ["a", "b", "c"] {
        f.db.timer_set("rooms", name, 1, "").await.unwrap();
    }
    f.db.timer_set("sync", "d", 5, "").await.unwrap();
    let due = f.db.timers_due_fairly(9, 3, 2).await.unwrap();
    let names: Vec<_> = due.iter().map(|timer| timer.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "d"]);
    f.db.timer_postpone(&due[0], 700).await.unwrap();
    assert_eq!(f.db.timers_due_fairly(9, 1, 1).await.unwrap()[0].name, "b");
    assert_eq!(f.db.timer_after(9).await.unwrap(), Some(700));
    f.db.timer_set("rooms", "b", 3, "anew").await.unwrap();
    f.db.timer_postpone(&due[1], 800).await.unwrap();
    assert_eq!(f.db.timers_due(9, 9).await.unwrap().len(), 3, "one set anew is not postponed");
}
