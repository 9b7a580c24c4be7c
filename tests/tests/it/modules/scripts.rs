//! The examples' own tests, run as their authors run them.

use std::{ffi::OsString, path::PathBuf};

use tessera_tests::binary;
use tokio::process::Command;

fn example(name: &str) -> PathBuf {
    binary::workspace().join("examples").join(name)
}

/// Runs tests in an example's folder; `least` of them must pass.
async fn passes(
    name: &str,
    program: OsString,
    arguments: &[&str],
    least: usize,
    count: fn(&str) -> Option<usize>,
) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(example(name)).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    let passed = said.lines().find_map(count).unwrap_or_else(|| panic!("no count in {said}"));
    assert!(passed >= least, "only {passed} tests: {said}");
}

fn node_count(line: &str) -> Option<usize> {
    // TAP, or what Node prints for people.
    let line = line.trim_start_matches(['#', 'ℹ', ' ']);
    line.strip_prefix("pass ")?.trim().parse().ok()
}

fn python_count(line: &str) -> Option<usize> {
    line.strip_prefix("Ran ")?.split(' ').next()?.parse().ok()
}

#[tokio::test]
async fn tests_of_http_antispam_pass() {
    let node = binary::workspace().join("target/tools/javascript/node_modules/.bin/node");
    assert!(node.exists(), "no Node: run `cargo xtask build --guests`");
    passes("http-antispam", node.into(), &["--test"], 8, node_count).await;
}

#[tokio::test]
async fn tests_of_rest_password_pass() {
    let discover = ["-m", "unittest", "discover", "-s", "tests"];
    passes("rest-password", "python3".into(), &discover, 8, python_count).await;
}

#[tokio::test]
async fn tests_of_room_access_rules_pass() {
    let discover = ["-m", "unittest", "discover", "-s", "tests"];
    passes("room-access-rules", "python3".into(), &discover, 14, python_count).await;
}
