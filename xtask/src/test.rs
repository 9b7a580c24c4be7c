//! `test`: sets everything up, runs the tests, ends with one line that adds them up.

use crate::{
    clients,
    cmd::{Cmd, Run},
    front::{self, Front},
    guests, host,
    plugins::Languages,
    proofs,
    services::Services,
    summary,
    summary::Tally,
    ui,
    workspace::Workspace,
};
use anyhow::{Result, bail};
use serde_json::Value;
use std::{path::Path, process::ExitCode};

/// The crate of the end-to-end tests.
const FRONT_DOOR: &str = "tessera-tests";

/// Its modules that are about the process, not about HTTP.
const NOT_HTTP: [&str; 9] =
    ["clients?", "e2e", "crash", "operator", "stopping", "nodes", "tenants", "modules", "sandbox"];
/// Those that run once on each kind of server.
const ON_EACH: &str = "package(tessera-tests) & test(/^client::/)";

/// What to run.
struct Selection {
    /// A nextest filter expression for what runs once; `None` is nothing.
    filter: Option<String>,
    /// Whether the tests of clients' operations run, once on each kind of server.
    on_each: bool,
    /// Whether a browser is needed.
    browser: bool,
    /// Whether the client that takes minutes to build is built and run, too.
    rust_client: bool,
    /// The same as arguments for plain `cargo test`, where that can say it.
    plain: Option<Vec<String>>,
    /// Whether the plug-ins and the clients are needed.
    front_door: bool,
    /// Whether the modules in JavaScript and Python are needed.
    scripts: bool,
    /// Whether PostgreSQL and NATS are needed.
    services: bool,
    /// Whether the examples in the documentation run too.
    doc_tests: bool,
}

impl Selection {
    fn of(filter: Option<&str>) -> Self {
        match filter {
            None => Self {
                filter: Some(format!("not ({ON_EACH})")),
                on_each: true,
                browser: true,
                rust_client: false,
                plain: Some(vec!["--workspace".into()]),
                front_door: true,
                scripts: true,
                services: true,
                doc_tests: true,
            },
            Some("unit") => Self {
                filter: Some(format!("not package({FRONT_DOOR})")),
                on_each: false,
                browser: false,
                rust_client: false,
                plain: Some(vec!["--workspace".into(), "--exclude".into(), FRONT_DOOR.into()]),
                front_door: false,
                scripts: false,
                services: true,
                doc_tests: true,
            },
            Some(name @ ("e2e" | "crash" | "nodes" | "tenants" | "sandbox")) => Self {
                services: matches!(name, "nodes" | "tenants"),
                ..Self::front_door(&format!("& test(/(^|::){name}/)"), &[name])
            },
            Some("clients") => Self {
                browser: true,
                rust_client: true,
                ..Self::front_door("& test(/^clients::/)", &["clients"])
            },
            Some("client") => Self {
                filter: None,
                on_each: true,
                services: true,
                ..Self::front_door("", &["client"])
            },
            Some("modules") => {
                Self { scripts: true, ..Self::front_door("& test(/(^|::)modules/)", &["modules"]) }
            }
            Some("contracts") => Self::front_door("& binary(contracts)", &["--test", "contracts"]),
            Some("compat") => Self::front_door("& test(/^compat::/)", &["compat"]),
            Some("http") => {
                let others: Vec<&str> = NOT_HTTP
                    .iter()
                    .flat_map(|name| ["--skip", name.trim_end_matches("s?")])
                    .collect();
                let names = NOT_HTTP.join("|");
                Self::front_door(&format!("- test(/(^|::)({names})/)"), &others)
            }
            Some(other) => Self {
                filter: Some(other.into()),
                on_each: false,
                browser: true,
                rust_client: false,
                plain: None,
                front_door: true,
                scripts: true,
                services: true,
                doc_tests: false,
            },
        }
    }

    /// Some tests of the front-door crate.
    fn front_door(filter: &str, plain: &[&str]) -> Self {
        let plain = ["-p", FRONT_DOOR, "--"].iter().chain(plain);
        Self {
            filter: Some(format!("package({FRONT_DOOR}) {filter}")),
            on_each: false,
            browser: false,
            rust_client: false,
            plain: Some(plain.map(|arg| (*arg).to_owned()).collect()),
            front_door: true,
            scripts: false,
            services: false,
            doc_tests: false,
        }
    }
}

/// Runs the tests that `filter` selects; the last line is `N passed, M failed, K skipped`.
///
/// Fails if a test fails or none runs. An error is a step before the tests that went wrong.
pub(crate) fn test(filter: Option<&str>) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let selection = Selection::of(filter);
    let nextest = has_nextest() || install_nextest();
    set_up(&workspace, &selection)?;
    if selection.rust_client {
        clients::build_rust(&workspace)?;
    }
    // One of each for the whole run; tests that kill theirs start their own.
    let services = if selection.services { Services::for_tests()? } else { None };
    let services = services.as_ref();

    let mut sum = Tally::default();
    let mut good = if nextest {
        let mut good = true;
        if let Some(once) = &selection.filter {
            let ignored = selection.rust_client;
            good &= run_nextest(&workspace, once, services, &[], ignored, &mut sum)?;
        }
        if selection.on_each {
            for kind in front::KINDS {
                let command = Front::command(&workspace, kind);
                let front = Front::start(&with_env(command, &workspace, services))?;
                let more = [front.variable.clone()];
                good &= run_nextest(&workspace, ON_EACH, services, &more, false, &mut sum)?;
            }
        }
        good
    } else {
        run_plain(&workspace, &selection, services, &mut sum)?
    };
    if filter == Some("modules") {
        good &= proofs::show(&workspace)?;
    }
    if selection.doc_tests {
        good &= run_doc_tests(&workspace, &mut sum)?;
    }
    if filter == Some("sandbox") {
        tell_sandbox(&workspace);
    }
    let failed = !good || sum.failed > 0;
    if failed {
        ui::say("error: tests failed; to run one again: cargo xtask test 'test(NAME)'");
    } else if sum.passed == 0 {
        ui::say("error: no test ran: does the filter name any?");
    }
    println!("{sum}");
    Ok(if failed || sum.passed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What stopped each attack, as the tests left it.
fn tell_sandbox(workspace: &Workspace) {
    let path = workspace.root.join("target/tmp/sandbox.txt");
    match std::fs::read_to_string(&path) {
        Ok(table) => println!("{table}"),
        Err(error) => ui::note(&format!("no table: {}: {error}", path.display())),
    }
}

fn set_up(workspace: &Workspace, selection: &Selection) -> Result<()> {
    if selection.front_door {
        let languages = if selection.scripts { Languages::All } else { Languages::Rust };
        guests::build(workspace, &[], languages)?;
        guests::build_fixtures(workspace, Languages::Rust)?;
        clients::set_up(workspace)?;
        if selection.browser {
            clients::set_up_chromium()?;
        }
    }
    host::need_c_compiler()?;
    // The whole workspace in all that follows: see `host::build`.
    Cmd::cargo()
        .args(["build", "--workspace", "--bins", "--tests"])
        .dir(&workspace.root)
        .show("build the server and the tests (a first build takes some minutes)")
}

/// Runs the tests of clients' operations once, on the embedded default; what they call is noted in `calls`.
///
/// Returns whether all passed. An error is a step before them that went wrong.
pub(crate) fn client(workspace: &Workspace, calls: &Path) -> Result<bool> {
    let selection = Selection::of(Some("client"));
    if !has_nextest() && !install_nextest() {
        bail!("this needs nextest; run: cargo install cargo-nextest --locked");
    }
    set_up(workspace, &selection)?;
    let [kind, ..] = front::KINDS;
    let front = Front::start(&with_env(Front::command(workspace, kind), workspace, None))?;
    let notes = ("TESSERA_CALLS".to_owned(), calls.display().to_string());
    let more = [front.variable.clone(), notes];
    run_nextest(workspace, ON_EACH, None, &more, false, &mut Tally::default())
}

fn run_nextest(
    workspace: &Workspace,
    filter: &str,
    services: Option<&Services>,
    more: &[(String, String)],
    ignored_too: bool,
    sum: &mut Tally,
) -> Result<bool> {
    let cmd = with_env(Cmd::cargo().dir(&workspace.root), workspace, services);
    let cmd = more.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
    let mut cmd = cmd.args(["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests=pass"]);
    cmd = cmd.args(["-E", filter]);
    if ignored_too {
        cmd = cmd.args(["--run-ignored=all"]);
    }
    if ui::on_terminal() {
        cmd = cmd.args(["--color=always"]);
    }
    let mut found = None;
    let good = cmd.tee("run the tests", |line| found = summary::nextest(line).or(found))?;
    let Some(mut tally) = found else {
        if good {
            return Ok(true); // nothing matched: the caller says so
        }
        bail!("nextest ended without a summary\nrun it by hand: {cmd}");
    };
    // nextest counts what the filter leaves out as skipped; only ignored tests are.
    tally.skipped = if ignored_too { 0 } else { ignored(workspace, filter)? };
    *sum += tally;
    Ok(good)
}

/// How many tests that `filter` selects are marked as ignored.
fn ignored(workspace: &Workspace, filter: &str) -> Result<u64> {
    let list = Cmd::cargo().dir(&workspace.root).args([
        "nextest",
        "list",
        "--workspace",
        "--run-ignored=only",
        "--message-format=json",
        "-E",
        filter,
    ]);
    let Some(text) = list.read() else { bail!("cannot list the tests\nrun it by hand: {list}") };
    Ok(count_matches(&serde_json::from_str(&text)?))
}

fn count_matches(list: &Value) -> u64 {
    let suites = list.get("rust-suites").and_then(Value::as_object);
    let tests = suites
        .into_iter()
        .flat_map(|suites| suites.values())
        .filter_map(|suite| suite.get("testcases")?.as_object())
        .flat_map(|tests| tests.values());
    tests
        .filter(|test| test.pointer("/filter-match/status").is_some_and(|s| s == "matches"))
        .count() as u64
}

fn run_plain(
    workspace: &Workspace,
    selection: &Selection,
    services: Option<&Services>,
    sum: &mut Tally,
) -> Result<bool> {
    let Some(args) = &selection.plain else {
        bail!("a filter expression needs nextest; run: cargo install cargo-nextest --locked");
    };
    ui::note("without nextest: plain `cargo test`");
    let cmd = with_env(Cmd::cargo().dir(&workspace.root), workspace, services)
        .args(["test", "--no-fail-fast", "--bins", "--lib", "--tests"])
        .args(args.iter().map(String::as_str));
    cmd.tee("run the tests", |line| *sum += summary::libtest(line).unwrap_or_default())
}

fn run_doc_tests(workspace: &Workspace, sum: &mut Tally) -> Result<bool> {
    let cmd = Cmd::cargo().dir(&workspace.root).args(["test", "--doc", "--workspace", "--quiet"]);
    cmd.tee("run the examples in the documentation", |line| {
        *sum += summary::libtest(line).unwrap_or_default();
    })
}

/// Where the tests find the server, the plug-ins, matrix-nio, PostgreSQL and NATS.
fn with_env(cmd: Cmd, workspace: &Workspace, services: Option<&Services>) -> Cmd {
    let services = services.map(Services::variables);
    let cmd = services.into_iter().flatten().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
    cmd.env("TESSERA_BIN", workspace.binary(false).to_string_lossy())
        .env("TESSERA_PLUGINS", workspace.plugins().to_string_lossy())
        .env("TESSERA_FIXTURES", workspace.fixtures().to_string_lossy())
        .env("TESSERA_NIO_PYTHON", clients::python(workspace).to_string_lossy())
}

/// Whether `cargo nextest` is there.
pub(crate) fn has_nextest() -> bool {
    Cmd::cargo().args(["nextest", "--version"]).read().is_some()
}

fn install_nextest() -> bool {
    let install = Cmd::cargo().args(["install", "cargo-nextest", "--locked"]);
    match install.show("install cargo-nextest, once (takes some minutes)") {
        Ok(()) => has_nextest(),
        Err(error) => {
            ui::error(&error);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_matching_tests_are_counted() {
        let list = json!({"rust-suites": {
            "a": {"testcases": {
                "x": {"ignored": true, "filter-match": {"status": "matches"}},
                "y": {"ignored": false, "filter-match": {"status": "mismatch", "reason": "ignored"}},
            }},
            "b": {"testcases": {"z": {"ignored": true, "filter-match": {"status": "matches"}}}},
        }});
        assert_eq!(count_matches(&list), 2);
        assert_eq!(count_matches(&json!({})), 0);
    }

    #[test]
    fn named_filters_select_by_test_name() {
        let crash = Selection::of(Some("crash"));
        let filter = "package(tessera-tests) & test(/(^|::)crash/)";
        assert_eq!(crash.filter.as_deref(), Some(filter));
        let http = Selection::of(Some("http")).filter.unwrap();
        assert_eq!(
            http,
            "package(tessera-tests) - test(/(^|::)(clients?|e2e|crash|operator|stopping|nodes|tenants|modules|sandbox)/)"
        );
        assert!(crash.front_door && !Selection::of(Some("unit")).front_door);
        assert!(!crash.services && Selection::of(Some("nodes")).services);
    }

    #[test]
    fn other_filters_go_to_nextest_as_they_are() {
        assert_eq!(Selection::of(Some("test(x)")).filter.as_deref(), Some("test(x)"));
    }
}
