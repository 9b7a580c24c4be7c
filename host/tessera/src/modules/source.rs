//! Where a module comes from, and whether it may.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail};
use tessera_manifest::{Descriptor, Sha256};
use tessera_package::{
    Package, Trust, TrustedKey,
    registry::{Access, Reference, pull},
};

use super::overlay::folder;
use crate::manifests::Described;

/// A module that was read and checked, but for its code.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where it was found.
    pub(crate) source: String,
    pub(crate) package: Package,
    /// Who stands for it.
    pub(crate) trust: Trust,
    /// What it says about itself.
    pub(crate) described: Described,
    /// Of its component.
    pub(crate) sha256: Sha256,
}

/// A module's file in the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Staged {
    /// Its name in the folder `modules`.
    pub(crate) file: String,
    pub(crate) sha256: Sha256,
}

/// Finds a module: a file, a package, or `oci://HOST/REPOSITORY:TAG`. What has a signature that is wrong, or none of
/// those that the descriptor requires, is refused; nothing is compiled.
pub(crate) fn find(source: &str, descriptor: &Descriptor, insecure: bool) -> Result<Found> {
    let cap = descriptor.engine.component_max.get();
    let package = if Reference::is_meant(source) {
        let reference: Reference =
            source.parse().map_err(|error| anyhow!("{error}")).context("no place in a registry")?;
        let rest = source.strip_prefix("oci://").unwrap_or(source);
        let host = rest.split('/').next().unwrap_or_default();
        let plain = descriptor.modules.plain_registries.iter().any(|plain| plain == host);
        let access = Access { insecure: insecure || plain, ..Access::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime
            .block_on(pull(&reference, &access, cap))
            .with_context(|| format!("cannot get {source}"))?
    } else {
        Package::read_file(Path::new(source), cap)
            .with_context(|| format!("{source} is no module"))?
    };
    let trust = package.verify(&trusted(descriptor)?);
    if matches!(trust, Trust::Bad) {
        bail!("{source}: {trust}; somebody has changed it since it was signed");
    }
    if descriptor.modules.require_signature && !matches!(trust, Trust::Trusted(_)) {
        bail!(
            "{source}: {trust}, and this server takes nothing that no trusted key has signed ([modules] require-signature)"
        );
    }
    let described = Described::read(source, package.component())?;
    let digest = package.digest();
    let sha256 = digest.strip_prefix("sha256:").unwrap_or(digest);
    let sha256 = sha256.parse().map_err(|error: String| anyhow!(error))?;
    Ok(Found { source: source.to_owned(), package, trust, described, sha256 })
}

fn trusted(descriptor: &Descriptor) -> Result<Vec<TrustedKey>> {
    let key = |key: &tessera_manifest::TrustedKey| {
        let name = key.name.to_string();
        let public = key.key.as_str().parse();
        let public = public.with_context(|| format!("[modules] trusted-keys: `{name}`"))?;
        Ok(TrustedKey { name, key: public })
    };
    descriptor.modules.trusted_keys.iter().map(key).collect()
}

/// Puts a module's file into the data folder, where it may stay: its name says what is in it.
pub(crate) fn stage(data: &Path, found: &Found) -> Result<Staged> {
    let manifest = &found.described.manifest;
    let short = found.sha256.as_str().get(..12).unwrap_or_default();
    let file = format!("{}-{}-{short}.wasm", manifest.name, manifest.version);
    let folder = folder(data);
    write(&folder, &file, found.package.component())
        .with_context(|| format!("cannot write {}", folder.join(&file).display()))?;
    Ok(Staged { file, sha256: found.sha256.clone() })
}

fn write(folder: &Path, file: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(file);
    if fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(bytes)?;
    // The folder is its owner's alone; but the tool may be somebody else than the server.
    new.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    new.as_file().sync_all()?;
    new.persist(&path)?;
    File::open(folder)?.sync_all()
}
