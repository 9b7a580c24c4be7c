//! Modules as files.
//!
//! [`build`] makes one file of a module's folder, whatever language it is written in. With the feature `packages`,
//! a file becomes a package that can be signed, kept as an archive and moved through registries.

#[cfg(feature = "packages")]
mod archive;
pub mod build;
pub mod contract;
#[cfg(feature = "packages")]
mod digest;
#[cfg(feature = "packages")]
mod error;
#[cfg(feature = "packages")]
mod keys;
#[cfg(feature = "packages")]
mod oci;
#[cfg(feature = "packages")]
mod package;
#[cfg(feature = "packages")]
pub mod registry;
pub mod section;
#[cfg(feature = "packages")]
pub mod template;

#[cfg(feature = "packages")]
pub use self::{
    error::PackageError,
    keys::{PublicKey, SecretKey, Trust, TrustedKey},
    package::{Package, Provenance},
};

mod embedded {
    #![cfg_attr(
        not(feature = "packages"),
        expect(dead_code, reason = "templates are for packages")
    )]
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}
