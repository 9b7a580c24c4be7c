//! The plug-ins of the embedded descriptor.

use std::path::Path;

use crate::Failure;

/// Their names, in the order of `config/default.toml` of the repository at `root`.
///
/// # Errors
/// The file cannot be read or names none.
pub fn first_party(root: &Path) -> Result<Vec<String>, Failure> {
    let path = root.join("config/default.toml");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let names: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("[plugins.")?.strip_suffix(']'))
        .filter(|name| !name.contains('.'))
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(format!("{}: no [plugins.NAME]", path.display()));
    }
    Ok(names)
}
