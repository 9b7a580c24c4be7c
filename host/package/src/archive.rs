//! A package as a file: an OCI image layout in a tar archive.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
};

use serde::{Deserialize, Serialize};

use crate::{
    digest,
    error::PackageError,
    oci::{Image, MANIFEST, Manifest, Pointer, TEXT_MAX},
    package::{Package, check_size},
};

const LAYOUT: &str = "oci-layout";
const INDEX: &str = "index.json";
const LAYOUT_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// Entries of an archive: three blobs, two files and folders.
const ENTRIES: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    manifests: Vec<Pointer>,
}

pub(crate) fn write(package: &Package) -> Result<Vec<u8>, PackageError> {
    let Image { manifest, config } = Image::of(package)?;
    let mut pointer = Pointer::to(MANIFEST, &manifest);
    let tag = ("org.opencontainers.image.ref.name".to_owned(), package.version().to_owned());
    pointer.annotations.extend([tag]);
    let index = Index { schema_version: 2, manifests: vec![pointer] };
    let index =
        serde_json::to_vec(&index).map_err(|error| PackageError::Malformed(error.to_string()))?;

    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        builder.append_data(&mut header, path, bytes)
    };
    let blob = |bytes: &[u8]| format!("blobs/{}", digest::of(bytes).replace(':', "/"));
    add(LAYOUT, LAYOUT_TEXT.as_bytes())
        .and_then(|()| add(INDEX, &index))
        .and_then(|()| add(&blob(&manifest), &manifest))
        .and_then(|()| add(&blob(&config), &config))
        .and_then(|()| add(&blob(package.component()), package.component()))
        .and_then(|()| builder.into_inner())
        .map_err(|error| PackageError::Malformed(error.to_string()))
}

/// Reads an archive of `cap` bytes of component at most.
pub(crate) fn read(bytes: &[u8], cap: u64) -> Result<Package, PackageError> {
    let mut files = files(bytes, cap)?;
    let malformed = |why: &str| PackageError::Malformed(why.to_owned());
    let index = files.remove(INDEX).ok_or_else(|| malformed("the archive has no index.json"))?;
    let index: Index = serde_json::from_slice(&index)
        .map_err(|error| PackageError::Malformed(format!("index.json: {error}")))?;
    let [pointer] = index.manifests.as_slice() else {
        return Err(malformed("the archive must hold one manifest"));
    };
    let mut blob = |pointer: &Pointer, what: &str| {
        let digits = digest::digits(&pointer.digest)
            .ok_or_else(|| malformed("a digest that is not sha256"))?;
        files
            .remove(&format!("blobs/sha256/{digits}"))
            .ok_or_else(|| PackageError::Malformed(format!("{what} is missing in the archive")))
    };
    let text = blob(pointer, "the manifest")?;
    pointer.check("the manifest", &text)?;
    check_size("the manifest", text.len() as u64, TEXT_MAX)?;
    let manifest = Manifest::read(&text, cap)?;
    let config = blob(&manifest.config, "the config")?;
    let component = blob(manifest.layer()?, "the component")?;
    manifest.package(&config, component)
}

/// The regular files of an archive; nothing is written anywhere.
fn files(bytes: &[u8], cap: u64) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    let not = |error: std::io::Error| {
        PackageError::NotAModule(format!("neither a component nor an archive: {error}"))
    };
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(Cursor::new(bytes));
    for (number, entry) in archive.entries().map_err(not)?.enumerate() {
        let mut entry = entry.map_err(not)?;
        if number >= ENTRIES {
            return Err(PackageError::Malformed(format!("more than {ENTRIES} entries")));
        }
        // Only plain files: sparse ones could grow beyond the archive, links lead elsewhere.
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let path = entry.path().map_err(not)?.to_string_lossy().into_owned();
        check_size(&path, entry.size(), cap.max(TEXT_MAX))?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(not)?;
        files.insert(path.trim_start_matches("./").to_owned(), content);
    }
    if files.is_empty() {
        return Err(PackageError::NotAModule("neither a component nor an archive".to_owned()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keys::{SecretKey, Trust, TrustedKey},
        package::{
            Provenance,
            tests::{CAP, component},
        },
    };

    fn package() -> Package {
        let provenance = Provenance {
            revision: Some("abc".into()),
            asks: vec!["may call: rooms.send-as".into()],
            ..Provenance::default()
        };
        Package::new(component("a"), provenance).unwrap()
    }

    #[test]
    fn archive_gives_back_what_was_packed() {
        let mut package = package();
        let key = SecretKey::from_seed(&[3; 32]);
        package.sign(&key);
        let archive = package.archive().unwrap();
        assert_eq!(archive, package.archive().unwrap());
        let read = Package::read(archive, CAP).unwrap();
        assert_eq!(read, package);
        let trusted = [TrustedKey { name: "us".into(), key: key.public() }];
        assert_eq!(read.verify(&trusted), Trust::Trusted("us".into()));
    }

    #[test]
    fn byte_changed_in_the_archive_is_found() {
        let package = package();
        let archive = package.archive().unwrap();
        let inside = package.component();
        let at = archive.windows(inside.len()).position(|window| window == inside).unwrap();
        for offset in [at + inside.len() - 2, at + 10] {
            let mut changed = archive.clone();
            changed[offset] ^= 1;
            let error = Package::read(changed, CAP).unwrap_err();
            assert!(matches!(error, PackageError::Digest { .. }), "{error}");
        }
    }

    #[test]
    fn manifest_of_another_module_is_refused() {
        let ours = package();
        let other = Package::new(component("b"), ours.provenance.clone());
        let image = Image::of(&ours).unwrap();
        let manifest = Manifest::read(&image.manifest, CAP).unwrap();
        let config = Image::of(&other.unwrap()).unwrap().config;
        let text = String::from_utf8(image.manifest).unwrap();
        let forged = text.replace(&manifest.config.digest, &digest::of(&config));
        let forged = Manifest::read(forged.as_bytes(), CAP).unwrap();
        let error = forged.package(&config, ours.component().to_vec()).unwrap_err().to_string();
        assert!(error.contains("says that it is b"), "{error}");
    }

    #[test]
    fn cut_or_foreign_archives_are_refused() {
        let archive = package().archive().unwrap();
        for cut in [0, 100, 600, 1500, archive.len() / 2] {
            Package::read(archive[..cut].to_vec(), CAP).unwrap_err();
        }
        let error = Package::read(archive, 20).unwrap_err();
        assert!(matches!(error, PackageError::TooLarge { .. }), "{error}");
    }
}
