//! The endpoints, one file each.

mod actions;
mod enabled;
mod notifications;
mod pushers;
mod pushrules;
pub(crate) mod rule;
mod unsubscribe;

use tessera_sdk::http::Route;

/// One entry for each route of `plugin.toml`.
pub(crate) const ROUTES: &[Route] = &[
    Route::new("rules", pushrules::all),
    Route::new("rules-global", pushrules::global),
    Route::new("rules-odd", pushrules::odd),
    Route::new("rule", rule::handle),
    Route::new("rule-enabled", enabled::handle),
    Route::new("rule-actions", actions::handle),
    Route::new("pushers", pushers::list),
    Route::new("pushers-set", pushers::set),
    Route::parking("notifications", notifications::handle, notifications::resume),
    Route::new("unsubscribe", unsubscribe::handle),
];
