//! The compiler for guests: the `wasm32-wasip2` target of rustup, or Debian's packages.
//!
//! Which one a machine has is found out on every build (a few files are looked at). `TESSERA_GUEST_TOOLCHAIN=rustup` or `=debian` allows only that one.

use super::Cmd;
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// What guests are compiled for.
pub const TARGET: &str = "wasm32-wasip2";
/// Debian's packages for the second way.
pub const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc"];
/// Variable that allows one way only.
pub const CHOICE: &str = "TESSERA_GUEST_TOOLCHAIN";

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const STD: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";
const WASI_LIBC: &str = "/usr/lib/wasm32-wasi";
/// As `rust-version` in the root `Cargo.toml`.
const OLDEST: u32 = 95;

/// A compiler that can build guests.
#[derive(Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The rustup toolchain that is around this program, with the target added.
    Rustup,
    /// `/usr/bin/cargo`, building the standard library too; the folder holds `wasm-component-ld`.
    Debian(PathBuf),
}

impl Toolchain {
    /// One of the two, if this machine has it.
    #[must_use]
    pub fn find() -> Option<Self> {
        let sysroot = sysroot();
        if allowed("rustup") && sysroot.as_deref().is_some_and(has_target) {
            return Some(Self::Rustup);
        }
        (allowed("debian") && debian_is_there())
            .then(|| linkers(sysroot.as_deref()).map(Self::Debian))
            .flatten()
    }

    /// `cargo build` with this compiler, up to the target.
    #[must_use]
    pub fn cargo_build(&self) -> Cmd {
        let build = ["build", "--target", TARGET];
        match self {
            Self::Rustup => Cmd::cargo().args(build),
            Self::Debian(linkers) => Cmd::new(CARGO)
                .other_toolchain()
                .path_first(linkers)
                .env("RUSTC", RUSTC)
                .env("RUSTC_BOOTSTRAP", "1") // -Zbuild-std
                .env("RUSTFLAGS", format!("-L {WASI_LIBC} -C link-self-contained=no"))
                .args(build)
                .args(["-Zbuild-std=std,panic_abort"]),
        }
    }
}

impl std::fmt::Display for Toolchain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rustup => write!(f, "rustup target {TARGET}"),
            Self::Debian(_) => write!(f, "Debian packages ({CARGO}, standard library from source)"),
        }
    }
}

/// The commands that install one toolchain or the other, a line each.
#[must_use]
pub fn fix() -> String {
    let sudo = if is_root() { "" } else { "sudo " };
    format!(
        "  rustup target add {TARGET}
  {}
\
         the second needs rustc 1.{OLDEST} or newer in {RUSTC}, and wasm-component-ld from a \
         rustup toolchain or on PATH",
        format_args!("{sudo}apt-get install --no-install-recommends {}", PACKAGES.join(" "))
    )
}

/// Whether `TESSERA_GUEST_TOOLCHAIN` leaves this way (`rustup` or `debian`) open.
#[must_use]
pub fn allowed(way: &str) -> bool {
    env::var(CHOICE).map_or(true, |choice| choice.is_empty() || choice == way)
}

/// The folder of the rustup toolchain.
fn sysroot() -> Option<PathBuf> {
    Cmd::new("rustc").args(["--print", "sysroot"]).read().map(PathBuf::from)
}

/// Whether this process runs as root.
fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1)) // the effective one
        .is_some_and(|uid| uid == "0")
}

fn has_target(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
}

fn debian_is_there() -> bool {
    Path::new(CARGO).is_file()
        && Path::new(STD).is_file()
        && Path::new(WASI_LIBC).join("libc.a").is_file()
        && Cmd::new(RUSTC)
            .other_toolchain()
            .args(["--version"])
            .read()
            .and_then(|text| minor_version(&text))
            .is_some_and(|minor| minor >= OLDEST)
}

/// 96 of `rustc 1.96.0 (…)`.
fn minor_version(text: &str) -> Option<u32> {
    text.split_whitespace().nth(1)?.split('.').nth(1)?.parse().ok()
}

/// The folder with `wasm-component-ld` and `rust-lld`: in the rustup toolchain, else on PATH.
fn linkers(sysroot: Option<&Path>) -> Option<PathBuf> {
    let in_toolchain = sysroot
        .and_then(|sysroot| fs::read_dir(sysroot.join("lib/rustlib")).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"));
    let on_path: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    in_toolchain.chain(on_path).find(|dir| dir.join("wasm-component-ld").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_what_rustc_prints() {
        assert_eq!(minor_version("rustc 1.96.0 (abc 2026-05-25) (built from source)"), Some(96));
        assert_eq!(minor_version("nonsense"), None);
    }

    #[test]
    fn debian_build_takes_nothing_from_the_toolchain_around_it() {
        let shown = Toolchain::Debian("/tools".into()).cargo_build().to_string();
        assert_eq!(
            shown,
            "env -u RUSTUP_TOOLCHAIN RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
             RUSTFLAGS='-L /usr/lib/wasm32-wasi -C link-self-contained=no' \
             PATH=/tools:\"$PATH\" /usr/bin/cargo build --target wasm32-wasip2 \
             -Zbuild-std=std,panic_abort"
        );
    }
}
