//! Calls from the host, warm and fresh, and calls from one plug-in to another.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use tessera_engine::{
    Tenant,
    api::{Answer, Body, Dispatch, Request},
};

use crate::{
    Figure,
    clock::cpu_each,
    house::{CALLER, House, PROVIDER},
};

/// Calls between two looks at the clock.
const BATCH: u32 = 200;

pub(crate) async fn run(fixtures: &Path, round: Duration) -> Result<Vec<Figure>> {
    let warm = House::open(fixtures, |_| ()).await?;
    let tenant = &warm.tenant;
    let mut figures = Vec::new();
    let timer = cpu_each(round, BATCH, async || many(tenant, BATCH).await).await?;
    figures.push(("call: warm", timer, "µs"));
    let request = cpu_each(round, BATCH, async || {
        for _ in 0..BATCH {
            handle(tenant).await?;
        }
        Ok(())
    })
    .await?;
    figures.push(("call: warm, with a request and its response", request, "µs"));

    let fresh = House::open(fixtures, |limits| limits.calls_per_instance = 1).await?;
    let tenant = &fresh.tenant;
    let made = cpu_each(round, BATCH, async || many(tenant, BATCH).await).await?;
    figures.push(("call: fresh instance", made, "µs"));

    for (name, times, events) in [
        ("service: small call", 2000, 0),
        ("service: 20 events there and back", 500, 20),
        ("service: 200 events there and back", 100, 200),
    ] {
        let payload = format!("{times} {events}");
        let call = async || fire(&warm.tenant, CALLER, "call", &payload).await;
        figures.push((name, cpu_each(round, times, call).await?, "µs"));
    }
    Ok(figures)
}

/// Fires a timer of a plug-in; its own error is one, too.
pub(crate) async fn fire(tenant: &Tenant, plugin: &str, name: &str, payload: &str) -> Result<()> {
    let answer = tenant.fire(plugin, name, payload).await?;
    answer.map_err(anyhow::Error::msg).with_context(|| format!("{plugin}: {name} {payload}"))
}

async fn many(tenant: &Tenant, times: u32) -> Result<()> {
    for _ in 0..times {
        fire(tenant, PROVIDER, "noop", "").await?;
    }
    Ok(())
}

async fn handle(tenant: &Tenant) -> Result<()> {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = Request {
        route: "noop".to_owned(),
        method: "GET".to_owned(),
        path: "/noop".to_owned(),
        params: Vec::new(),
        query: String::new(),
        headers: vec![header("host", "127.0.0.1:8008"), header("accept", "*/*")],
        body: Body::None,
        principal: None,
        remote: "127.0.0.1".to_owned(),
        request_id: "0123456789abcdef".to_owned(),
    };
    match tenant.handle(PROVIDER, request).await? {
        Answer::Done(response) if response.status == 200 => Ok(()),
        other => bail!("answered {other:?}"),
    }
}
