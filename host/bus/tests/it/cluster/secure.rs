use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tessera_bus::{Cluster, ClusterConfig, ClusterTls, Credentials};
use tessera_test_services::Nats;

use super::support::PATIENCE;

/// A NATS server with settings of its own.
struct Strict {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Strict {
    /// `None`, and a line that says so, where there is no NATS.
    fn start(dir: TempDir, settings: &str) -> Option<Self> {
        if let Err(reason) = Nats::installed() {
            eprintln!("skipped: {reason}");
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let store = dir.path().join("store");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream: {{ store_dir: {:?} }}\n{settings}\n",
            store.display().to_string()
        );
        let file = dir.path().join("nats.conf");
        fs::write(&file, text).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new("nats-server")
            .env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin:/usr/local/bin"))
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let strict = Self { child, port, dir };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "the server did not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(strict)
    }

    fn config(&self, user: &str) -> ClusterConfig {
        ClusterConfig {
            servers: vec![format!("nats://{user}127.0.0.1:{}", self.port)],
            connect_timeout: Duration::from_secs(5),
            ..ClusterConfig::default()
        }
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn refused(config: ClusterConfig) -> String {
    Cluster::connect(config).await.err().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_the_url_is_used_and_never_shown() {
    let settings = "authorization { user: tessera, password: \"a/b:c\" }";
    let Some(server) = Strict::start(tempfile::tempdir().unwrap(), settings) else { return };
    Cluster::connect(server.config("tessera:a%2Fb%3Ac@")).await.unwrap();
    let error = refused(server.config("tessera:wrong-one@")).await;
    assert!(error.contains("check the user and password"), "{error}");
    assert!(!error.contains("wrong-one"), "{error}");
    assert!(refused(server.config("")).await.contains("check the user and password"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nkey_seed_opens_the_door() {
    // The pair of the NATS documentation.
    let settings = "authorization { users: [ \
         { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ] }";
    let Some(server) = Strict::start(tempfile::tempdir().unwrap(), settings) else { return };
    let seed = server.dir.path().join("seed");
    fs::write(&seed, "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n").unwrap();
    let config = ClusterConfig { credentials: Credentials::NkeySeed(seed), ..server.config("") };
    Cluster::connect(config).await.unwrap();
    assert!(refused(server.config("")).await.contains("nkey file"));
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A CA, and certificates of the server and of a node.
fn certificates(dir: &Path) {
    openssl(
        dir,
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem",
    );
    fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    for name in ["server", "node"] {
        let ask = format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key");
        openssl(dir, &format!("{ask} -out {name}.csr"));
        let sign = format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial");
        openssl(dir, &format!("{sign} -days 2 -extfile ext -out {name}.pem"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_ca_and_a_client_certificate() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: no openssl is installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let file = |name: &str| dir.path().join(name);
    let settings = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        file("server.pem"),
        file("server.key"),
        file("ca.pem"),
    );
    let full = ClusterTls {
        required: true,
        ca: Some(file("ca.pem")),
        certificate: Some(file("node.pem")),
        key: Some(file("node.key")),
    };
    let Some(server) = Strict::start(dir, &settings) else { return };
    let with = |tls: ClusterTls| ClusterConfig { tls, ..server.config("") };
    let cluster = Cluster::connect(with(full.clone())).await.unwrap();
    assert!(cluster.connection().borrow().connected);
    // Without our certificate, and without knowing theirs.
    let error = refused(with(ClusterTls { certificate: None, key: None, ..full.clone() })).await;
    assert!(error.contains("check the CA file, the client certificate"), "{error}");
    let error = refused(with(ClusterTls { ca: None, ..full })).await;
    assert!(error.contains("check the CA file"), "{error}");
}
