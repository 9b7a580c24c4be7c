//! The contract between the server and its modules, as this build knows it.

#[cfg(feature = "packages")]
pub mod hooks;
mod pages;

use std::{fs, io, path::Path};

#[cfg(feature = "packages")]
pub(crate) use self::pages::version;
pub use self::pages::{Page, page, pages};
use crate::embedded::CONTRACT;

/// Packages of the contract: `host`, `plugin`, `services`, `hooks`.
#[must_use]
pub fn packages() -> Vec<&'static str> {
    let mut found: Vec<&str> = files().filter_map(|(path, _)| path.split('/').next()).collect();
    found.dedup();
    found
}

/// The WIT files: `PACKAGE/FILE.wit` with their texts, ordered by path.
pub fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    CONTRACT.iter().copied().filter(|(path, _)| path.ends_with(".wit"))
}

/// Writes a copy to `folder`, a folder `tessera-PACKAGE` for each, as WIT tools expect it in `wit/deps`.
///
/// # Errors
/// A file cannot be written.
pub fn write_to(folder: &Path) -> io::Result<()> {
    for (path, text) in files() {
        let path = folder.join(format!("tessera-{path}"));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_of_the_repository_is_embedded() {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut folders: Vec<String> = fs::read_dir(wit)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        folders.sort();
        assert_eq!(packages(), folders);
    }
}
