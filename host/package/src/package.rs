//! A module with what is said about it.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use tessera_manifest::PluginManifest;
use wasmparser::{Encoding, Parser, Payload};

use crate::{
    archive, digest,
    error::PackageError,
    keys::{SecretKey, Signed, Trust, TrustedKey, judge},
    oci, section,
};

/// Bytes that an archive may have beside the component: its headers, and what is said about the module.
const AROUND: u64 = 2 << 20;
/// Bytes of the manifest inside a component; those of plugin.toml files are far smaller.
const MANIFEST_MAX: usize = 256 << 10;

/// What its author says about a package. Nothing of it is proven but by a signature of somebody who is trusted, and
/// nothing is decided by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Provenance {
    /// Where the source is, a URL.
    pub source: Option<String>,
    /// The revision of the source.
    pub revision: Option<String>,
    /// With what it was built, such as `tessera 0.1.0`.
    pub built_by: Option<String>,
    /// When it was packed: RFC 3339, UTC.
    pub created: Option<String>,
    /// What the module asks for, in words. The component's own manifest is what counts.
    pub asks: Vec<String>,
}

/// A module's file, and who stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    component: Vec<u8>,
    digest: String,
    name: String,
    version: String,
    description: String,
    /// What its author says about it; empty where the file is no package.
    pub provenance: Provenance,
    signed: Option<Signed>,
}

impl Package {
    /// A package of a module's file: a component with its manifest inside.
    ///
    /// # Errors
    /// `component` is not a module's file.
    pub fn new(component: Vec<u8>, provenance: Provenance) -> Result<Self, PackageError> {
        let text = manifest(&component)?;
        let manifest = PluginManifest::parse("plugin.toml", text)
            .map_err(|problem| PackageError::NotAModule(problem.to_string()))?;
        Ok(Self {
            digest: digest::of(&component),
            component,
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            description: manifest.description,
            provenance,
            signed: None,
        })
    }

    /// Reads a file: a module's (`.wasm`) or an archive of a package (`.tar`), told by its content. `cap`: bytes of the
    /// component at most.
    ///
    /// # Errors
    /// The file cannot be read, is neither, or does not hold what it says.
    pub fn read_file(path: &Path, cap: u64) -> Result<Self, PackageError> {
        let size = fs::metadata(path).map_err(PackageError::io(path))?.len();
        let most = cap.saturating_add(AROUND);
        if size > most {
            return Err(PackageError::TooLarge {
                what: path.display().to_string(),
                size,
                cap: most,
            });
        }
        Self::read(fs::read(path).map_err(PackageError::io(path))?, cap)
    }

    /// As [`Package::read_file`], of what has been read.
    ///
    /// # Errors
    /// As there.
    pub fn read(bytes: Vec<u8>, cap: u64) -> Result<Self, PackageError> {
        if bytes.starts_with(b"\0asm") {
            check_size("the component", bytes.len() as u64, cap)?;
            return Self::new(bytes, Provenance::default());
        }
        archive::read(&bytes, cap)
    }

    /// Puts together what an archive or a registry has given.
    pub(crate) fn from_parts(
        component: Vec<u8>,
        about: oci::About,
        signed: Option<Signed>,
    ) -> Result<Self, PackageError> {
        let mut package = Self::new(component, about.provenance)?;
        if (&package.name, &package.version) != (&about.name, &about.version) {
            return Err(PackageError::Malformed(format!(
                "it says that it is {} {}, but holds {} {}",
                about.name, about.version, package.name, package.version
            )));
        }
        package.signed = signed;
        Ok(package)
    }

    /// The module's name, from its own manifest.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The module's version, from its own manifest.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The module's description, from its own manifest.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The module's file.
    #[must_use]
    pub fn component(&self) -> &[u8] {
        &self.component
    }

    /// `sha256:` and the digits of the module's file: what is signed, and what a descriptor pins (without `sha256:`).
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The file name that suits its archive: `NAME-VERSION.tar`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}.tar", self.name, self.version)
    }

    /// Signs it, in place of who has signed it before.
    pub fn sign(&mut self, key: &SecretKey) {
        self.signed = Some(key.sign(&self.digest));
    }

    /// Who has signed it.
    #[must_use]
    pub fn verify(&self, trusted: &[TrustedKey]) -> Trust {
        judge(&self.digest, self.signed.as_ref(), trusted)
    }

    pub(crate) fn signed(&self) -> Option<&Signed> {
        self.signed.as_ref()
    }

    /// The package as an archive: an OCI image layout in a tar file, the same bytes each time.
    ///
    /// # Errors
    /// None that is known: writing goes to memory.
    pub fn archive(&self) -> Result<Vec<u8>, PackageError> {
        archive::write(self)
    }
}

pub(crate) fn check_size(what: &str, size: u64, cap: u64) -> Result<(), PackageError> {
    if size > cap {
        return Err(PackageError::TooLarge { what: what.to_owned(), size, cap });
    }
    Ok(())
}

/// The text of `plugin.toml` in a module's file.
fn manifest(bytes: &[u8]) -> Result<&str, PackageError> {
    let not = |why: String| PackageError::NotAModule(why);
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| not(format!("not a WebAssembly component: {error}")))? {
            Payload::Version { encoding, .. } => {
                depth = depth.saturating_add(1);
                if depth == 1 && encoding == Encoding::Module {
                    return Err(not("a core WebAssembly module, not a component".to_owned()));
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section)
                if depth == 1 && section.name() == section::MANIFEST =>
            {
                check_size("the manifest", section.data().len() as u64, MANIFEST_MAX as u64)?;
                return std::str::from_utf8(section.data())
                    .map_err(|_| not("its manifest is not UTF-8".to_owned()));
            }
            _ => {}
        }
    }
    Err(not(format!(
        "the component lacks the section `{}`; `tessera plugin build` appends it from plugin.toml",
        section::MANIFEST
    )))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest file of a module.
    pub(crate) fn component(name: &str) -> Vec<u8> {
        let manifest = format!("name = \"{name}\"\nversion = \"1.2.3\"\ndescription = \"Tries\"\n");
        section::append(b"\0asm\x0d\0\x01\0".to_vec(), section::MANIFEST, manifest.as_bytes())
    }

    pub(crate) const CAP: u64 = 1 << 20;

    #[test]
    fn file_is_named_by_its_own_manifest() {
        let package = Package::read(component("a"), CAP).unwrap();
        assert_eq!((package.name(), package.version()), ("a", "1.2.3"));
        assert_eq!(package.description(), "Tries");
        assert_eq!(package.file_name(), "a-1.2.3.tar");
        assert_eq!(package.verify(&[]), Trust::Unsigned);
    }

    #[test]
    fn file_that_is_no_module_is_refused() {
        let why = |bytes: &[u8]| Package::read(bytes.to_vec(), CAP).unwrap_err().to_string();
        assert!(why(b"\0asm\x01\0\0\0").contains("core WebAssembly module"));
        assert!(why(b"\0asm\x0d\0\x01\0").contains("tessera:manifest"));
        assert!(why(b"hello").contains("not a module"));
        let large = Package::read(component("a"), 10).unwrap_err();
        assert!(matches!(large, PackageError::TooLarge { cap: 10, .. }), "{large}");
    }
}
