//! Packages in OCI registries.

use std::{
    fs,
    net::IpAddr,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::HeaderValue;
use oci_client::{
    Client, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use serde::Deserialize;
use tokio::io::AsyncWrite;

use crate::{
    digest,
    error::PackageError,
    oci::{Image, MANIFEST, Manifest, Pointer, TEXT_MAX},
    package::{Package, check_size},
};

/// How long a registry may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a package is: `oci://HOST/REPOSITORY:TAG`, or `@sha256:…` in place of the tag.
#[derive(Debug, Clone)]
pub struct Reference {
    inner: oci_client::Reference,
}

impl Reference {
    /// Whether a text is meant as one rather than as a file's name.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("oci://")
    }
}

impl std::str::FromStr for Reference {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, PackageError> {
        let wrong =
            |why: &str| PackageError::Reference { text: text.to_owned(), why: why.to_owned() };
        let inside = text.strip_prefix("oci://").unwrap_or(text);
        let host = inside.split_once('/').map(|(host, _)| host);
        // Without this a first part that is no host would mean a repository of Docker's registry.
        if !host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost") {
            return Err(wrong("write oci://HOST/REPOSITORY:TAG"));
        }
        let inner: oci_client::Reference =
            inside.parse().map_err(|error| wrong(&format!("{error}")))?;
        if inner.digest().is_none() && !after_host(inside).contains(':') {
            return Err(wrong("it has no tag or digest; write :VERSION or @sha256:… after it"));
        }
        Ok(Self { inner })
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "oci://{}", self.inner.whole())
    }
}

fn after_host(reference: &str) -> &str {
    reference.split_once('/').map_or("", |(_, rest)| rest)
}

/// How to speak to a registry.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// User name and password; none: those that `docker login` has stored for this registry, if any.
    pub login: Option<(String, String)>,
    /// Plain HTTP, also where the registry is not on this machine.
    pub insecure: bool,
}

/// Stores a package. Gives the digest by which it can be had for good (`sha256:…` of its manifest).
///
/// # Errors
/// The registry cannot be reached or refuses.
pub async fn push(
    package: &Package,
    to: &Reference,
    access: &Access,
) -> Result<String, PackageError> {
    let place = &to.inner;
    let failed = |error| registry_error(place, error);
    let client = client(place, access)?;
    client.auth(place, &login(place, access), RegistryOperation::Push).await.map_err(failed)?;
    let Image { manifest, config } = Image::of(package)?;
    for blob in [config, package.component().to_vec()] {
        let digest = digest::of(&blob);
        if !client.blob_exists(place, &digest).await.map_err(failed)? {
            client.push_blob(place, blob, &digest).await.map_err(failed)?;
        }
    }
    let digest = digest::of(&manifest);
    let kind = HeaderValue::from_static(MANIFEST);
    client.push_manifest_raw(place, manifest, kind).await.map_err(failed)?;
    Ok(digest)
}

/// Gets a package. `cap`: bytes of its component at most. Every part is held against its digest; whoever pins a digest
/// gets that package or an error.
///
/// # Errors
/// The registry cannot be reached or refuses, or what it gives is not a module's package.
pub async fn pull(from: &Reference, access: &Access, cap: u64) -> Result<Package, PackageError> {
    let place = &from.inner;
    let failed = |error| registry_error(place, error);
    let client = client(place, access)?;
    let login = login(place, access);
    let (text, _) = client.pull_manifest_raw(place, &login, &[MANIFEST]).await.map_err(failed)?;
    check_size("the manifest", text.len() as u64, TEXT_MAX)?;
    let manifest = Manifest::read(&text, cap)?;
    let config = blob(&client, place, &manifest.config).await?;
    let component = blob(&client, place, manifest.layer()?).await?;
    manifest.package(&config, component)
}

/// Gets a blob of the size that it is said to have.
async fn blob(
    client: &Client,
    place: &oci_client::Reference,
    pointer: &Pointer,
) -> Result<Vec<u8>, PackageError> {
    let mut room = Room { bytes: Vec::new(), left: pointer.size };
    client
        .pull_blob(place, pointer.digest.as_str(), &mut room)
        .await
        .map_err(|error| registry_error(place, error))?;
    Ok(room.bytes)
}

/// Takes so many bytes and no more.
struct Room {
    bytes: Vec<u8>,
    left: u64,
}

impl AsyncWrite for Room {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Poll::Ready(Err(std::io::Error::other("more bytes than the manifest says")));
        };
        self.left = left;
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn client(place: &oci_client::Reference, access: &Access) -> Result<Client, PackageError> {
    // An error: there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let registry = place.resolve_registry();
    let protocol = if access.insecure || is_loopback(registry) {
        ClientProtocol::HttpsExcept(vec![registry.to_owned()])
    } else {
        ClientProtocol::Https
    };
    let config = ClientConfig {
        protocol,
        read_timeout: Some(PATIENCE),
        connect_timeout: Some(PATIENCE),
        user_agent: concat!("tessera/", env!("CARGO_PKG_VERSION")),
        platform_resolver: None,
        // In one piece: chunks cost a round trip each, and not every registry takes them.
        use_monolithic_push: true,
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|error| registry_error(place, error))
}

/// Whether a registry is on this machine: there plain HTTP is safe.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => registry,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[derive(Deserialize)]
struct Logins {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, Login>,
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    auth: String,
}

fn login(place: &oci_client::Reference, access: &Access) -> RegistryAuth {
    let stored = || {
        let folder = std::env::var_os("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))?;
        stored(&fs::read_to_string(folder.join("config.json")).ok()?, place.resolve_registry())
    };
    match access.login.clone().or_else(stored) {
        Some((user, password)) => RegistryAuth::Basic(user, password),
        None => RegistryAuth::Anonymous,
    }
}

/// What `docker login` and its like have stored for a registry.
fn stored(text: &str, registry: &str) -> Option<(String, String)> {
    let logins: Logins = serde_json::from_str(text).ok()?;
    let bytes = BASE64.decode(&logins.auths.get(registry)?.auth).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn registry_error(place: &oci_client::Reference, error: OciDistributionError) -> PackageError {
    let why = match &error {
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_) => {
            format!("{error}; log in with `docker login` or --user")
        }
        OciDistributionError::RequestError(request) => {
            // The cause is what tells: refused, unknown host, a certificate.
            let mut text = request.to_string();
            let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(request);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            text
        }
        _ => error.to_string(),
    };
    PackageError::Registry { registry: place.resolve_registry().to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_names_host_and_version() {
        let good: Reference = "oci://example.org/modules/spam:1.0.0".parse().unwrap();
        assert_eq!(good.to_string(), "oci://example.org/modules/spam:1.0.0");
        "localhost:5000/spam:1".parse::<Reference>().unwrap();
        for wrong in ["oci://spam:1", "oci://a/b:1", "oci://example.org/spam", "oci://", "x.wasm"] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for ours in ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"] {
            assert!(is_loopback(ours), "{ours}");
        }
        for other in
            ["example.org", "127.0.0.1.example.org:80", "10.0.0.1:5000", "localhost.example"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn stored_login_is_of_its_registry() {
        let text = r#"{"auths": {"a.org": {"auth": "dXNlcjpwYXNzOndvcmQ="}, "b.org": {}}}"#;
        assert_eq!(stored(text, "a.org"), Some(("user".into(), "pass:word".into())));
        assert_eq!(stored(text, "b.org"), None);
        assert_eq!(stored("no json", "a.org"), None);
    }
}
