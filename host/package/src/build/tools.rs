//! The tools that make components of JavaScript and Python: npm and PyPI packages of pinned versions, installed once.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::script::{ScriptError, run};

/// componentize-js with the versions that it was tried with (it does not name `preview2-shim`, which it imports), and a
/// Node new enough for it: distributions carry older ones.
const NPM: &str = r#"{
  "name": "tessera-tools",
  "private": true,
  "dependencies": {
    "@bytecodealliance/componentize-js": "0.23.0",
    "@bytecodealliance/jco": "1.35.0",
    "@bytecodealliance/preview2-shim": "0.25.0",
    "node": "22.23.3"
  },
  "allowScripts": { "node@22.23.3": true }
}
"#;
/// One requirement a line.
const PYPI: &str = "componentize-py==0.25.1\n";
/// Written beside what was installed: the list that it was installed from.
const STAMP: &str = "tessera-stamp";

/// A folder of tools, filled as they are needed.
#[derive(Debug, Clone)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Tools below `folder`, which may not exist yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Words that change when another version of the tools is used.
    pub(super) const fn versions() -> [&'static str; 2] {
        [NPM, PYPI]
    }

    /// Whether the tools for JavaScript are installed as this version wants them.
    #[must_use]
    pub fn has_javascript(&self) -> bool {
        is_fresh(&self.javascript(), NPM)
    }

    /// Whether the tools for Python are installed as this version wants them.
    #[must_use]
    pub fn has_python(&self) -> bool {
        is_fresh(&self.python(), PYPI)
    }

    /// Installs componentize-js and Node with npm, unless they are there. About 500 MB.
    ///
    /// # Errors
    /// npm is missing or fails; the text carries what it wrote.
    pub fn install_javascript(&self) -> Result<(), ScriptError> {
        if self.has_javascript() {
            return Ok(());
        }
        let folder = self.javascript();
        let _alone = alone(&folder)?;
        if self.has_javascript() {
            return Ok(()); // another has just installed them
        }
        let list = folder.join("package.json");
        fs::write(&list, NPM).map_err(ScriptError::io(&list))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(&folder);
        run(npm, "npm install (Node.js with npm is needed to build JavaScript)")?;
        stamp(&folder, NPM)
    }

    /// Installs componentize-py into a virtual environment, unless it is there. About 80 MB.
    ///
    /// # Errors
    /// Python or its `venv` is missing, or pip fails; the text carries what it wrote.
    pub fn install_python(&self) -> Result<(), ScriptError> {
        if self.has_python() {
            return Ok(());
        }
        let folder = self.python();
        let _alone = alone(&folder)?;
        if self.has_python() {
            return Ok(()); // another has just installed them
        }
        let list = folder.join("requirements.txt");
        fs::write(&list, PYPI).map_err(ScriptError::io(&list))?;
        let venv = folder.join("venv");
        let mut make = Command::new("python3");
        make.args(["-m", "venv", "--clear"]).arg(&venv);
        run(make, "python3 -m venv (Python 3 with venv is needed to build Python modules)")?;
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "-r"]).arg(&list);
        run(pip, "pip install")?;
        stamp(&folder, PYPI)
    }

    /// The Node that came with the tools.
    #[must_use]
    pub fn node(&self) -> PathBuf {
        self.javascript().join("node_modules/.bin/node")
    }

    /// The file that makes components of JavaScript.
    pub(super) fn componentize_js(&self) -> PathBuf {
        self.javascript().join("node_modules/@bytecodealliance/componentize-js/src/componentize.js")
    }

    /// The program that makes components of Python.
    pub(super) fn componentize_py(&self) -> PathBuf {
        self.python().join("venv/bin/componentize-py")
    }

    fn javascript(&self) -> PathBuf {
        self.folder.join("javascript")
    }

    fn python(&self) -> PathBuf {
        self.folder.join("python")
    }
}

/// Makes the folder, and waits until nobody else installs into it; lasts as long as the answer.
fn alone(folder: &Path) -> Result<File, ScriptError> {
    fs::create_dir_all(folder).map_err(ScriptError::io(folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(ScriptError::io(&path))?;
    file.lock().map_err(ScriptError::io(&path))?;
    Ok(file)
}

fn is_fresh(folder: &Path, list: &str) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|had| had == list)
}

fn stamp(folder: &Path, list: &str) -> Result<(), ScriptError> {
    let path = folder.join(STAMP);
    fs::write(&path, list).map_err(ScriptError::io(&path))
}
