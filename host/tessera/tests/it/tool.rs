//! Runs the tool in a folder of its own.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// The tool, in a temporary folder that is its working directory.
pub(crate) struct Tool {
    folder: TempDir,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Tool {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The tool, without what the caller's environment says.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tessera"));
        command.current_dir(self.path());
        for variable in [
            "CONFIG",
            "DATA",
            "LISTEN",
            "SERVER_NAME",
            "PLUGINS",
            "METRICS",
            "CACHE",
            "NODE",
            "STORAGE_URL",
            "BUS_SERVERS",
        ] {
            command.env_remove(format!("TESSERA_{variable}"));
        }
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ended {
        let mut command = self.command();
        command.args(arguments);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: status.code(), out: text(stdout), err: text(stderr) }
    }
}

impl Ended {
    /// Checks that it failed with 1 and said each of these.
    pub(crate) fn refused(&self, said: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        for words in said {
            assert!(self.err.contains(words), "`{words}` is not in:\n{}", self.err);
        }
    }

    /// Checks that it ended well.
    pub(crate) fn well(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// The plug-ins of the embedded descriptor.
pub(crate) fn first_party() -> Vec<String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    tessera_test_services::first_party(&repository).unwrap()
}

/// The beginning of a descriptor that switches them off.
pub(crate) fn without_first_party() -> String {
    let off: String =
        first_party().iter().map(|name| format!("{name}.enabled = false\n")).collect();
    format!("[plugins]\n{off}")
}

/// A component that does nothing, with a manifest.
pub(crate) fn component(manifest: &str) -> Vec<u8> {
    // Magic, version 13, layer 1.
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    let name = "tessera:manifest";
    let mut section = vec![u8::try_from(name.len()).unwrap()];
    section.extend(name.bytes().chain(manifest.bytes()));
    bytes.push(0);
    leb128(&mut bytes, section.len());
    bytes.extend(section);
    bytes
}

/// A core module that does nothing.
pub(crate) const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn leb128(bytes: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}
