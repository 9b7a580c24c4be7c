//! `tessera plugin dev`

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    admin::{self, Question},
    authoring::{self, Built, Scratch},
    cli::Settings,
    folder::live_socket,
};

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// Files that are watched; a module has a handful.
const FILES: usize = 10_000;

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The module's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

/// Watches a module, builds it at each change and swaps it into a running server.
pub(crate) fn run(arguments: &Dev) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watch(arguments))
}

async fn watch(arguments: &Dev) -> Result<()> {
    let Dev { folder, settings } = arguments;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut seen = look(folder)?;
    let built = authoring::build(folder, None)?;
    let mut server = Server::find(settings, &built)?;
    eprintln!("watch {}; Ctrl-C ends", folder.display());
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Server::Scratch(scratch) = &mut server
            && scratch.ended()
        {
            bail!("the throw-away server has ended");
        }
        let now = look(folder)?;
        if now == seen {
            continue;
        }
        seen = now;
        // What is wrong is told, and the next change is waited for.
        match authoring::build(folder, None).and_then(|built| server.take(settings, &built)) {
            Ok(()) => {}
            Err(error) => eprintln!("error: {error:#}"),
        }
    }
    Ok(())
}

/// Where the module runs.
enum Server {
    /// It was there before.
    Running,
    /// It goes with this command.
    Scratch(Scratch),
}

impl Server {
    /// The server of the settings' data folder, if one runs there, else a throw-away one. Takes the module in.
    fn find(settings: &Settings, built: &Built) -> Result<Self> {
        if live_socket(&settings.descriptor()?.server.data).is_some() {
            let mut server = Self::Running;
            server.take(settings, built)?;
            return Ok(server);
        }
        eprintln!("no server runs on the data folder; start a throw-away one");
        let name = built.package.name();
        Ok(Self::Scratch(Scratch::start(settings, name, &built.path, false)?))
    }

    /// Puts a new build in the place of the one before, or installs it with all that it asks for: whoever develops a
    /// module on a server trusts it.
    fn take(&mut self, settings: &Settings, built: &Built) -> Result<()> {
        let (config, data) = match self {
            Self::Running => (settings.config.clone(), settings.descriptor()?.server.data),
            Self::Scratch(scratch) => (Some(scratch.config()), scratch.data()),
        };
        let socket = live_socket(&data).context("the server is gone")?;
        let name = built.package.name();
        let tenant = settings.server_name.as_ref().map(ToString::to_string);
        let plugins: Vec<Value> = admin::ask(&socket, &Question::Status { tenant })?;
        let there = plugins
            .iter()
            .any(|plugin| plugin.pointer("/name").and_then(Value::as_str) == Some(name));
        let mut command = Command::new(env::current_exe().context("which program is this?")?);
        command.args(["plugin", if there { "swap" } else { "install" }]);
        if there {
            command.arg(name).arg(&built.path);
        } else {
            command.arg(&built.path).args(["--grant", "asked"]);
        }
        command.arg("--yes").arg("--data").arg(&data);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        if let Some(plugins) = &settings.plugins {
            command.arg("--plugins").arg(plugins);
        }
        let status = command.stdin(Stdio::null()).status().context("cannot start the swap")?;
        if !status.success() {
            bail!("the server did not take it");
        }
        Ok(())
    }
}

/// The files of a folder with size and time of change, without what tools leave there.
fn look(folder: &Path) -> Result<BTreeMap<PathBuf, (u64, Option<SystemTime>)>> {
    const LEFT: [&str; 4] = ["target", "node_modules", "__pycache__", ".git"];
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            if LEFT.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            // Gone since the folder was read: the next look tells.
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                folders.push(entry.path());
            } else {
                files.insert(entry.path(), (data.len(), data.modified().ok()));
            }
            if files.len() > FILES {
                bail!("more than {FILES} files: is this a module's folder?");
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_file_is_seen_and_built_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("src")).unwrap();
        fs::create_dir_all(path.join("target")).unwrap();
        fs::write(path.join("src/module.js"), "1").unwrap();
        let before = look(path).unwrap();
        fs::write(path.join("target/x.wasm"), "built").unwrap();
        assert_eq!(look(path).unwrap(), before);
        fs::write(path.join("src/module.js"), "12").unwrap();
        assert_ne!(look(path).unwrap(), before);
    }
}
