//! The one place that runs machine code which this process did not make.
#![expect(
    unsafe_code,
    reason = "wasmtime trusts serialized code; the cache authenticates it first"
)]

use std::{fs::File, os::fd::AsRawFd as _};

use wasmtime::{Engine, component::Component};

/// Turns code that [`super::CodeCache`] has authenticated into a component.
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the caller has checked a MAC, made under a key that only this installation holds, over
    // exactly these bytes and over the name they are kept under (content, engine, settings), so they are
    // what `precompile_component` of an equal engine wrote. wasmtime checks version and settings again.
    unsafe { Component::deserialize(engine, code) }
}

/// As [`load`], from a file that begins with the code: it is mapped, so that what never runs takes no memory, and what
/// runs can be read again where memory is short. The caller holds the file open and has checked that none but this
/// user can write to it: what stands behind the mapping must stay what was authenticated.
pub(super) fn map(engine: &Engine, file: &File) -> wasmtime::Result<Component> {
    // The very file that was checked, whatever its name stands for by now.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: as in `load`.
    unsafe { Component::deserialize_file(engine, path) }
}
