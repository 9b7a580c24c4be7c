//! The engine: loads plug-ins, links them to the host and to one another, and runs their calls in
//! sandboxes that are limited, pooled and supervised.

pub mod api;
pub mod bindings;
