//! What clients ask: one endpoint, one file.

mod hierarchy;
mod mutual_rooms;
mod public_rooms;
mod room_summary;
mod search_users;

use tessera_sdk::http::Route;

/// Every route of the manifest.
pub(crate) const ROUTES: &[Route] = &[
    Route::new("public-rooms", public_rooms::get),
    Route::new("search-public-rooms", public_rooms::post),
    Route::new("hierarchy", hierarchy::handle),
    Route::new("room-summary", room_summary::handle),
    Route::new("room-summary-unstable", room_summary::unstable),
    Route::new("search-users", search_users::handle),
    Route::new("mutual-rooms", mutual_rooms::handle),
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
