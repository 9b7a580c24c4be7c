//! A running server, with a plug-in that does nothing.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
};

use crate::tool::{Tool, component, without_first_party};

/// Behind [`without_first_party`].
const DESCRIPTOR: &str = "
[http]
default-authenticator = \"none\"
native-route = true
[plugins.nothing]
grants = \"asked\"
";

/// Killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    /// What it printed until it was ready.
    pub(crate) banner: String,
    pub(crate) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn tool() -> Tool {
    let tool = Tool::new();
    tool.file("tessera.toml", without_first_party() + DESCRIPTOR);
    tool.file("plugins/nothing.wasm", component("name = \"nothing\"\nversion = \"1.2.3\""));
    tool
}

const ARGUMENTS: [&str; 7] =
    ["run", "--config", "tessera.toml", "--plugins", "plugins", "--data", "data"];

pub(crate) fn command(tool: &Tool, more: &[&str]) -> Command {
    let mut command = tool.command();
    command.args(ARGUMENTS).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

pub(crate) fn start(mut command: Command) -> Server {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut banner = String::new();
    while !banner.contains("Stop:") {
        assert_ne!(lines.read_line(&mut banner).unwrap(), 0, "it ended: {banner}");
    }
    // Read on, so that it never writes into a closed pipe.
    std::thread::spawn(move || lines.read_to_string(&mut String::new()));
    let address = line(&banner, "Address:").trim_start_matches("http://").parse().unwrap();
    Server { child, banner, address }
}

pub(crate) fn line(banner: &str, title: &str) -> String {
    let line = banner.lines().find_map(|line| line.strip_prefix(title));
    line.unwrap_or_else(|| panic!("no {title} in:\n{banner}")).trim().to_owned()
}

pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    get_of(address, "a", path)
}

pub(crate) fn get_of(address: SocketAddr, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn kill(server: &Server, signal: &str) {
    let id = server.child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

pub(crate) const FREE: [&str; 4] = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];

#[test]
fn a_start_says_where_it_is_and_a_signal_stops_it_with_0() {
    let tool = tool();
    for signal in ["-TERM", "-INT"] {
        let mut server = start(command(&tool, &FREE));
        assert_eq!(line(&server.banner, "Plug-ins:"), "nothing 1.2.3 (61B)");
        assert_eq!(line(&server.banner, "Server name:"), "localhost");
        assert!(line(&server.banner, "Data folder:").ends_with("/data"));
        assert!(server.banner.contains("First user:"), "{}", server.banner);
        assert!(get(server.address, "/_tessera/native").starts_with("HTTP/1.1 200"));
        assert!(get(server.address, "/nowhere").contains("M_UNRECOGNIZED"));
        kill(&server, signal);
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn the_figures_are_on_an_address_of_their_own() {
    let server = start(command(&tool(), &FREE));
    let metrics = line(&server.banner, "Metrics:");
    let address = metrics.trim_start_matches("http://").trim_end_matches("/metrics");
    let figures = get(address.parse().unwrap(), "/metrics");
    for name in [
        "tessera_storage_commits_total{tenant=\"localhost\"} ",
        "tessera_bus_subscriptions ",
        "process_resident_memory_bytes ",
        "tessera_compile_cache_misses_total 1",
        "tessera_instances{plugin=\"nothing\",tenant=\"localhost\"} ",
    ] {
        assert!(figures.contains(name), "no {name} in:\n{figures}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let tool = tool();
    for (flag, said) in [
        ("--listen", format!("cannot listen on {taken}; stop what listens there")),
        ("--metrics", format!("cannot listen on {taken} for metrics")),
    ] {
        let mut arguments = ARGUMENTS.to_vec();
        let other = if flag == "--listen" { "--metrics" } else { "--listen" };
        arguments.extend([flag, &taken, other, "127.0.0.1:0"]);
        tool.run(&arguments).refused(&[&said, "Address already in use"]);
    }
}

#[test]
fn a_second_server_on_the_folder_is_refused_and_the_first_goes_on() {
    let tool = tool();
    let server = start(command(&tool, &FREE));
    let who = format!("in use by another server (process {})", server.child.id());
    tool.run(&[&ARGUMENTS[..], &FREE].concat()).refused(&[&who]);
    assert!(get(server.address, "/_tessera/native").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_killed_server_starts_again_on_its_folder() {
    let tool = tool();
    let mut server = start(command(&tool, &FREE));
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let server = start(command(&tool, &FREE));
    assert!(get(server.address, "/_tessera/native").starts_with("HTTP/1.1 200"));
}

#[test]
fn the_tools_ask_a_running_server() {
    let tool = tool();
    let _server = start(command(&tool, &FREE));
    let status = tool.run(&["plugin", "status", "--data", "data"]);
    assert!(status.well().out.starts_with("nothing 1.2.3  running"), "{status:?}");
    let status = tool.run(&["plugin", "status", "--data", "data", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.well().out).unwrap();
    assert_eq!(status[0]["name"], "nothing");
    let topics = tool.run(&["topics", "--data", "data"]);
    assert_eq!(topics.well().out, "no plug-in consumes a topic\n");
    tool.run(&["topics", "retry", "nobody", "1", "--data", "data"])
        .refused(&["no plug-in `nobody` consumes topics here"]);
}

#[test]
fn the_tools_work_on_the_folder_of_a_server_that_is_stopped() {
    let tool = tool();
    let mut server = start(command(&tool, &FREE));
    kill(&server, "-TERM");
    server.child.wait().unwrap();
    let topics = tool.run(&["topics", "--data", "data"]);
    assert_eq!(topics.well().out, "no plug-in consumes a topic\n");
    tool.run(&["plugin", "status", "--data", "data"]).refused(&["no server runs"]);
}

#[test]
fn the_service_manager_is_told() {
    let tool = tool();
    let socket = tool.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    let mut command = command(&tool, &FREE);
    command.env("NOTIFY_SOCKET", &socket);
    let mut server = start(command);
    let told = || {
        let mut text = [0; 64];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    kill(&server, "-TERM");
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
