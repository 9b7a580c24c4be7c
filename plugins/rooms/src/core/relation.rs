//! What an event says of another. Spec: client-server API, Forming relationships between events.

use ruma::canonical_json::{CanonicalJsonObject, CanonicalJsonValue};

/// The `m.relates_to` of an event, if it names a type and an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Such as `m.replace`.
    pub rel_type: String,
    /// Event id.
    pub event_id: String,
    /// The `key` of an annotation, else empty.
    pub key: String,
}

impl Relation {
    /// Reads a content.
    pub fn of(content: &CanonicalJsonObject) -> Option<Self> {
        let relates = content.get("m.relates_to")?.as_object()?;
        let text = |key: &str| relates.get(key).and_then(CanonicalJsonValue::as_str);
        let rel_type = text("rel_type")?.to_owned();
        let event_id = text("event_id")?.to_owned();
        // Longer ones cannot be event ids or types of anything.
        if rel_type.len() > 255 || event_id.len() > 255 {
            return None;
        }
        let key = match rel_type.as_str() {
            "m.annotation" => text("key").unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        Some(Self { rel_type, event_id, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::content::parse;

    #[test]
    fn annotation_has_its_key() {
        let content =
            parse(br#"{"m.relates_to":{"rel_type":"m.annotation","event_id":"$x","key":"+1"}}"#)
                .unwrap();
        let relation = Relation::of(&content).unwrap();
        assert_eq!((relation.rel_type.as_str(), relation.key.as_str()), ("m.annotation", "+1"));
    }

    #[test]
    fn plain_reply_is_no_relation() {
        let content = parse(br#"{"m.relates_to":{"m.in_reply_to":{"event_id":"$x"}}}"#).unwrap();
        assert_eq!(Relation::of(&content), None);
    }
}
