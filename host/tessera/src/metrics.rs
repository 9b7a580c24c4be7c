//! For Prometheus and for supervisors, on an address of its own: `/metrics`, `/health`, `/ready`.

use std::{
    fmt::Write as _,
    fs,
    future::Future,
    sync::{Arc, OnceLock},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{Encoder, Registry, TextEncoder};
use tessera_bus::{Bus, Cluster, DeliveryConfig, DeliveryStats};
use tessera_manifest::ListenAddr;
use tessera_storage::Stats;
use tokio::net::TcpListener;

use crate::{
    readiness::{Readiness, Report},
    tenants::{Running, Tenants},
};

/// What the figures are taken from.
pub(crate) struct Sources {
    pub(crate) registry: Registry,
    pub(crate) bus: Bus,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) readiness: Arc<Readiness>,
}

/// There once the server has started.
pub(crate) type Late = Arc<OnceLock<Sources>>;

/// Takes the address.
pub(crate) async fn bind(address: ListenAddr) -> Result<TcpListener> {
    TcpListener::bind(address.get()).await.with_context(|| {
        format!("cannot listen on {address} for metrics; choose another with --metrics ADDR, or `--metrics off`")
    })
}

/// Serves `/metrics`, `/health` and `/ready` until `stop` is over.
pub(crate) async fn serve(
    listener: TcpListener,
    sources: Late,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let router = Router::new()
        .route("/metrics", get(show))
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .with_state(sources);
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the metrics endpoint ended");
    }
}

/// 200 where it takes requests; in any case what there is to say about it.
async fn ready(State(sources): State<Late>) -> Response {
    let report = match sources.get() {
        Some(sources) => sources.readiness.report().await,
        None => Report::starting(),
    };
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = serde_json::to_string(&report).unwrap_or_default();
    text.push('\n');
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

async fn show(State(sources): State<Late>) -> Response {
    let Some(sources) = sources.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response();
    };
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    if let Err(error) = encoder.encode(&sources.registry.gather(), &mut text) {
        return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
    }
    text.extend(sources.lines().into_bytes());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, kind)], text).into_response()
}

impl Sources {
    /// What others count in numbers of their own, in Prometheus' text form.
    fn lines(&self) -> String {
        let mut text = String::new();
        process(&mut text);
        let awake = self.tenants.awake();
        line(&mut text, "tessera_tenants", "gauge", "", self.tenants.len() as u64);
        line(&mut text, "tessera_tenants_awake", "gauge", "", awake.len() as u64);
        // One figure of all tenants after the other: a scraper wants the series of a name together.
        let figures: Vec<_> = awake.iter().map(|running| figures(running)).collect();
        for at in 0..figures.first().map_or(0, Vec::len) {
            for (running, figures) in awake.iter().zip(&figures) {
                if let Some((name, kind, value)) = figures.get(at) {
                    let tenant = format!("{{tenant=\"{}\"}}", running.tenant.name());
                    line(&mut text, name, kind, &tenant, *value);
                }
            }
        }
        line(&mut text, "tessera_bus_subscriptions", "gauge", "", self.bus.subscriptions() as u64);
        if let Some(member) = &self.tenants.host.member {
            for (name, kind, value) in of_cluster(&member.cluster) {
                line(&mut text, name, kind, "", value);
            }
        }
        if let Some(postgres) = self.tenants.host.stores.postgres() {
            let stats = postgres.stats();
            line(&mut text, "tessera_postgres_connections", "gauge", "", stats.connections);
            line(&mut text, "tessera_postgres_idle", "gauge", "", stats.idle);
            line(&mut text, "tessera_postgres_waiting", "gauge", "", stats.waiting);
            line(&mut text, "tessera_postgres_connected_total", "counter", "", stats.connected);
            line(&mut text, "tessera_postgres_failed_total", "counter", "", stats.failed);
            line(&mut text, "tessera_postgres_round_trips_total", "counter", "", stats.round_trips);
        }
        let topics: Vec<_> = awake
            .iter()
            .flat_map(|running| {
                let labels = |config: &DeliveryConfig| {
                    format!(
                        "{{tenant=\"{}\",topic=\"{}\",plugin=\"{}\"}}",
                        running.tenant.name(),
                        config.topic,
                        config.consumer
                    )
                };
                running
                    .deliveries
                    .stats()
                    .into_iter()
                    .map(move |(config, stats)| (labels(&config), stats))
            })
            .collect();
        let mut topic = |name: &str, kind: &str, value: fn(&DeliveryStats) -> u64| {
            for (labels, stats) in &topics {
                line(&mut text, name, kind, labels, value(stats));
            }
        };
        topic("tessera_topic_done_total", "counter", |stats| stats.done);
        topic("tessera_topic_failed_total", "counter", |stats| stats.failed);
        topic("tessera_topic_dead_total", "counter", |stats| stats.dead);
        topic("tessera_topic_lag_milliseconds", "gauge", |stats| stats.lag_ms);
        text
    }
}

fn line(text: &mut String, name: &str, kind: &str, labels: &str, value: u64) {
    let header = format!("# TYPE {name} {kind}\n");
    if !text.contains(&header) {
        text.push_str(&header);
    }
    let _ = writeln!(text, "{name}{labels} {value}");
}

/// Name, kind and value of a tenant's figures; the same names in the same order for each.
fn figures(running: &Running) -> Vec<(&'static str, &'static str, u64)> {
    let stats: Stats = running.database.stats();
    vec![
        ("tessera_storage_write_queue", "gauge", stats.write_queue),
        ("tessera_storage_read_queue", "gauge", stats.read_queue),
        ("tessera_storage_groups_total", "counter", stats.groups),
        ("tessera_storage_group_members_total", "counter", stats.group_members),
        ("tessera_storage_commits_total", "counter", stats.commits),
        ("tessera_storage_conflicts_total", "counter", stats.conflicts),
        ("tessera_storage_failures_total", "counter", stats.failures),
        ("tessera_storage_reads_total", "counter", stats.reads),
        ("tessera_storage_rows_total", "counter", stats.rows),
        ("tessera_storage_bytes_total", "counter", stats.bytes),
        ("tessera_storage_commit_microseconds_total", "counter", stats.commit_micros),
        ("tessera_storage_sync_microseconds_total", "counter", stats.sync_micros),
        ("tessera_storage_horizon", "gauge", running.database.horizon()),
        ("tessera_blob_bytes", "gauge", running.blobs.used()),
    ]
}

/// Name, kind and value of what is between nodes.
fn of_cluster(cluster: &Cluster) -> Vec<(&'static str, &'static str, u64)> {
    let connection = *cluster.connection().borrow();
    let stats = cluster.stats();
    vec![
        ("tessera_nodes", "gauge", cluster.live() as u64),
        ("tessera_bus_connected", "gauge", u64::from(connection.connected)),
        ("tessera_bus_losses_total", "counter", connection.losses),
        ("tessera_bus_overruns_total", "counter", connection.overruns),
        ("tessera_bus_calls_total", "counter", stats.calls),
        ("tessera_bus_calls_unavailable_total", "counter", stats.calls_unavailable),
        ("tessera_bus_calls_unknown_total", "counter", stats.calls_unknown),
        ("tessera_bus_served_total", "counter", stats.served),
        ("tessera_bus_refused_total", "counter", stats.refused),
        ("tessera_bus_in_hand", "gauge", stats.ports),
        ("tessera_bus_wakes_sent_total", "counter", stats.wakes_sent),
        ("tessera_bus_wakes_received_total", "counter", stats.wakes_received),
        ("tessera_bus_wakes_overrun_total", "counter", stats.wakes_overrun),
        ("tessera_bus_attached", "gauge", stats.attached),
        ("tessera_bus_hints_sent_total", "counter", stats.hints_sent),
        ("tessera_bus_hints_lost_total", "counter", stats.hints_lost),
        ("tessera_bus_hints_taken_total", "counter", stats.hints_taken),
    ]
}

/// Memory and CPU of this process, under the names that Prometheus' clients agree on.
fn process(text: &mut String) {
    // 4 KiB pages and 100 ticks a second hold on every Linux that we build for.
    let memory = fs::read_to_string("/proc/self/statm").ok();
    let pages = memory.and_then(|memory| memory.split(' ').nth(1)?.parse::<u64>().ok());
    if let Some(pages) = pages {
        line(text, "process_resident_memory_bytes", "gauge", "", pages * 4096);
    }
    let stat = fs::read_to_string("/proc/self/stat").ok();
    // Fields after the name, which may hold anything but `)`.
    let ticks = stat.and_then(|stat| {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(user + system)
    });
    if let Some(ticks) = ticks {
        text.push_str("# TYPE process_cpu_seconds_total counter\n");
        let _ = writeln!(text, "process_cpu_seconds_total {}.{:02}", ticks / 100, ticks % 100);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        line(text, "process_open_fds", "gauge", "", open.count() as u64);
    }
}
