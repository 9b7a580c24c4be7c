//! Many server names in one process.
