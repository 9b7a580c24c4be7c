//! Facts about blobs in a bucket, against a real service.

use std::{io::Read as _, path::Path};

use bytes::Bytes;
use futures::TryStreamExt;
use tessera_blobs::{BlobConfig, BlobError, BlobId, BlobStore, Blobs, Range, S3Config};
use tessera_test_services::S3;

fn config(service: &S3) -> S3Config {
    S3Config {
        bucket: S3::BUCKET.to_owned(),
        endpoint: Some(service.endpoint()),
        region: "us-east-1".to_owned(),
        prefix: "chat".to_owned(),
        access_key: S3::ACCESS_KEY.to_owned(),
        secret_key: S3::SECRET_KEY.to_owned(),
        virtual_host: false,
    }
}

fn store(service: &S3, dir: &Path) -> BlobStore {
    BlobStore::open_s3(dir, BlobConfig::default(), config(service)).unwrap()
}

async fn tenant(store: &BlobStore, name: &str, quota: Option<u64>) -> Blobs {
    let (store, name) = (store.clone(), name.to_owned());
    tokio::task::spawn_blocking(move || store.tenant_with(&name, quota).unwrap()).await.unwrap()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Files of blobs that are being written.
fn spooled(dir: &Path) -> usize {
    let tenants = std::fs::read_dir(dir).unwrap().flatten();
    let files = tenants.map(|tenant| std::fs::read_dir(tenant.path().join("tmp")).unwrap().count());
    files.sum()
}

#[tokio::test]
async fn what_is_put_is_read_again_whole_and_in_ranges() {
    let service = S3::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let blobs = tenant(&store(&service, dir.path()), "example.org", None).await;
    // The last one goes in three parts.
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| (n / 251) as u8 ^ (n as u8)).collect();
    for bytes in [Bytes::new(), Bytes::from_static(b"0123456789"), Bytes::from(large)] {
        let id = blobs.put(bytes.clone()).await.unwrap();
        assert_eq!(id, BlobId::of(&bytes));
        assert_eq!(blobs.size(id).await.unwrap(), bytes.len() as u64);
        let reader = blobs.open(id, Range::default()).await.unwrap();
        assert_eq!((reader.size(), reader.left()), (bytes.len() as u64, bytes.len() as u64));
        let read: Vec<Bytes> = reader.into_stream().try_collect().await.unwrap();
        assert_eq!(read.concat(), bytes);
        assert_eq!(blobs.put(bytes).await.unwrap(), id, "the same again is the same");
    }
    assert_eq!(spooled(dir.path()), 0, "nothing stays in the folder");
    assert_eq!(service.objects().len(), 3);
    assert_eq!(blobs.used(), 20_000_010);
    let id = BlobId::of(b"0123456789");
    assert_eq!(blobs.read(id, 3, 4).await.unwrap(), "3456");
    assert_eq!(blobs.read(id, 8, 40).await.unwrap(), "89");
    assert_eq!(blobs.read(id, 80, 1).await.unwrap(), "");
    assert_eq!(blobs.read(BlobId::of(b""), 0, 5).await.unwrap(), "");
}

#[tokio::test]
async fn tenants_have_nothing_of_one_another() {
    let service = S3::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = store(&service, dir.path());
    let (one, two) = (tenant(&store, "One.org", None).await, tenant(&store, "two.org", None).await);
    let id = one.put(Bytes::from_static(b"x")).await.unwrap();
    assert!(matches!(two.size(id).await, Err(BlobError::NotFound)));
    assert!(matches!(two.open(id, Range::default()).await, Err(BlobError::NotFound)));
    two.delete(id).await.unwrap();
    two.put(Bytes::from_static(b"y")).await.unwrap();
    assert_eq!(one.read(id, 0, 9).await.unwrap(), "x");
    drop((one, two));
    let removed = store.clone();
    blocking(move || removed.remove("One.org").unwrap()).await;
    assert_eq!(service.objects().len(), 1);
    let asked = store.clone();
    assert_eq!(
        blocking(move || (asked.has("One.org").unwrap(), asked.has("two.org").unwrap())).await,
        (false, true)
    );
}

#[tokio::test]
async fn quotas_hold_and_are_counted_in_the_bucket() {
    let service = S3::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let first = tenant(&store(&service, dir.path()), "a", Some(10)).await;
    let id = first.put(Bytes::from_static(b"12345678")).await.unwrap();
    let refused = first.put(Bytes::from_static(b"abc")).await.unwrap_err();
    assert!(matches!(refused, BlobError::Quota { quota: 10 }), "{refused}");
    // Another node, whose folder knows nothing.
    let other = tempfile::tempdir().unwrap();
    let second = tenant(&store(&service, other.path()), "a", Some(10)).await;
    assert_eq!(second.used(), 8);
    second.delete(id).await.unwrap();
    second.delete(id).await.unwrap();
    assert_eq!(second.used(), 0);
    second.put(Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(service.objects().len(), 1);
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing() {
    let service = S3::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let blobs = tenant(&store(&service, dir.path()), "a", None).await;
    let mut writer = blobs.writer(None);
    writer.write(Bytes::from(vec![1; 600_000])).await.unwrap();
    drop(writer);
    assert_eq!((spooled(dir.path()), service.objects().len(), blobs.used()), (0, 0, 0));
}

#[tokio::test]
async fn what_is_deleted_stays_for_who_copies_all() {
    let service = S3::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let blobs = tenant(&store(&service, dir.path()), "a", None).await;
    let kept = blobs.put(Bytes::from_static(b"kept")).await.unwrap();
    let again = blobs.put(Bytes::from_static(b"again")).await.unwrap();
    let gone = blobs.put(Bytes::from_static(b"gone")).await.unwrap();
    let hold = blobs.hold().await.unwrap();
    for id in [again, gone] {
        blobs.delete(id).await.unwrap();
        assert!(matches!(blobs.size(id).await, Err(BlobError::NotFound)));
    }
    assert_eq!(blobs.used(), 4);
    blobs.put(Bytes::from_static(b"again")).await.unwrap();
    let hold = blocking(move || {
        let mut found = Vec::new();
        for first in 0..=u8::MAX {
            found.extend(hold.part(first).unwrap());
        }
        let mut wanted = vec![(kept, 4), (again, 5), (gone, 4)];
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        let mut text = String::new();
        hold.open(gone).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "gone");
        hold
    })
    .await;
    drop(hold);
    tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while service.objects().len() > 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(blobs.read(again, 0, 9).await.unwrap(), "again");
    assert_eq!(blobs.used(), 9);
}

#[tokio::test]
async fn a_wrong_key_is_an_error_not_a_missing_blob() {
    let service = S3::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let wrong = S3Config { secret_key: "wrong".to_owned(), ..config(&service) };
    let store = BlobStore::open_s3(dir.path(), BlobConfig::default(), wrong).unwrap();
    let blobs = tenant(&store, "a", None).await;
    let refused = blobs.put(Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(refused, BlobError::Io(_)), "{refused}");
    assert!(service.objects().is_empty());
}
