//! Who may see an event. Spec: client-server API, Room history visibility.

/// Setting of `m.room.history_visibility`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everyone, without joining.
    WorldReadable,
    /// Members see all, what came before them included. The default.
    Shared,
    /// Members see what came since their invite.
    Invited,
    /// Members see what came since their join.
    Joined,
}

impl Visibility {
    /// From the content's `history_visibility`; unknown and absent are `shared`.
    pub fn named(name: Option<&str>) -> Self {
        match name {
            Some("world_readable") => Self::WorldReadable,
            Some("invited") => Self::Invited,
            Some("joined") => Self::Joined,
            _ => Self::Shared,
        }
    }

    /// As in the content's `history_visibility`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WorldReadable => "world_readable",
            Self::Shared => "shared",
            Self::Invited => "invited",
            Self::Joined => "joined",
        }
    }

    /// Whether a user may see an event that came under this setting.
    ///
    /// `then` is the user's membership at the event, `joined_since` whether they joined at any time after it.
    pub fn allows(self, then: &str, joined_since: bool) -> bool {
        match self {
            Self::WorldReadable => true,
            _ if then == "join" => true,
            Self::Shared => joined_since,
            Self::Invited => then == "invite",
            Self::Joined => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Visibility::{self, *};

    #[test]
    fn table_of_the_specification() {
        let cases: [(Visibility, &str, bool, bool); 10] = [
            (WorldReadable, "leave", false, true),
            (Shared, "join", false, true),
            (Shared, "leave", true, true),
            (Shared, "leave", false, false),
            (Shared, "invite", false, false),
            (Invited, "invite", false, true),
            (Invited, "leave", true, false),
            (Joined, "join", false, true),
            (Joined, "invite", true, false),
            (Joined, "leave", true, false),
        ];
        for (visibility, then, joined_since, expected) in cases {
            assert_eq!(
                visibility.allows(then, joined_since),
                expected,
                "{visibility:?} {then} {joined_since}"
            );
        }
    }
}
