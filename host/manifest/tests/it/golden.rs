//! `tests/golden/good/*.toml` are read; `tests/golden/bad/*.toml` fail with the message beside them.
//! A file whose name begins with `plugin` is a manifest, the others are descriptors.
//! `UPDATE_GOLDEN=1` writes the messages anew: read them before you commit them.

use std::{fs, path::PathBuf};

use pretty_assertions::assert_eq;
use tessera_manifest::{Descriptor, PluginManifest, Problem};

const DEFAULT: &str = include_str!("../../../../config/default.toml");

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn read(path: &PathBuf) -> Result<(), Problem> {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    if name.starts_with("plugin") {
        PluginManifest::parse(name, &text).map(|_| ())
    } else {
        Descriptor::parse_over(DEFAULT, name, &text).map(|_| ())
    }
}

#[test]
fn good_files_are_read() {
    let files = files("good");
    assert!(files.len() >= 3);
    for path in files {
        if let Err(problem) = read(&path) {
            panic!("{problem}");
        }
    }
}

#[test]
fn bad_files_fail_with_the_message_beside_them() {
    let files = files("bad");
    assert!(files.len() >= 20);
    for path in files {
        let problem = read(&path).expect_err(&format!("{} is read", path.display()));
        let expected = path.with_extension("expected");
        let message = format!("{problem}\n");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &message).unwrap();
        }
        assert_eq!(fs::read_to_string(&expected).unwrap(), message, "{}", path.display());
    }
}
