//! The rooms below a space, as far as a user may see them.

use std::collections::{HashMap, HashSet};

use tessera_sdk::matrix::Error;

use super::Bounds;
use super::children::{self, Child};
use crate::about::{self, About, Viewer};

/// Rooms of a tree that are looked at; what lies beyond is not told.
const MAX_ROOMS: usize = 2_000;
/// Levels below the first room.
const MAX_DEPTH: u32 = 100;

/// A tree by its rooms.
pub(super) struct Tree {
    root: String,
    depth: u32,
    rooms: HashMap<String, About>,
    children: HashMap<String, Vec<Child>>,
}

impl Tree {
    /// Looks the tree up, level by level.
    ///
    /// # Errors
    /// `M_FORBIDDEN` if the root is not for the user to see; storage.
    pub(super) fn grow(root: &str, user: &str, bounds: Bounds) -> Result<Self, Error> {
        let depth = bounds.max_depth.unwrap_or(MAX_DEPTH).min(MAX_DEPTH);
        let mut tree =
            Self { root: root.to_owned(), depth, rooms: HashMap::new(), children: HashMap::new() };
        let mut seen = HashSet::from([root.to_owned()]);
        let mut level = vec![root.to_owned()];
        for below in 0..=depth {
            let mut found = about::load(&level)?;
            let viewer = Viewer::of(user, found.values())?;
            found.retain(|_, about| viewer.may_see(about));
            if below == 0 && found.is_empty() {
                return Err(Error::forbidden(
                    "there is no such room, or it is not for the user to see",
                ));
            }
            let spaces: Vec<String> = found
                .values()
                .filter(|about| about.is_space())
                .map(|about| about.room_id.clone())
                .collect();
            tree.rooms.extend(found);
            level.clear();
            if spaces.is_empty() {
                break;
            }
            for (space, mut children) in children::of(&spaces)? {
                children.retain(|child| !bounds.suggested_only || child.is_suggested());
                for child in &children {
                    if seen.len() < MAX_ROOMS && seen.insert(child.state_key.clone()) {
                        level.push(child.state_key.clone());
                    }
                }
                tree.children.insert(space, children);
            }
            if level.is_empty() {
                break;
            }
        }
        Ok(tree)
    }

    /// Ids of the rooms depth first, each once.
    pub(super) fn order(&self) -> Vec<String> {
        let mut order = Vec::new();
        let mut told = HashSet::new();
        let mut waiting = vec![(self.root.as_str(), 0)];
        while let Some((id, depth)) = waiting.pop() {
            if !self.rooms.contains_key(id) || !told.insert(id) {
                continue;
            }
            order.push(id.to_owned());
            if depth < self.depth {
                let children = self.children.get(id).into_iter().flatten().rev();
                waiting.extend(children.map(|child| (child.state_key.as_str(), depth + 1)));
            }
        }
        order
    }

    /// Some rooms, to be completed.
    pub(super) fn rooms<'a>(
        &'a mut self,
        ids: &'a [String],
    ) -> impl Iterator<Item = &'a mut About> {
        self.rooms.values_mut().filter(|about| ids.contains(&about.room_id))
    }

    /// A room and its children.
    pub(super) fn room(&self, id: &str) -> Option<(&About, &[Child])> {
        let children = self.children.get(id).map(Vec::as_slice).unwrap_or_default();
        Some((self.rooms.get(id)?, children))
    }
}
