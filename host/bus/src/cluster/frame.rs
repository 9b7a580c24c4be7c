//! What nodes say to one another about a call: one byte that tells the kind, then its content.

use bytes::{BufMut, Bytes, BytesMut};

/// One message of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// To a service: the whole request.
    Request(Bytes),
    /// To a service: a request of so many bytes, whose parts follow once it is accepted.
    Open(u64),
    /// From the server: it has the call; later frames go to this port.
    Accept(Port),
    /// From the server: the whole answer.
    Reply(Bytes),
    /// From the server: an answer of so many bytes follows, its parts are acknowledged to this port.
    ReplyOpen(u64, Port),
    /// From the server: it has not begun, because too much is in hand.
    Overloaded,
    /// From the server: it has not begun, because it is going away; another may.
    Going,
    /// From the server: nobody can say what became of it.
    Failed(String),
    /// The next part, with its number.
    Part(u32, Bytes),
    /// So many parts have come.
    Got(u32),
    /// From the caller: nobody waits for the answer any more.
    Cancel,
}

/// Where a node takes the frames of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// The node's [`crate::NodeInfo::id`].
    pub(crate) node: String,
    /// The call, as that node counts.
    pub(crate) call: u64,
}

/// Bytes of a frame beside its data.
pub(crate) const OVERHEAD: usize = 16;

impl Frame {
    pub(crate) fn encode(&self) -> Bytes {
        let mut to = BytesMut::with_capacity(OVERHEAD + self.data());
        match self {
            Self::Request(data) => {
                to.put_u8(1);
                to.put_slice(data);
            }
            Self::Open(total) => {
                to.put_u8(2);
                to.put_u64_le(*total);
            }
            Self::Accept(port) => {
                to.put_u8(3);
                port.encode(&mut to);
            }
            Self::Reply(data) => {
                to.put_u8(4);
                to.put_slice(data);
            }
            Self::ReplyOpen(total, port) => {
                to.put_u8(5);
                to.put_u64_le(*total);
                port.encode(&mut to);
            }
            Self::Overloaded => to.put_u8(6),
            Self::Going => to.put_u8(7),
            Self::Failed(text) => {
                to.put_u8(8);
                to.put_slice(text.as_bytes());
            }
            Self::Part(number, data) => {
                to.put_u8(9);
                to.put_u32_le(*number);
                to.put_slice(data);
            }
            Self::Got(count) => {
                to.put_u8(10);
                to.put_u32_le(*count);
            }
            Self::Cancel => to.put_u8(11),
        }
        to.freeze()
    }

    /// `None` for what no node of this version sends.
    pub(crate) fn decode(mut from: Bytes) -> Option<Self> {
        use bytes::Buf;
        let kind = from.try_get_u8().ok()?;
        Some(match kind {
            1 => Self::Request(from),
            2 => Self::Open(from.try_get_u64_le().ok()?),
            3 => Self::Accept(Port::decode(from)?),
            4 => Self::Reply(from),
            5 => {
                let total = from.try_get_u64_le().ok()?;
                Self::ReplyOpen(total, Port::decode(from)?)
            }
            6 => Self::Overloaded,
            7 => Self::Going,
            8 => Self::Failed(String::from_utf8_lossy(&from).into_owned()),
            9 => {
                let number = from.try_get_u32_le().ok()?;
                Self::Part(number, from)
            }
            10 => Self::Got(from.try_get_u32_le().ok()?),
            11 => Self::Cancel,
            _ => return None,
        })
    }

    fn data(&self) -> usize {
        match self {
            Self::Request(data) | Self::Reply(data) | Self::Part(_, data) => data.len(),
            Self::Failed(text) => text.len(),
            Self::Accept(port) | Self::ReplyOpen(_, port) => port.node.len(),
            _ => 0,
        }
    }
}

impl Port {
    fn encode(&self, to: &mut BytesMut) {
        to.put_u64_le(self.call);
        to.put_slice(self.node.as_bytes());
    }

    fn decode(mut from: Bytes) -> Option<Self> {
        use bytes::Buf;
        let call = from.try_get_u64_le().ok()?;
        let node = String::from_utf8(from.to_vec()).ok()?;
        // It becomes part of a subject.
        let well = !node.is_empty() && node.bytes().all(|byte| byte.is_ascii_alphanumeric());
        well.then_some(Self { node, call })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Frame, Port};

    #[test]
    fn every_frame_comes_out_as_it_went_in() {
        let port = Port { node: "0123abcd".into(), call: 7 };
        let data = Bytes::from_static(b"data");
        for frame in [
            Frame::Request(data.clone()),
            Frame::Open(1 << 40),
            Frame::Accept(port.clone()),
            Frame::Reply(Bytes::new()),
            Frame::ReplyOpen(9, port),
            Frame::Overloaded,
            Frame::Going,
            Frame::Failed("why".into()),
            Frame::Part(3, data),
            Frame::Got(4),
            Frame::Cancel,
        ] {
            assert_eq!(Frame::decode(frame.encode()), Some(frame));
        }
    }

    #[test]
    fn what_is_cut_off_or_odd_is_no_frame() {
        for bytes in
            [&b""[..], &[0], &[2, 1], &[3, 1, 2], &[200], &[3, 0, 0, 0, 0, 0, 0, 0, 0, b'>']]
        {
            assert_eq!(Frame::decode(Bytes::copy_from_slice(bytes)), None);
        }
    }
}
