//! componentize-py: a Python module and CPython in one component, imported at build time.

use std::{path::Path, process::Command};

use super::{
    script::{ScriptError, run},
    tools::Tools,
};

/// The module that the tool imports, `src/module.py`.
const ENTRY: &str = "module";

pub(super) fn componentize(
    module: &Path,
    wit: &Path,
    tools: &Tools,
    output: &Path,
) -> Result<(), ScriptError> {
    let mut tool = Command::new(tools.componentize_py());
    tool.arg("-d")
        .arg(wit)
        .args(["-w", "module", "componentize", "-p"])
        .arg(module.join("src"))
        .args([ENTRY, "-o"])
        .arg(output)
        // No bytecode beside the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    run(tool, "componentize-py")
}
