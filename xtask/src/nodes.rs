//! `run --nodes`: several nodes on this machine, with PostgreSQL and NATS.

use crate::{run, services, services::Services, ui, workspace::Workspace};
use anyhow::{Context, Result, anyhow};
use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};
use tessera_test_services::{Program, first_party};

/// Ports of the first node; the others count on.
const ADDRESS: u16 = 8008;
const METRICS: u16 = 9008;
/// A first start compiles every component; nodes do so one after the other.
const START_PATIENCE: Duration = Duration::from_secs(180);
/// Longer than `[http] drain`.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A node of the generated descriptor.
struct Node {
    name: String,
    run: Vec<String>,
    address: String,
    metrics: String,
}

/// Nodes, each plug-in in two of them where there are two.
fn layout(plugins: &[String], count: u16) -> Vec<Node> {
    let count = usize::from(count);
    let copies = count.min(2);
    (1_u16..)
        .take(count)
        .zip(0..)
        .map(|(number, index): (u16, usize)| Node {
            name: format!("n{number}"),
            run: plugins
                .iter()
                .enumerate()
                .filter(|(plugin, _)| {
                    (0..copies).any(|step| (plugin * copies + step) % count == index)
                })
                .map(|(_, name)| name.clone())
                .collect(),
            address: format!("127.0.0.1:{}", ADDRESS + number - 1),
            metrics: format!("127.0.0.1:{}", METRICS + number - 1),
        })
        .collect()
}

fn descriptor(workspace: &Workspace, folder: &Path, services: &Services, nodes: &[Node]) -> String {
    let mut text = format!(
        "# Written by `cargo xtask run --nodes {}`.\n\n\
         [server]\ndata = {:?}\nplugins = {:?}\n\n\
         [storage]\nengine = \"postgres\"\nurl = {:?}\n\n\
         [bus]\nengine = \"nats\"\nservers = [{:?}]\n",
        nodes.len(),
        folder.join("data"),
        workspace.plugins(),
        services.postgres.url(),
        services.nats.url(),
    );
    for Node { name, run, address, metrics } in nodes {
        let _ = write!(
            text,
            "\n[nodes.{name}]\nrun = {run:?}\nlisteners = [{{ address = {address:?} }}]\nmetrics = {metrics:?}\n"
        );
    }
    text
}

/// Builds, starts everything and waits for Ctrl-C.
pub(crate) fn run(release: bool, count: u16) -> Result<()> {
    run::build_server(release)?;
    let workspace = Workspace::load()?;
    let folder = workspace.target.join("run");
    // PostgreSQL starts empty, so what belongs to it goes as well.
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let services = Services::start(true)?;
    let plugins = first_party(&workspace.root).map_err(|failure| anyhow!(failure))?;
    let nodes = layout(&plugins, count);
    let config = folder.join("tessera.toml");
    fs::write(&config, descriptor(&workspace, &folder, &services, &nodes))
        .with_context(|| format!("cannot write {}", config.display()))?;

    let mut running = Vec::new();
    for node in &nodes {
        ui::step(&format!("start node {}", node.name));
        running.push(start(&workspace.binary(release), &config, &folder, node)?);
    }
    println!("PostgreSQL  {}  pid {}", services.postgres.url(), pid(services.postgres.pid()));
    println!("NATS        {}  pid {}", services.nats.url(), pid(services.nats.pid()));
    for (node, program) in nodes.iter().zip(&running) {
        println!(
            "node {}     http://{}  metrics http://{}/metrics  pid {}\n            runs {}\n            log {}",
            node.name,
            node.address,
            node.metrics,
            pid(program.pid()),
            node.run.join(", "),
            program.log().display(),
        );
    }
    println!("descriptor  {}", config.display());
    println!("Any node takes any request. Ctrl-C stops all.");
    services::wait_for_end()?;
    for (node, program) in nodes.iter().zip(running) {
        ui::step(&format!("stop node {}", node.name));
        if !program.stop(STOP_PATIENCE) {
            ui::note("it did not end by itself and was killed");
        }
    }
    ui::step("stop NATS and PostgreSQL");
    Ok(())
}

fn start(binary: &Path, config: &Path, folder: &Path, node: &Node) -> Result<Program> {
    let folder: PathBuf = folder.join(&node.name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let command = [
        binary.display().to_string(),
        "run".to_owned(),
        "--config".to_owned(),
        config.display().to_string(),
        "--node".to_owned(),
        node.name.clone(),
    ];
    Program::start(&folder, &command, START_PATIENCE, || is_ready(&node.metrics))
        .map_err(|failure| anyhow!("node {}: {failure}", node.name))
}

fn pid(pid: Option<u32>) -> String {
    pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string())
}

/// Whether a node says that it takes requests: 200 on `/ready`.
fn is_ready(address: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET /ready HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split_whitespace().nth(1) == Some("200"))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::layout;

    fn plugins() -> Vec<String> {
        ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned).into()
    }

    #[test]
    fn every_plugin_runs_in_two_nodes_where_there_are_two() {
        for count in 1..=9 {
            let nodes = layout(&plugins(), count);
            assert_eq!(nodes.len(), usize::from(count));
            for plugin in plugins() {
                let copies = nodes.iter().filter(|node| node.run.contains(&plugin)).count();
                assert_eq!(copies, usize::from(count).min(2), "{plugin} of {count}");
            }
        }
    }

    #[test]
    fn nodes_have_addresses_of_their_own() {
        let nodes = layout(&plugins(), 3);
        let addresses: Vec<_> = nodes.iter().map(|node| node.address.as_str()).collect();
        assert_eq!(addresses, ["127.0.0.1:8008", "127.0.0.1:8009", "127.0.0.1:8010"]);
        assert_eq!(nodes[2].metrics, "127.0.0.1:9010");
    }
}
