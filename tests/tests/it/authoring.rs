//! A module from an empty folder to a client that notices it, by the commands of the tutorial.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tessera_test_services::Registry;
use tessera_tests::binary;

use crate::common::{World, assert_error};

/// How often something is looked for that takes its time.
const LOOK: Duration = Duration::from_millis(50);

/// A folder of an author, and the command with the tools that the repository's builds share.
struct Author {
    folder: tempfile::TempDir,
}

impl Author {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let target = binary::workspace().join("target");
        let mut command = Command::new(binary::server().unwrap());
        command
            .arg("plugin")
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TESSERA_TOOLS", target.join("tools"))
            // So that the standard library and crates are built once, not for each test.
            .env("CARGO_TARGET_DIR", target.join("authoring"))
            .env_remove("TESSERA_CONFIG");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs to a good end; gives what it printed.
    #[track_caller]
    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs to a bad end; gives the error.
    #[track_caller]
    fn bad(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// New, its own tests, build, check; then a server with it, and a message that it refuses.
async fn tutorial(language: &str) {
    let author = Author::new();
    author.good(&["new", "tried", "--lang", language]);
    author.good(&["test", "tried", "--own"]);
    author.good(&["build", "tried"]);
    let report: Value = serde_json::from_str(&author.good(&["check", "tried", "--json"])).unwrap();
    assert_eq!(report["problems"], json!([]), "{report}");
    assert_eq!(report["asks"], json!(["may answer: event-policy"]), "{report}");
    refuses(&author.path("tried/target/tried.wasm")).await;
}

/// A server with the module takes a message and refuses another.
async fn refuses(file: &Path) {
    let config = format!(
        "[plugins.tried]\nsource = {:?}\ngrants = \"asked\"\nconfig = {{ words = [\"casino\"] }}\n",
        file.display().to_string()
    );
    let world = World::start_with_config(&config).await;
    let (user, room) = world.user_in_room("author").await;
    let path = format!("/rooms/{room}/send/m.room.message/casino");
    let body = json!({"msgtype": "m.text", "body": "the casino is open"});
    let refused = user.call(Method::PUT, &path, Some(&body)).await.unwrap();
    assert_error(&refused, &[403], &["M_FORBIDDEN"]);
    assert!(refused.text("error").contains("casino"), "{refused:?}");
    world.still_serves(&user, &room).await;
}

#[tokio::test]
async fn module_in_rust_comes_from_an_empty_folder_to_a_client() {
    tutorial("rust").await;
}

#[tokio::test]
async fn module_in_javascript_comes_from_an_empty_folder_to_a_client() {
    tutorial("javascript").await;
}

#[tokio::test]
async fn module_in_python_comes_from_an_empty_folder_to_a_client() {
    tutorial("python").await;
}

/// A file that is built already.
fn keyword_policy() -> String {
    binary::plugins().unwrap().join("keyword-policy.wasm").display().to_string()
}

#[test]
fn package_is_made_signed_and_carried_over_a_registry() {
    let author = Author::new();
    let public = author.good(&["sign", "--generate", "--key", "key"]);
    assert!(public.contains("key = \"ed25519:"), "{public}");
    author.bad(&["sign", "--generate", "--key", "key"]); // never overwritten
    let file = keyword_policy();
    author.good(&["pack", &file, "--out", "a.tar", "--source", "https://example.org/a"]);
    let signed = author.good(&["sign", "a.tar", "--key", "key"]);
    assert!(signed.contains("signed by ed25519:"), "{signed}");
    let refused = author.bad(&["sign", &file, "--key", "key"]);
    assert!(refused.contains("tessera plugin pack"), "{refused}");

    let registry = match Registry::start() {
        Ok(registry) => registry,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let place = format!("oci://{}/modules/keyword-policy:1", registry.address());
    let pushed = author.good(&["push", "a.tar", &place]);
    assert!(pushed.contains("sha256:"), "{pushed}");
    author.good(&["pull", &place, "--out", "b.tar"]);
    let (a, b) = (std::fs::read(author.path("a.tar")), std::fs::read(author.path("b.tar")));
    assert_eq!(a.unwrap(), b.unwrap());
}

#[test]
fn same_source_date_gives_the_same_package() {
    let author = Author::new();
    let file = keyword_policy();
    for out in ["a.tar", "b.tar"] {
        let mut pack = author.command(&["pack", &file, "--out", out]);
        assert!(pack.env("SOURCE_DATE_EPOCH", "1").output().unwrap().status.success());
    }
    let (a, b) = (std::fs::read(author.path("a.tar")), std::fs::read(author.path("b.tar")));
    assert_eq!(a.unwrap(), b.unwrap());
}

#[test]
fn check_names_what_a_server_would_stumble_over() {
    let author = Author::new();
    author.good(&["new", "tried", "--lang", "rust"]);
    let manifest = author.path("tried/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let text = text.replace("default = { words = [] }", "default = { word = [] }");
    std::fs::write(&manifest, text).unwrap();
    std::fs::create_dir(author.path("tried/migrations")).unwrap();
    std::fs::write(
        author.path("tried/migrations/0001_init.sql"),
        "CREATE TABEL tried_a (x bigint);",
    )
    .unwrap();
    let output = author.run(&["check", "tried"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("[config] default"), "{text}");
    assert!(text.contains("0001_init.sql"), "{text}");
}

#[test]
fn new_refuses_folders_names_and_hooks_that_cannot_be() {
    let author = Author::new();
    author.good(&["new", "tried", "--hook", "room-policy", "--hook", "login"]);
    let world = std::fs::read_to_string(author.path("tried/wit/world.wit")).unwrap();
    assert!(world.contains("tessera:hooks/room-policy@"), "{world}");
    let error = author.bad(&["new", "tried"]);
    assert!(error.contains("not empty"), "{error}");
    let error = author.bad(&["new", "Tried!"]);
    assert!(error.contains("--name"), "{error}");
    let error = author.bad(&["new", "other", "--hook", "even-policy"]);
    assert!(error.contains("event-policy"), "{error}");
    assert!(!author.path("other").exists());
}

#[test]
fn reference_prints_the_contract() {
    let author = Author::new();
    let list = author.good(&["reference"]);
    assert!(list.contains("tessera:host/storage"), "{list}");
    let page = author.good(&["reference", "event-policy"]);
    assert!(page.contains("## check-event"), "{page}");
    author.good(&["reference", "--out", "pages"]);
    assert!(author.path("pages/hooks-event-policy.md").is_file());
    author.bad(&["reference", "nothing"]);
}

/// Ends a command that would run on.
struct Ends(std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        // In order, so that its throw-away server goes, too.
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn dev_swaps_a_change_into_a_running_server() {
    let author = Author::new();
    author.good(&["new", "tried", "--lang", "rust"]);
    let world = World::start().await;
    let data = world.server.data().display().to_string();
    let plugins = binary::plugins().unwrap().display().to_string();
    let mut dev = author.command(&["dev", "tried", "--data", &data, "--plugins", &plugins]);
    if let Some(config) = binary::testing_config() {
        dev.arg("--config").arg(config);
    }
    let _dev = Ends(dev.spawn().unwrap());
    let (user, room) = world.user_in_room("developer").await;
    // Installed without words it refuses nothing; the changed one refuses this one word.
    let code = author.path("tried/src/policy.rs");
    let text = std::fs::read_to_string(&code).unwrap();
    let changed = text.replace(
        "words.iter().map(String::as_str)",
        "words.iter().map(String::as_str).chain([\"roulette\"])",
    );
    assert_ne!(text, changed);
    let until = Instant::now() + Duration::from_secs(180);
    let installed = world.server.data().join("modules.toml");
    while !installed.exists() {
        assert!(Instant::now() < until, "not installed: {}", world.server.log());
        tokio::time::sleep(LOOK).await;
    }
    std::fs::write(&code, changed).unwrap();
    let body = json!({"msgtype": "m.text", "body": "roulette"});
    for number in 0.. {
        let path = format!("/rooms/{room}/send/m.room.message/{number}");
        let answer = user.call(Method::PUT, &path, Some(&body)).await.unwrap();
        if answer.status == 403 {
            break;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(Instant::now() < until, "not swapped: {}", world.server.log());
        tokio::time::sleep(LOOK).await;
    }
    world.still_serves(&user, &room).await;
}
