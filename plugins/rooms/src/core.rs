//! What an event is and whether it may be: pure functions without a host.
//!
//! Nothing here reads storage, time or randomness, so that every decision can be replayed from a recording,
//! natively or in wasm, and comes out the same.

pub mod acl;
pub mod build;
pub mod content;
pub mod decide;
pub mod event;
pub mod incoming;
pub mod power;
pub mod relation;
pub mod resolve;
pub mod state;
pub mod version;
pub mod visibility;

pub use build::{Built, Draft, Extremity, Place, Signer};
pub use decide::{Decision, decide, decide_local, reads};
pub use event::StoredEvent;
pub use relation::Relation;
pub use state::State;
pub use version::Version;
