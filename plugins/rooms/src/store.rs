//! The tables: what is read for a decision, and what a decision writes.

pub mod about;
pub mod auth;
pub mod idle;
pub mod late;
pub mod new_event;
pub mod place;
pub mod purge;
pub mod room;
pub mod state_at;
pub mod states;
pub mod view;
pub mod write;

pub use new_event::{NewEvent, Profile};
pub use room::RoomRow;
pub use view::{Needs, View};
