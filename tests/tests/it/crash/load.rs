//! The load: senders that ask again until they are answered, and a reader that never stops.

use std::{collections::HashSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{self, Session};
use tokio::sync::watch;

/// The text that ends the reader.
pub(crate) const LAST: &str = "the last";
/// Every so many messages a sender also sets state and account data.
const VALUE_EVERY: u64 = 7;

/// What the load knows of the server's life.
#[derive(Clone)]
pub(crate) struct Life {
    /// Counts the restarts.
    pub(crate) generation: watch::Receiver<u64>,
    /// True when the load shall end.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// What one sender was promised.
pub(crate) struct Acknowledged {
    pub(crate) user: Session,
    pub(crate) index: usize,
    /// Body and event id, in the order of sending.
    pub(crate) events: Vec<(String, String)>,
    /// The last value that was acknowledged as state and as account data.
    pub(crate) value: u64,
}

/// An event that the reader was told of.
pub(crate) struct Told {
    pub(crate) event_id: String,
    pub(crate) body: String,
}

/// Sends until told to stop. A request that got no answer is sent again after the restart, under the same
/// transaction id, as every client does.
pub(crate) async fn send(
    user: Session,
    index: usize,
    rooms: Vec<String>,
    mut life: Life,
) -> Acknowledged {
    let mut done = Acknowledged { user: user.clone(), index, events: Vec::new(), value: 0 };
    for n in 0_u64.. {
        if *life.stopping.borrow() {
            break;
        }
        let room = &rooms[usize::try_from(n).unwrap() % rooms.len()];
        let body = format!("s{index} n{n}");
        let path = format!("/rooms/{room}/send/m.room.message/s{index}-{n}");
        let answer =
            insist(&user, &path, &json!({"msgtype": "m.text", "body": body}), &mut life).await;
        done.events.push((body, api::string(&answer, "event_id").unwrap()));
        if n % VALUE_EVERY == 0 {
            let state = format!("/rooms/{}/state/org.example.counter/s{index}", rooms[1]);
            insist(&user, &state, &json!({"n": n}), &mut life).await;
            let data = format!("/user/{}/account_data/org.example.counter", user.user_id);
            insist(&user, &data, &json!({"n": n}), &mut life).await;
            done.value = n;
        }
    }
    done
}

/// PUTs until there is a 200. No answer or a 5xx means that it may have happened: the same again after the restart.
async fn insist(user: &Session, path: &str, body: &Value, life: &mut Life) -> Value {
    loop {
        let generation = *life.generation.borrow_and_update();
        match user.call(Method::PUT, path, Some(body)).await {
            Ok(answer) if answer.status == 200 && !answer.body.is_null() => return answer.body,
            Ok(answer) if answer.status != 200 && answer.status < 500 => {
                panic!("{path}: {answer:?}")
            }
            _ => {}
        }
        after(generation, life).await;
    }
}

/// Reads until the last event. Never loses its place: the token of the last complete answer is asked again.
pub(crate) async fn read(
    user: Session,
    mut since: String,
    rooms: Vec<String>,
    mut life: Life,
) -> Vec<Told> {
    let filter = "&filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A1000%7D%7D%7D";
    let mut told = Vec::new();
    let mut known = HashSet::new();
    loop {
        let generation = *life.generation.borrow_and_update();
        let answer = match user.sync(Some(&since), Duration::from_secs(20), filter).await {
            Ok(answer) => answer,
            Err(_) => {
                after(generation, &mut life).await;
                continue;
            }
        };
        let mut news = Vec::new();
        let mut complete = true;
        for room in &rooms {
            let timeline = &answer["rooms"]["join"][room]["timeline"];
            if timeline["limited"] == true {
                match gap(&user, room, timeline["prev_batch"].as_str().unwrap(), &known).await {
                    Some(older) => news.extend(older),
                    None => complete = false,
                }
            }
            news.extend(api::timeline(&answer, room).iter().filter_map(message));
        }
        // Killed while the gap was read: nothing of this answer counts, it is asked again.
        if !complete {
            after(generation, &mut life).await;
            continue;
        }
        since = api::string(&answer, "next_batch").unwrap();
        let end = news.iter().any(|t| t.body == LAST);
        known.extend(news.iter().map(|t| t.event_id.clone()));
        told.extend(news);
        if end {
            return told;
        }
    }
}

/// What lies between a limited timeline and the last event known, oldest first; `None` when the server went away.
async fn gap(user: &Session, room: &str, from: &str, known: &HashSet<String>) -> Option<Vec<Told>> {
    let mut older = Vec::new();
    let mut from = Some(from.to_owned());
    while let Some(token) = from {
        let page =
            user.get(&format!("/rooms/{room}/messages?dir=b&limit=100&from={token}")).await.ok()?;
        for event in page["chunk"].as_array().unwrap() {
            if known.contains(event["event_id"].as_str().unwrap()) {
                older.reverse();
                return Some(older);
            }
            older.extend(message(event));
        }
        from = page["end"].as_str().map(str::to_owned);
    }
    older.reverse();
    Some(older)
}

/// Waits for the restart that follows this generation.
async fn after(generation: u64, life: &mut Life) {
    // At the end of the test no restart follows; an error then is a real one and ends by the attempt's count.
    let next = life.generation.wait_for(|g| *g > generation);
    tokio::time::timeout(Duration::from_secs(200), next)
        .await
        .expect("a request failed without a kill")
        .unwrap();
}

/// A message's id and body; `None` for other events.
pub(crate) fn message(event: &Value) -> Option<Told> {
    (event["type"] == "m.room.message").then(|| Told {
        event_id: event["event_id"].as_str().unwrap().to_owned(),
        body: event["content"]["body"].as_str().unwrap().to_owned(),
    })
}
