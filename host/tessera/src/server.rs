//! The server: puts the parts together, runs them, and takes them down in order.

mod admin;
mod banner;
mod deliveries;
mod load;
mod stop;
mod tenant;

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use prometheus::Registry;
use tessera_bus::{Bus, BusConfig};
use tessera_engine::{Engine, EngineConfig, Plugin};
use tessera_http::{Edge, OneSite, PluginRoutes, RouteTable, Server, Site};
use tessera_manifest::{ByteSize, Descriptor};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::deliveries::Deliveries;
use self::{admin::Admin, banner::Banner, stop::Stop};
use crate::{
    admin::{listen, serve},
    files,
    folder::{DataFolder, admin_socket},
    manifests::check_together,
    metrics, service,
    settings::default_metrics,
};

/// Runs until SIGTERM or SIGINT. What can be wrong is found before a request is taken.
pub(crate) async fn run(descriptor: &Descriptor) -> Result<()> {
    let mut stop = Stop::new()?;
    let folder = DataFolder::open(&descriptor.server.data)?;
    let addresses: Vec<SocketAddr> =
        descriptor.listeners.iter().map(|listener| listener.address.get()).collect();
    for address in &addresses {
        // Taken for good once there is something to answer with; this finds out before the long work.
        drop(TcpListener::bind(address).await.with_context(|| taken(*address))?);
    }
    let measured = metrics_listener(descriptor).await?;

    let registry = Registry::new();
    let engine = Engine::new(engine_config(descriptor, folder.path()), &registry)?;
    let plugins = load::all(&engine, files::read_all(descriptor)?).await?;
    let routes = routes(descriptor, &plugins)?;
    let bus = Bus::new(BusConfig {
        subscriptions: descriptor.bus.subscriptions.get() as usize,
        ..BusConfig::default()
    });
    let running = Arc::new(tenant::start(descriptor, &folder, &engine, &bus, &plugins).await?);
    let deliveries = Arc::new(Deliveries::start(descriptor, &bus, &running, &plugins).await?);

    let site = Site {
        tenant: running.tenant.name().into(),
        dispatch: Arc::clone(&running.tenant) as _,
        blobs: running.blobs.clone(),
        routes: Arc::new(routes),
        quotas: descriptor.quotas.clone(),
    };
    let edge = Edge::new(descriptor.http.clone(), bus.clone(), OneSite::new(site), &registry)?;
    let server = Server::bind(edge, &addresses).await.map_err(|error| {
        let text = taken(error.address);
        anyhow::Error::new(error).context(text)
    })?;
    let bound = server.addresses();
    let ended = CancellationToken::new();
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&running.tenant).run_timers());
    let admin = listen(&admin_socket(folder.path()))?;
    background.spawn(serve(admin, Arc::new(Admin { running: Arc::clone(&running) })));
    let metrics_address = measured.as_ref().and_then(|listener| listener.local_addr().ok());
    if let Some(listener) = measured {
        let sources = Arc::new(metrics::Sources {
            registry,
            tenant: running.tenant.name().to_owned(),
            database: running.database.clone(),
            bus,
            deliveries: Arc::clone(&deliveries),
        });
        background.spawn(metrics::serve(listener, sources, ended.clone().cancelled_owned()));
    }

    let serving = server.start();
    Banner {
        name: running.tenant.name(),
        listeners: &bound,
        metrics: metrics_address,
        data: folder.path(),
        plugins: &plugins,
        welcome: &descriptor.server.welcome,
    }
    .print();
    service::notify("READY=1");

    let broken = tokio::select! {
        signal = stop.wait() => {
            tracing::info!(signal, "stopping");
            None
        }
        // They run as long as the server does: without timers or tools it is only half a server.
        part = background.join_next() => Some(part),
    };
    service::notify("STOPPING=1");
    stop.end_at_once_if_asked_again();
    let drained = serving.stop().await;
    if drained.cut > 0 {
        tracing::warn!(connections = drained.cut, "cut what did not end within `[http] drain`");
    }
    ended.cancel();
    background.shutdown().await;
    if timeout(descriptor.http.drain.get(), deliveries.stop()).await.is_err() {
        tracing::warn!("a consumer did not end in time; its messages are delivered again");
    }
    running.database.clone().close().await;
    if let Err(error) = std::fs::remove_file(admin_socket(folder.path())) {
        tracing::debug!(%error, "admin socket");
    }
    tracing::info!("stopped");
    match broken {
        None => Ok(()),
        Some(part) => bail!("a part of the server ended by itself: {part:?}"),
    }
}

fn taken(address: SocketAddr) -> String {
    format!(
        "cannot listen on {address}; stop what listens there, or choose another with --listen ADDR"
    )
}

/// The routes of all plug-ins.
fn routes(descriptor: &Descriptor, plugins: &[Plugin]) -> Result<RouteTable> {
    let manifests: Vec<_> = plugins.iter().map(|plugin| &plugin.manifest).collect();
    for warning in check_together(&manifests)? {
        tracing::warn!("{warning}");
    }
    let manifests: Vec<_> =
        manifests.into_iter().map(|manifest| PluginRoutes { manifest }).collect();
    RouteTable::build(&manifests, &descriptor.http, &descriptor.rates)
        .context("the routes of the plug-ins do not fit together")
}

/// A default that is taken is no reason not to start: several servers may run on one machine.
async fn metrics_listener(descriptor: &Descriptor) -> Result<Option<TcpListener>> {
    let Some(address) = descriptor.metrics.address.on() else { return Ok(None) };
    match metrics::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if default_metrics() == Some(address) => {
            tracing::warn!("{error:#}; going on without metrics");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn engine_config(descriptor: &Descriptor, data: &Path) -> EngineConfig {
    let settings = &descriptor.engine;
    // A cache of one's own choice may be shared by servers: its key lies with it then.
    let (cache_dir, cache_key) = match &settings.cache {
        Some(folder) => (folder.clone(), folder.join("key")),
        None => (data.join("cache"), data.join("keys/code-cache")),
    };
    let memories = descriptor
        .enabled_plugins()
        .filter_map(|(_, plugin)| plugin.limits.memory)
        .chain(settings.limits.memory);
    // Room for manifests that ask for more than the default; address space only.
    let memory_max = memories.max().unwrap_or(ByteSize::mib(64)).max(ByteSize::mib(512));
    EngineConfig {
        cache_dir,
        cache_key,
        instances: settings.instances.get(),
        component_max: settings.component_max.get(),
        memory_max: memory_max.as_usize(),
        idle: settings.idle.get(),
    }
}
