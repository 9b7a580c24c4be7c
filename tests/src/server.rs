//! A server under test: started in a folder of its own, killed, restarted, stopped.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{binary, http};

/// How long a start may take before it counts as failed. A first start in a debug build compiles every component.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How long a tool of the operator may take.
const TOOL_PATIENCE: Duration = Duration::from_secs(120);
/// How often readiness is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How a server is started. `Options::testing()` is what most tests want.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server binary.
    pub binary: PathBuf,
    /// `--plugins`.
    pub plugins: Option<PathBuf>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--server-name`; none is given when empty.
    pub server_name: String,
    /// `--listen`; a free port of 127.0.0.1 when `None`.
    pub listen: Option<SocketAddr>,
    /// `--data`; a temporary folder when `None`.
    pub data: Option<PathBuf>,
    /// The folder of compiled code that servers share (`TESSERA_CACHE`); the server's own choice when `None`.
    pub cache: Option<PathBuf>,
    /// The Host with which it is asked whether it answers, where no tenant takes any host.
    pub host: Option<String>,
    /// The node to run: then data, address, server name and plug-ins stand in `config`.
    pub node: Option<String>,
    /// More arguments, behind the others.
    pub more: Vec<OsString>,
}

impl Options {
    /// The debug build with the testing descriptor.
    ///
    /// # Errors
    /// The server or the plug-ins are not built; the message says how to build them.
    pub fn testing() -> Result<Self> {
        Ok(Self::of(binary::server()?, Some(binary::plugins()?)))
    }

    /// The release build with the testing descriptor.
    ///
    /// # Errors
    /// The server or the plug-ins are not built; the message says how to build them.
    pub fn release() -> Result<Self> {
        Ok(Self::of(binary::release_server()?, Some(binary::plugins()?)))
    }

    fn of(binary: PathBuf, plugins: Option<PathBuf>) -> Self {
        let config = binary::testing_config();
        let cache = Some(binary::compiled_code());
        Self {
            binary,
            plugins,
            config,
            server_name: "hs1".into(),
            listen: None,
            data: None,
            cache,
            host: None,
            node: None,
            more: Vec::new(),
        }
    }

    fn arguments(&self, data: &Path, listen: SocketAddr) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["run".into()];
        if let Some(config) = &self.config {
            arguments.extend(["--config".into(), config.into()]);
        }
        if let Some(node) = &self.node {
            arguments.extend(["--node".into(), node.into()]);
            arguments.extend(self.more.iter().cloned());
            return arguments;
        }
        arguments.extend(["--data".into(), data.into()]);
        arguments.extend(["--listen".into(), listen.to_string().into()]);
        if !self.server_name.is_empty() {
            arguments.extend(["--server-name".into(), self.server_name.clone().into()]);
        }
        if let Some(plugins) = &self.plugins {
            arguments.extend(["--plugins".into(), plugins.into()]);
        }
        arguments.extend(self.more.iter().cloned());
        arguments
    }
}

/// A running (or killed) server and its folder. Dropping it kills the process and removes the folder.
#[derive(Debug)]
pub struct Server {
    options: Options,
    listen: SocketAddr,
    folder: TempDir,
    child: Option<Child>,
    ready_in: Duration,
}

/// A server that did not start: how it ended and what it wrote.
#[derive(Debug)]
pub struct Refusal {
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output and error together.
    pub output: String,
}

impl Server {
    /// Starts a server with the testing options and waits until it answers.
    ///
    /// # Errors
    /// It is not built, or does not answer; the message carries the end of its log.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::testing()?).await
    }

    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// It does not answer 200 on `/_matrix/client/versions`; the message carries the end of its log.
    pub async fn start_with(options: Options) -> Result<Self> {
        let mut server = Self::prepare(options)?;
        server.boot().await?;
        Ok(server)
    }

    /// A server with its folder and port, not started yet.
    ///
    /// # Errors
    /// No temporary folder or no free port.
    pub fn prepare(options: Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tessera-test-").tempdir()?;
        let listen = match options.listen {
            Some(listen) => listen,
            None => free_address()?,
        };
        Ok(Self { options, listen, folder, child: None, ready_in: Duration::ZERO })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// The options, to change them before the next start.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Time from the start of the process to its first answer.
    #[must_use]
    pub fn ready_in(&self) -> Duration {
        self.ready_in
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Everything that it wrote so far, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The program with a clean environment, in the server's folder: only what is given here counts, whatever the
    /// caller's environment says.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.options.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TESSERA_") {
                command.env_remove(name);
            }
        }
        if let Some(cache) = &self.options.cache {
            command.env("TESSERA_CACHE", cache);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs the program as its operator does beside the server, such as `["tenant", "list", "--json"]`, and gives
    /// what it wrote to standard output.
    ///
    /// # Errors
    /// It cannot be run or fails; the message carries what it wrote.
    pub async fn tool<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        let output = self.try_tool(arguments).await?;
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            let words: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
            bail!("{words:?} ended with {}:\n{out}{err}", output.status);
        }
        Ok(out.into_owned())
    }

    /// As [`Server::tool`], however it ends.
    ///
    /// # Errors
    /// It cannot be run.
    pub async fn try_tool<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Output> {
        let mut command = self.command();
        command.args(arguments);
        if let Some(config) = &self.options.config {
            command.env("TESSERA_CONFIG", config);
        }
        if self.options.node.is_none() {
            command.env("TESSERA_DATA", self.data());
        }
        if let Some(plugins) = &self.options.plugins {
            command.env("TESSERA_PLUGINS", plugins);
        }
        let tool = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = tokio::time::timeout(TOOL_PATIENCE, tool).await;
        output.context("the tool did not end")?.context("running the tool")
    }

    /// Starts the process without waiting for it.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn spawn(&mut self) -> Result<()> {
        let data = self.data();
        std::fs::create_dir_all(&data)?;
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let child = self
            .command()
            .args(self.options.arguments(&data, self.listen))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("running {}", self.options.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts the process and waits until it answers. Also how a killed server comes back: same folder, same port.
    ///
    /// # Errors
    /// It does not answer 200 on `/_matrix/client/versions`; the message carries the end of its log.
    pub async fn boot(&mut self) -> Result<()> {
        self.spawn()?;
        self.answers().await
    }

    /// Waits until the process answers.
    ///
    /// # Errors
    /// It does not answer 200 on `/_matrix/client/versions`; the message carries the end of its log.
    pub async fn answers(&mut self) -> Result<()> {
        let client = http::client()?;
        let started = Instant::now();
        let versions = format!("{}/_matrix/client/versions", self.url());
        loop {
            let mut ask = client.get(&versions).timeout(Duration::from_secs(5));
            if let Some(host) = &self.options.host {
                ask = ask.header("host", host);
            }
            let answer = ask.send().await;
            if answer.is_ok_and(|a| a.status().as_u16() == 200) {
                self.ready_in = started.elapsed();
                return Ok(());
            }
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("the server ended with {status} instead of starting:\n{}", self.log_tail());
            }
            if started.elapsed() > START_PATIENCE {
                bail!("the server did not answer within {START_PATIENCE:?}:\n{}", self.log_tail());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for the process to end by itself and gives its status; the log is in [`Server::log`].
    ///
    /// # Errors
    /// It is not running, or does not end in time.
    pub async fn ends_within(&mut self, patience: Duration) -> Result<ExitStatus> {
        let child = self.child.as_mut().context("the server is not running")?;
        let status = tokio::time::timeout(patience, child.wait())
            .await
            .with_context(|| format!("the server still runs after {patience:?}"))??;
        self.child = None;
        Ok(status)
    }

    /// Starts a server that is expected to refuse, and gives how it ended.
    ///
    /// # Errors
    /// It started after all, or hangs.
    pub async fn refuse_with(options: Options) -> Result<Refusal> {
        let mut server = Self::prepare(options)?;
        server.refuse().await
    }

    /// As [`Server::refuse_with`], for a prepared server.
    ///
    /// # Errors
    /// It started after all, or hangs.
    pub async fn refuse(&mut self) -> Result<Refusal> {
        self.spawn()?;
        let status = self.ends_within(START_PATIENCE).await.with_context(|| self.log_tail())?;
        Ok(Refusal { status, output: self.log() })
    }

    /// Kills the process with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// It is not running.
    pub async fn kill9(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        child.kill().await.context("kill -9")
    }

    /// Sends SIGTERM without waiting.
    ///
    /// # Errors
    /// It is not running.
    pub async fn signal_term(&self) -> Result<()> {
        let pid = self.pid().context("the server is not running")?;
        let status = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().await?;
        if !status.success() {
            bail!("kill -TERM {pid}: {status}");
        }
        Ok(())
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    /// It is not running, or does not end in time.
    pub async fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal_term().await?;
        self.ends_within(patience).await
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(40);
        lines.get(from..).unwrap_or_default().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- end of the server's log ---\n{}", self.log_tail());
        }
    }
}

/// A free address of 127.0.0.1. Another process may take it before the server does; the kernel hands ports out in an
/// order that makes this rare.
///
/// # Errors
/// No port is free.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
