//! The third read: what state, members, redactions and the like add to what is new. One storage call for all rooms.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tessera_sdk::params;
use tessera_sdk::storage::select;

use super::ask::Ask;
use super::crowd::{self, Member};
use super::queries;
use super::read::AccountData;
use super::summary::{self, Summaries};
use crate::budget::{Budget, Failure};
use crate::event::{COLUMNS, EventRow, STATE, TRANSACTION, Writer};
use crate::fill::{Asker, Given, Reads, Wants, list};
use crate::state::{Undone, select_undone, undone_selects};
use crate::visibility::{self, Visibility};

/// What is missing.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// Rooms whose state is wanted whole, with the position from which changes are undone again.
    pub full: BTreeMap<String, i64>,
    /// The members of these rooms, too. Where it is not set, only those that somebody asks for.
    pub crowds: bool,
    /// Of this room in `full` no more than so many members.
    pub slice: Option<(&'a str, usize)>,
    /// Events wanted by id.
    pub events: BTreeSet<String>,
    pub summaries: Summaries,
    /// Rooms where the user may not see everything.
    pub views: BTreeSet<String>,
    /// Rooms joined since the token: all receipts and account data are wanted.
    pub fresh: BTreeSet<String>,
    /// Rooms that the user is no longer in: all account data is wanted.
    pub left: BTreeSet<String>,
    /// What is planned as sliding sync plans it.
    pub wants: Wants<'a>,
}

/// What the plan asked for.
#[derive(Debug, Default)]
pub(super) struct Filled {
    /// Current state, by room, without members.
    pub state: HashMap<String, Vec<EventRow>>,
    /// All members of rooms told whole, by room.
    pub crowds: HashMap<String, Vec<Member>>,
    /// Changes to undo, oldest first, by room.
    pub undone: HashMap<String, Vec<Undone>>,
    pub events: HashMap<String, EventRow>,
    pub visibility: HashMap<String, Visibility>,
    pub summaries: summary::Found,
    pub account_data: Vec<AccountData>,
    pub given: Given,
}

impl AsMut<Given> for Filled {
    fn as_mut(&mut self) -> &mut Given {
        &mut self.given
    }
}

impl Plan<'_> {
    /// Reads what is planned; no storage call where that is nothing.
    pub(super) fn fill(
        &self,
        ask: &Ask,
        writer: &Writer<'_>,
        horizon: i64,
        budget: Budget,
    ) -> Result<Filled, Failure> {
        let mut filled = Filled { summaries: self.summaries.known(), ..Filled::default() };
        let device = ask.device.as_deref();
        let mut reads: Reads<'_, Filled> = Reads::new();
        if !self.full.is_empty() {
            self.whole(ask, &mut reads);
        }
        if !self.events.is_empty() {
            let sql = format!(
                "SELECT {COLUMNS} FROM rooms_v1_events e {TRANSACTION} WHERE e.event_id IN ($3)"
            );
            let params = params![&ask.user, device.unwrap_or(""), list(&self.events)];
            reads.add([select(&sql, params)], |filled, next| {
                let rows = next()?.all::<EventRow>()?.into_iter();
                filled.events.extend(rows.map(|row| (row.event_id.clone(), row)));
                Ok(())
            });
        }
        if !self.views.is_empty() {
            let views = list(&self.views);
            let selects = [
                visibility::select_settings(&views),
                visibility::select_memberships(&ask.user, &views),
            ];
            reads.add(selects, move |filled, next| {
                filled.visibility = visibility::read_views(next()?, next()?, horizon)?;
                Ok(())
            });
        }
        if !self.fresh.is_empty() || !self.left.is_empty() {
            let rooms: Vec<String> = self.fresh.union(&self.left).cloned().collect();
            reads.add([queries::account_data_of(ask, &rooms)], |filled, next| {
                filled.account_data = next()?.all()?;
                Ok(())
            });
        }
        if !self.summaries.none() {
            reads.add(self.summaries.selects(&ask.user), |filled, next| {
                filled.summaries = self.summaries.read(&ask.user, next)?;
                Ok(())
            });
        }
        let asker = Asker { user: &ask.user, device, since: ask.new_from(), horizon };
        self.wants.plan(asker, writer, &mut reads);
        reads.run(&mut filled, budget)?;
        Ok(filled)
    }

    /// The state of rooms that are told whole.
    fn whole<'r>(&'r self, ask: &'r Ask, reads: &mut Reads<'r, Filled>) {
        let rooms: Vec<String> = self.full.keys().cloned().collect();
        if self.crowds {
            let slice = self.slice.filter(|(room, _)| self.full.contains_key(*room));
            let mut others = rooms.clone();
            others.retain(|room| slice.is_none_or(|(large, _)| room.as_str() != large));
            let others = (!others.is_empty()).then(|| crowd::select_all(&others));
            let slice = slice.map(|(room, limit)| crowd::select_slice(room, "", limit));
            for select in others.into_iter().chain(slice) {
                reads.add([select], |filled, next| {
                    for row in next()?.all::<Member>()? {
                        match filled.crowds.get_mut(&row.room_id) {
                            Some(members) => members.push(row),
                            None => {
                                filled.crowds.insert(row.room_id.clone(), vec![row]);
                            }
                        }
                    }
                    Ok(())
                });
            }
        }
        let sql = format!("{STATE} WHERE room_id IN ($1) AND type <> 'm.room.member'");
        reads.add([select(&sql, params![rooms])], |filled, next| {
            for row in next()?.all::<EventRow>()? {
                filled.state.entry(row.room_id.clone()).or_default().push(row);
            }
            Ok(())
        });
        let undone = select_undone(&ask.user, ask.device.as_deref(), &self.full);
        reads.add(undone, |filled, next| {
            for _ in 0..undone_selects(self.full.len()) {
                for change in next()?.all::<Undone>()? {
                    filled.undone.entry(change.delta.room_id.clone()).or_default().push(change);
                }
            }
            Ok(())
        });
    }
}
