//! Checks of the contract in `wit/`.

use std::path::{Path, PathBuf};
use wit_parser::{Resolve, UnresolvedPackageGroup};

fn packages() -> Vec<PathBuf> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(wit)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    dirs.sort();
    dirs
}

fn parse(dir: &Path) -> UnresolvedPackageGroup {
    UnresolvedPackageGroup::parse_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error:#}", dir.display()))
}

#[test]
fn every_wit_package_parses_and_finds_what_it_uses() {
    let dirs = packages();
    assert!(dirs.len() >= 4, "host, plugin, services and hooks: {dirs:?}");
    for main in &dirs {
        let others = dirs.iter().filter(|dir| *dir != main).map(|dir| parse(dir)).collect();
        let mut resolve = Resolve::default();
        if let Err(error) = resolve.push_groups(parse(main), others) {
            panic!("{}: {error}", main.display());
        }
    }
}

#[test]
fn every_interface_and_function_is_documented() {
    let dirs = packages();
    let mut bare = Vec::new();
    for main in &dirs {
        let others = dirs.iter().filter(|dir| *dir != main).map(|dir| parse(dir)).collect();
        let mut resolve = Resolve::default();
        let id = resolve.push_groups(parse(main), others).unwrap();
        let own = resolve.interfaces.iter().filter(|(_, interface)| interface.package == Some(id));
        for (_, interface) in own {
            let name = interface.name.clone().unwrap_or_default();
            if interface.docs.contents.is_none() {
                bare.push(name.clone());
            }
            let functions = interface.functions.values();
            bare.extend(
                functions
                    .filter(|function| function.docs.contents.is_none())
                    .map(|function| format!("{name}.{}", function.name)),
            );
        }
    }
    assert!(bare.is_empty(), "without a doc comment: {bare:?}");
}
