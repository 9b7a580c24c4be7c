//! The cache of compiled code.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tessera_engine::Plugin;

use crate::support::{engine, packed};

const FIRE: &str = r#"
    (func (export "tessera:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32)
        (call $ok))
"#;

/// Loads the fixture in a new engine: hits, misses, rejected.
fn load(dir: &Path) -> (u64, u64, u64) {
    let registry = prometheus::Registry::new();
    let engine = engine(dir, &registry);
    Plugin::load(&engine, "x.wasm", &packed("x", "", "timer", FIRE)).unwrap();
    let value = |name: &str| {
        registry
            .gather()
            .iter()
            .filter(|family| family.name() == name)
            .map(|family| family.get_metric()[0].get_counter().get_value() as u64)
            .sum()
    };
    (
        value("tessera_compile_cache_hits_total"),
        value("tessera_compile_cache_misses_total"),
        value("tessera_compile_cache_rejected_total"),
    )
}

fn entry(dir: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> =
        fs::read_dir(dir.join("cache")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.pop().unwrap()
}

#[test]
fn compiled_code_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(load(dir.path()), (0, 1, 0));
    assert_eq!(load(dir.path()), (1, 0, 0));
}

#[test]
fn changed_code_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path());
    let path = entry(dir.path());
    let good = fs::read(&path).unwrap();
    for place in [0, 40, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert_eq!(load(dir.path()), (0, 1, 1), "byte {place}");
        assert_eq!(fs::read(&path).unwrap(), good, "rebuilt");
    }
    fs::write(&path, &good[..20]).unwrap();
    assert_eq!(load(dir.path()), (0, 1, 1), "cut off");
}

#[test]
fn code_to_which_others_may_write_is_copied_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path());
    fs::set_permissions(entry(dir.path()), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(load(dir.path()), (1, 0, 0));
    let registry = prometheus::Registry::new();
    let engine = engine(dir.path(), &registry);
    let plugin = Plugin::load(&engine, "x.wasm", &packed("x", "", "timer", FIRE)).unwrap();
    assert!(!mapped(dir.path()), "it would change under us");
    drop(plugin);
}

#[cfg(target_os = "linux")]
#[test]
fn code_that_only_we_can_write_is_mapped() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path());
    let registry = prometheus::Registry::new();
    let engine = engine(dir.path(), &registry);
    let plugin = Plugin::load(&engine, "x.wasm", &packed("x", "", "timer", FIRE)).unwrap();
    assert!(mapped(dir.path()));
    drop(plugin);
}

/// Whether a file of the cache is in this process's memory now.
fn mapped(dir: &Path) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.contains(&*dir.join("cache").to_string_lossy())
}

#[test]
fn code_of_another_installation_is_not_believed() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    load(theirs.path());
    load(ours.path());
    fs::copy(entry(theirs.path()), entry(ours.path())).unwrap();
    assert_eq!(load(ours.path()), (0, 1, 1));
}

#[test]
fn the_key_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path());
    let mode = fs::metadata(dir.path().join("cache.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn only_compiled_code_makes_room_for_compiled_code() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    fs::create_dir(&cache).unwrap();
    fs::write(cache.join("key"), "not ours to remove").unwrap();
    for i in 0..200 {
        fs::write(cache.join(format!("{i}.code")), "").unwrap();
    }
    load(dir.path());
    assert!(cache.join("key").exists());
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 129);
}
