//! Users and rooms, made quickly and used by several loads.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use serde_json::json;
use tessera_tests::{api::Session, random::Random};

use crate::measure;

/// How many requests set things up at once.
const AT_ONCE: usize = 16;
/// Setting up is not measured, but must end.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Registered users.
pub(crate) struct People {
    http: reqwest::Client,
    base: Arc<str>,
    tag: u64,
    users: Vec<Session>,
}

impl People {
    pub(crate) fn new(http: reqwest::Client, base: Arc<str>) -> Self {
        Self { http, base, tag: Random::fresh_seed(), users: Vec::new() }
    }

    /// The first `count` users, registered where they are missing.
    pub(crate) async fn users(&mut self, count: usize) -> Result<Vec<Session>> {
        let have = self.users.len();
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|worker| {
                let (http, base, tag) = (self.http.clone(), self.base.clone(), self.tag);
                tokio::spawn(async move {
                    let mut made = Vec::new();
                    for index in (have + worker..count).step_by(AT_ONCE) {
                        made.push(
                            Session::register(&http, &base, &format!("load-{tag}-{index}")).await?,
                        );
                    }
                    Ok::<_, anyhow::Error>(made)
                })
            })
            .collect();
        for task in tasks {
            self.users.extend(task.await.context("a worker panicked")??);
        }
        Ok(self.users.iter().take(count).cloned().collect())
    }

    /// `rooms` public rooms of `members` users each, drawn from `users` in turn. Gives room id and members; the first
    /// member made the room.
    pub(crate) async fn rooms(
        users: &[Session],
        rooms: usize,
        members: usize,
    ) -> Result<Vec<Room>> {
        let mut made = Vec::new();
        for index in 0..rooms {
            let members: Vec<Session> = users
                .iter()
                .cycle()
                .skip(index * members % users.len().max(1))
                .take(members)
                .cloned()
                .collect();
            let maker = members.first().context("a room without members")?;
            let id = maker.create_room(&json!({"preset": "public_chat"})).await?;
            made.push(Room { id, members });
        }
        let all = Arc::new(made.clone());
        let joins = rooms * members.saturating_sub(1);
        if joins > 0 {
            measure::run(AT_ONCE, joins, PATIENCE, move |_, turn| {
                let all = all.clone();
                async move {
                    // Neighbours in turn are of different rooms, so that they do not wait for one another.
                    let room = all.get(turn % rooms).context("room")?;
                    room.members.get(1 + turn / rooms).context("member")?.join(&room.id).await
                }
            })
            .await?;
        }
        Ok(made)
    }
}

/// A room and its members.
#[derive(Clone)]
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) members: Vec<Session>,
}
