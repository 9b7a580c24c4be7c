//! The admin socket: how the tools ask a running server.
//!
//! One JSON line asks, one JSON line answers; lines before it tell how far a long answer is. The socket lies in the data folder, whose mode lets
//! only its owner in.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Write},
    os::unix::net::UnixStream as StdStream,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tessera_engine::Round;
use tessera_manifest::{TenantEntry, TenantName};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::{
    modules::change::Change,
    tenants::archive::{Over, Progress},
    topics::{Action, Chosen},
};

/// Bytes of one question: a list of ids is the longest.
const QUESTION: u64 = 1 << 20;

/// How long a question may take to arrive, and either side may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is told how far a long answer is, where that has changed.
const TELL: Duration = Duration::from_millis(200);

/// How often it is told in any case: that somebody is still at work.
const BEAT: Duration = Duration::from_secs(5);

/// Exchanges at once; more wait.
const AT_ONCE: usize = 32;

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
    /// Look at tenants, or change them.
    Tenant(TenantQuestion),
    /// The nodes of the cluster.
    Nodes,
    /// Read the descriptor and the plug-ins again.
    Reload,
    /// Look at modules, or change them.
    Module(ModuleQuestion),
    /// Forgets a consumer of topics that is no longer there.
    Forget { tenant: Option<String>, consumer: String },
    /// Lets a node hand over and end.
    Drain { node: String },
}

/// `tessera plugin …`
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "module", rename_all = "kebab-case")]
pub(crate) enum ModuleQuestion {
    /// Changes what is kept, and takes it up.
    Change(Change),
    /// Lets a plug-in out of its quarantine.
    Release { tenant: Option<String>, name: String },
    /// What was refused and what went wrong; of all tenants that are awake, and all plug-ins, where none is named.
    Log { tenant: Option<String>, name: Option<String> },
    /// What a module is asked from now on, and what it answers: so many rounds, or those of so many seconds.
    Record { tenant: Option<String>, name: String, rounds: u32, seconds: u64 },
    /// Asks a module again what a round asked; what it answers now.
    Replay { tenant: Option<String>, name: String, round: Box<Round> },
}

/// `tessera tenant …`
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "tenant", rename_all = "kebab-case")]
pub(crate) enum TenantQuestion {
    List,
    Show { name: String },
    Add { name: TenantName, entry: Box<TenantEntry> },
    Suspend { name: String },
    Resume { name: String },
    Remove { name: String, export: bool },
    Export { name: String, file: PathBuf },
    Import { file: PathBuf, over: Box<Over> },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Ok(Value),
    Error(String),
    /// More follows: what is done now, how much of it, and of how much (0: not known).
    Progress(String, u64, u64),
}

/// Who answers questions in a running server.
pub(crate) trait Answering: Send + Sync + 'static {
    /// Answers one question; a long answer tells how far it is. It is answered to its end, also where nobody waits
    /// for it any more.
    fn answer(
        &self,
        question: Question,
        progress: Progress,
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

async fn exchange(stream: UnixStream, answering: Arc<dyn Answering>) {
    if let Err(error) = talk(stream, answering).await {
        tracing::debug!(%error, "admin exchange");
    }
}

async fn talk(stream: UnixStream, answering: Arc<dyn Answering>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    timeout(PATIENCE, AsyncBufReader::new(read.take(QUESTION)).read_line(&mut line)).await??;
    let question = match serde_json::from_str(&line) {
        Ok(question) => question,
        Err(error) => {
            return say(&mut write, &Answer::Error(format!("not a question: {error}"))).await;
        }
    };
    let (tell, mut told) = watch::channel((String::new(), 0, 0));
    let progress = Progress::new(move |what, done, total| {
        tell.send_replace((what.to_owned(), done, total));
    });
    let mut work = tokio::spawn(async move { answering.answer(question, progress).await });
    let mut ticks = tokio::time::interval(TELL);
    let mut last = Instant::now();
    let answer = loop {
        tokio::select! {
            answer = &mut work => break answer,
            _ = ticks.tick() => {
                if told.has_changed().unwrap_or(false) || last.elapsed() >= BEAT {
                    last = Instant::now();
                    let (what, done, total) = told.borrow_and_update().clone();
                    say(&mut write, &Answer::Progress(what, done, total)).await?;
                }
            }
        }
    };
    let answer = match answer {
        Ok(Ok(value)) => Answer::Ok(value),
        Ok(Err(error)) => Answer::Error(chain(&error)),
        Err(error) => Answer::Error(format!("the answer was lost: {error}")),
    };
    say(&mut write, &answer).await
}

/// An error with what caused it, as the tools print those of their own.
fn chain(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join("\n  because: ")
}

async fn say(write: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    timeout(PATIENCE, write.write_all(&text)).await?
}

/// Asks the server that runs on a data folder.
pub(crate) fn ask<T: DeserializeOwned>(socket: &Path, question: &Question) -> Result<T> {
    ask_long(socket, question, &Progress::nobody())
}

/// As [`ask`], for what may take long.
pub(crate) fn ask_long<T: DeserializeOwned>(
    socket: &Path,
    question: &Question,
    progress: &Progress,
) -> Result<T> {
    let shown = socket.display();
    let mut stream = StdStream::connect(socket)
        .with_context(|| format!("cannot reach the running server at {shown}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = serde_json::to_vec(question)?;
    text.push(b'\n');
    stream.write_all(&text).with_context(|| format!("cannot ask at {shown}"))?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).with_context(|| format!("no answer at {shown}"))?;
        if line.is_empty() {
            bail!("the server at {shown} hung up; is it stopping?");
        }
        match serde_json::from_str(&line).with_context(|| format!("odd answer at {shown}"))? {
            Answer::Ok(value) => return Ok(serde_json::from_value(value)?),
            Answer::Error(text) => return Err(anyhow!(text)),
            Answer::Progress(what, done, total) => progress.tell(&what, done, total),
        }
    }
}
