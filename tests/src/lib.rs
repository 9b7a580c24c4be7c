//! What the end-to-end, crash and load tests share: starting and killing a server, talking to it as a client, and
//! reading what the kernel counts for it.
//!
//! Nothing here knows how the server is built: it is started as an operator would start it and spoken to over HTTP, so
//! the same tests and loads run against any homeserver.

pub mod api;
pub mod binary;
pub mod calls;
pub mod cluster;
pub mod front;
pub mod gateway;
pub mod http;
pub mod mail;
pub mod proc;
pub mod push;
pub mod random;
pub mod raw;
pub mod script;
pub mod server;
pub mod version;
