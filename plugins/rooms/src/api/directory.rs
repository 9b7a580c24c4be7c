//! Room directory and aliases. <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>

pub mod aliases;
pub mod visibility;
