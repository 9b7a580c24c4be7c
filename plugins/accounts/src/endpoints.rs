//! One file for each endpoint.

pub mod admin_register;
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
pub mod login_types;
pub mod logout;
pub mod logout_all;
pub mod openid;
pub mod password;
pub mod profile;
pub mod profile_field;
pub mod profile_field_set;
pub mod refresh;
pub mod register;
pub mod register_available;
pub mod room_account_data;
pub mod tag_set;
pub mod tags;
pub mod third_parties;
pub mod versions;
pub mod well_known;
pub mod whoami;

use tessera_sdk::http::Route;

/// Every route of `plugin.toml` and its handler.
pub const ROUTES: &[Route] = &[
    Route::new("versions", versions::handle),
    Route::new("well-known", well_known::handle),
    Route::new("capabilities", capabilities::handle),
    Route::new("login-types", login_types::handle),
    Route::new("login", login::handle),
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
    Route::new("threepids", third_parties::threepids),
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
    Route::new("turn-server", third_parties::turn_server),
    Route::new("protocols", third_parties::protocols),
];
