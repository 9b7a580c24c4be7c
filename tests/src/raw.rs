//! HTTP by hand over one TCP connection, for what no well-behaved client does: half a body, no body, going away.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends these bytes and gives what comes back until the first complete head and body, or until the server closes.
/// The connection stays open on our side the while, so the server cannot take a missing rest for an end.
///
/// # Errors
/// No connection, or no complete answer within 30 seconds.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // The server may answer and close before everything is written: what it answered counts.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    timeout(PATIENCE, async {
        let mut chunk = [0u8; 8192];
        loop {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(n) => answer.extend(chunk.iter().take(n)),
            }
            if complete(&answer) {
                break;
            }
        }
    })
    .await
    .context("no complete answer within 30 s")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Opens a connection, sends these bytes and gives the connection, for the caller to drop.
///
/// # Errors
/// No connection.
pub async fn open(address: SocketAddr, bytes: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    stream.flush().await?;
    Ok(stream)
}

/// The status of an answer's first line, 0 when there is none.
#[must_use]
pub fn status(answer: &str) -> u16 {
    answer.split_whitespace().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

fn complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length:"));
    match length.and_then(|l| l.trim().parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => body.ends_with("0\r\n\r\n") && head.contains("chunked"),
    }
}

#[cfg(test)]
mod tests {
    use super::{complete, status};

    #[test]
    fn answer_is_complete_with_its_last_byte() {
        assert!(!complete(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{"));
        assert!(complete(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"));
        assert!(complete(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        ));
    }

    #[test]
    fn status_of_nothing_is_zero() {
        assert_eq!(status(""), 0);
        assert_eq!(status("HTTP/1.1 413 Payload Too Large\r\n"), 413);
    }
}
