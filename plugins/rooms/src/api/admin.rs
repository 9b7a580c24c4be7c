//! What administrators ask, in the forms of Synapse's admin API (see docs/administration.md). All of it is refused to others with
//! `M_FORBIDDEN`.

pub mod block;
pub mod delete_room;
pub mod delete_status;
pub mod extremities;
pub mod inside;
pub mod join;
pub mod make_admin;
mod page;
pub mod purge_history;
pub mod reports;
pub mod rooms;
