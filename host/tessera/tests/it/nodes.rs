//! Nodes with a plug-in that does nothing: who lives, what is ready, what ends.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tessera_test_services::{Nats, TestDatabase};

use crate::{
    run::{Server, get, kill, line, start},
    tool::{Tool, component, without_first_party},
};

/// How long others may take to notice.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a descriptor of two nodes, and what they need.
struct Cluster {
    tool: Tool,
    _database: TestDatabase,
    _nats: Option<Nats>,
}

impl Cluster {
    fn new() -> Self {
        let database = TestDatabase::new().unwrap();
        let (nats, url) = match std::env::var("TESSERA_TEST_NATS") {
            Ok(url) => (None, url),
            Err(_) => {
                let nats = Nats::start().unwrap();
                let url = nats.url();
                (Some(nats), url)
            }
        };
        let tool = Tool::new();
        let prefix = format!("tool-{}", std::process::id());
        let node = "listeners = [{ address = \"127.0.0.1:0\" }]\nmetrics = \"127.0.0.1:0\"\n";
        let text = format!(
            "[http]\ndefault-authenticator = \"none\"\nnative-route = true\ndrain = \"2s\"\n\
             [storage]\nengine = \"postgres\"\nurl = {:?}\n\
             [bus]\nengine = \"nats\"\nservers = [{url:?}]\nprefix = {prefix:?}\n\
             {off}[plugins.nothing]\ngrants = \"asked\"\n[plugins.other]\ngrants = \"asked\"\n\
             [nodes.one]\nrun = [\"nothing\"]\n{node}[nodes.two]\nrun = [\"other\"]\n{node}",
            database.url(),
            off = without_first_party()
        );
        tool.file("tessera.toml", text);
        for name in ["nothing", "other"] {
            let manifest = format!("name = {name:?}\nversion = \"1.2.3\"");
            tool.file(&format!("plugins/{name}.wasm"), component(&manifest));
        }
        Self { tool, _database: database, _nats: nats }
    }

    fn start(&self, node: &str) -> Server {
        let mut command = self.tool.command();
        command.args(["run", "--config", "tessera.toml", "--plugins", "plugins", "--data", "data"]);
        command.args(["--node", node]).stdout(Stdio::piped()).stderr(Stdio::null());
        start(command)
    }

    /// The nodes as the tool shows them.
    fn nodes(&self) -> Vec<Value> {
        let asked = ["nodes", "--json", "--config", "tessera.toml", "--data", "data"];
        serde_json::from_str(&self.tool.run(&asked).well().out).unwrap()
    }

    /// Waits until each node is in such a state.
    fn wait_for(&self, states: [&str; 2]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let nodes = self.nodes();
            let found: Vec<_> = nodes.iter().map(|node| node["state"].as_str().unwrap()).collect();
            if found == states {
                return;
            }
            assert!(Instant::now() < until, "not {states:?}: {nodes:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn metrics(server: &Server, path: &str) -> String {
    let url = line(&server.banner, "Metrics:");
    let address = url.trim_start_matches("http://").trim_end_matches("/metrics");
    get(address.parse().unwrap(), path)
}

#[test]
fn nodes_are_seen_lost_and_drained() {
    let cluster = Cluster::new();
    let mut one = cluster.start("one");
    assert_eq!(line(&one.banner, "Node:"), "one");
    assert_eq!(line(&one.banner, "Plug-ins:"), "nothing 1.2.3 (61B)");
    cluster.wait_for(["ready", "lost"]);
    let two = cluster.start("two");
    cluster.wait_for(["ready", "ready"]);
    let nodes = cluster.nodes();
    assert_eq!(nodes[0]["plugins"]["nothing"]["version"], "1.2.3");
    assert_eq!(nodes[1]["addresses"][0], format!("http://{}", two.address));
    assert!(metrics(&one, "/health").starts_with("HTTP/1.1 200"));
    let ready = metrics(&one, "/ready");
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("\"ready\":true"), "{ready}");
    assert!(metrics(&one, "/metrics").contains("\ntessera_nodes 2\n"));

    // A second process of a name that is taken.
    let again = [
        "run",
        "--config",
        "tessera.toml",
        "--plugins",
        "plugins",
        "--data",
        "data",
        "--node",
        "two",
    ];
    cluster.tool.run(&again).refused(&["as node `two`"]);

    // Killed: the others notice. Started again: it is back.
    drop(two);
    cluster.wait_for(["ready", "lost"]);
    let mut two = cluster.start("two");
    cluster.wait_for(["ready", "ready"]);

    let drain = |name| {
        let arguments = ["nodes", "drain", name, "--config", "tessera.toml", "--data", "data"];
        cluster.tool.run(&arguments)
    };
    drain("three").refused(&["no node `three` lives; those that do: one, two"]);
    drain("two").well();
    assert_eq!(two.child.wait().unwrap().code(), Some(0));
    cluster.wait_for(["ready", "lost"]);
    kill(&one, "-TERM");
    assert_eq!(one.child.wait().unwrap().code(), Some(0));
    let asked = ["nodes", "--config", "tessera.toml", "--data", "data"];
    cluster.tool.run(&asked).refused(&["no node runs on the data folder data"]);
}

#[test]
fn a_server_by_itself_has_no_nodes() {
    let tool = crate::run::tool();
    let _server = start(crate::run::command(&tool, &crate::run::FREE));
    tool.run(&["nodes", "--data", "data"]).refused(&["one process by itself"]);
}
