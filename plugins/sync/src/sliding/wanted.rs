//! Which state of a room a client wants, in both forms that requests have.
//! MSC4186: `RequiredStateRequest`; MSC3575: `required_state`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

const MEMBER: &str = "m.room.member";
/// A state key that stands for whoever the timeline speaks of.
const LAZY: &str = "$LAZY";
/// A state key that stands for the user who asks.
const ME: &str = "$ME";

/// Type and state key; none stands for any.
type Element = (Option<String>, Option<String>);

/// One request for state.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Wanted {
    #[serde(rename = "i", default, skip_serializing_if = "BTreeSet::is_empty")]
    include: BTreeSet<Element>,
    #[serde(rename = "x", default, skip_serializing_if = "BTreeSet::is_empty")]
    exclude: BTreeSet<Element>,
    /// Members of whom the timeline speaks, and no wildcard fits members.
    #[serde(rename = "z", default, skip_serializing_if = "std::ops::Not::not")]
    lazy: bool,
}

/// An element as requests of MSC4186 name it.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    #[serde(rename = "type")]
    kind: Option<String>,
    state_key: Option<String>,
}

/// `required_state` as it comes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Required {
    /// MSC3575: pairs of type and state key.
    Pairs(Vec<(String, String)>),
    /// MSC4186.
    Elements {
        include: Option<Vec<Named>>,
        exclude: Option<Vec<Named>>,
        lazy_members: Option<bool>,
    },
}

impl Required {
    /// The same for both forms. `user`: who asks.
    pub(super) fn wanted(self, user: &str) -> Wanted {
        match self {
            Self::Pairs(pairs) => {
                let mut wanted = Wanted::default();
                for (kind, key) in pairs {
                    if kind == MEMBER && key == LAZY {
                        wanted.lazy = true;
                        continue;
                    }
                    let key = if key == ME { user.to_owned() } else { key };
                    let any = |text: String| (text != "*").then_some(text);
                    wanted.include.insert((any(kind), any(key)));
                }
                wanted
            }
            Self::Elements { include, exclude, lazy_members } => {
                let elements = |named: Option<Vec<Named>>| {
                    named.unwrap_or_default().into_iter().map(|n| (n.kind, n.state_key)).collect()
                };
                Wanted {
                    include: elements(include),
                    exclude: elements(exclude),
                    lazy: lazy_members.unwrap_or(false),
                }
            }
        }
    }
}

fn fits(element: &Element, kind: &str, key: &str) -> bool {
    element.0.as_deref().is_none_or(|wanted| wanted == kind)
        && element.1.as_deref().is_none_or(|wanted| wanted == key)
}

impl Wanted {
    fn matches(&self, kind: &str, key: &str) -> bool {
        let included = |element: &Element| {
            fits(element, kind, key) && !(self.lazy && kind == MEMBER && element.1.is_none())
        };
        self.include.iter().any(included) && !self.exclude.iter().any(|e| fits(e, kind, key))
    }

    /// Whether this asks for all that `other` asks for by one of its elements.
    fn covers(&self, element: &Element, other: &Self) -> bool {
        let members = element.0.as_deref().is_none_or(|kind| kind == MEMBER);
        let as_lazy = !self.lazy || other.lazy || !members || element.1.is_some();
        as_lazy
            && self.exclude.is_subset(&other.exclude)
            && self.include.iter().any(|own| {
                (own.0.is_none() || own.0 == element.0) && (own.1.is_none() || own.1 == element.1)
            })
    }
}

/// What to read of a room's state so that nothing wanted is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reads {
    /// Every type but members.
    pub all: bool,
    /// These types, where it is not every one.
    pub types: BTreeSet<String>,
    /// Every member.
    pub members: bool,
    /// These members.
    pub named: BTreeSet<String>,
}

/// What is told of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Config {
    /// The most events of a timeline.
    #[serde(rename = "l")]
    pub limit: usize,
    /// State that any of these asks for.
    #[serde(rename = "w", default)]
    pub wanted: BTreeSet<Wanted>,
}

impl Config {
    /// Adds what another rule asks for.
    pub(super) fn add(&mut self, other: &Self) {
        self.limit = self.limit.max(other.limit);
        self.wanted.extend(other.wanted.iter().cloned());
    }

    /// Whether a state event is wanted for itself.
    pub(super) fn wants(&self, kind: &str, key: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted.matches(kind, key))
    }

    /// Whether members come with the timeline that speaks of them.
    pub(super) fn lazy(&self) -> bool {
        self.wanted.iter().any(|wanted| wanted.lazy) && !self.reads().members
    }

    /// Whether state is wanted that `before` did not ask for.
    pub(super) fn more_state_than(&self, before: &Self) -> bool {
        self.wanted.iter().any(|wanted| {
            wanted
                .include
                .iter()
                .any(|element| !before.wanted.iter().any(|old| old.covers(element, wanted)))
        })
    }

    /// What to read.
    pub(super) fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        for wanted in &self.wanted {
            for (kind, key) in &wanted.include {
                match kind.as_deref() {
                    Some(MEMBER) => {}
                    Some(kind) => {
                        reads.types.insert(kind.to_owned());
                        continue;
                    }
                    None => reads.all = true,
                }
                match key {
                    Some(key) => {
                        reads.named.insert(key.clone());
                    }
                    None => reads.members |= !wanted.lazy,
                }
            }
        }
        reads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(required: &str) -> Config {
        let required: Required = serde_json::from_str(required).unwrap();
        Config { limit: 1, wanted: BTreeSet::from([required.wanted("@me:h")]) }
    }

    #[test]
    fn pairs_know_wildcards_me_and_lazy() {
        let config = config(
            r#"[["m.room.create",""],["m.space.child","*"],["m.room.member","$ME"],["m.room.member","$LAZY"]]"#,
        );
        assert!(config.wants("m.room.create", ""));
        assert!(!config.wants("m.room.create", "x"));
        assert!(config.wants("m.space.child", "!any"));
        assert!(config.wants("m.room.member", "@me:h"));
        assert!(!config.wants("m.room.member", "@other:h"));
        assert!(config.lazy());
        let reads = config.reads();
        assert!(!reads.all && !reads.members);
        assert_eq!(Vec::from_iter(reads.named), ["@me:h"]);
    }

    #[test]
    fn elements_include_and_exclude() {
        let config =
            config(r#"{"include":[{}],"exclude":[{"type":"m.room.create","state_key":""}]}"#);
        assert!(config.wants("m.room.topic", ""));
        assert!(!config.wants("m.room.create", ""));
        assert!(config.wants("m.room.member", "@a:h"));
        assert!(!config.lazy() && config.reads().members);
        let key = super::tests::config(r#"{"include":[{"state_key":"k"}]}"#);
        assert!(key.wants("t", "k") && !key.wants("t", "j"));
    }

    #[test]
    fn lazy_members_fit_no_wildcard() {
        for required in [
            r#"{"include":[{},{"type":"m.room.member","state_key":"@a:h"}],"lazy_members":true}"#,
            r#"[["*","*"],["m.room.member","@a:h"],["m.room.member","$LAZY"]]"#,
        ] {
            let config = config(required);
            assert!(config.wants("m.room.topic", "") && config.wants("m.room.member", "@a:h"));
            assert!(!config.wants("m.room.member", "@b:h") && config.lazy());
        }
        let mut both = config(r#"{"include":[{}],"lazy_members":true}"#);
        both.add(&config(r#"{"include":[{}]}"#));
        assert!(!both.lazy(), "another rule asks for every member");
    }

    #[test]
    fn more_state_is_what_was_not_asked_for_before() {
        let small = config(r#"[["m.room.name",""]]"#);
        let large = config(r#"[["m.room.name",""],["m.room.topic",""]]"#);
        let all = config(r#"[["*","*"]]"#);
        let lazy = config(r#"[["*","*"],["m.room.member","$LAZY"]]"#);
        assert!(large.more_state_than(&small) && !small.more_state_than(&large));
        assert!(all.more_state_than(&large) && !large.more_state_than(&all));
        assert!(all.more_state_than(&lazy) && !lazy.more_state_than(&all));
    }
}
