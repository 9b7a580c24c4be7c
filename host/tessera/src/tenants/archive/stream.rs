//! The database's stream, cut into pieces and joined again. Both ends block.

use std::io::{self, Read, Write};

use tokio::sync::mpsc;

use super::PIECE;

/// Pieces on their way: the memory of an export or import.
const AHEAD: usize = 4;

/// Two ends: what is written into one comes out of the other as pieces of at most [`PIECE`] bytes.
pub(super) fn cutting() -> (Cutting, mpsc::Receiver<Vec<u8>>) {
    let (send, pieces) = mpsc::channel(AHEAD);
    (Cutting { send, piece: Vec::new() }, pieces)
}

/// See [`cutting`]. What was not flushed when it is dropped is lost.
pub(super) struct Cutting {
    send: mpsc::Sender<Vec<u8>>,
    piece: Vec<u8>,
}

impl Write for Cutting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE.saturating_sub(self.piece.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.piece.extend_from_slice(taken);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.send.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Two ends: pieces sent into one are read from the other.
pub(super) fn joining() -> (mpsc::Sender<Vec<u8>>, Joining) {
    let (send, pieces) = mpsc::channel(AHEAD);
    (send, Joining { pieces, piece: io::Cursor::default() })
}

/// See [`joining`].
pub(super) struct Joining {
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Joining {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::{PIECE, cutting, joining};

    #[test]
    fn what_is_cut_is_joined_again() {
        let bytes: Vec<u8> = (0..PIECE * 2 + 17).map(|at| at as u8).collect();
        let (mut cutting, mut pieces) = cutting();
        let (send, mut joining) = joining();
        let written = bytes.clone();
        let writing = std::thread::spawn(move || {
            cutting.write_all(&written).unwrap();
            cutting.flush().unwrap();
        });
        let passing = std::thread::spawn(move || {
            let mut lengths = Vec::new();
            while let Some(piece) = pieces.blocking_recv() {
                lengths.push(piece.len());
                send.blocking_send(piece).unwrap();
            }
            lengths
        });
        let mut read = Vec::new();
        joining.read_to_end(&mut read).unwrap();
        writing.join().unwrap();
        assert_eq!(passing.join().unwrap(), [PIECE, PIECE, 17]);
        assert!(read == bytes);
    }

    #[test]
    fn writing_fails_once_nobody_takes_the_pieces() {
        let (mut cutting, pieces) = cutting();
        drop(pieces);
        cutting.write_all(b"x").unwrap();
        cutting.flush().unwrap_err();
    }
}
