//! A host for the native tests of plug-ins: milliseconds instead of a wasm build.
//!
//! Storage is the real crate with its fences, on a temporary SQLite file; migrations and grants come from the
//! manifests of the plug-ins under test. Time stands still until a test moves it, randomness is the same in
//! every run, wake-ups and messages are recorded, services and hooks are closures of the test.
//!
//! ```ignore
//! let host = TestHost::builder()
//!     .plugin(PluginUnderTest {
//!         name: "greeter",
//!         manifest: include_str!("../../plugin.toml"),
//!         migrations: &[("0001_init", include_str!("../../migrations/0001_init.sql"))],
//!     })
//!     .start();
//! let answer = host.request("GET", "hello").param("name", "a").user("@a:hs1").send::<Plugin>();
//! assert_eq!(answer.json()["hello"], "a");
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "for tests only: what cannot go on stops the test and says why"
)]

mod answer;
mod backend;
mod builder;
mod convert;
mod crypto;
mod deliver;
mod hooks;
mod host;
mod memory;
mod request;
mod services;
mod wakes;

pub use answer::TestAnswer;
pub use builder::{Builder, PluginUnderTest};
pub use hooks::Hooks;
pub use host::TestHost;
pub use request::TestRequest;
pub use services::Services;
