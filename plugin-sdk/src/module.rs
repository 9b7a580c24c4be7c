//! Answering hooks: one module for each interface of `tessera:hooks`, with the trait `Guest` to implement and its types.
//!
//! ```ignore
//! use tessera_sdk::module::event_policy::{Guest, Objection, Origin};
//!
//! struct Policy;
//!
//! impl Guest for Policy {
//!     fn check_event(event: String, origin: Origin) -> Result<(), Objection> {
//!         Ok(())
//!     }
//! }
//!
//! #[cfg(target_arch = "wasm32")]
//! tessera_sdk::export_event_policy!(Policy);
//! ```

/// To answer `tessera:hooks/event-policy`.
pub mod event_policy {
    pub use crate::bindings::event_policy::exports::tessera::hooks::event_policy::*;
}

/// To answer `tessera:hooks/event-rules`.
pub mod event_rules {
    pub use crate::bindings::event_rules::exports::tessera::hooks::event_rules::*;
}

/// To answer `tessera:hooks/presentation`.
pub mod presentation {
    pub use crate::bindings::presentation::exports::tessera::hooks::presentation::*;
}

/// To answer `tessera:hooks/room-policy`.
pub mod room_policy {
    pub use crate::bindings::room_policy::exports::tessera::hooks::room_policy::*;
}

/// To answer `tessera:hooks/room-rules`.
pub mod room_rules {
    pub use crate::bindings::room_rules::exports::tessera::hooks::room_rules::*;
}

/// To answer `tessera:hooks/account-policy`.
pub mod account_policy {
    pub use crate::bindings::account_policy::exports::tessera::hooks::account_policy::*;
}

/// To answer `tessera:hooks/account-rules`.
pub mod account_rules {
    pub use crate::bindings::account_rules::exports::tessera::hooks::account_rules::*;
}

/// To answer `tessera:hooks/login`.
pub mod login {
    pub use crate::bindings::login::exports::tessera::hooks::login::*;
}

/// To answer `tessera:hooks/registration-names`.
pub mod registration_names {
    pub use crate::bindings::registration_names::exports::tessera::hooks::registration_names::*;
}

/// To answer `tessera:hooks/account-validity`.
pub mod account_validity {
    pub use crate::bindings::account_validity::exports::tessera::hooks::account_validity::*;
}

/// To answer `tessera:hooks/rate-limits`.
pub mod rate_limits {
    pub use crate::bindings::rate_limits::exports::tessera::hooks::rate_limits::*;
}

/// To answer `tessera:hooks/directory-policy`.
pub mod directory_policy {
    pub use crate::bindings::directory_policy::exports::tessera::hooks::directory_policy::*;
}

/// To answer `tessera:hooks/presence-routes`.
pub mod presence_routes {
    pub use crate::bindings::presence_routes::exports::tessera::hooks::presence_routes::*;
}

/// To answer `tessera:hooks/media-policy`.
pub mod media_policy {
    pub use crate::bindings::media_policy::exports::tessera::hooks::media_policy::*;
}

/// To answer `tessera:hooks/media-limits`.
pub mod media_limits {
    pub use crate::bindings::media_limits::exports::tessera::hooks::media_limits::*;
}

/// To answer `tessera:hooks/background-pace`.
pub mod background_pace {
    pub use crate::bindings::background_pace::exports::tessera::hooks::background_pace::*;
}
