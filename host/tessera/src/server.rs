//! The server: puts the parts together, runs them, and takes them down in order.

mod admin;
mod banner;
mod load;
mod stop;

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use prometheus::Registry;
use tessera_bus::{Bus, BusConfig, TenantWake};
use tessera_engine::{Engine, EngineConfig};
use tessera_http::{Edge, Server, Sites};
use tessera_manifest::{ByteSize, Descriptor};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{admin::Admin, banner::Banner, stop::Stop};
use crate::{
    admin::{listen, serve},
    files,
    folder::{DataFolder, admin_socket},
    metrics, service,
    settings::default_metrics,
    tenants::{self, Asleep, Host, Origin, Plugins, Stores, Tenants},
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
    let bus = Bus::new(BusConfig {
        subscriptions: descriptor.bus.subscriptions.get() as usize,
        ..BusConfig::default()
    });
    let tenants = tenants(descriptor, &folder, &registry, &bus).await?;
    let edge = Edge::new(
        descriptor.http.clone(),
        bus.clone(),
        Arc::clone(&tenants) as Arc<dyn Sites>,
        &registry,
    )?;
    tenants.serve_by(&edge);
    let server = Server::bind(edge, &addresses).await.map_err(|error| {
        let text = taken(error.address);
        anyhow::Error::new(error).context(text)
    })?;
    let bound = server.addresses();
    let ended = CancellationToken::new();
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&tenants).follow());
    let admin = listen(&admin_socket(folder.path()))?;
    background.spawn(serve(admin, Arc::new(Admin { tenants: Arc::clone(&tenants) })));
    let metrics_address = measured.as_ref().and_then(|listener| listener.local_addr().ok());
    if let Some(listener) = measured {
        let sources = metrics::Sources { registry, bus, tenants: Arc::clone(&tenants) };
        let ended = ended.clone().cancelled_owned();
        background.spawn(metrics::serve(listener, Arc::new(sources), ended));
    }

    let serving = server.start();
    Banner {
        names: &tenants.entries().iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>(),
        listeners: &bound,
        metrics: metrics_address,
        data: folder.path(),
        plugins: tenants.host.plugins.all(),
        welcome: &descriptor.server.welcome,
    }
    .print();
    service::notify("READY=1");

    let broken = tokio::select! {
        signal = stop.wait() => {
            tracing::info!(signal, "stopping");
            None
        }
        // They run as long as the server does: without tools it is only half a server.
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
    tenants.stop_all(descriptor.http.drain.get()).await;
    if let Err(error) = std::fs::remove_file(admin_socket(folder.path())) {
        tracing::debug!(%error, "admin socket");
    }
    tracing::info!("stopped");
    match broken {
        None => Ok(()),
        Some(part) => bail!("a part of the server ended by itself: {part:?}"),
    }
}

/// Loads the plug-ins and reads the list of tenants. A lone tenant is woken at once: what is wrong with it ends the
/// start.
async fn tenants(
    descriptor: &Descriptor,
    folder: &DataFolder,
    registry: &Registry,
    bus: &Bus,
) -> Result<Arc<Tenants>> {
    let engine = Engine::new(engine_config(descriptor, folder.path()), registry)?;
    let plugins = load::all(&engine, files::read_all(descriptor)?).await?;
    let plugins = Plugins::new(descriptor, plugins);
    // What does not fit together is found now, not when the first tenant wakes.
    let routes = plugins.routes(plugins.all())?;
    let stores = Stores::open(descriptor, folder)?;
    let wake = Arc::new(TenantWake::new(bus.clone(), tenants::HOST));
    let kept = tenants::Registry::open(stores.host_database(wake).await?, "").await?;
    if kept.is_new().await? {
        kept.begin(&stores.databases().context("cannot read the data folder")?).await?;
    }
    warn_of_others(descriptor, &stores)?;
    let host = Host::new(engine, bus.clone(), plugins, stores)?;
    let tenants = Tenants::open(descriptor, host, kept).await?;
    drop(routes);
    for entry in tenants.entries().iter().filter(|entry| entry.origin == Origin::Lone) {
        match tenants.wake(entry).await {
            Ok(_) | Err(Asleep::Suspended) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(tenants)
}

/// Another server name on the same folder is most likely a mistake.
fn warn_of_others(descriptor: &Descriptor, stores: &Stores) -> Result<()> {
    let name = descriptor.tenant.name.as_str();
    if descriptor.is_of_many() || stores.has_database(name) {
        return Ok(());
    }
    let others = stores.databases().context("cannot read the data folder")?;
    if !others.is_empty() {
        tracing::warn!(
            others = others.join(", "),
            "the data folder holds other server names, but not `{name}`: starting an empty one"
        );
    }
    Ok(())
}

fn taken(address: SocketAddr) -> String {
    format!(
        "cannot listen on {address}; stop what listens there, or choose another with --listen ADDR"
    )
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
