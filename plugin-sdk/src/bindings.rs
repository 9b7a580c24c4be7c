//! Generated from `wit/`. Types are used as they are; functions are reached through [`crate::backend`].
#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_imports,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "generated; the documentation is in wit/"
)]

mod hook_modules;

pub use hook_modules::*;

/// What the host gives: `tessera:host`.
pub mod host {
    wit_bindgen::generate!({
        path: "../wit/host",
        world: "tessera:host/capabilities",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
    pub use tessera::host::*;
}

/// Export of `tessera:plugin/http`.
pub mod http {
    wit_bindgen::generate!({
        path: "../wit/plugin",
        world: "tessera:plugin/http-plugin",
        pub_export_macro: true,
        export_macro_name: "export_http",
        default_bindings_module: "tessera_sdk::bindings::http",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

/// Export of `tessera:plugin/continuation`.
pub mod continuation {
    wit_bindgen::generate!({
        path: "../wit/plugin",
        world: "tessera:plugin/continuation-plugin",
        pub_export_macro: true,
        export_macro_name: "export_continuation",
        default_bindings_module: "tessera_sdk::bindings::continuation",
        additional_derives: [PartialEq, Clone],
        with: { "tessera:plugin/identity@0.1.0": super::http::tessera::plugin::identity },
        generate_all,
    });
}

/// Export of `tessera:plugin/authenticator`.
pub mod authenticator {
    wit_bindgen::generate!({
        path: "../wit/plugin",
        world: "tessera:plugin/authenticator-plugin",
        pub_export_macro: true,
        export_macro_name: "export_authenticator",
        default_bindings_module: "tessera_sdk::bindings::authenticator",
        additional_derives: [PartialEq, Clone],
        with: { "tessera:plugin/identity@0.1.0": super::http::tessera::plugin::identity },
        generate_all,
    });
}

/// Export of `tessera:plugin/consumer`.
pub mod consumer {
    wit_bindgen::generate!({
        path: "../wit/plugin",
        world: "tessera:plugin/consumer-plugin",
        pub_export_macro: true,
        export_macro_name: "export_consumer",
        default_bindings_module: "tessera_sdk::bindings::consumer",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

/// Export of `tessera:plugin/timer`.
pub mod timer {
    wit_bindgen::generate!({
        path: "../wit/plugin",
        world: "tessera:plugin/timer-plugin",
        pub_export_macro: true,
        export_macro_name: "export_timer",
        default_bindings_module: "tessera_sdk::bindings::timer",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

/// Export of `tessera:plugin/lifecycle`.
pub mod lifecycle {
    wit_bindgen::generate!({
        path: "../wit/plugin",
        world: "tessera:plugin/lifecycle-plugin",
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
        default_bindings_module: "tessera_sdk::bindings::lifecycle",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

/// Calls of `tessera:services`.
pub mod service_caller {
    wit_bindgen::generate!({
        path: "../wit/services",
        world: "tessera:services/service-caller",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
    pub use tessera::services::*;
}

/// Calls of `tessera:hooks`.
pub mod hook_caller {
    wit_bindgen::generate!({
        path: "../wit/hooks",
        world: "tessera:hooks/hook-caller",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
    pub use tessera::hooks::*;
}

/// Provides `tessera:services/accounts`.
pub mod accounts {
    wit_bindgen::generate!({
        path: "../wit/services",
        world: "tessera:services/accounts-provider",
        pub_export_macro: true,
        export_macro_name: "export_accounts",
        default_bindings_module: "tessera_sdk::bindings::accounts",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

/// Provides `tessera:services/rooms`.
pub mod rooms {
    wit_bindgen::generate!({
        path: "../wit/services",
        world: "tessera:services/rooms-provider",
        pub_export_macro: true,
        export_macro_name: "export_rooms",
        default_bindings_module: "tessera_sdk::bindings::rooms",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

/// Provides `tessera:services/push`.
pub mod push {
    wit_bindgen::generate!({
        path: "../wit/services",
        world: "tessera:services/push-provider",
        pub_export_macro: true,
        export_macro_name: "export_push",
        default_bindings_module: "tessera_sdk::bindings::push",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

/// Provides `tessera:services/presence`.
pub mod presence {
    wit_bindgen::generate!({
        path: "../wit/services",
        world: "tessera:services/presence-provider",
        pub_export_macro: true,
        export_macro_name: "export_presence",
        default_bindings_module: "tessera_sdk::bindings::presence",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

/// Provides `tessera:services/keys`.
pub mod keys {
    wit_bindgen::generate!({
        path: "../wit/services",
        world: "tessera:services/keys-provider",
        pub_export_macro: true,
        export_macro_name: "export_keys",
        default_bindings_module: "tessera_sdk::bindings::keys",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

/// Provides `tessera:services/thumbnails`.
pub mod thumbnails {
    wit_bindgen::generate!({
        path: "../wit/services",
        world: "tessera:services/thumbnails-provider",
        pub_export_macro: true,
        export_macro_name: "export_thumbnails",
        default_bindings_module: "tessera_sdk::bindings::thumbnails",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}
