use bytes::Bytes;
use tessera_blobs::BlobId;

use crate::house::House;

#[tokio::test]
async fn a_body_over_its_cap_is_413() {
    let house = House::open().await;
    assert_eq!(house.ask_with("POST /small", "0123456789").await.json()["body"], "0123456789");
    assert_eq!(house.ask_with("POST /small", "0123456789a").await.status, 413);
    let mut client = house.connect().await;
    client.send("POST /small\ntransfer-encoding: chunked", "").await;
    client.raw("8\r\n01234567\r\n8\r\n89abcdef\r\n0\r\n\r\n").await;
    assert_eq!(client.reply(false).await.status, 413, "not announced");
}

#[tokio::test]
async fn a_client_that_writes_before_it_reads_sees_the_413() {
    let house = House::open().await;
    let reply = house.ask_with("POST /small", &"x".repeat(1 << 20)).await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let house = House::with(|http| http.body_timeout = "50ms".parse().unwrap(), |_| {}).await;
    let mut client = house.connect().await;
    client.raw("POST /small HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await;
    assert_eq!(client.reply(false).await.status, 408);
}

#[tokio::test]
async fn a_broken_chunk_is_400() {
    let house = House::open().await;
    let mut client = house.connect().await;
    client.send("POST /small\ntransfer-encoding: chunked", "").await;
    client.raw("nonsense\r\n").await;
    assert_eq!(client.reply(false).await.status, 400);
}

#[tokio::test]
async fn a_body_for_a_blob_is_stored_and_not_handed_over() {
    let house = House::open().await;
    let body = "b".repeat(2_000_000);
    let reply = house.ask_with("POST /upload", &body).await.json();
    let id: BlobId = reply["body"]["blob"].as_str().unwrap().parse().unwrap();
    assert_eq!(id, BlobId::of(body.as_bytes()));
    assert_eq!(house.blobs.size(id).await.unwrap(), 2_000_000);
    assert_eq!(house.ask_with("POST /upload", &"b".repeat(4 << 20)).await.status, 413);
}

#[tokio::test]
async fn a_body_has_at_most_what_the_plugin_is_configured_for() {
    let house = House::open().await;
    let before = house.blobs.used();
    assert_eq!(house.ask_with("POST /configured", "12345").await.status, 413);
    assert_eq!(house.blobs.used(), before);
    assert_eq!(house.ask_with("POST /configured", "1234").await.status, 200);
}

#[tokio::test]
async fn a_body_nobody_asked_for_is_not_handed_over() {
    let house = House::open().await;
    let reply = house.ask_with("DELETE /mine\nauthorization: Bearer token", "{}").await;
    assert_eq!(reply.json()["body"], serde_json::Value::Null);
}

async fn with_blob() -> House {
    let house = House::open().await;
    let id = house.blobs.put(Bytes::from_static(b"0123456789")).await.unwrap();
    *house.fake.blob.lock().unwrap() = id.to_string();
    house
}

#[tokio::test]
async fn a_blob_is_streamed_whole_or_in_ranges() {
    let house = with_blob().await;
    let reply = house.ask("GET /blob").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "0123456789"));
    assert_eq!(reply.header("accept-ranges"), Some("bytes"));
    assert_eq!(reply.header("content-type"), Some("image/png"));
    for (range, status, body, told) in [
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=5-99", 206, "56789", Some("bytes 5-9/10")),
        ("bytes=10-", 416, "", Some("bytes */10")),
        ("bytes=0-1,4-5", 200, "0123456789", None),
    ] {
        let reply = house.ask(&format!("GET /blob\nrange: {range}")).await;
        assert_eq!((reply.status, reply.text().as_str()), (status, body), "{range}");
        assert_eq!(reply.header("content-range"), told, "{range}");
        assert_eq!(reply.header("content-length").unwrap(), body.len().to_string());
    }
    let reply = house.ask("GET /blob\nrange: bytes=2-4\nif-range: \"x\"").await;
    assert_eq!(reply.status, 200, "a range under a condition that cannot be judged");
}

#[tokio::test]
async fn a_large_blob_arrives_whole() {
    let house = House::open().await;
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let id = house.blobs.put(Bytes::from(bytes.clone())).await.unwrap();
    *house.fake.blob.lock().unwrap() = id.to_string();
    assert!(house.ask("GET /blob").await.body == bytes);
}

#[tokio::test]
async fn parts_are_streamed_in_order() {
    let house = with_blob().await;
    let reply = house.ask("GET /parts").await;
    assert_eq!(reply.text(), "--a\n0123456789\n--b");
    assert_eq!(reply.header("content-length"), Some("18"));
}

#[tokio::test]
async fn a_blob_that_is_not_there_is_a_clean_500() {
    let house = House::open().await;
    for path in ["/blob", "/parts"] {
        assert_eq!(house.ask(&format!("GET {path}")).await.status, 500);
    }
}

#[tokio::test]
async fn head_has_the_length_of_get_and_no_body() {
    let house = with_blob().await;
    let mut client = house.connect().await;
    client.send("HEAD /blob", "").await;
    let reply = client.reply(true).await;
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("10")));
    assert!(reply.body.is_empty());
    client.send("GET /blob", "").await;
    assert_eq!(client.reply(false).await.text(), "0123456789", "the connection goes on");
}
