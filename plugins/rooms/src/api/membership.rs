//! Room membership. <https://spec.matrix.org/v1.19/client-server-api/#room-membership>

pub mod ban;
pub mod change;
pub mod forget;
pub mod invite;
pub mod join;
pub mod joined_rooms;
pub mod kick;
pub mod knock;
pub mod leave;
mod restricted;
pub mod set;
pub mod unban;
