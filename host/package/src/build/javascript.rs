//! componentize-js: a JavaScript module and SpiderMonkey in one component, started up at build time.

use std::{
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::{
    script::{ScriptError, run},
    tools::Tools,
};

/// Run by Node: tool, source, WIT folder and output are its arguments. Outgoing HTTP and its handler are left out: a module
/// asks `tessera:host/fetch`, which has its grants.
pub(super) const DRIVER: &str = r"
const [tool, sourcePath, witPath, output] = process.argv.slice(1);
const { componentize } = await import(tool);
const { writeFile } = await import('node:fs/promises');
const { component } = await componentize({
  sourcePath, witPath, worldName: 'module', disableFeatures: ['http', 'fetch-event'],
});
await writeFile(output, component);
";

#[derive(Deserialize)]
struct Package {
    #[serde(default = "Package::main")]
    main: PathBuf,
}

impl Package {
    fn main() -> PathBuf {
        "src/module.js".into()
    }
}

pub(super) fn componentize(
    module: &Path,
    wit: &Path,
    tools: &Tools,
    output: &Path,
) -> Result<(), ScriptError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(ScriptError::io(path));
    let mut node = Command::new(tools.node());
    node.args(["--input-type=module", "--eval", DRIVER])
        .arg(absolute(&tools.componentize_js())?)
        .arg(absolute(&module.join(entry(module)?))?)
        .arg(absolute(wit)?)
        .arg(absolute(output)?);
    run(node, "componentize-js")
}

/// The entry that `package.json` names, relative to the module's folder.
fn entry(module: &Path) -> Result<PathBuf, ScriptError> {
    let path = module.join("package.json");
    let text = fs::read_to_string(&path).map_err(ScriptError::io(&path))?;
    let package: Package =
        serde_json::from_str(&text).map_err(|_| ScriptError::Entry(path.clone()))?;
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if package.main.components().all(inside) {
        Ok(package.main)
    } else {
        Err(ScriptError::Entry(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry_of(text: &str) -> Result<PathBuf, ScriptError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("package.json"), text).unwrap();
        entry(folder.path())
    }

    #[test]
    fn entry_is_main_or_the_usual_place() {
        assert_eq!(entry_of(r#"{"main": "./a.js"}"#).unwrap(), Path::new("./a.js"));
        assert_eq!(entry_of("{}").unwrap(), Path::new("src/module.js"));
    }

    #[test]
    fn entry_outside_the_folder_is_refused() {
        for text in [r#"{"main": "../a.js"}"#, r#"{"main": "/a.js"}"#, r#"{"main": 7}"#, "no json"]
        {
            assert!(matches!(entry_of(text), Err(ScriptError::Entry(_))), "{text}");
        }
    }
}
