//! One module for each command.

pub(crate) mod check;
pub(crate) mod inspect;
pub(crate) mod nodes;
pub(crate) mod plugins;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod storage;
pub(crate) mod tenant;
pub(crate) mod topics;
