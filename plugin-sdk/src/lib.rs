//! What makes a Tessera plug-in short.
//!
//! A plug-in is a `wasm32-wasip2` component with a `plugin.toml`. It exports interfaces of `tessera:plugin`
//! (with [`export_http!`] and its siblings), asks the host through [`storage`], [`bus`] and the other modules here, and
//! runs natively in its own tests: every call goes through a [`backend::Backend`], which is the WIT
//! bindings inside wasm and a test host outside.

pub mod backend;
pub mod bindings;
pub mod bus;
pub mod clock;
pub mod crypto;
pub mod http;
pub mod kv;
pub mod log;
pub mod matrix;
pub mod random;
pub mod services;
pub mod storage;
pub mod timers;

pub use bindings::{
    export_accounts, export_authenticator, export_consumer, export_event_policy, export_http,
    export_lifecycle, export_push, export_rooms, export_timer,
};
