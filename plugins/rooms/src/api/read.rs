//! Getting events for a room. <https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room>

pub(super) mod client_event;
pub mod event;
pub mod joined_members;
pub mod members;
pub mod state;
pub mod state_event;
pub(super) mod states;
