//! A hostile plug-in on a real server: each attack is stopped by the limit or fence that is there for it, which the log
//! and a metric name, and a neighbour who sends messages all the while keeps being served.
//!
//! What stopped what, and how the neighbour fared, is left in `target/tmp/sandbox.txt` (`cargo xtask test sandbox`
//! prints it).

mod attacks;
mod bombs;
mod neighbour;

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tessera_tests::{
    api, binary, http,
    server::{Options, Server, free_address},
};

use self::{
    attacks::{Attack, Call, Ends},
    neighbour::Neighbour,
};

/// How long an attack may take to be stopped, named and counted.
const PATIENCE: Duration = Duration::from_secs(30);

/// The only loopback address that the guard lets through: who sends one byte now and then.
pub(crate) const TRICKLE: &str = "127.0.0.9";

const LIMITS: &str = r#"{ cpu = "300ms", wall = "3s", memory = "16MiB", result = "1MiB", blob = "256KiB",
  cache = "1MiB", log-rate = 20, host-calls = 5000, hook = "500ms", fetch-time = "500ms" }"#;

/// A server with the hostile plug-in.
struct Place {
    server: Server,
    http: reqwest::Client,
    metrics: String,
    _folder: tempfile::TempDir,
}

/// The descriptor of the tests, with the address guard that operators have, and these lines.
fn descriptor(more: &str) -> String {
    let testing = binary::testing_config()
        .map(|path| fs::read_to_string(path).unwrap())
        .unwrap_or_default()
        .replace("deny = []", &format!("allow = [\"{TRICKLE}/32\"]"));
    format!("{testing}\n{more}\n")
}

fn hostile(more: &str) -> String {
    let file = binary::fixtures().unwrap().join("hostile.wasm");
    format!(
        "[plugins.hostile]\nsource = {file:?}\ngrants = \"asked\"\non-error = \"allow\"\nlimits = {}\n{more}\n",
        LIMITS.replace('\n', " ")
    )
}

impl Place {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tessera.toml");
        fs::write(&config, descriptor(&hostile(""))).unwrap();
        let metrics = free_address().unwrap();
        let more = vec!["--metrics".into(), metrics.to_string().into()];
        let options = Options { config: Some(config), more, ..Options::testing().unwrap() };
        let server = Server::start_with(options).await.unwrap();
        let metrics = format!("http://{metrics}/metrics");
        Self { server, http: http::client().unwrap(), metrics, _folder: folder }
    }

    /// Status and body of an attack.
    async fn attack(&self, what: &str, arguments: &Value) -> api::Answer {
        let url = format!("{}/hostile/{what}", self.server.url());
        let body = arguments.to_string().into_bytes();
        api::request(&self.http, Method::POST, &url, None, Some(body)).await.unwrap()
    }

    /// The sum of all values of a metric whose labels hold all of these.
    async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.http.get(&self.metrics).send().await.unwrap().text().await.unwrap();
        text.lines()
            .filter(|line| line.starts_with(&format!("{name}{{")))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }
}

#[tokio::test]
async fn each_attack_is_stopped_named_and_counted_while_a_neighbour_is_served() {
    let place = Place::start().await;
    let trickle = attacks::trickle().await;
    let alone = Neighbour::start(&place).await.rest_of(Duration::from_secs(3)).await;
    let neighbour = Neighbour::start(&place).await;
    let mut table = String::from("attack | stopped by | metric\n--- | --- | ---\n");
    for attack in attacks::all(trickle) {
        let counted = stopped(&place, &attack).await;
        writeln!(table, "{} | {} | {counted}", attack.name, attack.by).unwrap();
    }
    let beside = neighbour.end().await;
    nothing_is_there(&place).await;
    // The attacker itself goes on once it behaves.
    assert_eq!(place.attack("attack/nothing", &json!({})).await.status, 200);
    writeln!(table, "\na neighbour's messages: alone {alone}; beside all attacks {beside}")
        .unwrap();
    println!("{table}");
    keep("sandbox.txt", &table);
    assert!(beside.sent > 0 && beside.failed == 0, "a neighbour was hurt: {beside}");
}

/// What finds nothing: there is no limit to hit, and nobody to tell.
async fn nothing_is_there(place: &Place) {
    for id in ["", ".", "..", "/etc/passwd", "../../keys/tenants/hs1", "%2e%2e/%2e%2e", "a/../../b"]
    {
        let answer = place.attack("attack/blob", &json!({"id": id})).await;
        Ends::Refused("NotFound").check("blob", &json!(id), &answer);
    }
    let answer = place.attack("attack/outside", &json!({})).await;
    Ends::Refused("nothing is there").check("outside", &Value::Null, &answer);
    // Headers of the connection are the host's: the answer arrives whole.
    let url = format!("{}/hostile/attack/hop-by-hop", place.server.url());
    let answer = place.http.post(&url).body("{}").send().await.unwrap();
    for header in ["upgrade", "keep-alive", "transfer-encoding"] {
        assert!(!answer.headers().contains_key(header), "{answer:?}");
    }
    assert_eq!(answer.text().await.unwrap(), "whole");
}

/// Attacks until the log and the metric both name what stopped it: lines over the plug-in's log rate are not written.
async fn stopped(place: &Place, attack: &Attack) -> String {
    let (name, labels) = attack.metric;
    let before = place.metric(name, labels).await;
    let logged = place.server.log().len();
    let started = Instant::now();
    loop {
        match &attack.call {
            Call::Post(path, all) => {
                for arguments in all {
                    let answer = place.attack(path, arguments).await;
                    attack.ends.check(attack.name, arguments, &answer);
                }
            }
            Call::Message(text) => {
                let neighbour = Neighbour::user(place, "victim").await;
                let sent = neighbour.0.text(&neighbour.1, &format!("{started:?}"), text).await;
                // `on-error = "allow"`: who could not be asked has nothing to say.
                sent.unwrap_or_else(|error| panic!("{}: {error}", attack.name));
            }
        }
        // A success in between, as real traffic has: else it would be paused, which has a test of its own.
        let fine = place.attack("attack/nothing", &json!({})).await;
        let counted = place.metric(name, labels).await - before;
        let log = place.server.log();
        let new = log.get(logged..).unwrap_or_default();
        let line = |line: &&str| line.contains("hostile") && line.contains(attack.log);
        let named = attack.log.is_empty() || new.lines().any(|text| line(&text));
        if counted >= 1.0 && named && fine.status == 200 {
            return format!("{name}{{{}}}", labels.join(","));
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{}: counted {counted}, named {named}, then {}; new in the log:\n{}",
            attack.name,
            fine.status,
            new.lines().rev().take(12).collect::<Vec<_>>().join("\n")
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_plugin_that_traps_or_hangs_at_its_start_is_refused_and_named() {
    for start in ["trap", "loop"] {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tessera.toml");
        let more = hostile(&format!("config = {{ start = \"{start}\" }}"));
        fs::write(&config, descriptor(&more)).unwrap();
        let options = Options { config: Some(config), ..Options::testing().unwrap() };
        let refusal = Server::refuse_with(options).await.unwrap();
        assert!(!refusal.status.success());
        let words = if start == "trap" { "unreachable" } else { "CPU time" };
        assert!(refusal.output.contains("hostile"), "{start}: {}", refusal.output);
        assert!(refusal.output.contains(words), "{start}: {}", refusal.output);
    }
}

#[tokio::test]
async fn a_plugin_that_only_traps_is_paused_and_says_why() {
    let place = Place::start().await;
    let started = Instant::now();
    loop {
        let answer = place.attack("attack/trap", &json!({})).await;
        if answer.status == 503 {
            break;
        }
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(started.elapsed() < PATIENCE, "it was never paused");
    }
    assert!(place.server.log().contains("plug-in paused: it traps again and again"));
    Neighbour::start(&place).await.rest_of(Duration::from_millis(300)).await;
}

/// Keeps a result for people, where `cargo xtask test sandbox` finds it.
fn keep(name: &str, text: &str) {
    let folder: PathBuf = binary::workspace().join("target/tmp");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

impl Ends {
    fn check(&self, name: &str, arguments: &Value, answer: &api::Answer) {
        let refused = answer.body["refused"].as_str().unwrap_or_default();
        match self {
            Self::Status(status) => {
                assert_eq!(answer.status, *status, "{name} {arguments}: {answer:?}");
            }
            Self::Refused(words) => assert!(
                answer.status == 200 && refused.contains(words),
                "{name} {arguments} was not refused: {answer:?}"
            ),
        }
        assert_eq!(answer.header("x-injected"), "", "{name}: {answer:?}");
    }
}
