//! The server: puts the parts together, runs them, and takes them down in order.

mod admin;
mod banner;
pub(crate) mod load;
mod nodes;
mod stop;
mod tls;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use prometheus::Registry;
use tessera_bus::{Bus, BusConfig, TenantWake};
use tessera_engine::{Engine, EngineConfig};
use tessera_http::{Edge, Server, Sites};
use tessera_manifest::{ByteSize, Descriptor};
use tessera_storage::Database;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use self::{admin::Admin, banner::Banner, stop::Stop};
use crate::{
    admin::{listen, serve},
    cli::Settings,
    cluster::{Member, Node},
    compiler,
    folder::DataFolder,
    metrics, postgres,
    readiness::Readiness,
    reload::Reloader,
    service,
    settings::default_metrics,
    tenants::{self, Asleep, Host, Origin, Plugins, Stores, Tenants, Versions},
};

/// A node that goes away takes requests for so long after it has said so, at most: whoever spreads connections looks
/// once a second.
const LINGER: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT, or as a node until it is told to drain. What can be wrong is found before a request
/// is taken.
pub(crate) async fn run(
    settings: &Settings,
    descriptor: &Descriptor,
    node: Option<Node>,
) -> Result<()> {
    let mut stop = Stop::new()?;
    let node_name = node.as_ref().map(|node| node.name.to_string());
    let folder = DataFolder::open(&descriptor.server.data, node_name.as_deref())?;
    let addresses: Vec<SocketAddr> =
        descriptor.listeners.iter().map(|listener| listener.address.get()).collect();
    for address in &addresses {
        // Taken for good once there is something to answer with; this finds out before the long work.
        drop(TcpListener::bind(address).await.with_context(|| taken(*address))?);
    }
    let measured = metrics_listener(descriptor).await?;
    let metrics_address = measured.as_ref().and_then(|listener| listener.local_addr().ok());
    let (ended, mut background) = (CancellationToken::new(), JoinSet::new());
    let sources = metrics::Late::default();
    if let Some(listener) = measured {
        let ended = ended.clone().cancelled_owned();
        background.spawn(metrics::serve(listener, Arc::clone(&sources), ended));
    }

    let registry = Registry::new();
    let stores = Stores::open(descriptor, &folder, postgres::connect(descriptor).await?)?;
    let member = Member::join(descriptor, node.as_ref()).await?;
    let seed = match &member {
        None => None,
        Some(_) => Some(stores.seed().await?),
    };
    let bus = Bus::new(BusConfig {
        subscriptions: descriptor.bus.subscriptions.get() as usize,
        seed,
        ..BusConfig::default()
    });
    let tenants =
        tenants(descriptor, &folder, &registry, &bus, member.clone(), node, stores).await?;
    let cluster = member.as_ref().map(|member| member.cluster.clone());
    let readiness = Arc::new(Readiness::new(Arc::clone(&tenants), cluster));
    let edge = Edge::new(
        descriptor.http.clone(),
        bus.clone(),
        Arc::clone(&tenants) as Arc<dyn Sites>,
        &registry,
    )?;
    tenants.serve_by(&edge);
    let drain = CancellationToken::new();
    if let Some(member) = &member {
        nodes::join_in(member, &tenants, drain.clone()).await?;
    }
    let listeners = tls::listens(&descriptor.listeners, &tenants)?;
    let server = Server::bind(Arc::clone(&edge), listeners).await.map_err(|error| {
        let text = taken(error.address);
        anyhow::Error::new(error).context(text)
    })?;
    let bound = server.addresses();
    background.spawn(Arc::clone(&tenants).follow());
    background.spawn(Arc::clone(&tenants).tend());
    let reloader = Reloader::new(settings, node_name.clone(), descriptor, Arc::clone(&tenants));
    background.spawn(hang_ups(Arc::clone(&reloader))?);
    let admin = Admin {
        reloader,
        tenants: Arc::clone(&tenants),
        nodes: descriptor.nodes.keys().map(ToString::to_string).collect(),
    };
    background.spawn(serve(listen(&folder.socket())?, Arc::new(admin)));
    if let Some(member) = &member {
        let about = nodes::About {
            tenants: Arc::clone(&tenants),
            readiness: Arc::clone(&readiness),
            registry: registry.clone(),
            addresses: bound.clone(),
            metrics: metrics_address,
        };
        background.spawn(nodes::keep_up(member.clone(), about, Arc::clone(&edge)));
    }
    let (tenants_of, readiness_of) = (Arc::clone(&tenants), Arc::clone(&readiness));
    let figures = metrics::Sources { registry, bus, tenants: tenants_of, readiness: readiness_of };
    // Set once, here.
    drop(sources.set(figures));

    let serving = server.start();
    Banner {
        node: node_name.as_deref(),
        names: &tenants.entries().iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>(),
        listeners: &bound,
        metrics: metrics_address,
        data: folder.path(),
        plugins: &tenants.host.plugins().here(),
        welcome: &descriptor.server.welcome,
    }
    .print();
    service::notify("READY=1");

    let broken = tokio::select! {
        signal = stop.wait() => {
            tracing::info!(signal, "stopping");
            None
        }
        () = drain.cancelled() => None,
        // They run as long as the server does: without tools it is only half a server.
        part = background.join_next() => Some(part),
    };
    service::notify("STOPPING=1");
    stop.end_at_once_if_asked_again();
    let patience = descriptor.http.drain.get();
    readiness.drain();
    if let Some(member) = &member {
        member.announce();
        if member.cluster.live() > 1 {
            let linger = LINGER.min(patience / 4);
            sleep(linger * 3 / 4).await;
            // Clients that keep their connections are asked to make new ones, which go elsewhere.
            edge.drain();
            sleep(linger / 4).await;
        }
    }
    let others = async {
        if let Some(member) = &member {
            member.drain(patience).await;
        }
    };
    let (drained, ()) = tokio::join!(serving.stop(), others);
    if drained.cut > 0 {
        tracing::warn!(connections = drained.cut, "cut what did not end within `[http] drain`");
    }
    ended.cancel();
    background.shutdown().await;
    tenants.stop_all(patience).await;
    if let Some(member) = &member {
        member.leave().await;
    }
    if let Err(error) = std::fs::remove_file(folder.socket()) {
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
    member: Option<Member>,
    node: Option<Node>,
    stores: Stores,
) -> Result<Arc<Tenants>> {
    let engine = Engine::new(engine_config(descriptor, folder.path()), registry)?;
    let plugins = load::versions(&engine, descriptor, &Versions::default()).await?;
    let node_name = node.as_ref().map(|node| node.name.to_string()).unwrap_or_default();
    let plugins = Plugins::new(descriptor, plugins, node);
    // What does not fit together is found now, not when the first tenant wakes.
    let routes = plugins.routes(plugins.all())?;
    let database = host_database(bus, member.as_ref(), &stores).await?;
    let kept = tenants::Registry::open(database, &node_name).await?;
    if kept.is_new().await? {
        kept.begin(&stores.databases().context("cannot read the data folder")?).await?;
    }
    warn_of_others(descriptor, &stores)?;
    let host = Host::new(engine, bus.clone(), member, plugins, stores)?;
    let tenants = Tenants::open(descriptor, host, kept).await?;
    tenants.clear_debris().await?;
    drop(routes);
    for entry in tenants.entries().iter().filter(|entry| entry.origin == Origin::Lone) {
        match tenants.wake_at_start(entry).await {
            Ok(_) | Err(Asleep::Suspended) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(tenants)
}

/// Reads everything again at each SIGHUP, until dropped.
fn hang_ups(reloader: Arc<Reloader>) -> Result<impl Future<Output = ()>> {
    let mut signals = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    Ok(async move {
        while signals.recv().await.is_some() {
            match reloader.again().await {
                Ok(notes) => notes.iter().for_each(|note| tracing::warn!("{note}")),
                Err(error) => tracing::error!("nothing is changed: {error:#}"),
            }
        }
        std::future::pending().await
    })
}

/// The host's own database, whose changes all nodes learn of.
async fn host_database(bus: &Bus, member: Option<&Member>, stores: &Stores) -> Result<Database> {
    let Some(member) = member else {
        let wake = TenantWake::new(bus.clone(), tenants::HOST);
        return stores.host_database(Arc::new(wake)).await;
    };
    let attached = member.cluster.attach(bus, tenants::HOST).await?;
    let database = stores.host_database(Arc::new(TenantWake::shared(&attached))).await?;
    let seen = database.clone();
    attached.on_horizon(move |horizon| seen.horizon_seen(horizon));
    member.hold(attached);
    Ok(database)
}

/// Another server name on the same folder is most likely a mistake.
fn warn_of_others(descriptor: &Descriptor, stores: &Stores) -> Result<()> {
    let name = descriptor.tenant.name.as_str();
    if descriptor.is_of_many() || stores.postgres().is_some() || stores.has_database(name) {
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
        large_instances: settings.large_instances.get(),
        compiler: compiler::of(settings),
        component_max: settings.component_max.get(),
        memory_max: memory_max.as_usize(),
        idle: settings.idle.get(),
        ..EngineConfig::below(data)
    }
}
