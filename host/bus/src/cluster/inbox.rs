//! Where a node takes the frames of its calls: one subscription, one port for each call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Message, StatusCode};
use tokio::sync::mpsc;

use super::frame::{Frame, Port};

/// Calls in hand at once, those made and those served together.
const PORTS: usize = 65_536;
/// Frames of one call that wait; above what the windows of [`super::transfer`] let through.
const WAITING: usize = 64;

/// What comes to a port.
#[derive(Debug)]
pub(crate) enum Incoming {
    Frame(Frame),
    /// Nobody serves the subject.
    NoResponders,
}

type Ports = Mutex<HashMap<u64, mpsc::Sender<Incoming>>>;

/// All ports of a node.
pub(crate) struct Inbox {
    prefix: String,
    node: String,
    ports: Arc<Ports>,
    next: AtomicU64,
}

/// One port; closed when dropped.
pub(crate) struct OpenPort {
    pub(crate) port: Port,
    pub(crate) frames: mpsc::Receiver<Incoming>,
    ports: Arc<Ports>,
}

impl Inbox {
    pub(crate) fn new(prefix: &str, node: &str) -> Self {
        let prefix = format!("{prefix}.inbox");
        Self { prefix, node: node.to_owned(), ports: Arc::default(), next: AtomicU64::new(1) }
    }

    /// The subject of all ports of this node.
    pub(crate) fn subject(&self) -> String {
        format!("{}.{}.*", self.prefix, self.node)
    }

    pub(crate) fn subject_of(&self, port: &Port) -> String {
        format!("{}.{}.{:x}", self.prefix, port.node, port.call)
    }

    /// The port that a subject stands for; `None` for one that is no port.
    pub(crate) fn port_of(&self, subject: &str) -> Option<Port> {
        let (node, call) =
            subject.strip_prefix(&self.prefix)?.strip_prefix('.')?.split_once('.')?;
        let well = !node.is_empty() && node.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let call = u64::from_str_radix(call, 16).ok()?;
        well.then(|| Port { node: node.to_owned(), call })
    }

    /// Ports open now.
    pub(crate) fn held(&self) -> usize {
        lock(&self.ports).len()
    }

    /// `None`: too many are open.
    pub(crate) fn open(&self) -> Option<OpenPort> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, frames) = mpsc::channel(WAITING);
        let mut ports = lock(&self.ports);
        if ports.len() >= PORTS {
            return None;
        }
        ports.insert(call, sender);
        let port = Port { node: self.node.clone(), call };
        Some(OpenPort { port, frames, ports: Arc::clone(&self.ports) })
    }

    /// Hands out what comes. Gives the port to be told where a call was taken that nobody waits for any more.
    pub(crate) fn deliver(&self, message: Message) -> Option<Port> {
        let call = message.subject.rsplit('.').next().unwrap_or_default();
        let call = u64::from_str_radix(call, 16).ok()?;
        let incoming = if message.status == Some(StatusCode::NO_RESPONDERS) {
            Incoming::NoResponders
        } else if let Some(frame) = Frame::decode(message.payload) {
            Incoming::Frame(frame)
        } else {
            tracing::warn!("a node sent what this version does not know");
            return None;
        };
        let sender = lock(&self.ports).get(&call).cloned();
        match (sender, incoming) {
            (Some(sender), incoming) => {
                if sender.try_send(incoming).is_err() {
                    // Above the window: the call fails by its own time-out.
                    tracing::debug!(call, "a call's frames are not taken");
                }
                None
            }
            (None, Incoming::Frame(Frame::Accept(port) | Frame::ReplyOpen(_, port))) => Some(port),
            // The call has ended: deadlines and answers cross.
            (None, _) => None,
        }
    }
}

fn lock(ports: &Ports) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Incoming>>> {
    ports.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        lock(&self.ports).remove(&self.port.call);
    }
}
