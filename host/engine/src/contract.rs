//! What a plug-in's interfaces look like: types as plain data, so that they can be compared, checked
//! and named in messages.

mod diff;
mod json;
mod rules;
mod shape;

pub(crate) use self::json::{from_json, to_json};
pub use self::{
    rules::{Combine, check_hook, check_service},
    shape::{Function, Interface, Shape},
};
