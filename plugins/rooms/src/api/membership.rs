//! Room membership. <https://spec.matrix.org/v1.19/client-server-api/#room-membership>

pub mod change;
pub mod join;
mod restricted;
