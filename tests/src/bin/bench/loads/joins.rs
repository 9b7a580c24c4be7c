//! A join storm: many users join one room.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    Options,
    figure::{Figure, figure},
    measure::{self, Window, millis, percentile},
    target::Target,
};

/// Joins at once.
const AT_ONCE: usize = 16;
/// Not cut by `--seconds`: it takes as many joins as there are clients, and the rate is the figure.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn run(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let users = Arc::new(target.people.users(options.clients + 1).await?);
    let maker = users.first().context("no users")?;
    let room: Arc<str> = maker.create_room(&json!({"preset": "public_chat"})).await?.into();
    let window = Window::open(target.pid)?;
    let mut latencies = measure::run(AT_ONCE, options.clients, PATIENCE, move |_, turn| {
        let (users, room) = (users.clone(), room.clone());
        async move { users.get(turn + 1).context("user")?.join(&room).await }
    })
    .await?;
    let spent = window.close()?;
    let count = latencies.len();
    let mut figures = vec![figure("joins: rate", spent.rate(count), "/s")];
    figures.extend(spent.cpu_ms_each(count).map(|ms| figure("joins: CPU each", ms, "ms")));
    figures.push(figure("joins: p99", millis(percentile(&mut latencies, 0.99)), "ms"));
    Ok(figures)
}
