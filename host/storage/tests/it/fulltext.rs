use tessera_storage::{Batch, Error, FullTextEntry, Order};


use super::Fixture;

fn entry(key: &str, group: &str, text: Option<&str>) -> FullTextEntry {
    FullTextEntry {
        index: "bodies".into(),
        key: key.into(),
        group: group.into(),
        text: text.map(str::to_owned),
    }
}

fn batch(full_text: Vec<FullTextEntry>) -> Batch {
    Batch { full_text, ..Batch::default() }
}

#[tokio::test]
async fn words_find_entries_by_group_and_prefix() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    rooms
        .commit(batch(vec![
            entry("$1", "!a", Some("The quick brown fox")),
            entry("$2", "!b", Some("quick quick quick")),
            entry("$3", "!a", Some("Übergröße matters")),
            entry("$4", "!a", Some("a fox, say \"hello\" AND goodbye")),
        ]))
        .await
        .unwrap();
    let find = |query: &'static str, groups: Option<Vec<String>>| {
        let rooms = rooms.clone();
        async move {
            let hits = rooms.search("bodies", query, groups, Order::Best, 10, 0).await.unwrap();
            let mut keys: Vec<String> = hits.into_iter().map(|h| h.key).collect();
            keys.sort();
            keys
        }
    };
    assert_eq!(find("quick", None).await, ["$1", "$2"]);
    assert_eq!(find("quick", Some(vec!["!a".into()])).await, ["$1"]);
    assert_eq!(find("quick", Some(vec![])).await, Vec::<String>::new());
    assert_eq!(find("QUICK fox", None).await, ["$1"]);
    assert_eq!(find("bro*", None).await, ["$1"]);
    assert_eq!(find("bro", None).await, Vec::<String>::new());
    assert_eq!(find("ubergröße", None).await, ["$3"]);
    assert_eq!(find("\"hello\" AND", None).await, ["$4"]);
    for hostile in ["", "\"", "* OR", "a\"b", "NEAR(", "text:x", "- ^", "fox) OR (quick"] {
        let _ = find(hostile, None).await;
    }
    let hits = rooms.search("bodies", "quick", None, Order::Best, 1, 0).await.unwrap();
    assert_eq!((hits[0].key.as_str(), hits[0].group.as_str()), ("$2", "!b"), "best first");
    let rest = rooms.search("bodies", "quick", None, Order::Best, 10, 1).await.unwrap();
    assert_eq!(rest.len(), 1);
}

#[tokio::test]
async fn entries_are_replaced_and_removed() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    rooms.commit(batch(vec![entry("$1", "!a", Some("first"))])).await.unwrap();
    rooms.commit(batch(vec![entry("$1", "!b", Some("second"))])).await.unwrap();
    assert!(rooms.search("bodies", "first", None, Order::Best, 10, 0).await.unwrap().is_empty());
    let hits = rooms.search("bodies", "second", None, Order::Best, 10, 0).await.unwrap();
    assert_eq!((hits.len(), hits[0].group.as_str()), (1, "!b"));
    rooms.commit(batch(vec![entry("$1", "", None), entry("$9", "", None)])).await.unwrap();
    assert!(rooms.search("bodies", "second", None, Order::Best, 10, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_index_belongs_to_its_plug_in() {
    let f = Fixture::new().await;
    let got = f.sync().search("bodies", "x", None, Order::Best, 10, 0).await;
    assert!(matches!(got, Err(Error::Refused(_))), "{got:?}");
    let got = f.sync().commit(batch(vec![entry("$1", "", Some("x"))])).await;
    assert!(matches!(got, Err(Error::Refused(_))), "{got:?}");
}

#[tokio::test]
async fn the_newest_come_first_where_that_is_asked() {
    let f = Fixture::new().await;
    let rooms = f.rooms();
    for (key, group) in [("$1", "!a"), ("$2", "!b"), ("$3", "!a"), ("$4", "!c")] {
        // The oldest fits best: it would be first by rank.
        let text = if key == "$1" { "fox fox fox" } else { "a fox among many other words" };
        rooms.commit(batch(vec![entry(key, group, Some(text))])).await.unwrap();
    }
    let keys = async |groups: Option<&[&str]>, limit, offset| {
        let groups = groups.map(|list| list.iter().map(|&group| group.to_owned()).collect());
        let hits = rooms.search("bodies", "fox", groups, Order::Newest, limit, offset).await.unwrap();
        hits.into_iter().map(|hit| hit.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(None, 10, 0).await, ["$4", "$3", "$2", "$1"]);
    assert_eq!(keys(None, 2, 0).await, ["$4", "$3"]);
    assert_eq!(keys(None, 2, 2).await, ["$2", "$1"]);
    assert_eq!(keys(None, 2, 4).await, [""; 0]);
    assert_eq!(keys(Some(&["!a"]), 10, 0).await, ["$3", "$1"]);
    assert_eq!(keys(Some(&["!a", "!c"]), 2, 0).await, ["$4", "$3"]);
    assert_eq!(keys(Some(&[]), 10, 0).await, [""; 0]);
    // What is replaced is as old as it was, and there once.
    rooms.commit(batch(vec![entry("$2", "!b", Some("the fox"))])).await.unwrap();
    assert_eq!(keys(None, 10, 0).await, ["$4", "$3", "$2", "$1"]);
    // What was removed and comes again is new.
    rooms.commit(batch(vec![entry("$4", "", None), entry("$1", "", None)])).await.unwrap();
    assert_eq!(keys(None, 10, 0).await, ["$3", "$2"]);
    rooms.commit(batch(vec![entry("$1", "!a", Some("fox"))])).await.unwrap();
    assert_eq!(keys(None, 10, 0).await, ["$1", "$3", "$2"]);
    let refused = f.sync().search("bodies", "x", None, Order::Newest, 10, 0).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}
