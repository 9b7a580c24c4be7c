//! Facts about the edge and about fetch, over real connections.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod authentication;
mod bodies;
mod edges;
mod fake;
mod fetch;
mod fuzz;
mod hosts;
mod house;
mod many;
mod parking;
mod pieces;
mod routing;
mod shares;
mod stopping;
mod tls;
