//! Room versions and their rules.

use ruma::RoomVersionId;
use ruma::room_version_rules::{
    EventIdFormatVersion, EventsReferenceFormatVersion, RoomVersionRules,
};

/// A room version whose rules are known: 1 to 12. Spec: Room versions.
#[derive(Debug, Clone)]
pub struct Version {
    name: String,
    rules: RoomVersionRules,
}

/// All supported versions, oldest first.
pub const SUPPORTED: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

impl Version {
    /// The version of this name, if it is supported.
    pub fn named(name: &str) -> Option<Self> {
        if !SUPPORTED.contains(&name) {
            return None;
        }
        let rules = RoomVersionId::try_from(name).ok()?.rules()?;
        Some(Self { name: name.to_owned(), rules })
    }

    /// Such as `12`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    pub fn rules(&self) -> &RoomVersionRules {
        &self.rules
    }

    /// The room's id is the hash of its create event, and its creators' power has no bound (12 and later).
    pub fn room_id_is_hash(&self) -> bool {
        self.rules.authorization.room_create_event_id_as_room_id
    }

    /// The server chooses event ids (1 and 2); later they are hashes.
    pub fn chooses_event_ids(&self) -> bool {
        self.rules.event_id_format == EventIdFormatVersion::V1
    }

    /// Events are referred to as `[id, {"sha256": hash}]` (1 and 2).
    pub fn refers_with_hashes(&self) -> bool {
        self.rules.events_reference_format == EventsReferenceFormatVersion::V1
    }

    /// What a redaction redacts stands in its content (11 and later) rather than beside it.
    pub fn redacts_in_content(&self) -> bool {
        self.rules.redaction.content_field_redacts
    }
}
