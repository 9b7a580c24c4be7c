//! The load: senders that ask again until they are answered, and a reader that never stops.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::api::{self, Session};
use tokio::sync::watch;

/// The text that ends the reader.
pub(crate) const LAST: &str = "the last";
/// Every so many messages a sender also sets state and account data.
const VALUE_EVERY: u64 = 7;
/// Every so many messages one is sent again to another node, under the same transaction id.
const REPEAT_EVERY: u64 = 5;
/// How long a poll waits for news.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long an answer may take before the client asks again.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// Pauses between nodes that fail one after the other.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// One device and where it asks: at one server, whose restart it waits for after a failure, or at several nodes, of
/// which it then takes the next.
pub(crate) struct Line {
    at: Vec<Session>,
    now: usize,
    pause: Duration,
    /// Counts the restarts of the one server.
    generation: Option<watch::Receiver<u64>>,
    marks: Option<(Arc<Marks>, usize)>,
}

/// A moment at which somebody was served, and whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// When the request began that was answered.
    pub(crate) begun: Instant,
    pub(crate) answered: Instant,
    /// Number of the sender or reader.
    pub(crate) whom: usize,
}

/// When senders got their acknowledgements and readers their news.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(crate) sent: Mutex<Vec<Mark>>,
    pub(crate) told: Mutex<Vec<Mark>>,
}

impl Line {
    pub(crate) fn to_one(user: Session, generation: watch::Receiver<u64>) -> Self {
        let generation = Some(generation);
        Self { at: vec![user], now: 0, pause: FIRST_PAUSE, generation, marks: None }
    }

    /// Asks `urls`, beginning with the one of this index.
    pub(crate) fn to_many(user: &Session, urls: &[String], first: usize) -> Self {
        let at = urls.iter().map(|url| user.at(url)).collect();
        Self { at, now: first % urls.len(), pause: FIRST_PAUSE, generation: None, marks: None }
    }

    /// Notes when it was served, as number `whom`.
    pub(crate) fn marking(mut self, marks: &Arc<Marks>, whom: usize) -> Self {
        self.marks = Some((marks.clone(), whom));
        self
    }

    fn user(&self) -> &Session {
        &self.at[self.now]
    }

    /// The same device at another node, where there is any.
    fn elsewhere(&self) -> Option<&Session> {
        (self.at.len() > 1).then(|| &self.at[(self.now + 1) % self.at.len()])
    }

    fn begin(&mut self) -> u64 {
        self.generation.as_mut().map_or(0, |generation| *generation.borrow_and_update())
    }

    fn mark(&mut self, kind: impl Fn(&Marks) -> &Mutex<Vec<Mark>>, begun: Instant) {
        self.pause = FIRST_PAUSE;
        if let Some((marks, whom)) = &self.marks {
            let mark = Mark { begun, answered: Instant::now(), whom: *whom };
            kind(marks).lock().unwrap().push(mark);
        }
    }

    /// After a request without an answer: the restart that follows this generation, or the next node.
    async fn failed(&mut self, generation: u64) {
        let Some(receiver) = &mut self.generation else {
            self.now = (self.now + 1) % self.at.len();
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            return;
        };
        // At the end of the test no restart follows; an error then is a real one and ends by the attempt's count.
        let next = receiver.wait_for(|g| *g > generation);
        tokio::time::timeout(Duration::from_secs(200), next)
            .await
            .expect("a request failed without a kill")
            .unwrap();
    }
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
    mut line: Line,
    index: usize,
    rooms: Vec<String>,
    stopping: watch::Receiver<bool>,
) -> Acknowledged {
    let user = line.user().clone();
    let mut done = Acknowledged { user: user.clone(), index, events: Vec::new(), value: 0 };
    for n in 0_u64.. {
        if *stopping.borrow() {
            break;
        }
        let room = &rooms[usize::try_from(n).unwrap() % rooms.len()];
        let body = format!("s{index} n{n}");
        let path = format!("/rooms/{room}/send/m.room.message/s{index}-{n}");
        let content = json!({"msgtype": "m.text", "body": body});
        let answer = insist(&mut line, &path, &content).await;
        let event_id = api::string(&answer, "event_id").unwrap();
        if n % REPEAT_EVERY == 0
            && let Some(elsewhere) = line.elsewhere()
            // A node that is down now says nothing against the answer of the other.
            && let Ok(again) = elsewhere.put(&path, &content).await
        {
            assert_eq!(again["event_id"], event_id.as_str(), "{path} was sent again elsewhere");
        }
        done.events.push((body, event_id));
        if n % VALUE_EVERY == 0 {
            let state = format!("/rooms/{}/state/org.example.counter/s{index}", rooms[1]);
            insist(&mut line, &state, &json!({"n": n})).await;
            let data = format!("/user/{}/account_data/org.example.counter", user.user_id);
            insist(&mut line, &data, &json!({"n": n})).await;
            done.value = n;
        }
    }
    done
}

/// PUTs until there is a 200. No answer or a 5xx means that it may have happened: the same again after the restart, or
/// at the next node.
async fn insist(line: &mut Line, path: &str, body: &Value) -> Value {
    loop {
        let (generation, begun) = (line.begin(), Instant::now());
        let asked = line.user().call(Method::PUT, path, Some(body));
        match tokio::time::timeout(ANSWER_PATIENCE, asked).await {
            Ok(Ok(answer)) if answer.status == 200 && !answer.body.is_null() => {
                line.mark(|marks| &marks.sent, begun);
                return answer.body;
            }
            Ok(Ok(answer)) if answer.status != 200 && answer.status < 500 => {
                panic!("{path}: {answer:?}")
            }
            _ => {}
        }
        line.failed(generation).await;
    }
}

/// Reads until the last event. Never loses its place: the token of the last complete answer is asked again.
pub(crate) async fn read(mut line: Line, mut since: String, rooms: Vec<String>) -> Vec<Told> {
    let filter = "&filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A1000%7D%7D%7D";
    let mut told = Vec::new();
    let mut known = HashSet::new();
    loop {
        let (generation, begun) = (line.begin(), Instant::now());
        let asked = line.user().sync(Some(&since), LONG_POLL, filter);
        let Ok(Ok(answer)) = tokio::time::timeout(LONG_POLL + ANSWER_PATIENCE, asked).await else {
            line.failed(generation).await;
            continue;
        };
        let mut news = Vec::new();
        let mut complete = true;
        for room in &rooms {
            let timeline = &answer["rooms"]["join"][room]["timeline"];
            if timeline["limited"] == true {
                let from = timeline["prev_batch"].as_str().unwrap();
                match gap(line.user(), room, from, &known).await {
                    Some(older) => news.extend(older),
                    None => complete = false,
                }
            }
            news.extend(api::timeline(&answer, room).iter().filter_map(message));
        }
        // Killed while the gap was read: nothing of this answer counts, it is asked again.
        if !complete {
            line.failed(generation).await;
            continue;
        }
        if !news.is_empty() {
            line.mark(|marks| &marks.told, begun);
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

/// A message's id and body; `None` for other events.
pub(crate) fn message(event: &Value) -> Option<Told> {
    (event["type"] == "m.room.message").then(|| Told {
        event_id: event["event_id"].as_str().unwrap().to_owned(),
        body: event["content"]["body"].as_str().unwrap().to_owned(),
    })
}
