//! Facts about the bus between nodes, on real NATS servers.

mod calls;
mod joining;
mod support;
mod topics;
mod wakes;
