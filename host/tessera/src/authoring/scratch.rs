//! A throw-away server with a module in it.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tempfile::TempDir;
use tessera_engine::Round;

use super::cache;
use crate::{
    admin::{self, ModuleQuestion, Question},
    cli::Settings,
    folder::live_socket,
    settings::plugins_folder,
};

/// How long a start may take: a first one compiles every plug-in.
const START: Duration = Duration::from_secs(180);
/// How long it may take to end.
const STOP: Duration = Duration::from_secs(20);

/// A server on a data folder of its own. It ends, and its folder goes, with this.
pub(crate) struct Scratch {
    child: Child,
    folder: TempDir,
    /// Whether its output goes to a file.
    quiet: bool,
}

impl Scratch {
    /// Starts the first-party plug-ins that are here, and the module `name` of the file `path` with all that it asks
    /// for. `quiet`: it says nothing and takes a free port.
    pub(crate) fn start(settings: &Settings, name: &str, path: &Path, quiet: bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tessera-module-").tempdir()?;
        let text = descriptor(settings, name, path)?;
        let config = folder.path().join("tessera.toml");
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let plugins = plugins_folder(&settings.descriptor()?)?;
        let mut command = Command::new(env::current_exe().context("which program is this?")?);
        command
            .arg("run")
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(folder.path().join("data"))
            .arg("--plugins")
            .arg(&plugins)
            .arg("--cache")
            .arg(settings.cache.clone().unwrap_or_else(|| cache().join("code")))
            .args(["--metrics", "off"])
            .env_remove("TESSERA_NODE")
            .stdin(Stdio::null());
        if quiet {
            command.args(["--listen", "127.0.0.1:0"]);
            let log = File::create(folder.path().join("log"))?;
            command.stdout(log.try_clone()?).stderr(log);
        } else {
            for address in &settings.listen {
                command.arg("--listen").arg(address.to_string());
            }
        }
        if let Some(name) = &settings.server_name {
            command.arg("--server-name").arg(name.as_str());
        }
        let child = command.spawn().context("cannot start a throw-away server")?;
        let mut scratch = Self { child, folder, quiet };
        scratch.wait()?;
        Ok(scratch)
    }

    /// Its descriptor.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("tessera.toml")
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// How the plug-ins are.
    pub(crate) fn status(&self) -> Result<Vec<Value>> {
        let socket = live_socket(&self.data()).context("the throw-away server is gone")?;
        admin::ask(&socket, &Question::Status { tenant: None })
    }

    /// What the module answers now to a recorded round.
    pub(crate) fn replay(&self, name: &str, round: &Round) -> Result<Value> {
        let socket = live_socket(&self.data()).context("the throw-away server is gone")?;
        let round = Box::new(round.clone());
        let question = ModuleQuestion::Replay { tenant: None, name: name.to_owned(), round };
        admin::ask(&socket, &Question::Module(question))
    }

    /// Whether it has ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + START;
        while live_socket(&self.data()).is_none() {
            if self.ended() {
                bail!("the server does not start with the module{}", self.said());
            }
            if Instant::now() > until {
                bail!("the server was not ready after {} s{}", START.as_secs(), self.said());
            }
            sleep(Duration::from_millis(20));
        }
        // The socket is there before the plug-ins have started; asking waits for them.
        loop {
            match self.status() {
                Ok(_) => return Ok(()),
                Err(_) if self.ended() => {
                    bail!("the server does not start with the module{}", self.said())
                }
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The end of what it has written.
    fn said(&self) -> String {
        if !self.quiet {
            return String::new(); // on the terminal already
        }
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
        format!(":\n{}", tail.join("\n"))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // An error: it has ended already.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let until = Instant::now() + STOP;
        while !self.ended() && Instant::now() < until {
            sleep(Duration::from_millis(10));
        }
        // Nothing to do about an error: it has ended, or nobody can end it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The operator's descriptor, if one is named, with the module in it and without plug-ins that are not here.
fn descriptor(settings: &Settings, name: &str, path: &Path) -> Result<String> {
    let mut table: toml::Table = match &settings.config {
        None => toml::Table::new(),
        Some(path) => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            text.parse().with_context(|| path.display().to_string())?
        }
    };
    let described = settings.descriptor()?;
    let here = plugins_folder(&described)?;
    let missing: Vec<String> = described
        .plugins
        .iter()
        .filter(|(other, plugin)| {
            other.as_str() != name && !crate::settings::plugin_file(&here, other, plugin).is_file()
        })
        .map(|(other, _)| other.to_string())
        .collect();
    let plugins = entry(&mut table, "plugins")?;
    for other in missing {
        entry(plugins, &other)?.insert("enabled".into(), false.into());
    }
    let module = entry(plugins, name)?;
    module.insert("source".into(), path.display().to_string().into());
    module.insert("enabled".into(), true.into());
    module.entry("grants").or_insert_with(|| "asked".into());
    module.remove("sha256");
    Ok(table.to_string())
}

fn entry<'a>(table: &'a mut toml::Table, key: &str) -> Result<&'a mut toml::Table> {
    table
        .entry(key)
        .or_insert_with(|| toml::Table::new().into())
        .as_table_mut()
        .ok_or_else(|| anyhow!("`{key}` of the descriptor is no table"))
}
