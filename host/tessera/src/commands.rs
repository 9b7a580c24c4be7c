//! One module for each command.

pub(crate) mod check;
pub(crate) mod nodes;
pub(crate) mod plugin;
pub(crate) mod reload;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod storage;
pub(crate) mod tenant;
pub(crate) mod topics;
