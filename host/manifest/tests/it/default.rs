//! `config/default.toml` says what the types say, and names every key.

use pretty_assertions::assert_eq;
use serde_json::Value;
use tessera_manifest::{Descriptor, Quotas, schemas};

const DEFAULT: &str = include_str!("../../../../config/default.toml");
const TESTING: &str = include_str!("../../../../config/testing.toml");

#[test]
fn the_embedded_default_stands_by_itself() {
    Descriptor::parse("default.toml", DEFAULT).unwrap();
}

#[test]
fn an_empty_descriptor_is_the_embedded_default() {
    let default = Descriptor::parse("default.toml", DEFAULT).unwrap();
    assert_eq!(Descriptor::parse_over(DEFAULT, "empty.toml", "").unwrap(), default);
}

#[test]
fn the_testing_descriptor_is_good() {
    let testing = Descriptor::parse_over(DEFAULT, "testing.toml", TESTING).unwrap();
    assert!(testing.fetch.deny.is_empty());
}

#[test]
fn defaults_in_the_file_are_those_of_the_types() {
    let file = Descriptor::parse("default.toml", DEFAULT).unwrap();
    let types = Descriptor::default();
    let mut server = file.server.clone();
    server.welcome.clear();
    assert_eq!(server, types.server);
    assert_eq!(file.listeners, types.listeners);
    assert_eq!(file.metrics, types.metrics);
    assert_eq!(file.log, types.log);
    assert_eq!(file.storage, types.storage);
    assert_eq!(file.bus, types.bus);
    assert_eq!(file.tenant, types.tenant);
    assert_eq!(file.tracing, types.tracing);
    // The only quota that everybody has.
    assert_eq!(file.quotas.mails_per_minute, Some(60.0));
    assert_eq!(Quotas { mails_per_minute: None, ..file.quotas.clone() }, types.quotas);
    assert_eq!(file.mail, types.mail);
    assert_eq!(file.blobs, types.blobs);
    assert_eq!(file.sleep, types.sleep);
    assert_eq!(file.fetch, types.fetch);
    assert_eq!(file.crypto, types.crypto);
    assert_eq!(file.engine, types.engine);
    assert_eq!(file.http.cors, types.http.cors);
    let mut http = file.http.clone();
    http.answers = types.http.answers.clone();
    http.default_authenticator = types.http.default_authenticator.clone();
    assert_eq!(http, types.http);
}

/// Every property name anywhere in the descriptor's schema.
fn keys(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                found.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| keys(value, found));
        }
        Value::Array(array) => array.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn every_key_is_in_the_embedded_default() {
    let schema = schemas().into_iter().find(|schema| schema.file.starts_with("tessera")).unwrap();
    let mut found = Vec::new();
    keys(&serde_json::from_str(&schema.text).unwrap(), &mut found);
    assert!(found.len() > 80, "{}", found.len());
    let missing: Vec<_> = found
        .iter()
        .filter(|key| {
            !DEFAULT.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ']);
                line.starts_with(&format!("{key} ="))
                    || line.contains(&format!(" {key} = "))
                    || (line.starts_with('[') && line.contains(key.as_str()))
            })
        })
        .filter(|key| !["call", "reads"].contains(&key.as_str()))
        .collect();
    assert_eq!(missing, Vec::<&String>::new());
}

#[test]
fn the_schemas_in_docs_are_fresh() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    for schema in schemas() {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(folder.join(schema.file), &schema.text).unwrap();
        }
        let kept = std::fs::read_to_string(folder.join(schema.file)).unwrap_or_default();
        assert!(kept == schema.text, "run `tessera schema --out docs/schema` ({})", schema.file);
    }
}
