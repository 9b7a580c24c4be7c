//! Which test called what, for `cargo xtask coverage`.
//!
//! With `TESSERA_CALLS` set to a folder each request leaves a line there:
//! `{"test", "method", "path", "status", "errcode"}`.

use std::{fs, io::Write as _, path::Path};

use reqwest::Method;
use serde_json::json;

use crate::api::Answer;

/// Notes a request and its answer. For requests that do not go through [`crate::api::request`].
///
/// # Panics
/// The folder cannot be written to: the report would lie.
#[expect(clippy::expect_used, reason = "a line that is missing would be taken for a missing test")]
pub fn note(method: &Method, url: &str, answer: &Answer) {
    let Some(folder) = std::env::var_os("TESSERA_CALLS") else { return };
    // Tests run on threads that carry their names.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.find('/').and_then(|at| path.get(at..)).unwrap_or("/");
    let path = path.split('?').next().unwrap_or_default();
    let line = json!({
        "test": test,
        "method": method.as_str(),
        "path": path,
        "status": answer.status,
        "errcode": answer.errcode(),
    });
    let file = Path::new(&folder).join(format!("{}.jsonl", std::process::id()));
    let file = fs::File::options().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .expect("TESSERA_CALLS");
}
