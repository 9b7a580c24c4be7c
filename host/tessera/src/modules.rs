//! Modules: what commands change about plug-ins, and where plug-ins come from.
//!
//! The operator's descriptor is never written. What commands change lies above it, in `modules.toml` of the data folder;
//! files that were installed lie beside it in `modules/`.

pub(crate) mod change;
pub(crate) mod consent;
mod overlay;
pub(crate) mod source;
pub(crate) mod version;

pub(crate) use self::overlay::Overlay;
