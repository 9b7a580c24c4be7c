use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::{Certificate, Client, Version};
use tempfile::TempDir;
use tessera_http::{Certificates, CertifiedKey, PemFiles};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::house::House;
use crate::many::Town;

/// An authority of our own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    dir: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let certificate = Certificate::from_pem(pem.as_bytes()).unwrap();
        Self { issuer: Issuer::new(params, key), certificate, dir: tempfile::tempdir().unwrap() }
    }

    /// Writes certificate and key for a name, for files of that name.
    fn write(&self, name: &str, file: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |kind: &str| self.dir.path().join(format!("{file}.{kind}"));
        std::fs::write(path("crt"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        (path("crt"), path("key"))
    }

    fn files(&self, name: &str) -> Arc<PemFiles> {
        let (certificate, key) = self.write(name, name);
        PemFiles::open(&certificate, &key).unwrap()
    }

    /// A client that believes this authority and finds every name at the house.
    fn client(&self, house: &House) -> reqwest::ClientBuilder {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().no_proxy().tls_certs_only([self.certificate.clone()]);
        ["a.org", "b.org", "c.org"]
            .iter()
            .fold(builder, |builder, name| builder.resolve(name, house.address))
    }
}

struct ByName(HashMap<&'static str, Arc<PemFiles>>);

impl Certificates for ByName {
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        self.0.get(name?).map(PemFiles::current)
    }
}

async fn town(authority: &Authority) -> Town {
    let names = ["a.org", "b.org"];
    let by_name = names.map(|name| (name, authority.files(name)));
    Town::with(|_| {}, Some(Arc::new(ByName(by_name.into())))).await
}

fn url(house: &House, host: &str) -> String {
    format!("https://{host}:{}/mine?access_token=token", house.address.port())
}

#[tokio::test]
async fn each_name_has_its_certificate_and_both_versions_of_http_are_spoken() {
    let authority = Authority::new();
    let town = town(&authority).await;
    let house = &town.house;
    for http1 in [false, true] {
        let builder = authority.client(house);
        let client = if http1 { builder.http1_only() } else { builder }.build().unwrap();
        for host in ["a.org", "b.org"] {
            let reply = client.get(url(house, host)).send().await.unwrap();
            let version = if http1 { Version::HTTP_11 } else { Version::HTTP_2 };
            assert_eq!(reply.version(), version);
            let text = reply.text().await.unwrap();
            assert!(text.contains(&format!("alice@{host}")), "{text}");
        }
        let error = client.get(url(house, "c.org")).send().await.err();
        assert!(error.is_some_and(|error| error.is_connect()), "no certificate");
    }
}

#[tokio::test]
async fn a_connection_for_one_tenant_is_misdirected_for_another() {
    let authority = Authority::new();
    let town = town(&authority).await;
    let client = authority.client(&town.house).http1_only().build().unwrap();
    let ask = async |host: &'static str| {
        let request = client.get(url(&town.house, "a.org")).header("host", host);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask("a.org").await, 200);
    assert_eq!(ask("A.org.").await, 200);
    assert_eq!(ask("b.org").await, 421);
    assert_eq!(ask("c.org").await, 421);
}

#[tokio::test]
async fn a_body_and_a_wait_go_over_tls_as_they_do_without() {
    let authority = Authority::new();
    let town = town(&authority).await;
    let house = &town.house;
    for http1 in [false, true] {
        let builder = authority.client(house);
        let client = if http1 { builder.http1_only() } else { builder }.build().unwrap();
        let port = house.address.port();
        let body = "x".repeat(900_000);
        let echo = client.post(format!("https://a.org:{port}/rooms/a")).body(body.clone());
        let told: serde_json::Value =
            serde_json::from_str(&echo.send().await.unwrap().text().await.unwrap()).unwrap();
        assert_eq!(told["body"], body);
        let park = client.get(format!("https://a.org:{port}/park?ms=20"));
        let reply = park.header("authorization", "Bearer token").send().await.unwrap();
        assert_eq!(reply.text().await.unwrap(), "first 1 WakeReason::Timeout alice@a.org");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_the_connection() {
    let authority = Authority::new();
    let files: Arc<dyn Certificates> = Arc::new(authority.files("a.org"));
    let change = |http: &mut tessera_manifest::Http| http.head_timeout = "50ms".parse().unwrap();
    let town = Town::with(change, Some(files)).await;
    for sent in ["", "GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}"] {
        let mut stream = TcpStream::connect(town.house.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, sent.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // An alert may come before the end.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP"), "{sent:?}");
    }
    town.house.until("gone", |house| house.figure("tessera_http_connections") == 0.0).await;
}

#[tokio::test]
async fn files_that_change_are_read_again_and_bad_ones_are_not_used() {
    let authority = Authority::new();
    let (certificate, key) = authority.write("a.org", "it");
    let files = PemFiles::open(&certificate, &key).unwrap();
    let first = files.current();
    files.refresh();
    assert!(Arc::ptr_eq(&first, &files.current()), "nothing has changed");
    // Half of a renewal: the key belongs to another certificate.
    let good_key = std::fs::read(&key).unwrap();
    authority.write("b.org", "it");
    let new_key = std::fs::read(&key).unwrap();
    std::fs::write(&key, [&good_key[..], b"\n"].concat()).unwrap();
    files.refresh();
    assert!(Arc::ptr_eq(&first, &files.current()), "the last that was good");
    std::fs::write(&key, [&new_key[..], b"\n\n"].concat()).unwrap();
    files.refresh();
    let second = files.current();
    assert_ne!(first.cert, second.cert);
    std::fs::remove_file(&certificate).unwrap();
    files.refresh();
    assert!(Arc::ptr_eq(&second, &files.current()), "kept while the file is gone");
}

#[tokio::test]
async fn files_of_no_use_are_named() {
    let authority = Authority::new();
    let (certificate, key) = authority.write("a.org", "a");
    let (_, other) = authority.write("b.org", "b");
    let wrong = |certificate, key| PemFiles::open(certificate, key).err().unwrap().to_string();
    let missing = authority.dir.path().join("none");
    assert!(wrong(&missing, &key).contains("none"), "names the file");
    assert!(wrong(&key, &key).contains("holds no certificate"));
    assert!(wrong(&certificate, &certificate).contains("holds no private key"));
    assert!(wrong(&certificate, &other).contains("not the key of"));
}
