//! Payloads beyond what NATS takes in one message: in parts, a few under way at a time.
//!
//! The receiver acknowledges; so nobody is sent more than it takes, and the server does not drop a node as slow.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Shared;
use super::frame::{Frame, OVERHEAD, Port};
use super::inbox::{Incoming, OpenPort};

/// The largest payload of a call.
pub(crate) const LARGEST: usize = 64 << 20;
/// Payloads that are being put together at once, in KiB: four of the largest.
pub(crate) const TOGETHER_KIB: u32 = 4 * ((LARGEST >> 10) as u32 + 1);
/// The largest part: small enough that others get their turn on the connection.
const PART: usize = 256 << 10;
/// Parts under way.
const WINDOW: u32 = 8;
/// Bytes kept free in a message for its headers.
const HEADERS: usize = 1_024;
/// The other side takes no part, or sends none, for so long: it is gone or cannot go on.
const STALL: Duration = Duration::from_secs(10);

impl Shared {
    /// What fits into one message.
    pub(crate) fn whole(&self) -> usize {
        self.client.max_payload().saturating_sub(HEADERS + OVERHEAD)
    }

    /// Sends a frame to a port.
    pub(crate) async fn tell(&self, port: &Port, frame: &Frame) -> Result<(), String> {
        let subject = self.inbox.subject_of(port);
        self.client.publish(subject, frame.encode()).await.map_err(|error| error.to_string())
    }

    /// Sends a payload in parts. `frames` brings what the other side says.
    pub(crate) async fn send_parts(
        &self,
        to: &Port,
        data: &Bytes,
        frames: &mut mpsc::Receiver<Incoming>,
    ) -> Result<(), Broken> {
        let size = PART.min(self.whole()).max(1);
        let parts = u32::try_from(data.len().div_ceil(size)).map_err(|_| Broken::Odd)?;
        let (mut sent, mut got) = (0_u32, 0_u32);
        while got < parts {
            while sent < parts && sent - got < WINDOW {
                let from = sent as usize * size;
                let part = data.slice(from..data.len().min(from + size));
                let frame = Frame::Part(sent, part);
                self.tell(to, &frame).await.map_err(Broken::Connection)?;
                sent += 1;
            }
            match timeout(STALL, frames.recv()).await.map_err(|_| Broken::Stalled)? {
                Some(Incoming::Frame(Frame::Got(count))) if count > got && count <= sent => {
                    got = count;
                }
                Some(Incoming::Frame(Frame::Cancel)) => return Err(Broken::Cancelled),
                Some(Incoming::Frame(Frame::Failed(text))) => return Err(Broken::Failed(text)),
                Some(Incoming::Frame(Frame::Got(_))) => {}
                Some(Incoming::NoResponders) => return Err(Broken::Stalled),
                Some(Incoming::Frame(_)) | None => return Err(Broken::Odd),
            }
        }
        Ok(())
    }

    /// Takes a payload of `total` bytes in parts, acknowledging to `to`.
    pub(crate) async fn take_parts(
        &self,
        to: &Port,
        total: u64,
        port: &mut OpenPort,
    ) -> Result<Bytes, Broken> {
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        if total > LARGEST {
            return Err(Broken::TooLarge);
        }
        let kib = u32::try_from(total >> 10).unwrap_or(u32::MAX).saturating_add(1);
        let room = timeout(STALL, self.parts.acquire_many(kib)).await;
        let _room = room.map_err(|_| Broken::Full)?.map_err(|_| Broken::Full)?;
        // Not all at once: a number is cheaper to send than what it promises.
        let mut data = BytesMut::with_capacity(total.min(1 << 20));
        let mut next = 0_u32;
        while data.len() < total {
            match timeout(STALL, port.frames.recv()).await.map_err(|_| Broken::Stalled)? {
                Some(Incoming::Frame(Frame::Part(number, part))) => {
                    if number != next || data.len() + part.len() > total || part.is_empty() {
                        return Err(Broken::Odd);
                    }
                    data.extend_from_slice(&part);
                    next += 1;
                    self.tell(to, &Frame::Got(next)).await.map_err(Broken::Connection)?;
                }
                Some(Incoming::Frame(Frame::Cancel)) => return Err(Broken::Cancelled),
                Some(Incoming::Frame(Frame::Failed(text))) => return Err(Broken::Failed(text)),
                // Told in any case after a while.
                Some(Incoming::Frame(Frame::Accept(_))) => {}
                Some(Incoming::NoResponders) => return Err(Broken::Stalled),
                Some(Incoming::Frame(_)) | None => return Err(Broken::Odd),
            }
        }
        Ok(data.freeze())
    }
}

/// Why a payload did not get through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the other node stopped in the middle of a payload")]
    Stalled,
    #[error("nobody waits for it any more")]
    Cancelled,
    #[error("{0}")]
    Failed(String),
    #[error("a payload may have up to {LARGEST} bytes")]
    TooLarge,
    #[error("too many large payloads at once")]
    Full,
    #[error("the other node sent what does not belong here")]
    Odd,
    #[error("the connection to NATS failed: {0}")]
    Connection(String),
}
