//! Room membership. <https://spec.matrix.org/v1.19/client-server-api/#room-membership>

pub mod ban;
pub(crate) mod blocking;
pub mod change;
pub mod forget;
pub(crate) mod guests;
mod identity;
pub(crate) mod inherit;
pub mod invite;
pub mod join;
pub mod joined_rooms;
pub mod kick;
pub mod knock;
pub mod leave;
pub(crate) mod notices;
pub mod onbind;
pub(crate) mod restricted;
pub mod set;
mod third_party;
pub(crate) mod threepid;
pub mod unban;
