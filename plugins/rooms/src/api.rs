//! What clients ask: one endpoint, one file, in the order of the client-server specification.

pub mod admin;
pub mod body;
pub mod create;
pub mod delayed;
pub mod directory;
pub mod membership;
pub mod read;
pub mod report;
pub mod send;
pub mod upgrade;

use tessera_sdk::http::Route;

/// Every route of the manifest.
pub const ROUTES: &[Route] = &[
    Route::new("send", send::message::handle),
    Route::new("put-state", send::state::handle),
    Route::new("redact", send::redact::handle),
    Route::new("event", read::event::handle),
    Route::new("get-state-event", read::state_event::handle),
    Route::new("get-state", read::state::handle),
    Route::new("members", read::members::handle),
    Route::new("joined-members", read::joined_members::handle),
    Route::new("create-room", create::handle),
    Route::new("join", membership::join::by_id_or_alias),
    Route::new("join-room", membership::join::by_id),
    Route::new("knock", membership::knock::handle),
    Route::new("leave", membership::leave::handle),
    Route::new("invite", membership::invite::handle),
    Route::new("kick", membership::kick::handle),
    Route::new("ban", membership::ban::handle),
    Route::new("unban", membership::unban::handle),
    Route::new("forget", membership::forget::handle),
    Route::new("joined-rooms", membership::joined_rooms::handle),
    Route::new("upgrade", upgrade::handle),
    Route::new("room-aliases", directory::aliases::of_room),
    Route::new("get-alias", directory::aliases::get),
    Route::new("put-alias", directory::aliases::put),
    Route::new("delete-alias", directory::aliases::delete),
    Route::new("get-visibility", directory::visibility::get),
    Route::new("put-visibility", directory::visibility::put),
    Route::new("send-plain", send::message::plain),
    Route::new("redact-plain", send::redact::plain),
    Route::new("onbind", membership::onbind::handle),
    Route::new("report-room", report::room),
    Route::new("report-event", report::event),
    Route::new("report-user", report::user),
    Route::new("delayed-events", delayed::list),
    Route::new("update-delayed-event", delayed::update),
    Route::new("admin-purge-history", admin::purge_history::begin),
    Route::new("admin-purge-history-status", admin::purge_history::status),
    Route::new("admin-delete-room", admin::delete_room::at_once),
    Route::new("admin-delete-room-later", admin::delete_room::later),
    Route::new("admin-delete-status-of-room", admin::delete_status::of_room),
    Route::new("admin-delete-status", admin::delete_status::one),
    Route::new("admin-get-block", admin::block::get),
    Route::new("admin-put-block", admin::block::put),
    Route::new("admin-rooms", admin::rooms::list),
    Route::new("admin-room", admin::rooms::one),
    Route::new("admin-room-members", admin::inside::members),
    Route::new("admin-room-state", admin::inside::state),
    Route::new("admin-room-timestamp", admin::inside::timestamp),
    Route::new("admin-event", admin::inside::event),
    Route::new("admin-join", admin::join::handle),
    Route::new("admin-make-room-admin", admin::make_admin::handle),
    Route::new("admin-get-extremities", admin::extremities::get),
    Route::new("admin-delete-extremities", admin::extremities::delete),
    Route::new("admin-list-reports-of-events", admin::reports::list),
    Route::new("admin-report-of-events", admin::reports::one),
    Route::new("admin-delete-report-of-events", admin::reports::delete),
    Route::new("admin-list-reports-of-users", admin::reports::list),
    Route::new("admin-report-of-users", admin::reports::one),
    Route::new("admin-delete-report-of-users", admin::reports::delete),
    Route::new("admin-list-reports-of-rooms", admin::reports::list),
    Route::new("admin-report-of-rooms", admin::reports::one),
    Route::new("admin-delete-report-of-rooms", admin::reports::delete),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn routes_are_those_of_the_manifest() {
        let manifest = include_str!("../plugin.toml");
        let declared: BTreeSet<&str> = manifest
            .lines()
            .filter_map(|line| line.strip_prefix("id = \"")?.strip_suffix('"'))
            .collect();
        let answered: BTreeSet<&str> = super::ROUTES.iter().map(|route| route.id()).collect();
        assert_eq!(declared, answered);
    }
}
