//! Tenants in files: export and import.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use bytes::Bytes;
use tessera_blobs::{BlobConfig, BlobId, BlobStore};
use tessera_storage::{Database, DatabaseConfig, Migration, PluginSchema, Wake};

use super::{data, offline, serve, status, stop, tenant, tenant_json, tool, until};
use crate::tool::Tool;

struct Nobody;

impl Wake for Nobody {
    fn committed(&self, _: &[String], _: u64) {}
}

/// Runs with the database of a tenant that is not open.
fn with_database<T>(tool: &Tool, tenant: &str, work: impl AsyncFnOnce(&Database) -> T) -> T {
    let path = data(tool, &format!("tenants/{tenant}/database.sqlite"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = DatabaseConfig::default();
        let database = Database::open(&path, config, Arc::new(Nobody)).await.unwrap();
        let result = work(&database).await;
        database.close().await;
        result
    })
}

fn put_blob(tool: &Tool, tenant: &str, bytes: &'static [u8]) -> BlobId {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = BlobStore::open(&data(tool, "blobs"), BlobConfig::default()).unwrap();
        store.tenant(tenant).unwrap().put(Bytes::from_static(bytes)).await.unwrap()
    })
}

/// A folder with the tenant `c.example`, which has a timer, a blob and a key.
fn moved() -> (Tool, BlobId) {
    let tool = tool("");
    let server = serve(&tool);
    tenant(&tool, &["add", "c.example", "--quota", "rows=7"]).well();
    stop(server);
    with_database(&tool, "c.example", async |database| {
        database.timer_set("nothing", "later", 4_000_000_000_000, "payload").await.unwrap();
    });
    let id = put_blob(&tool, "c.example", b"a blob");
    (tool, id)
}

#[test]
fn an_export_of_a_tenant_in_use_is_imported_elsewhere() {
    let (from, id) = moved();
    let server = serve(&from);
    assert_eq!(status(&server, "c.example"), 200);
    let said = tenant(&from, &["export", "c.example", "c.tessera"]);
    assert!(said.well().out.contains("1 blobs"), "{said:?}");
    let file = from.path().join("c.tessera");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    tenant(&from, &["export", "c.example", "c.tessera"]).refused(&["there is a file"]);
    tenant(&from, &["import", "c.tessera"]).refused(&["there is a tenant `c.example` already"]);
    stop(server);

    let to = tool("");
    let server = serve(&to);
    to.file("c.tessera", fs::read(&file).unwrap());
    tenant(&to, &["import", "c.tessera", "--host", "new.example"]).well();
    assert_eq!(status(&server, "new.example"), 200);
    assert_eq!(status(&server, "c.example"), 404);
    let shown = tenant_json(&to, &["show", "c.example"]);
    assert_eq!(shown["quotas"]["rows"], 7);
    stop(server);

    let key = |tool: &Tool| fs::read(data(tool, "keys/tenants/c.example")).unwrap();
    assert_eq!(key(&to), key(&from));
    let mode = fs::metadata(data(&to, "keys/tenants/c.example")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(put_blob(&to, "c.example", b"a blob"), id);
    let id = id.to_string();
    let (folder, name) = id.split_at(2);
    let blob = data(&to, &format!("blobs/c.example/{folder}/{name}"));
    assert_eq!(fs::read(blob).unwrap(), b"a blob");
    with_database(&to, "c.example", async |database| {
        assert_eq!(database.timer_next().await.unwrap(), Some(4_000_000_000_000));
    });
}

#[test]
fn tenants_are_moved_while_no_server_runs() {
    let (from, _) = moved();
    offline(&from, &["export", "c.example", "c.tessera"]).well();
    let to = tool("");
    to.file("c.tessera", fs::read(from.path().join("c.tessera")).unwrap());
    offline(&to, &["import", "c.tessera"]).well();
    let server = serve(&to);
    assert_eq!(status(&server, "c.example"), 200);
    stop(server);
}

#[test]
fn a_removed_tenant_is_kept_as_an_export() {
    let (tool, _) = moved();
    let server = serve(&tool);
    tenant(&tool, &["remove", "c.example", "--yes"]).well();
    assert!(!data(&tool, "tenants/c.example").exists());
    let kept: Vec<_> = fs::read_dir(data(&tool, "exports")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    let file = kept[0].as_ref().unwrap().path();
    tenant(&tool, &["import", file.to_str().unwrap()]).well();
    assert_eq!(status(&server, "c.example"), 200);
    stop(server);
}

#[test]
fn data_are_not_served_with_another_key_than_before() {
    let tool = tool("");
    let server = serve(&tool);
    assert_eq!(status(&server, "a.example"), 200);
    stop(server);
    with_database(&tool, "a.example", async |database| {
        let sql = "CREATE TABLE other_things (name text NOT NULL PRIMARY KEY);\n\
                   INSERT INTO other_things (name) VALUES ('one');";
        let migration = Migration { name: "0001_init.sql".to_owned(), sql: sql.to_owned() };
        let schema = PluginSchema {
            plugin: "other".to_owned(),
            version: "1.0.0".to_owned(),
            migrations: vec![migration],
            ..PluginSchema::default()
        };
        database.install(schema).await.unwrap();
    });
    let key = data(&tool, "keys/tenants/a.example");
    let line = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let server = serve(&tool);
    assert_eq!(status(&server, "a.example"), 503);
    assert!(!key.exists());
    fs::write(&key, line).unwrap();
    until("the key is found", || status(&server, "a.example") == 200);
    stop(server);
}

#[test]
fn a_file_that_is_no_whole_export_makes_nothing() {
    let (from, _) = moved();
    offline(&from, &["export", "c.example", "c.tessera"]).well();
    let whole = fs::read(from.path().join("c.tessera")).unwrap();
    let to = tool("");
    let server = serve(&to);
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x20;
    for (bytes, said) in [
        (b"hello".to_vec(), "it is no export of `tessera tenant export`"),
        (Vec::new(), "it is no export"),
        (whole[..whole.len() / 2].to_vec(), "broken or cut off"),
        (whole[..whole.len() - 1].to_vec(), "broken or cut off"),
        (flipped, "broken"),
    ] {
        to.file("c.tessera", bytes);
        tenant(&to, &["import", "c.tessera"]).refused(&[said]);
        assert!(!data(&to, "tenants/c.example").exists());
        assert!(!data(&to, "keys/tenants/c.example").exists());
        assert_eq!(status(&server, "c.example"), 404);
    }
    tenant(&to, &["import", "nowhere"]).refused(&["cannot read", "nowhere"]);
    to.file("c.tessera", whole);
    tenant(&to, &["import", "c.tessera"]).well();
    stop(server);
}
