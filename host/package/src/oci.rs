//! A package as an OCI image manifest with one layer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{digest, error::PackageError, keys::Signed, package::Package, package::Provenance};

pub(crate) const ARTIFACT: &str = "application/vnd.tessera.plugin.v1";
pub(crate) const CONFIG: &str = "application/vnd.tessera.plugin.config.v1+json";
pub(crate) const LAYER: &str = "application/wasm";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIGNATURE: &str = "tessera.signature";
/// Bytes of a manifest or a config; ours have some hundreds.
pub(crate) const TEXT_MAX: u64 = 256 << 10;

/// The config blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(flatten)]
    pub(crate) provenance: Provenance,
}

/// What points to a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pointer {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Pointer {
    pub(crate) fn to(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: digest::of(bytes),
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
        }
    }

    /// Checks that `bytes` are what this points to.
    pub(crate) fn check(&self, what: &'static str, bytes: &[u8]) -> Result<(), PackageError> {
        let found = digest::of(bytes);
        if found != self.digest || bytes.len() as u64 != self.size {
            return Err(PackageError::Digest { what, expected: self.digest.clone(), found });
        }
        Ok(())
    }
}

/// The image manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u32,
    media_type: String,
    artifact_type: String,
    pub(crate) config: Pointer,
    layers: Vec<Pointer>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// A package as what a registry stores.
pub(crate) struct Image {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
}

impl Image {
    pub(crate) fn of(package: &Package) -> Result<Self, PackageError> {
        let odd = |error: serde_json::Error| PackageError::Malformed(error.to_string());
        let provenance = package.provenance.clone();
        let about = About {
            name: package.name().to_owned(),
            version: package.version().to_owned(),
            description: package.description().to_owned(),
            provenance,
        };
        let config = serde_json::to_vec(&about).map_err(odd)?;
        let said = [
            ("org.opencontainers.image.title", Some(about.name)),
            ("org.opencontainers.image.version", Some(about.version)),
            ("org.opencontainers.image.description", Some(about.description)),
            ("org.opencontainers.image.source", about.provenance.source),
            ("org.opencontainers.image.revision", about.provenance.revision),
            ("org.opencontainers.image.created", about.provenance.created),
            (SIGNATURE, package.signed().map(serde_json::to_string).transpose().map_err(odd)?),
        ];
        let annotations = said
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: ARTIFACT.to_owned(),
            config: Pointer::to(CONFIG, &config),
            layers: vec![Pointer::to(LAYER, package.component())],
            annotations,
        };
        let manifest = serde_json::to_vec(&manifest).map_err(odd)?;
        Ok(Self { manifest, config })
    }
}

impl Manifest {
    /// Reads a manifest; one that is not of a module's package is refused. `cap`: bytes of the component.
    pub(crate) fn read(bytes: &[u8], cap: u64) -> Result<Self, PackageError> {
        let bad = |why: String| PackageError::Malformed(why);
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| bad(format!("its manifest: {error}")))?;
        if manifest.artifact_type != ARTIFACT {
            return Err(bad(format!("it is of the type `{}`", manifest.artifact_type)));
        }
        let layer = manifest.layer()?;
        if manifest.config.media_type != CONFIG || layer.media_type != LAYER {
            return Err(bad(format!(
                "it holds `{}` and `{}` instead of `{CONFIG}` and `{LAYER}`",
                manifest.config.media_type, layer.media_type
            )));
        }
        crate::package::check_size("the component", layer.size, cap)?;
        crate::package::check_size("the config", manifest.config.size, TEXT_MAX)?;
        Ok(manifest)
    }

    /// What points to the component.
    pub(crate) fn layer(&self) -> Result<&Pointer, PackageError> {
        match self.layers.as_slice() {
            [layer] => Ok(layer),
            other => Err(PackageError::Malformed(format!("{} layers instead of one", other.len()))),
        }
    }

    /// The package, once both blobs are there; checks them.
    pub(crate) fn package(
        &self,
        config: &[u8],
        component: Vec<u8>,
    ) -> Result<Package, PackageError> {
        self.config.check("the config", config)?;
        self.layer()?.check("the component", &component)?;
        let about: About = serde_json::from_slice(config)
            .map_err(|error| PackageError::Malformed(format!("its config: {error}")))?;
        let signed = self.annotations.get(SIGNATURE).map(|text| {
            // One that cannot be read is one that is wrong, not none.
            serde_json::from_str(text)
                .unwrap_or_else(|_| Signed { key: String::new(), signature: String::new() })
        });
        Package::from_parts(component, about, signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keys::Trust,
        package::tests::{CAP, component},
    };

    fn image() -> (Image, Vec<u8>) {
        let provenance = Provenance { source: Some("https://a".into()), ..Provenance::default() };
        let package = Package::new(component("a"), provenance).unwrap();
        (Image::of(&package).unwrap(), package.component().to_vec())
    }

    fn changed(manifest: &[u8], from: &str, to: &str) -> Vec<u8> {
        let text = String::from_utf8(manifest.to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        text.replace(from, to).into_bytes()
    }

    #[test]
    fn manifest_follows_the_format() {
        let (image, _) = image();
        let value: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
        assert_eq!(value["schemaVersion"], 2);
        assert_eq!(value["artifactType"], ARTIFACT);
        assert_eq!(value["config"]["mediaType"], CONFIG);
        assert_eq!(value["layers"][0]["mediaType"], LAYER);
        assert_eq!(value["annotations"]["org.opencontainers.image.source"], "https://a");
    }

    #[test]
    fn changed_blobs_are_refused() {
        let (image, component) = image();
        let manifest = Manifest::read(&image.manifest, CAP).unwrap();
        let mut other = component.clone();
        other.push(0);
        let error = manifest.package(&image.config, other).unwrap_err();
        assert!(matches!(error, PackageError::Digest { what: "the component", .. }), "{error}");
        let error = manifest.package(b"{}", component).unwrap_err();
        assert!(matches!(error, PackageError::Digest { what: "the config", .. }), "{error}");
    }

    #[test]
    fn other_artifacts_and_large_ones_are_refused() {
        let (image, component) = image();
        let other = changed(&image.manifest, ARTIFACT, "application/other");
        let error = Manifest::read(&other, CAP).unwrap_err().to_string();
        assert!(error.contains("application/other"), "{error}");
        let error = Manifest::read(&image.manifest, component.len() as u64 - 1).unwrap_err();
        assert!(matches!(error, PackageError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn signature_that_cannot_be_read_is_a_bad_one() {
        let (image, component) = image();
        let with = changed(
            &image.manifest,
            "\"annotations\":{",
            "\"annotations\":{\"tessera.signature\":\"?\",",
        );
        let package = Manifest::read(&with, CAP).unwrap().package(&image.config, component);
        assert_eq!(package.unwrap().verify(&[]), Trust::Bad);
    }
}
