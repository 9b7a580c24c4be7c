//! Machine code: made by Cranelift once, then kept in a cache that is authenticated.

mod cache;
mod native;

pub(crate) use self::cache::{CodeCache, write_secret};
