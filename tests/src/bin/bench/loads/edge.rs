//! The edge: a plug-in's smallest route against a native axum handler that gives the same bytes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tessera_tests::server::free_address;

use crate::{
    Options,
    figure::{Figure, figure},
    measure::{self, Window, millis, percentile},
    native,
    target::Target,
};

/// Connections that ask at once.
const CONNECTIONS: usize = 16;
/// Requests at most.
const MOST: usize = 200_000;
/// Rounds of each side.
const ROUNDS: u32 = 5;

pub(crate) async fn run(target: &Target, options: &Options) -> Result<Vec<Figure>> {
    let url = format!("{}{}", target.base, options.noop_path);
    let body = target.http.get(&url).send().await?.error_for_status()?.text().await?;
    let address = free_address()?;
    let child = native::start(address, &body)?;
    let native_url = format!("http://{address}{}", native::PATH);
    answers(&target.http, &native_url).await?;

    let ours = Side { http: &target.http, url: &url, pid: target.pid };
    let theirs = Side { http: &target.http, url: &native_url, pid: child.id() };
    // A look at each first, so that neither pays for connecting and warming up.
    ours.ask(CONNECTIONS, Duration::from_secs(1)).await?;
    theirs.ask(CONNECTIONS, Duration::from_secs(1)).await?;
    // The sides take turns and the middle of the rounds counts: what else the machine does hits both alike.
    let round = options.patience() / (4 * ROUNDS);
    let (mut plugin, mut native, mut plugin_alone, mut native_alone) =
        (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        plugin.push(ours.ask(CONNECTIONS, round).await?);
        native.push(theirs.ask(CONNECTIONS, round).await?);
        plugin_alone.push(ours.ask(1, round).await?);
        native_alone.push(theirs.ask(1, round).await?);
    }
    let (plugin, native) = (Rate::middle(plugin), Rate::middle(native));
    let (plugin_alone, native_alone) = (Rate::middle(plugin_alone), Rate::middle(native_alone));
    let mut figures = vec![
        figure("edge: requests through a plug-in", plugin.rate, "/s"),
        figure("edge: requests to a native handler", native.rate, "/s"),
        figure("edge: requests against native", 100.0 * plugin.rate / native.rate, "%"),
        figure("edge: p50 over native", 1000.0 * (plugin_alone.p50_ms - native_alone.p50_ms), "µs"),
    ];
    figures.extend(plugin.cpu_ms.map(|ms| figure("edge: CPU per request", ms * 1000.0, "µs")));
    figures
        .extend(native.cpu_ms.map(|ms| figure("edge: CPU per native request", ms * 1000.0, "µs")));
    Ok(figures)
}

struct Side<'a> {
    http: &'a reqwest::Client,
    url: &'a str,
    pid: Option<u32>,
}

struct Rate {
    rate: f64,
    p50_ms: f64,
    cpu_ms: Option<f64>,
}

impl Rate {
    /// The median of each value over the rounds.
    fn middle(rounds: Vec<Self>) -> Self {
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Self {
            rate: median(rounds.iter().map(|r| r.rate).collect()).unwrap_or(0.0),
            p50_ms: median(rounds.iter().map(|r| r.p50_ms).collect()).unwrap_or(0.0),
            cpu_ms: median(rounds.iter().filter_map(|r| r.cpu_ms).collect()),
        }
    }
}

impl Side<'_> {
    async fn ask(&self, connections: usize, patience: Duration) -> Result<Rate> {
        let window = Window::open(self.pid)?;
        let (http, url) = (self.http.clone(), self.url.to_owned());
        let mut latencies = measure::run(connections, MOST, patience, move |_, _| {
            let (http, url) = (http.clone(), url.clone());
            async move {
                let answer = http.get(url).send().await?;
                ensure!(answer.status().as_u16() == 200, "answered {}", answer.status());
                answer.bytes().await.map(drop).context("reading")
            }
        })
        .await?;
        let spent = window.close()?;
        let count = latencies.len();
        let p50_ms = millis(percentile(&mut latencies, 0.5));
        Ok(Rate { rate: spent.rate(count), p50_ms, cpu_ms: spent.cpu_ms_each(count) })
    }
}

async fn answers(http: &reqwest::Client, url: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while http.get(url).send().await.is_err() {
        ensure!(Instant::now() < end, "{url} does not answer");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
