//! What users upload, in a bucket that speaks S3.

use std::time::Duration;

use tessera_test_services::S3;

use crate::common::World;

#[tokio::test]
async fn uploads_go_to_the_bucket_and_outlive_the_server() {
    let service = S3::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, S3::SECRET_KEY).unwrap();
    let config = format!(
        "[blobs]\nstore = \"s3\"\nbucket = \"{}\"\nendpoint = \"{}\"\nprefix = \"chat\"\n\
         access-key = \"{}\"\nsecret-key-file = \"{}\"\n",
        S3::BUCKET,
        service.endpoint(),
        S3::ACCESS_KEY,
        secret.display()
    );
    let mut world = World::start_with_config(&config).await;
    let alice = world.user("alice").await;
    // Larger than one part of an upload to S3.
    let bytes: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    let upload = world
        .http
        .post(format!("{}/_matrix/media/v3/upload", world.base))
        .header("authorization", format!("Bearer {}", alice.token))
        .header("content-type", "application/octet-stream")
        .body(bytes.clone());
    let answer: serde_json::Value =
        serde_json::from_slice(&upload.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let uri = answer["content_uri"].as_str().unwrap();
    let path = uri.strip_prefix("mxc://").unwrap().to_owned();
    let objects = service.objects();
    assert_eq!(objects.len(), 1, "{objects:?}");
    assert!(objects[0].starts_with("chat/"), "{objects:?}");

    world.server.stop(Duration::from_secs(30)).await.unwrap();
    world.server.boot().await.unwrap();
    let url = format!("{}/_matrix/client/v1/media/download/{path}", world.server.url());
    let get = || world.http.get(&url).header("authorization", format!("Bearer {}", alice.token));
    let whole = get().send().await.unwrap();
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.bytes().await.unwrap(), bytes);
    let part = get().header("range", "bytes=8999990-").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), bytes[8_999_990..]);
}
