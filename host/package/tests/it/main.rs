//! Packages in a real registry, on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use tessera_package::{
    Package, PackageError, Provenance, SecretKey, Trust, TrustedKey,
    build::{Language, Module, assemble},
    registry::{Access, Reference, pull, push},
};
use tessera_test_services::Registry;

const CAP: u64 = 1 << 20;

/// A registry; without its program the test says so and ends.
fn registry() -> Option<Registry> {
    match Registry::start() {
        Ok(registry) => Some(registry),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

fn package(description: &str) -> Package {
    let folder = tempfile::tempdir().unwrap();
    let manifest =
        format!("name = \"tried\"\nversion = \"1.0.0\"\ndescription = \"{description}\"\n");
    std::fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
    let component = assemble(folder.path(), b"\0asm\x0d\0\x01\0".to_vec()).unwrap();
    let provenance =
        Provenance { source: Some("https://example.org".into()), ..Provenance::default() };
    Package::new(component, provenance).unwrap()
}

#[tokio::test]
async fn package_comes_back_from_a_registry_with_its_signature() {
    let Some(registry) = registry() else { return };
    let to: Reference =
        format!("oci://{}/modules/tried:1.0.0", registry.address()).parse().unwrap();
    let key = SecretKey::from_seed(&[5; 32]);
    let mut package = package("first");
    package.sign(&key);
    let digest = push(&package, &to, &Access::default()).await.unwrap();
    // Again: what is there is not sent twice.
    assert_eq!(push(&package, &to, &Access::default()).await.unwrap(), digest);

    let trusted = [TrustedKey { name: "us".into(), key: key.public() }];
    let by_tag = pull(&to, &Access::default(), CAP).await.unwrap();
    assert_eq!(by_tag, package);
    assert_eq!(by_tag.verify(&trusted), Trust::Trusted("us".into()));
    let pinned = format!("oci://{}/modules/tried@{digest}", registry.address());
    assert_eq!(pull(&pinned.parse().unwrap(), &Access::default(), CAP).await.unwrap(), package);
}

#[tokio::test]
async fn pinned_digest_is_not_moved_by_a_new_push() {
    let Some(registry) = registry() else { return };
    let to: Reference = format!("{}/tried:1", registry.address()).parse().unwrap();
    let (old, new) = (package("old"), package("new"));
    let digest = push(&old, &to, &Access::default()).await.unwrap();
    push(&new, &to, &Access::default()).await.unwrap();
    assert_eq!(pull(&to, &Access::default(), CAP).await.unwrap(), new);
    let pinned = format!("{}/tried@{digest}", registry.address()).parse().unwrap();
    assert_eq!(pull(&pinned, &Access::default(), CAP).await.unwrap(), old);
}

#[tokio::test]
async fn component_over_the_cap_is_not_fetched() {
    let Some(registry) = registry() else { return };
    let to: Reference = format!("{}/tried:1", registry.address()).parse().unwrap();
    push(&package("x"), &to, &Access::default()).await.unwrap();
    let error = pull(&to, &Access::default(), 16).await.unwrap_err();
    assert!(matches!(error, PackageError::TooLarge { cap: 16, .. }), "{error}");
}

#[tokio::test]
async fn package_that_is_not_there_is_named() {
    let Some(registry) = registry() else { return };
    let from: Reference = format!("{}/nothing:1", registry.address()).parse().unwrap();
    let error = pull(&from, &Access::default(), CAP).await.unwrap_err().to_string();
    assert!(error.contains(&registry.address()), "{error}");
}

#[tokio::test]
async fn registry_that_is_not_there_says_why() {
    let from: Reference = "127.0.0.1:1/nothing:1".parse().unwrap();
    let error = pull(&from, &Access::default(), CAP).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn modules_of_this_repository_are_told_by_their_language() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let module = Module::open(&examples.join("keyword-policy")).unwrap();
    assert_eq!(module.language, Language::Rust);
}
