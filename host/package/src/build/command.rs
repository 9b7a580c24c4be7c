//! A command that can be run, and printed so that a reader can run it by hand.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Variables that `cargo run` sets for what it runs and that must not reach a child: build scripts of some
/// crates watch them, so a leak makes cargo rebuild what a plain `cargo build` has built.
const CARGO_RUN: [&str; 5] =
    ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR", "CARGO_MAKEFLAGS"];
const CARGO_RUN_PREFIXES: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// Variables that choose a compiler or its flags; a build with another toolchain clears them.
const TOOLCHAIN: [&str; 8] = [
    "CARGO",
    "RUSTUP_TOOLCHAIN",
    "RUSTC",
    "RUSTDOC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
];
const TOOLCHAIN_PREFIXES: [&str; 3] = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_"];

/// A program with its arguments and environment.
#[derive(Clone, Debug)]
pub struct Cmd {
    program: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    path: Option<PathBuf>,
    dir: Option<PathBuf>,
    other_toolchain: bool,
}

impl Cmd {
    /// `program` is a name looked up on PATH or a path.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            envs: Vec::new(),
            path: None,
            dir: None,
            other_toolchain: false,
        }
    }

    /// The cargo that runs this program.
    #[must_use]
    pub fn cargo() -> Self {
        Self::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Looks programs up in `dir` before the rest of PATH.
    #[must_use]
    pub fn path_first(mut self, dir: &Path) -> Self {
        self.path = Some(dir.to_owned());
        self
    }

    /// The folder to run in.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Hides this program's own toolchain (RUSTUP_TOOLCHAIN, RUSTC, RUSTFLAGS …) from the program.
    #[must_use]
    pub fn other_toolchain(mut self) -> Self {
        self.other_toolchain = true;
        self
    }

    /// The standard library's form of this command.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if leaked(&name) || (self.other_toolchain && chooses_toolchain(&name)) {
                command.env_remove(&*name);
            }
        }
        match clean_library_path() {
            Some(kept) if kept.is_empty() => command.env_remove("LD_LIBRARY_PATH"),
            Some(kept) => command.env("LD_LIBRARY_PATH", kept),
            None => &mut command,
        };
        if let Some(first) = &self.path {
            let mut path = OsString::from(first);
            if let Some(rest) = env::var_os("PATH") {
                path.push(":");
                path.push(rest);
            }
            command.env("PATH", path);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command.args(&self.args).envs(self.envs.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What the command writes to standard output, or `None` if it cannot start or fails.
    #[must_use]
    pub fn read(&self) -> Option<String> {
        let output = self.command().stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    }

    /// What to say if the program cannot be started.
    #[must_use]
    pub fn cannot_start(&self) -> String {
        format!("cannot start `{}`: is it installed? (command: {self})", self.program)
    }
}

/// The lines of what a program writes.
pub fn lines(read: impl Read) -> impl Iterator<Item = std::io::Result<String>> {
    BufReader::new(read)
        .split(b'\n')
        .map(|line| line.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn leaked(name: &str) -> bool {
    CARGO_RUN.contains(&name) || CARGO_RUN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn chooses_toolchain(name: &str) -> bool {
    TOOLCHAIN.contains(&name) || TOOLCHAIN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// LD_LIBRARY_PATH without the folders that `cargo run` put there, if there is one at all.
fn clean_library_path() -> Option<OsString> {
    let path = env::var_os("LD_LIBRARY_PATH")?;
    let kept = env::split_paths(&path).filter(|dir| {
        let dir = dir.to_string_lossy();
        !dir.is_empty() && !dir.contains("/target/") && !dir.contains("/.rustup/")
    });
    env::join_paths(kept).ok()
}

impl std::fmt::Display for Cmd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(dir) = &self.dir {
            write!(f, "cd {} && ", quoted(&dir.to_string_lossy()))?;
        }
        if self.other_toolchain {
            write!(f, "env -u RUSTUP_TOOLCHAIN ")?;
        }
        for (name, value) in &self.envs {
            write!(f, "{name}={} ", quoted(value))?;
        }
        if let Some(path) = &self.path {
            write!(f, "PATH={}:\"$PATH\" ", quoted(&path.to_string_lossy()))?;
        }
        let ours = env::var("CARGO").is_ok_and(|cargo| cargo == self.program);
        write!(f, "{}", if ours { "cargo".into() } else { quoted(&self.program) })?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// `word` as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_command_can_be_pasted_into_a_shell() {
        let cmd = Cmd::new("cargo")
            .args(["nextest", "run", "-E", "test(a) & test('b')"])
            .env("TESSERA_BIN", "/a b/tessera")
            .dir(Path::new("/repo"));
        assert_eq!(
            cmd.to_string(),
            r"cd /repo && TESSERA_BIN='/a b/tessera' cargo nextest run -E 'test(a) & test('\''b'\'')'"
        );
    }

    #[test]
    fn variables_of_cargo_run_are_leaks_but_cargo_home_is_not() {
        assert!(leaked("CARGO_MANIFEST_DIR") && leaked("CARGO_PKG_NAME"));
        assert!(!leaked("CARGO_HOME") && !chooses_toolchain("CARGO_HOME"));
        assert!(chooses_toolchain("RUSTUP_TOOLCHAIN") && chooses_toolchain("CARGO_TARGET_DIR"));
    }
}
