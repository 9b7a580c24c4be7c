//! `coverage`: which plug-in serves each operation of the client-server API, and which tests call it.
//!
//! The tests note every request that they make and what was answered. An operation is covered where tests saw it succeed
//! and saw it refuse something with an error code.

use crate::{test, ui, workspace::Workspace};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::ExitCode,
};

/// Method, path and name of each operation of the specification.
const OPERATIONS: &str = "tests/conformance/operations.tsv";

/// Operations that cannot refuse: their every answer is a success, or the edge's own error.
const NEVER_REFUSES: [&str; 7] = [
    "getVersions",
    "getLoginFlows",
    "getWellknown",
    "getWellknownSupport",
    "getWellknownPolicy",
    "getProtocols",
    "getPublicRooms",
];

/// Operations that are served and refuse whatever they are asked, each with the reason.
const CANNOT_SUCCEED: [(&str, &str); 6] = [
    ("requestTokenTo3PIDMSISDN", "no text messages are sent"),
    ("requestTokenToResetPasswordMSISDN", "no text messages are sent"),
    ("requestTokenToRegisterMSISDN", "no text messages are sent"),
    ("getProtocolMetadata", "there are no third-party networks without application services"),
    ("queryLocationByProtocol", "there are no third-party networks without application services"),
    ("queryUserByProtocol", "there are no third-party networks without application services"),
];

/// Operations that come with a service that is not there yet.
const LATER: [(&str, &str); 5] = [
    ("pingAppservice", "application services"),
    ("updateAppserviceRoomDirectoryVisibility", "application services"),
    ("getAuthMetadata", "OAuth 2.0"),
    ("redirectToSSO", "single sign-on"),
    ("redirectToIdP", "single sign-on"),
];

/// One operation, and what is known of it.
#[derive(Debug, Serialize)]
struct Operation {
    name: String,
    method: String,
    path: String,
    /// The plug-in whose manifest has the route.
    plugin: Option<String>,
    /// What it waits for.
    later: Option<&'static str>,
    /// Why it can only refuse.
    only_refuses: Option<&'static str>,
    /// Tests that saw it succeed.
    succeeded: BTreeSet<String>,
    /// Tests that saw it refuse, by error code.
    refused: BTreeMap<String, BTreeSet<String>>,
}

impl Operation {
    fn is_covered(&self) -> bool {
        let refuses = !NEVER_REFUSES.contains(&self.name.as_str());
        self.plugin.is_some()
            && (self.only_refuses.is_some() || !self.succeeded.is_empty())
            && (!refuses || !self.refused.is_empty())
    }

    fn verdict(&self) -> String {
        match (&self.plugin, self.later) {
            (None, Some(what)) => format!("later: {what}"),
            (None, None) => "NOT SERVED".to_owned(),
            (Some(_), _) if self.is_covered() => match self.only_refuses {
                Some(why) if self.succeeded.is_empty() => format!("covered, only refuses: {why}"),
                _ => "covered".to_owned(),
            },
            (Some(_), _) if self.succeeded.is_empty() && self.only_refuses.is_none() => {
                "NO TEST SAW IT SUCCEED".to_owned()
            }
            (Some(_), _) => "NO TEST SAW IT REFUSE".to_owned(),
        }
    }
}

/// A request that a test made.
#[derive(Debug, Deserialize)]
struct Call {
    test: String,
    method: String,
    path: String,
    status: u16,
    errcode: String,
}

/// A route of a manifest.
struct Route {
    plugin: String,
    method: String,
    path: String,
}

/// Runs the tests of clients' operations, unless `told` is a folder with the notes of an earlier run, and prints a line for each operation.
///
/// # Errors
/// The tests cannot be run, or the notes not read. A test that fails fails this too.
pub(crate) fn coverage(told: Option<&Path>, json: bool) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut good = true;
    let notes = if let Some(folder) = told {
        folder.to_owned()
    } else {
        let folder = workspace.target.join("tmp/calls");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        good = test::client(&workspace, &folder)?;
        folder
    };
    let operations = operations(&workspace.root, &calls(&notes)?)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&operations)?);
    } else {
        show(&operations);
    }
    let missing = operations.iter().filter(|one| !one.is_covered() && one.later.is_none()).count();
    if missing > 0 {
        ui::say(&format!("error: {missing} operations are not served or not covered"));
    }
    Ok(if good && missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(operations: &[Operation]) {
    for one in operations {
        let plugin = one.plugin.as_deref().unwrap_or("-");
        let codes: Vec<&str> = one.refused.keys().map(String::as_str).collect();
        println!(
            "{:<6} {:<88} {:<9} {:<10} {}",
            one.method,
            one.path,
            plugin,
            one.verdict(),
            codes.join(" ")
        );
        let tests: BTreeSet<&str> = one
            .succeeded
            .iter()
            .chain(one.refused.values().flatten())
            .map(|test| test.trim_start_matches("client::"))
            .collect();
        for test in tests {
            println!("         {test}");
        }
    }
    let covered = operations.iter().filter(|one| one.is_covered()).count();
    let later = operations.iter().filter(|one| one.later.is_some() && one.plugin.is_none()).count();
    println!(
        "{} operations: {covered} covered, {later} later, {} not",
        operations.len(),
        operations.len() - covered - later
    );
}

fn calls(folder: &Path) -> Result<Vec<Call>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        for line in fs::read_to_string(&path)?.lines() {
            all.push(serde_json::from_str(line).with_context(|| path.display().to_string())?);
        }
    }
    Ok(all)
}

fn operations(root: &Path, calls: &[Call]) -> Result<Vec<Operation>> {
    let path = root.join(OPERATIONS);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let routes = routes(root)?;
    let mut all = Vec::new();
    for line in text.lines().skip(1) {
        let mut columns = line.split('\t');
        let (Some(method), Some(path), Some(name)) =
            (columns.next(), columns.next(), columns.next())
        else {
            anyhow::bail!("{OPERATIONS}: {line}");
        };
        let mut one = Operation {
            name: name.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            plugin: routes
                .iter()
                .find(|route| route.method == method && same(&route.path, path))
                .map(|route| route.plugin.clone()),
            later: reason(&LATER, name),
            only_refuses: reason(&CANNOT_SUCCEED, name),
            succeeded: BTreeSet::new(),
            refused: BTreeMap::new(),
        };
        for call in calls.iter().filter(|call| call.method == method && fits(path, &call.path)) {
            if (200..400).contains(&call.status) {
                one.succeeded.insert(call.test.clone());
            } else if !call.errcode.is_empty() {
                one.refused.entry(call.errcode.clone()).or_default().insert(call.test.clone());
            }
        }
        all.push(one);
    }
    Ok(all)
}

/// What a table says of an operation.
fn reason(table: &[(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == name).map(|(_, what)| *what)
}

/// The routes of all first-party plug-ins.
fn routes(root: &Path) -> Result<Vec<Route>> {
    #[derive(Deserialize)]
    struct Manifest {
        name: String,
        #[serde(default)]
        http: Http,
    }
    #[derive(Default, Deserialize)]
    struct Http {
        #[serde(default)]
        routes: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        methods: Vec<String>,
        paths: Vec<String>,
    }

    let mut all = Vec::new();
    for entry in fs::read_dir(root.join("plugins"))? {
        let path = entry?.path().join("plugin.toml");
        if !path.is_file() {
            continue;
        }
        let manifest: Manifest = toml::from_str(&fs::read_to_string(&path)?)
            .with_context(|| path.display().to_string())?;
        for route in manifest.http.routes {
            for (method, path) in
                route.methods.iter().flat_map(|m| route.paths.iter().map(move |p| (m, p)))
            {
                let (plugin, method, path) = (manifest.name.clone(), method.clone(), path.clone());
                all.push(Route { plugin, method, path });
            }
        }
    }
    Ok(all)
}

/// Whether two patterns are one but for the names of their placeholders.
fn same(one: &str, other: &str) -> bool {
    let placeholder = |part: &str| part.starts_with('{') && part.ends_with('}');
    one.split('/').count() == other.split('/').count()
        && one
            .split('/')
            .zip(other.split('/'))
            .all(|(a, b)| a == b || (placeholder(a) && placeholder(b)))
}

/// Whether a request's path is of this pattern. The literal parts decide: `/keys/changes` is not `/keys/{x}` where both
/// exist, which no two operations of one method do.
fn fits(pattern: &str, path: &str) -> bool {
    pattern.split('/').count() == path.split('/').count()
        && pattern
            .split('/')
            .zip(path.split('/'))
            .all(|(want, have)| (want.starts_with('{') && !have.is_empty()) || want == have)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_stand_for_one_part() {
        assert!(fits("/a/{b}/c", "/a/x/c"));
        assert!(!fits("/a/{b}/c", "/a/x/y/c") && !fits("/a/{b}/c", "/a//c"));
        assert!(same("/a/{b}/c", "/a/{other}/c") && !same("/a/{b}", "/a/b"));
    }

    #[test]
    fn an_operation_needs_a_success_and_a_refusal() {
        let call = |status, errcode: &str| Call {
            test: "t".to_owned(),
            method: "GET".to_owned(),
            path: "/_matrix/client/v3/account/whoami".to_owned(),
            status,
            errcode: errcode.to_owned(),
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let whoami = |calls: &[Call]| {
            let all = operations(root, calls).unwrap();
            all.into_iter().find(|one| one.name == "getTokenOwner").unwrap().verdict()
        };
        assert_eq!(whoami(&[]), "NO TEST SAW IT SUCCEED");
        assert_eq!(whoami(&[call(200, "")]), "NO TEST SAW IT REFUSE");
        assert_eq!(whoami(&[call(200, ""), call(401, "M_MISSING_TOKEN")]), "covered");
    }

    #[test]
    fn tables_name_operations_that_there_are() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let all = operations(root, &[]).unwrap();
        let there = |name: &str| all.iter().any(|one| one.name == name);
        for (name, _) in CANNOT_SUCCEED.iter().chain(&LATER) {
            assert!(there(name), "{name}");
        }
        assert!(NEVER_REFUSES.iter().all(|name| there(name)));
    }

    #[test]
    fn what_only_refuses_must_be_seen_to_refuse() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let verdict = |calls: &[Call]| {
            let all = operations(root, calls).unwrap();
            all.into_iter().find(|one| one.name == "getProtocolMetadata").unwrap().verdict()
        };
        assert_eq!(verdict(&[]), "NO TEST SAW IT REFUSE");
        let refused = Call {
            test: "t".to_owned(),
            method: "GET".to_owned(),
            path: "/_matrix/client/v3/thirdparty/protocol/irc".to_owned(),
            status: 404,
            errcode: "M_NOT_FOUND".to_owned(),
        };
        assert!(verdict(&[refused]).starts_with("covered, only refuses: "));
    }
}
