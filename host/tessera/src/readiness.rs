//! Whether this process can take requests, and if not why: for `/ready` and for the other nodes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde::Serialize;
use tessera_bus::Cluster;
use tessera_engine::Health;
use tokio::{sync::Mutex, time::timeout};

use crate::tenants::Tenants;

/// A report is good for so long: whoever asks often does not ask the database each time.
const FRESH: Duration = Duration::from_secs(1);

/// How long the database may take for a trifle.
const PATIENCE: Duration = Duration::from_secs(2);

/// How this process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    pub(crate) ready: bool,
    /// What keeps it from taking requests.
    pub(crate) reasons: Vec<String>,
    /// What is not as it should be, though requests can be taken.
    pub(crate) warnings: Vec<String>,
}

impl Report {
    fn new(reasons: Vec<String>, warnings: Vec<String>) -> Self {
        Self { ready: reasons.is_empty(), reasons, warnings }
    }

    /// Of a process that does not take requests yet.
    pub(crate) fn starting() -> Self {
        Self::new(vec!["starting".to_owned()], Vec::new())
    }
}

/// Looks whether this process can take requests.
pub(crate) struct Readiness {
    tenants: Arc<Tenants>,
    cluster: Option<Cluster>,
    draining: AtomicBool,
    kept: Mutex<Option<(Instant, Report)>>,
    last: ArcSwap<Report>,
}

impl Readiness {
    /// Of the server that has these tenants.
    pub(crate) fn new(tenants: Arc<Tenants>, cluster: Option<Cluster>) -> Self {
        let (draining, last) = (AtomicBool::new(false), ArcSwap::from_pointee(Report::starting()));
        Self { tenants, cluster, draining, kept: Mutex::default(), last }
    }

    /// From here on it takes no new requests.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// How it is, not older than a second.
    pub(crate) async fn report(&self) -> Report {
        let mut kept = self.kept.lock().await;
        let fresh = kept.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
        let mut report = match fresh {
            Some((_, report)) => report.clone(),
            None => {
                let report = self.look().await;
                *kept = Some((Instant::now(), report.clone()));
                report
            }
        };
        if self.draining.load(Ordering::Acquire) {
            report.ready = false;
            report.reasons.insert(0, "draining".to_owned());
        }
        self.last.store(Arc::new(report.clone()));
        report
    }

    /// How it was when last looked at.
    pub(crate) fn last(&self) -> Arc<Report> {
        self.last.load_full()
    }

    async fn look(&self) -> Report {
        let (mut reasons, mut warnings) = (Vec::new(), Vec::new());
        match timeout(PATIENCE, self.tenants.registry.ping()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => reasons.push(format!("the database: {error:#}")),
            Err(_) => reasons.push(format!("the database does not answer within {PATIENCE:?}")),
        }
        if let Some(cluster) = &self.cluster {
            let elsewhere = self.tenants.host.plugins().elsewhere();
            let lost = !cluster.connection().borrow().connected;
            // Without the bus a node that runs everything still serves; one that does not is half of one.
            let place = if elsewhere.is_empty() { &mut warnings } else { &mut reasons };
            place.extend(lost.then(|| "not connected to the bus".to_owned()));
            warnings.extend(absent(cluster, &elsewhere).into_iter().filter(|_| !lost));
        }
        let (paused, quarantined) = self.unwell();
        warnings.extend(paused);
        // Of many tenants' plug-ins some may be ill without the process being so.
        let place = if self.tenants.len() == 1 { &mut reasons } else { &mut warnings };
        place.extend(quarantined);
        Report::new(reasons, warnings)
    }

    /// Plug-ins that trapped too often: for a while, and for good.
    fn unwell(&self) -> (Vec<String>, Vec<String>) {
        let (mut paused, mut quarantined) = (Vec::new(), Vec::new());
        for running in self.tenants.awake() {
            let tenant = running.tenant.name();
            for plugin in running.tenant.status() {
                let name = &plugin.name;
                match &plugin.health {
                    Health::Running | Health::Elsewhere => {}
                    Health::Paused { reason, .. } => {
                        paused.push(format!("plug-in {name} of {tenant} is paused: {reason}"));
                    }
                    Health::Quarantined { reason } => {
                        let text = format!("plug-in {name} of {tenant} is quarantined: {reason}");
                        quarantined.push(text);
                    }
                }
            }
        }
        (paused, quarantined)
    }
}

/// Plug-ins of `elsewhere` that no node runs now.
fn absent(cluster: &Cluster, elsewhere: &[String]) -> Vec<String> {
    let nodes = cluster.nodes();
    let runs = |name: &String| {
        let has = |document: &serde_json::Value| document.get("plugins")?.get(name).map(drop);
        nodes.iter().any(|node| !node.draining && has(&node.document).is_some())
    };
    let absent = elsewhere.iter().filter(|name| !runs(name));
    absent.map(|name| format!("no node runs the plug-in {name}")).collect()
}
