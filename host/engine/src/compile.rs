//! Machine code: made by Cranelift once, then kept in a cache that is authenticated.

mod cache;
mod jail;
mod native;

pub(crate) use self::cache::{CodeCache, write_secret};
pub use self::jail::{ChildCompiler, Compiler, compile_as_child};
