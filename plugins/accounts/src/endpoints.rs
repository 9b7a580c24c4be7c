//! One file for each endpoint.

pub mod admin_devices;
pub mod admin_notices;
pub mod admin_redact;
pub mod admin_register;
pub mod admin_registration_tokens;
pub mod admin_restrict;
pub mod admin_user_data;
pub mod admin_user_state;
pub mod admin_users;
pub mod admin_whois;
pub mod auth_fallback;
pub mod capabilities;
pub mod deactivate;
pub mod device;
pub mod device_delete;
pub mod device_rename;
pub mod devices;
pub mod devices_delete;
pub mod filter;
pub mod filter_create;
pub mod global_account_data;
pub mod login;
pub mod login_get_token;
pub mod login_page;
pub mod login_types;
pub mod logout;
pub mod logout_all;
pub mod openid;
pub mod openid_userinfo;
pub mod password;
pub mod profile;
pub mod profile_field;
pub mod profile_field_set;
pub mod refresh;
pub mod register;
pub mod register_available;
pub mod register_guest;
pub mod registration_token_validity;
pub mod room_account_data;
pub mod tag_set;
pub mod tags;
pub mod third_parties;
pub mod threepid_confirm;
pub mod threepid_request;
pub mod threepids;
pub mod turn_server;
pub mod versions;
pub mod well_known;
pub mod whoami;

use tessera_sdk::http::Route;

/// Every route of `plugin.toml` and its handler.
pub const ROUTES: &[Route] = &[
    Route::new("versions", versions::handle),
    Route::new("well-known", well_known::handle),
    Route::new("support", well_known::support),
    Route::new("policy-server", well_known::policy_server),
    Route::new("capabilities", capabilities::handle),
    Route::new("login-types", login_types::handle),
    Route::new("login", login::handle),
    Route::new("login-page", login_page::handle),
    Route::new("login-get-token", login_get_token::handle),
    Route::new("register", register::handle),
    Route::new("admin-nonce", admin_register::nonce),
    Route::new("admin-register", admin_register::register),
    Route::new("register-available", register_available::handle),
    Route::new("refresh", refresh::handle),
    Route::new("logout", logout::handle),
    Route::new("logout-all", logout_all::handle),
    Route::new("whoami", whoami::handle),
    Route::new("password", password::handle),
    Route::new("deactivate", deactivate::handle),
    Route::new("threepids", threepids::list),
    Route::new("threepids-add-old", threepids::add_old),
    Route::new("threepids-add", threepids::add),
    Route::new("threepids-bind", threepids::bind),
    Route::new("threepids-unbind", threepids::unbind),
    Route::new("threepids-delete", threepids::delete),
    Route::new("register-email", threepid_request::register),
    Route::new("threepids-email", threepid_request::add),
    Route::new("password-email", threepid_request::password),
    Route::new("msisdn", threepid_request::msisdn),
    Route::new("auth-page", auth_fallback::show),
    Route::new("auth-page-submit", auth_fallback::submit),
    Route::new("email-link", threepid_confirm::show),
    Route::new("email-confirm", threepid_confirm::confirm),
    Route::new("devices", devices::handle),
    Route::new("device", device::handle),
    Route::new("device-rename", device_rename::handle),
    Route::new("device-delete", device_delete::handle),
    Route::new("devices-delete", devices_delete::handle),
    Route::new("profile", profile::handle),
    Route::new("profile-field", profile_field::handle),
    Route::new("profile-field-set", profile_field_set::set),
    Route::new("profile-field-delete", profile_field_set::delete),
    Route::new("account-data", global_account_data::get),
    Route::new("account-data-set", global_account_data::set),
    Route::new("room-account-data", room_account_data::get),
    Route::new("room-account-data-set", room_account_data::set),
    Route::new("tags", tags::handle),
    Route::new("tag-set", tag_set::set),
    Route::new("tag-delete", tag_set::delete),
    Route::new("filter-create", filter_create::handle),
    Route::new("filter", filter::handle),
    Route::new("openid", openid::handle),
    Route::new("openid-userinfo", openid_userinfo::handle),
    Route::new("turn-server", turn_server::handle),
    Route::new("protocols", third_parties::protocols),
    Route::new("bridged", third_parties::unknown),
    Route::new("bridged-location", third_parties::location),
    Route::new("bridged-user", third_parties::user),
    Route::new("admin-locked", admin_restrict::locked),
    Route::new("admin-lock", admin_restrict::lock),
    Route::new("admin-suspended", admin_restrict::suspended),
    Route::new("admin-suspend", admin_restrict::suspend),
    Route::new("whois", admin_whois::handle),
    Route::new("token-validity", registration_token_validity::handle),
    Route::new("admin-tokens", admin_registration_tokens::list),
    Route::new("admin-token-new", admin_registration_tokens::new),
    Route::new("admin-token", admin_registration_tokens::get),
    Route::new("admin-token-update", admin_registration_tokens::update),
    Route::new("admin-token-delete", admin_registration_tokens::delete),
    Route::new("admin-version", admin_users::version),
    Route::new("admin-name-available", admin_users::available),
    Route::new("admin-users", admin_users::list),
    Route::new("admin-users-v3", admin_users::list_v3),
    Route::new("admin-user", admin_users::get),
    Route::new("admin-user-put", admin_users::put),
    Route::new("admin-by-address", admin_users::by_address),
    Route::new("admin-deactivate", admin_user_state::deactivate),
    Route::new("admin-reset-password", admin_user_state::reset_password),
    Route::new("admin-suspension", admin_user_state::suspend),
    Route::new("admin-is-admin", admin_user_state::is_admin),
    Route::new("admin-set-admin", admin_user_state::set_admin),
    Route::new("admin-shadow-ban", admin_user_state::shadow_ban),
    Route::new("admin-rate", admin_user_state::rate),
    Route::new("admin-rate-set", admin_user_state::set_rate),
    Route::new("admin-rate-reset", admin_user_state::reset_rate),
    Route::new("admin-login", admin_user_state::login),
    Route::new("admin-cross-signing", admin_user_state::allow_cross_signing),
    Route::new("admin-joined-rooms", admin_user_data::joined_rooms),
    Route::new("admin-memberships", admin_user_data::memberships),
    Route::new("admin-account-data", admin_user_data::account_data)
        .in_pieces(admin_user_data::account_data_next),
    Route::new("admin-pushers", admin_user_data::pushers),
    Route::new("admin-devices", admin_devices::list),
    Route::new("admin-device-new", admin_devices::make),
    Route::new("admin-devices-delete", admin_devices::remove_all),
    Route::new("admin-device", admin_devices::get),
    Route::new("admin-device-rename", admin_devices::rename),
    Route::new("admin-device-delete", admin_devices::remove),
    Route::new("admin-redact", admin_redact::begin),
    Route::new("admin-redact-status", admin_redact::status),
    Route::new("admin-notice", admin_notices::post),
    Route::new("admin-notice-put", admin_notices::put),
];
