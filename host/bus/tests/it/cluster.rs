//! Facts about the bus between nodes, on real NATS servers.

mod calls;
mod joining;
mod secure;
mod support;
mod topics;
mod wakes;
mod whole;
