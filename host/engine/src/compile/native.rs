//! The one place that runs machine code which this process did not make.
#![expect(
    unsafe_code,
    reason = "wasmtime trusts serialized code; the cache authenticates it first"
)]

use wasmtime::{Engine, component::Component};

/// Turns code that [`super::CodeCache`] has authenticated into a component.
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the caller has checked a MAC, made under a key that only this installation holds, over
    // exactly these bytes and over the name they are kept under (content, engine, settings), so they are
    // what `precompile_component` of an equal engine wrote. wasmtime checks version and settings again.
    unsafe { Component::deserialize(engine, code) }
}
