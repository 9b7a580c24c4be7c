//! The table of `docs/modules/hooks.md`: what modules can do, and the tests that prove it.

use crate::{ui, workspace::Workspace};
use anyhow::{Context, Result};
use std::{fs, path::Path};

/// The page with the table.
const PAGE: &str = "docs/modules/hooks.md";
/// How the last column begins where a row's service does not exist yet.
const LATER: &str = "later";

/// One row.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// The columns before the last.
    said: String,
    proofs: Proofs,
}

#[derive(Debug, PartialEq, Eq)]
enum Proofs {
    /// `file::test`, each as written.
    Tests(Vec<String>),
    /// What has to come first.
    Later(String),
}

/// Prints the table and says whether every row names tests that exist.
pub(crate) fn show(workspace: &Workspace) -> Result<bool> {
    let path = workspace.root.join(PAGE);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rows = rows(&text);
    for row in &rows {
        match &row.proofs {
            Proofs::Later(what) => println!("{} | {what}", row.said),
            Proofs::Tests(tests) => println!("{} | {}", row.said, tests.join(", ")),
        }
    }
    let mut missing = missing(&workspace.root, &rows);
    if rows.is_empty() {
        missing.push(format!("{PAGE}: no table of hooks and tests"));
    }
    for line in &missing {
        ui::say(&format!("error: {line}"));
    }
    let later = rows.iter().filter(|row| matches!(row.proofs, Proofs::Later(_))).count();
    let proved = rows.len() - later;
    println!(
        "{proved} rows with tests, {later} that wait for a service, {} mistakes",
        missing.len()
    );
    Ok(missing.is_empty())
}

/// What is wrong with the rows: those without a test, and tests that are not there.
fn missing(root: &Path, rows: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    for row in rows {
        let Proofs::Tests(tests) = &row.proofs else { continue };
        if tests.is_empty() {
            found.push(format!("{}: no test", row.said));
        }
        let gone = tests.iter().filter(|test| !exists(root, test));
        found.extend(gone.map(|test| format!("{test}: there is no such test")));
    }
    found
}

/// The rows of every table whose last column is headed `proved by` or `test`.
fn rows(page: &str) -> Vec<Row> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        let Some(cells) = cells(line) else {
            inside = false;
            continue;
        };
        let Some((last, others)) = cells.split_last() else { continue };
        let head = last.to_lowercase();
        if head.starts_with("proved") || head.starts_with("test") {
            inside = true;
        } else if inside && !last.trim_matches(['-', ':']).is_empty() {
            let proofs = if head.trim_start_matches('*').starts_with(LATER) {
                Proofs::Later(last.clone())
            } else {
                Proofs::Tests(quoted(last))
            };
            found.push(Row { said: others.join(" | "), proofs });
        } else if inside && last.is_empty() {
            found.push(Row { said: others.join(" | "), proofs: Proofs::Tests(Vec::new()) });
        }
    }
    found
}

/// The cells of a line of a table.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// What stands between backticks and has `::` in it.
fn quoted(cell: &str) -> Vec<String> {
    let inside = cell.split('`').skip(1).step_by(2);
    inside.filter(|text| text.contains("::")).map(str::to_owned).collect()
}

/// Whether the file has the test: a function in Rust or Python, a text in JavaScript.
fn exists(root: &Path, test: &str) -> bool {
    let Some((file, name)) = test.split_once("::") else { return false };
    let name = name.rsplit("::").next().unwrap_or(name);
    let Ok(text) = fs::read_to_string(root.join(file)) else { return false };
    let has = |start: &str, end: &str| text.contains(&format!("{start}{name}{end}"));
    match Path::new(file).extension().and_then(|end| end.to_str()) {
        Some("rs") => has("fn ", "("),
        Some("py") => has("def ", "("),
        _ => has("'", "'") || has("\"", "\"") || has("`", "`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "
| need | asked | proved by |
|---|---|---|
| a | b | `xtask/src/proofs.rs::rows_of_the_table_are_found`, `x.py::test_it` |
| c | d | later: media |
| e | f | |

| other | table |
|---|---|
| `a::b` | `c::d` |
";

    #[test]
    fn rows_of_the_table_are_found() {
        let tests = ["xtask/src/proofs.rs::rows_of_the_table_are_found", "x.py::test_it"];
        let row = |said: &str, proofs| Row { said: said.into(), proofs };
        assert_eq!(
            rows(PAGE),
            [
                row("a | b", Proofs::Tests(tests.map(str::to_owned).to_vec())),
                row("c | d", Proofs::Later("later: media".into())),
                row("e | f", Proofs::Tests(Vec::new())),
            ]
        );
    }

    #[test]
    fn every_row_of_the_page_names_tests_that_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let rows = rows(&fs::read_to_string(root.join(super::PAGE)).unwrap());
        assert!(rows.len() > 40, "only {} rows", rows.len());
        assert_eq!(missing(&root, &rows), Vec::<String>::new());
    }

    #[test]
    fn test_must_be_in_its_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(exists(&root, "xtask/src/proofs.rs::test_must_be_in_its_file"));
        assert!(exists(&root, "xtask/src/proofs.rs::tests::test_must_be_in_its_file"));
        assert!(!exists(&root, "xtask/src/proofs.rs::test_that_is_not"));
        assert!(!exists(&root, "no/such/file.rs::rows"));
    }
}
