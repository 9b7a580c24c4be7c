//! Embeds the contract (`wit/`) and the templates of new modules, so that the tools need no checkout.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut text = String::new();
    for (name, folder) in
        [("CONTRACT", here.join("../../wit")), ("TEMPLATES", here.join("templates"))]
    {
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        collect(&folder, &folder, &mut files);
        files.sort();
        let _ = writeln!(text, "pub(crate) static {name}: &[(&str, &str)] = &[");
        for (inside, path) in files {
            let _ =
                writeln!(text, "    ({inside:?}, include_str!({:?})),", path.display().to_string());
        }
        text.push_str("];\n");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("embedded.rs");
    if let Err(error) = fs::write(&out, text) {
        println!("cargo::error=cannot write {}: {error}", out.display());
    }
}

/// All files below `folder`, with their paths inside `root`.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(root, &path, files);
        } else if let Ok(inside) = path.strip_prefix(root) {
            let hidden =
                inside.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden {
                files.push((inside.to_string_lossy().into_owned(), path));
            }
        }
    }
}
