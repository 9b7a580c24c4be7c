//! `tessera schema`

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// Writes the JSON schemas.
pub(crate) fn run(out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    for schema in tessera_manifest::schemas() {
        let path = out.join(schema.file);
        fs::write(&path, schema.text)
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
