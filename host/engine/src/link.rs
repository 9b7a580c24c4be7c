//! How plug-ins meet: who provides what to whom, checked when they are loaded, and the calls between them.

mod call;
mod hook;
mod refusal;
mod resolve;

pub use self::resolve::LinkError;
pub(crate) use self::{
    call::{Here, Link, Provider, Target, Tried, define},
    resolve::{Binding, Found, resolve},
};
