//! Modules as files.
//!
//! [`build`] makes one file of a module's folder, whatever language it is written in. With the feature `packages`,
//! a file becomes a package that can be signed, kept as an archive and moved through registries.

pub mod build;
pub mod contract;
pub mod section;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}
