//! Facts about the directory store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod s3;

use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt;
use tessera_blobs::{BlobConfig, BlobError, BlobId, BlobStore, Blobs, Range};

fn open(dir: &Path, config: BlobConfig) -> Blobs {
    BlobStore::open(dir, config).unwrap().tenant("example.org").unwrap()
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().unwrap() != "usage" {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn what_is_put_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path(), BlobConfig::default());
    for bytes in [Bytes::new(), Bytes::from_static(b"hello"), Bytes::from(vec![7; 3_000_000])] {
        let id = blobs.put(bytes.clone()).await.unwrap();
        assert_eq!(id, BlobId::of(&bytes));
        assert_eq!(blobs.size(id).await.unwrap(), bytes.len() as u64);
        assert_eq!(blobs.read(id, 0, u32::MAX).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn an_id_has_one_spelling() {
    let id = BlobId::of(b"x");
    assert_eq!(id.to_string().parse::<BlobId>().unwrap(), id);
    for text in ["", "ab", "../../etc/passwd", &id.to_string().to_uppercase(), &format!("{id}0")] {
        assert!(matches!(text.parse::<BlobId>(), Err(BlobError::NotFound)), "{text}");
    }
}

#[tokio::test]
async fn the_same_bytes_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path(), BlobConfig::default());
    let first = blobs.put(Bytes::from_static(b"same")).await.unwrap();
    let second = blobs.put(Bytes::from_static(b"same")).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(files(dir.path()).len(), 1, "no copy and no temporary file is left");
}

#[tokio::test]
async fn ranges_are_cut_to_the_blob() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path(), BlobConfig::default());
    let id = blobs.put(Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(blobs.read(id, 3, 4).await.unwrap(), "3456");
    assert_eq!(blobs.read(id, 8, 40).await.unwrap(), "89");
    assert_eq!(blobs.read(id, 80, 1).await.unwrap(), "");
    let reader = blobs.open(id, Range { offset: 5, length: None }).await.unwrap();
    assert_eq!((reader.size(), reader.left()), (10, 5));
}

#[tokio::test]
async fn a_large_blob_streams_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path(), BlobConfig::default());
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut writer = blobs.writer(None);
    for chunk in bytes.chunks(10_007) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    let id = writer.finish().await.unwrap();
    let reader = blobs.open(id, Range::default()).await.unwrap();
    let chunks: Vec<Bytes> = reader.into_stream().try_collect().await.unwrap();
    assert!(chunks.len() > 1);
    assert_eq!(chunks.concat(), bytes);
}

#[tokio::test]
async fn a_blob_over_the_cap_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = BlobConfig { blob_max: 1_000_000, ..BlobConfig::default() };
    let blobs = open(dir.path(), config);
    let error = blobs.put(Bytes::from(vec![0; 1_000_001])).await.unwrap_err();
    assert!(matches!(error, BlobError::TooLarge { cap: 1_000_000 }));

    let mut writer = blobs.writer(Some(600_000));
    writer.write(Bytes::from(vec![0; 400_000])).await.unwrap();
    let error = writer.write(Bytes::from(vec![0; 400_000])).await.unwrap_err();
    assert!(matches!(error, BlobError::TooLarge { cap: 600_000 }));
    assert!(writer.finish().await.is_err(), "a failed writer gives no id");
    assert_eq!(files(dir.path()), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path(), BlobConfig::default());
    let mut writer = blobs.writer(None);
    writer.write(Bytes::from(vec![0; 500_000])).await.unwrap();
    assert_eq!(files(dir.path()).len(), 1);
    drop(writer);
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn what_a_crash_left_is_removed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let tmp = dir.path().join("example.org/tmp");
    std::fs::create_dir_all(&tmp).unwrap();
    std::fs::write(tmp.join("0"), "half").unwrap();
    open(dir.path(), BlobConfig::default());
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn a_deleted_blob_is_not_found_and_deleting_twice_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path(), BlobConfig::default());
    let id = blobs.put(Bytes::from_static(b"gone")).await.unwrap();
    blobs.delete(id).await.unwrap();
    blobs.delete(id).await.unwrap();
    assert!(matches!(blobs.size(id).await, Err(BlobError::NotFound)));
    assert!(matches!(blobs.read(id, 0, 1).await, Err(BlobError::NotFound)));
}

#[tokio::test]
async fn tenants_do_not_see_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path(), BlobConfig::default()).unwrap();
    let id = store.tenant("one").unwrap().put(Bytes::from_static(b"secret")).await.unwrap();
    for other in ["two", "../one", "ONE", ".", "..", "", "one/"] {
        let blobs = store.tenant(other).unwrap();
        assert!(matches!(blobs.size(id).await, Err(BlobError::NotFound)), "{other}");
    }
}

#[tokio::test]
async fn the_quota_counts_what_was_there_and_what_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let config = BlobConfig { tenant_quota: Some(10), ..BlobConfig::default() };
    let first = open(dir.path(), config.clone()).put(Bytes::from_static(b"123456")).await.unwrap();

    let blobs = open(dir.path(), config);
    let error = blobs.put(Bytes::from_static(b"abcdef")).await.unwrap_err();
    assert!(matches!(error, BlobError::Quota { quota: 10 }));
    blobs.delete(first).await.unwrap();
    blobs.put(Bytes::from_static(b"abcdef")).await.unwrap();
}

#[tokio::test]
async fn what_is_deleted_while_all_is_copied_can_still_be_copied() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path(), BlobConfig::default());
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(blobs.put(Bytes::from_static(text.as_bytes())).await.unwrap());
    }
    let first = blobs.hold().await.unwrap();
    let second = blobs.hold().await.unwrap();
    blobs.delete(ids[0]).await.unwrap();
    blobs.delete(ids[1]).await.unwrap();
    assert_eq!(blobs.put(Bytes::from_static(b"two")).await.unwrap(), ids[1]);
    assert!(matches!(blobs.size(ids[0]).await, Err(BlobError::NotFound)));
    drop(first);
    let mut found: Vec<_> = (0..=255).flat_map(|part| second.part(part).unwrap()).collect();
    found.sort();
    let mut expected: Vec<_> = ids.iter().copied().zip([3, 3, 5]).collect();
    expected.sort();
    assert_eq!(found, expected);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut second.open(ids[0]).unwrap(), &mut text).unwrap();
    assert_eq!(text, "one");
    drop(second);
    assert_eq!(files(dir.path()).len(), 2);
    assert_eq!(blobs.used(), 8);
}

#[tokio::test]
async fn a_tenant_that_is_removed_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path(), BlobConfig::default()).unwrap();
    store.tenant("a").unwrap().put(Bytes::from_static(b"x")).await.unwrap();
    assert!(store.has("a").unwrap());
    store.remove("a").unwrap();
    store.remove("a").unwrap();
    assert!(!store.has("a").unwrap());
    assert_eq!(store.used("a"), None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_tenant_has_is_known_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path(), BlobConfig::default()).unwrap();
    store.tenant("a").unwrap().put(Bytes::from_static(b"12345")).await.unwrap();
    assert_eq!(store.used("a"), Some(5));
    assert_eq!(store.used("b"), None);
    let store = BlobStore::open(dir.path(), BlobConfig::default()).unwrap();
    let blobs = store.tenant_with("a", Some(6)).unwrap();
    let error = blobs.put(Bytes::from_static(b"67")).await.unwrap_err();
    assert!(matches!(error, BlobError::Quota { quota: 6 }), "{error}");
    blobs.put(Bytes::from_static(b"6")).await.unwrap();
    assert_eq!(blobs.used(), 6);
}

#[tokio::test]
async fn processes_that_share_a_folder_leave_one_anothers_writes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let config = BlobConfig { shared: true, ..BlobConfig::default() };
    let one = open(dir.path(), config.clone());
    let mut writer = one.writer(None);
    writer.write(Bytes::from(vec![1; 300_000])).await.unwrap();
    let two = open(dir.path(), config);
    let mut other = two.writer(None);
    other.write(Bytes::from(vec![2; 300_000])).await.unwrap();
    let (first, second) = (writer.finish().await.unwrap(), other.finish().await.unwrap());
    assert_eq!(two.size(first).await.unwrap(), 300_000);
    assert_eq!(one.size(second).await.unwrap(), 300_000);
}
