//! Tenants: which there are, which of them are awake, and what each has.
//!
//! A tenant is known by its name for good. It stands in the descriptor (`[tenant]` or `[tenants]`), or it was made by
//! `tessera tenant add` and stands in the host database. One that nobody uses sleeps: it is an entry in a map then,
//! without instance, connection or open file.

pub(crate) mod archive;
mod change;
mod deliveries;
mod hosts;
mod offline;
mod registry;
pub(crate) mod report;
mod running;
mod settled;
mod sleep;
mod stores;
mod table;
mod wake;

pub(crate) use self::{
    offline::Offline,
    registry::{HOST, Registry},
    running::Running,
    settled::{Plugins, Versions},
    stores::{Stores, s3},
    table::{Asleep, Entry, Origin, Tenants},
    wake::{Host, begin},
};
