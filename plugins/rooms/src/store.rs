//! The tables: what is read for a decision, and what a decision writes.

pub mod new_event;
pub mod room;
pub mod state_at;
pub mod view;
pub mod write;

pub use new_event::{NewEvent, Profile};
pub use room::RoomRow;
pub use view::{Needs, View};
