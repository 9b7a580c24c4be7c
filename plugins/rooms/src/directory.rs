//! Aliases of this server.

use tessera_sdk::matrix::Error;
use tessera_sdk::params;
use tessera_sdk::storage;

use crate::ids;

/// The room that an alias leads to, if it is known here.
///
/// # Errors
/// `M_INVALID_PARAM` if it is no alias; storage.
pub fn room_of(alias: &str) -> Result<Option<String>, Error> {
    ids::alias(alias)?;
    let rows =
        storage::query("SELECT room_id FROM rooms_aliases WHERE alias = $1", params![alias])?;
    Ok(rows.first::<(String,)>()?.map(|(room_id,)| room_id))
}

/// A room id as it is, or the room of an alias.
///
/// # Errors
/// `M_INVALID_PARAM` if it is neither, `M_NOT_FOUND` if the alias is unknown.
pub fn resolve(id_or_alias: &str) -> Result<String, Error> {
    if id_or_alias.starts_with('#') {
        room_of(id_or_alias)?.ok_or_else(|| Error::not_found("the alias is unknown"))
    } else {
        ids::room(id_or_alias).map(str::to_owned)
    }
}
