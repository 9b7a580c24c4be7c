//! The attacks, what must stop each, and where that shows.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::TRICKLE;

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) call: Call,
    pub(crate) ends: Ends,
    /// What stops it, for people.
    pub(crate) by: &'static str,
    pub(crate) metric: Metric,
    /// Stands in a line of the log beside the plug-in's name; empty: no line is due.
    pub(crate) log: &'static str,
}

/// Name and labels.
type Metric = (&'static str, &'static [&'static str]);

pub(crate) enum Call {
    /// To a path of the plug-in's, once with each of these.
    Post(&'static str, Vec<Value>),
    /// A message with this text, about which the plug-in is asked.
    Message(&'static str),
}

/// What the attacker gets.
pub(crate) enum Ends {
    Status(u16),
    /// The host says no, in these words.
    Refused(&'static str),
}

const HITS: &str = "tessera_limits_hit_total";
const CALLS: &str = "tessera_calls_total";

macro_rules! hit {
    ($limit:literal) => {
        (HITS, &["plugin=\"hostile\"", concat!("limit=\"", $limit, "\"")])
    };
}

macro_rules! trapped {
    ($function:literal) => {
        (
            CALLS,
            &["plugin=\"hostile\"", "result=\"trapped\"", concat!("function=\"", $function, "\"")],
        )
    };
}

/// Somebody who begins an answer and sends a byte of it now and then.
pub(crate) async fn trickle() -> SocketAddr {
    let listener = TcpListener::bind((TRICKLE, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // The request comes first, or the answer is none.
                if stream.read(&mut [0; 4096]).await.is_err() {
                    return;
                }
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    sent = stream.write_all(b".").await;
                }
            });
        }
    });
    address
}

/// In an order that does not matter.
pub(crate) fn all(trickle: SocketAddr) -> Vec<Attack> {
    let mut all = machine();
    all.extend(entries());
    all.extend(floods());
    all.extend(answers());
    all.extend(fences(trickle));
    all
}

fn post(
    name: &'static str,
    path: &'static str,
    ends: Ends,
    by: &'static str,
    metric: Metric,
    log: &'static str,
) -> Attack {
    Attack { name, call: Call::Post(path, vec![json!({})]), ends, by, metric, log }
}

fn machine() -> Vec<Attack> {
    let five = || Ends::Status(500);
    vec![
        post("endless loop", "attack/loop", five(), "CPU time of a call", hit!("cpu"), "CPU time"),
        post(
            "endless loop of host calls",
            "attack/host-calls",
            five(),
            "host calls of a call",
            hit!("host-calls"),
            "host calls",
        ),
        post(
            "memory bomb",
            "attack/memory",
            five(),
            "memory of an instance",
            hit!("memory"),
            "memory over",
        ),
        post(
            "deep recursion",
            "attack/recursion",
            five(),
            "stack of an instance",
            hit!("stack"),
            "stack",
        ),
        post(
            "call cycle",
            "attack/cycle",
            Ends::Status(200),
            "depth of calls (16)",
            hit!("depth"),
            "too deep",
        ),
    ]
}

/// A trap on each entry; that at the start has a test of its own.
fn entries() -> Vec<Attack> {
    let message = |name, text, by, metric, log| Attack {
        name,
        call: Call::Message(text),
        ends: Ends::Status(200),
        by,
        metric,
        log,
    };
    let failed = ("tessera_hook_answers_total", &["plugin=\"hostile\"", "result=\"failed\""][..]);
    let task = |name, path: &'static str, arguments: Value, metric, log| Attack {
        name,
        call: Call::Post(path, vec![arguments]),
        ends: Ends::Status(200),
        by: "instance dropped, tried again with backoff",
        metric,
        log,
    };
    let emit = |payload| json!({"topic": "hostile.work", "payload": payload});
    vec![
        post(
            "trap in a request",
            "attack/trap",
            Ends::Status(500),
            "instance dropped",
            trapped!("handle"),
            "unreachable",
        ),
        post(
            "trap in an authenticator",
            "login",
            Ends::Status(500),
            "instance dropped, nobody let in",
            trapped!("authenticate"),
            "unreachable",
        ),
        task(
            "trap in a timer",
            "attack/timer",
            json!({"name": "trap"}),
            trapped!("fire"),
            "unreachable",
        ),
        task("trap in a consumer", "attack/emit", emit("trap"), trapped!("consume"), "unreachable"),
        task(
            "huge error of a consumer",
            "attack/emit",
            emit("huge"),
            hit!("result"),
            "answer over",
        ),
        task(
            "huge error of a timer",
            "attack/timer",
            json!({"name": "huge"}),
            hit!("result"),
            "answer over",
        ),
        message(
            "trap in a hook",
            "attack-trap",
            "`on-error` of the module",
            failed,
            "did not answer",
        ),
        message(
            "endless loop in a hook",
            "attack-loop",
            "CPU or wall time of an answer to a hook",
            failed,
            "did not answer",
        ),
        message(
            "huge refusal of a hook",
            "attack-huge",
            "bytes of an answer",
            failed,
            "answer over",
        ),
        message(
            "hook that asks itself",
            "attack-cycle",
            "depth of calls (16)",
            hit!("depth"),
            "too deep",
        ),
    ]
}

fn floods() -> Vec<Attack> {
    let fine = || Ends::Status(200);
    vec![
        post(
            "log flood",
            "attack/log",
            fine(),
            "log lines each second",
            hit!("log"),
            "were dropped",
        ),
        post(
            "flood of metric names",
            "attack/metrics",
            fine(),
            "names of metrics (64)",
            hit!("metrics"),
            "metric's name",
        ),
        Attack {
            // The contract lets a cache forget: there is nothing to say.
            log: "",
            ..post("cache flood", "attack/cache", fine(), "bytes of the cache", hit!("cache"), "")
        },
        post(
            "thousands of watches",
            "attack/watches",
            Ends::Status(500),
            "watches of a call (16)",
            hit!("watches"),
            "watches",
        ),
    ]
}

fn answers() -> Vec<Attack> {
    let five = || Ends::Status(500);
    vec![
        post(
            "huge answer",
            "attack/huge-answer",
            five(),
            "bytes of an answer",
            hit!("result"),
            "answer over",
        ),
        post(
            "thousands of headers",
            "attack/many-headers",
            five(),
            "headers of an answer (256)",
            hit!("result"),
            "headers",
        ),
        post(
            "thousands of open blobs",
            "attack/many-parts",
            five(),
            "parts of an answer (4096)",
            hit!("result"),
            "parts",
        ),
        post(
            "a second answer in a header's value",
            "attack/split-answer",
            five(),
            "header check of answers",
            hit!("header"),
            "cannot be sent",
        ),
        post(
            "a second answer in a header's name",
            "attack/split-name",
            five(),
            "header check of answers",
            hit!("header"),
            "cannot be sent",
        ),
    ]
}

fn fences(trickle: SocketAddr) -> Vec<Attack> {
    let sql = [
        "SELECT * FROM rooms_events",
        "SELECT * FROM rooms_v1_events",
        "SELECT * FROM (SELECT content FROM accounts_users) x",
        "WITH x AS (SELECT 1) SELECT * FROM accounts_sessions",
        "SELECT 1; DROP TABLE rooms_events",
        "PRAGMA database_list",
        "ATTACH '/tmp/x' AS x",
        "VACUUM INTO '/tmp/x'",
        "SELECT load_extension('x')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT name FROM sqlite_master",
        "SET ROLE postgres",
        "COPY rooms_events TO '/tmp/x'",
    ];
    let urls = [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
    ];
    let detour = |place: &str| json!({"url": "http://example.org/", "connect_to": place});
    let mut addresses: Vec<Value> = urls.iter().map(|url| json!({"url": url})).collect();
    addresses.extend(["127.0.0.1:80", "localhost:80", "[::1]:80"].map(detour));
    let to_trickle = |name: &str, value: &str| json!({"url": format!("http://{trickle}/"), "name": name, "value": value});
    let topic = |topic: &str| json!({"topic": topic, "payload": "forged"});
    let fetch: Metric = hit!("fetch");
    let storage: Metric = hit!("storage");
    vec![
        Attack {
            name: "SQL on what is another's",
            call: Call::Post("attack/query", sql.iter().map(|sql| json!({"sql": sql})).collect()),
            ends: Ends::Refused(""),
            by: "fence around SQL",
            metric: storage,
            log: "\"storage\"",
        },
        Attack {
            name: "writes to what is another's",
            call: Call::Post(
                "attack/commit",
                vec![
                    json!({"sql": "DELETE FROM rooms_events"}),
                    json!({"sql": "UPDATE accounts_users SET password = ''"}),
                    json!({"sql": "CREATE TRIGGER t AFTER INSERT ON rooms_events BEGIN SELECT 1; END"}),
                ],
            ),
            ends: Ends::Refused(""),
            by: "fence around SQL",
            metric: storage,
            log: "\"storage\"",
        },
        Attack {
            name: "messages in another's name",
            call: Call::Post("attack/emit", vec![topic("rooms.events"), topic("accounts.users")]),
            ends: Ends::Refused("Refused"),
            by: "topics of the manifest",
            metric: hit!("topic"),
            log: "\"topic\"",
        },
        Attack {
            name: "requests to private addresses, however they are written",
            call: Call::Post("attack/fetch", addresses),
            ends: Ends::Refused("Refused"),
            by: "address guard",
            metric: fetch,
            log: "guard",
        },
        Attack {
            name: "an outside server that answers byte by byte",
            call: Call::Post("attack/fetch", vec![to_trickle("", "")]),
            ends: Ends::Refused("Timeout"),
            by: "time of a request to the outside",
            metric: fetch,
            log: "no answer in time",
        },
        Attack {
            name: "header injection, and headers that are the host's",
            call: Call::Post(
                "attack/fetch",
                vec![
                    to_trickle("x-a", "1\r\nx-injected: 1"),
                    to_trickle("x-a\r\nx-injected", "1"),
                    to_trickle("host", "other.example"),
                    to_trickle("content-length", "0"),
                    to_trickle("transfer-encoding", "chunked"),
                    to_trickle("connection", "upgrade"),
                    to_trickle("proxy-connection", "keep-alive"),
                    json!({"url": format!("http://{trickle}/"), "method": "CONNECT"}),
                ],
            ),
            ends: Ends::Refused("Invalid"),
            by: "header check of requests to the outside",
            metric: fetch,
            log: "\"fetch\"",
        },
        Attack {
            name: "a blob over its cap",
            call: Call::Post("attack/huge-blob", vec![json!({})]),
            ends: Ends::Refused("TooLarge"),
            by: "bytes of a blob",
            metric: hit!("blob"),
            log: "bytes",
        },
    ]
}
