//! The admin socket: how the tools ask a running server.
//!
//! One JSON line asks, one JSON line answers. The socket lies in the data folder, whose mode lets
//! only its owner in.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    os::unix::net::UnixStream as StdStream,
    path::Path,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::timeout,
};

use crate::topics::{Action, Chosen};

/// Bytes of one question: a list of ids is the longest.
const QUESTION: u64 = 1 << 20;

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Exchanges at once; more wait.
const AT_ONCE: usize = 8;

/// What may be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(crate) enum Question {
    /// How the plug-ins are. Here and below: of the only tenant where none is named.
    Status { tenant: Option<String> },
    /// Consumers and dead letters.
    Topics { tenant: Option<String> },
    /// Retry or drop dead letters.
    Letters { tenant: Option<String>, action: Action, chosen: Chosen },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Ok(Value),
    Error(String),
}

/// Who answers questions in a running server.
pub(crate) trait Answering: Send + Sync + 'static {
    /// Answers one question.
    fn answer(
        &self,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = Result<Value>> + Send + '_>>;
}

/// Listens at `path`, in place of a socket that a killed server left there: the caller holds the
/// data folder.
pub(crate) fn listen(path: &Path) -> Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    UnixListener::bind(path)
        .with_context(|| format!("cannot make the admin socket {}", path.display()))
}

/// Answers until dropped.
pub(crate) async fn serve(listener: UnixListener, answering: Arc<dyn Answering>) {
    let mut exchanges = JoinSet::new();
    loop {
        while exchanges.len() >= AT_ONCE {
            exchanges.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                exchanges.spawn(exchange(stream, Arc::clone(&answering)));
            }
            Err(error) => {
                tracing::warn!(%error, "admin socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while exchanges.try_join_next().is_some() {}
    }
}

async fn exchange(mut stream: UnixStream, answering: Arc<dyn Answering>) {
    let talk = async {
        let (read, mut write) = stream.split();
        let mut line = String::new();
        AsyncBufReader::new(read.take(QUESTION)).read_line(&mut line).await?;
        let answer = match serde_json::from_str(&line) {
            Ok(question) => match answering.answer(question).await {
                Ok(value) => Answer::Ok(value),
                Err(error) => Answer::Error(format!("{error:#}")),
            },
            Err(error) => Answer::Error(format!("not a question: {error}")),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        write.write_all(&text).await
    };
    match timeout(PATIENCE, talk).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin exchange"),
        Err(_) => tracing::warn!("an admin exchange took too long"),
    }
}

/// Asks the server that runs on a data folder.
pub(crate) fn ask<T: DeserializeOwned>(socket: &Path, question: &Question) -> Result<T> {
    let shown = socket.display();
    let mut stream = StdStream::connect(socket)
        .with_context(|| format!("cannot reach the running server at {shown}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = serde_json::to_vec(question)?;
    text.push(b'\n');
    stream.write_all(&text).with_context(|| format!("cannot ask at {shown}"))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).with_context(|| format!("no answer at {shown}"))?;
    if line.is_empty() {
        bail!("the server at {shown} hung up; is it stopping?");
    }
    match serde_json::from_str(&line).with_context(|| format!("odd answer at {shown}"))? {
        Answer::Ok(value) => Ok(serde_json::from_value(value)?),
        Answer::Error(text) => Err(anyhow!(text)),
    }
}
