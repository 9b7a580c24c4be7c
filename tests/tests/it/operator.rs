//! Errors of whoever runs the server: each ends the start with a status that is not zero and a message that names
//! what is wrong.

use std::{fs, net::TcpListener, path::Path, process::Output, time::Duration};

use tempfile::TempDir;
use tessera_tests::{
    binary,
    server::{Options, Refusal, Server},
};
use tokio::process::Command;

#[track_caller]
fn assert_names(refusal: &Refusal, parts: &[&str]) {
    assert!(!refusal.status.success(), "ended with {}:\n{}", refusal.status, refusal.output);
    for part in parts {
        assert!(
            refusal.output.contains(part),
            "the message does not name {part:?}:\n{}",
            refusal.output
        );
    }
    assert!(!refusal.output.contains("panicked at"), "{}", refusal.output);
}

/// A copy of the plug-in folder that a test may spoil.
fn copy_of_plugins() -> TempDir {
    let folder = TempDir::new().unwrap();
    for entry in fs::read_dir(binary::plugins().unwrap()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    folder
}

fn with_config(folder: &Path, text: &str) -> Options {
    let config = folder.join("tessera.toml");
    fs::write(&config, text).unwrap();
    Options { config: Some(config), ..Options::testing().unwrap() }
}

#[tokio::test]
async fn taken_port_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let refusal =
        Server::refuse_with(Options { listen: Some(address), ..Options::testing().unwrap() })
            .await
            .unwrap();
    assert_names(&refusal, &[&address.to_string()]);
}

#[tokio::test]
async fn data_folder_of_a_running_server_is_named() {
    let server = Server::start().await.unwrap();
    let data = server.data();
    let options = Options { data: Some(data.clone()), ..Options::testing().unwrap() };
    let refusal = Server::refuse_with(options).await.unwrap();
    assert_names(&refusal, &[data.to_str().unwrap()]);
}

#[tokio::test]
async fn file_that_is_no_component_is_named() {
    let folder = copy_of_plugins();
    for (what, bytes) in [
        ("garbage", &b"this is no component"[..]),
        ("empty", b""),
        ("core module", b"\0asm\x01\0\0\0"),
    ] {
        fs::write(folder.path().join("rooms.wasm"), bytes).unwrap();
        let options =
            Options { plugins: Some(folder.path().into()), ..Options::testing().unwrap() };
        let refusal = Server::refuse_with(options).await.unwrap();
        println!("{what}: {}", refusal.output);
        assert_names(&refusal, &["rooms.wasm"]);
    }
}

#[tokio::test]
async fn truncated_component_is_named() {
    let folder = copy_of_plugins();
    let file = folder.path().join("rooms.wasm");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let options = Options { plugins: Some(folder.path().into()), ..Options::testing().unwrap() };
    assert_names(&Server::refuse_with(options).await.unwrap(), &["rooms.wasm"]);
}

#[tokio::test]
async fn missing_plugins_folder_is_named() {
    let options =
        Options { plugins: Some("/no/such/folder".into()), ..Options::testing().unwrap() };
    assert_names(&Server::refuse_with(options).await.unwrap(), &["/no/such/folder"]);
}

#[tokio::test]
async fn missing_descriptor_is_named() {
    let options =
        Options { config: Some("/no/such/tessera.toml".into()), ..Options::testing().unwrap() };
    assert_names(&Server::refuse_with(options).await.unwrap(), &["/no/such/tessera.toml"]);
}

#[tokio::test]
async fn unknown_key_is_named_with_file_and_line() {
    let folder = TempDir::new().unwrap();
    let options = with_config(folder.path(), "# a comment\n\nno_such_key = 1\n");
    assert_names(
        &Server::refuse_with(options).await.unwrap(),
        &["tessera.toml", "no_such_key", "3"],
    );
}

#[tokio::test]
async fn broken_toml_is_named_with_file_and_line() {
    let folder = TempDir::new().unwrap();
    let options = with_config(folder.path(), "# a comment\n[server\n");
    assert_names(&Server::refuse_with(options).await.unwrap(), &["tessera.toml", "2"]);
}

#[tokio::test]
async fn value_of_the_wrong_type_is_named_with_file_and_line() {
    let folder = TempDir::new().unwrap();
    let options = with_config(folder.path(), "[engine]\n\ninstances = \"many\"\n");
    assert_names(&Server::refuse_with(options).await.unwrap(), &["tessera.toml", "instances", "3"]);
}

#[tokio::test]
async fn unknown_key_of_a_plugin_is_named_with_file_and_line() {
    let folder = TempDir::new().unwrap();
    let options = with_config(folder.path(), "[plugins.rooms]\nno-such-key = 1\n");
    assert_names(
        &Server::refuse_with(options).await.unwrap(),
        &["tessera.toml", "no-such-key", "2"],
    );
}

#[tokio::test]
async fn unknown_plugin_is_named() {
    let folder = TempDir::new().unwrap();
    let options = with_config(folder.path(), "[plugins.nothing]\nsource = \"nothing.wasm\"\n");
    assert_names(&Server::refuse_with(options).await.unwrap(), &["nothing.wasm"]);
}

#[tokio::test]
async fn plugin_of_another_digest_is_named() {
    let folder = TempDir::new().unwrap();
    let digest = "0".repeat(64);
    let options = with_config(folder.path(), &format!("[plugins.rooms]\nsha256 = \"{digest}\"\n"));
    assert_names(&Server::refuse_with(options).await.unwrap(), &["rooms"]);
}

#[tokio::test]
async fn missing_provider_is_named_with_who_needs_it() {
    let folder = TempDir::new().unwrap();
    let options = with_config(folder.path(), "[plugins.thumbnails]\nenabled = false\n");
    assert_names(
        &Server::refuse_with(options).await.unwrap(),
        &["media", "tessera:services/thumbnails"],
    );
}

#[tokio::test]
async fn missing_view_is_named_with_who_reads_it() {
    let folder = TempDir::new().unwrap();
    let options = with_config(folder.path(), "[plugins.rooms]\nenabled = false\n");
    assert_names(&Server::refuse_with(options).await.unwrap(), &["presence", "rooms_v1_"]);
}

#[tokio::test]
async fn data_folder_of_a_newer_version_is_refused() {
    let mut server = Server::start().await.unwrap();
    server.stop(Duration::from_secs(15)).await.unwrap();
    fs::write(server.data().join("format"), "999999\n").unwrap();
    let refusal = server.refuse().await.unwrap();
    assert_names(&refusal, &["999999"]);
}

#[tokio::test]
async fn data_folder_that_is_a_file_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("data");
    fs::write(&file, "no folder").unwrap();
    let output =
        tessera(&["run", "--listen", "127.0.0.1:0", "--data", file.to_str().unwrap()]).await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(file.to_str().unwrap()), "{output:?}");
}

#[tokio::test]
async fn unknown_flag_and_command_are_refused() {
    for arguments in
        [&["run", "--no-such-flag"][..], &["no-such-command"], &["run", "--listen", "nonsense"]]
    {
        let output = tessera(arguments).await;
        assert!(!output.status.success(), "{arguments:?}");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains(arguments.last().unwrap()), "{arguments:?}: {message}");
    }
}

#[tokio::test]
async fn inspect_prints_the_contract_of_a_plugin() {
    let rooms = binary::plugins().unwrap().join("rooms.wasm");
    let output = tessera(&["plugin", "inspect", rooms.to_str().unwrap()]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in ["imports", "exports", "routes", "tables", "grants"] {
        assert!(text.to_lowercase().contains(part), "no {part}:\n{text}");
    }
    for part in
        ["tessera:host/", "tessera:plugin/", "rooms_events", "/_matrix/client/v3/createRoom"]
    {
        assert!(text.contains(part), "no {part}:\n{text}");
    }
}

#[tokio::test]
async fn inspect_of_no_component_names_the_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("nothing.wasm");
    fs::write(&file, "nothing").unwrap();
    let output = tessera(&["plugin", "inspect", file.to_str().unwrap()]).await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing.wasm"), "{output:?}");
}

async fn tessera(arguments: &[&str]) -> Output {
    let folder = TempDir::new().unwrap();
    Command::new(binary::server().unwrap())
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .await
        .unwrap()
}
