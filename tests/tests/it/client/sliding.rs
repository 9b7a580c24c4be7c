//! sliding
