//! sync_v2
