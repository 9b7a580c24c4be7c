//! Exports of `tessera:hooks`, one module for each interface. The types that several hooks share are those of
//! [`super::hook_caller`].

macro_rules! answers {
    ($name:ident, $world:literal, $macro:literal, $bindings:literal $(, $with:tt)?) => {
        #[doc = concat!("Answers a hook: `", $world, "`.")]
        pub mod $name {
            wit_bindgen::generate!({
                path: "../wit/hooks",
                world: $world,
                pub_export_macro: true,
                export_macro_name: $macro,
                default_bindings_module: $bindings,
                additional_derives: [PartialEq, Clone],
                $(with: $with,)?
                generate_all,
            });
        }
    };
}

answers!(
    event_policy,
    "tessera:hooks/event-policy-module",
    "export_event_policy",
    "tessera_sdk::bindings::event_policy",
    { "tessera:hooks/types@0.1.0": crate::bindings::hook_caller::tessera::hooks::types }
);
answers!(
    event_rules,
    "tessera:hooks/event-rules-module",
    "export_event_rules",
    "tessera_sdk::bindings::event_rules",
    { "tessera:hooks/types@0.1.0": crate::bindings::hook_caller::tessera::hooks::types }
);
answers!(
    presentation,
    "tessera:hooks/presentation-module",
    "export_presentation",
    "tessera_sdk::bindings::presentation"
);
answers!(
    room_policy,
    "tessera:hooks/room-policy-module",
    "export_room_policy",
    "tessera_sdk::bindings::room_policy",
    { "tessera:hooks/types@0.1.0": crate::bindings::hook_caller::tessera::hooks::types }
);
answers!(
    room_rules,
    "tessera:hooks/room-rules-module",
    "export_room_rules",
    "tessera_sdk::bindings::room_rules",
    { "tessera:hooks/types@0.1.0": crate::bindings::hook_caller::tessera::hooks::types }
);
answers!(
    account_policy,
    "tessera:hooks/account-policy-module",
    "export_account_policy",
    "tessera_sdk::bindings::account_policy",
    { "tessera:hooks/types@0.1.0": crate::bindings::hook_caller::tessera::hooks::types }
);
answers!(
    account_rules,
    "tessera:hooks/account-rules-module",
    "export_account_rules",
    "tessera_sdk::bindings::account_rules",
    { "tessera:hooks/types@0.1.0": crate::bindings::hook_caller::tessera::hooks::types }
);
answers!(
    login,
    "tessera:hooks/login-module",
    "export_login",
    "tessera_sdk::bindings::login",
    { "tessera:hooks/types@0.1.0": crate::bindings::hook_caller::tessera::hooks::types }
);
answers!(
    registration_names,
    "tessera:hooks/registration-names-module",
    "export_registration_names",
    "tessera_sdk::bindings::registration_names"
);
answers!(
    account_validity,
    "tessera:hooks/account-validity-module",
    "export_account_validity",
    "tessera_sdk::bindings::account_validity"
);
answers!(
    rate_limits,
    "tessera:hooks/rate-limits-module",
    "export_rate_limits",
    "tessera_sdk::bindings::rate_limits"
);
answers!(
    directory_policy,
    "tessera:hooks/directory-policy-module",
    "export_directory_policy",
    "tessera_sdk::bindings::directory_policy",
    { "tessera:hooks/types@0.1.0": crate::bindings::hook_caller::tessera::hooks::types }
);
answers!(
    presence_routes,
    "tessera:hooks/presence-routes-module",
    "export_presence_routes",
    "tessera_sdk::bindings::presence_routes"
);
answers!(
    media_policy,
    "tessera:hooks/media-policy-module",
    "export_media_policy",
    "tessera_sdk::bindings::media_policy",
    { "tessera:hooks/types@0.1.0": crate::bindings::hook_caller::tessera::hooks::types }
);
answers!(
    media_limits,
    "tessera:hooks/media-limits-module",
    "export_media_limits",
    "tessera_sdk::bindings::media_limits",
    { "tessera:hooks/types@0.1.0": crate::bindings::hook_caller::tessera::hooks::types }
);
answers!(
    background_pace,
    "tessera:hooks/background-pace-module",
    "export_background_pace",
    "tessera_sdk::bindings::background_pace"
);
