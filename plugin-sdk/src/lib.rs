//! What makes a Tessera plug-in short.
//!
//! A plug-in is a `wasm32-wasip2` component with a `plugin.toml`. It exports interfaces of `tessera:plugin`
//! (with [`export_http!`] and its siblings), asks the host through [`storage`], [`bus`] and the other modules here, and
//! runs natively in its own tests: every call goes through a [`backend::Backend`], which is the WIT
//! bindings inside wasm and a test host outside.

pub mod backend;
pub mod bindings;
pub mod blobs;
pub mod bus;
pub mod cache;
pub mod clock;
pub mod config;
pub mod consumer;
pub mod crypto;
pub mod digest;
pub mod fetch;
pub mod hooks;
pub mod http;
pub mod limits;
pub mod log;
pub mod mail;
pub mod matrix;
pub mod module;
pub mod presentation;
pub mod random;
pub mod services;
pub mod storage;
pub mod timers;

pub use bindings::account_policy::export_account_policy;
pub use bindings::account_rules::export_account_rules;
pub use bindings::account_validity::export_account_validity;
pub use bindings::accounts::export_accounts;
pub use bindings::authenticator::export_authenticator;
pub use bindings::background_pace::export_background_pace;
pub use bindings::consumer::export_consumer;
pub use bindings::continuation::export_continuation;
pub use bindings::directory_policy::export_directory_policy;
pub use bindings::event_policy::export_event_policy;
pub use bindings::event_rules::export_event_rules;
pub use bindings::http::export_http;
pub use bindings::keys::export_keys;
pub use bindings::lifecycle::export_lifecycle;
pub use bindings::login::export_login;
pub use bindings::media_limits::export_media_limits;
pub use bindings::media_policy::export_media_policy;
pub use bindings::presence::export_presence;
pub use bindings::presence_routes::export_presence_routes;
pub use bindings::presentation::export_presentation;
pub use bindings::push::export_push;
pub use bindings::rate_limits::export_rate_limits;
pub use bindings::registration_names::export_registration_names;
pub use bindings::room_policy::export_room_policy;
pub use bindings::room_rules::export_room_rules;
pub use bindings::rooms::export_rooms;
pub use bindings::thumbnails::export_thumbnails;
pub use bindings::timer::export_timer;
