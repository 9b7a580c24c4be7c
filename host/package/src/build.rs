//! Building: one file of a module's folder, in whatever language it is written.
//!
//! The folder holds `plugin.toml`, `migrations/*.sql` if the module has tables, and sources: with a `Cargo.toml` it is
//! Rust, with a `package.json` JavaScript, with `src/module.py` Python. Modules that do not use the SDK say in
//! `wit/world.wit` what they import and export, in a world named `module`.

mod assemble;
mod command;
mod javascript;
mod module;
mod python;
mod rust;
mod script;
mod toolchain;
mod tools;
mod wit;

pub use self::{
    assemble::{Migration, assemble, parts, write_if_changed},
    command::{Cmd, lines},
    module::{BuildError, Language, Module},
    rust::RustBuild,
    script::{Script, ScriptError},
    toolchain::{CHOICE, PACKAGES, TARGET, Toolchain, allowed, fix},
    tools::Tools,
    wit::Contract,
};
