//! `tessera plugin test`

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use tessera_engine::Round;
use tessera_package::build::{Cmd, Language, Module, Script};

use crate::{
    authoring::{self, Scratch},
    cli::Settings,
};

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The module's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Only the module's own tests, no server.
    #[arg(long)]
    own: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Runs a module's own tests, and the module in a throw-away server.
pub(crate) fn run(arguments: &Test) -> Result<()> {
    let folder = &arguments.folder;
    let module = Module::open(folder)?;
    own_tests(&module)?;
    if arguments.own {
        return Ok(());
    }
    let built = authoring::build(folder, None)?;
    let name = built.package.name();
    eprintln!("start {name} in a throw-away server");
    let server = Scratch::start(&arguments.settings, name, &built.path, true)?;
    let status = server.status()?;
    let text = |plugin: &Value, pointer| {
        plugin.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let Some(plugin) = status.iter().find(|plugin| text(plugin, "/name") == name) else {
        bail!("the server runs, but without {name}");
    };
    let state = text(plugin, "/health/state");
    if state != "running" {
        bail!("{name} is {state} in the server: {}", text(plugin, "/health/reason"));
    }
    let played = golden(folder, name, &server)?;
    if played > 0 {
        eprintln!("{played} recorded rounds, answered as they were");
    }
    println!("good: {name} {} runs beside {} others", built.package.version(), status.len() - 1);
    Ok(())
}

/// Plays back the rounds that lie in the module's folder `golden`; how many there are.
fn golden(folder: &Path, name: &str, server: &Scratch) -> Result<usize> {
    let folder = folder.join("golden");
    if !folder.is_dir() {
        return Ok(0);
    }
    let mut files = Vec::new();
    for entry in
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let (mut played, mut wrong) = (0, Vec::new());
    for file in files {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for (line, text) in (1..).zip(text.lines()) {
            let place = format!("{}:{line}", file.display());
            let round: Round = serde_json::from_str(text)
                .with_context(|| format!("{place}: not a recorded round"))?;
            let answer = server.replay(name, &round).with_context(|| place.clone())?;
            if answer != round.answer {
                wrong.push(format!(
                    "{place}: {}\n    recorded {}\n    now      {answer}",
                    round.hook, round.answer
                ));
            }
            played += 1;
        }
    }
    if !wrong.is_empty() {
        bail!("{} of {played} rounds are answered otherwise:\n{}", wrong.len(), wrong.join("\n"));
    }
    Ok(played)
}

/// Runs what the module's language calls tests.
fn own_tests(module: &Module) -> Result<()> {
    let folder = &module.folder;
    let tests = || folder.join("tests").is_dir();
    let mut command = match module.language {
        Language::Rust => {
            let mut cargo = Cmd::cargo().args(["test", "--quiet"]).dir(folder).command();
            cargo.stdin(Stdio::null());
            cargo
        }
        Language::Script(_) if !tests() && !folder.join("test").is_dir() => {
            eprintln!("{} has no folder tests", folder.display());
            return Ok(());
        }
        Language::Script(Script::JavaScript) => {
            let mut node = Command::new(node());
            node.arg("--test").current_dir(folder);
            node
        }
        Language::Script(Script::Python) => {
            let mut python = Command::new("python3");
            python
                .args(["-m", "unittest", "discover", "-s", "tests"])
                .current_dir(folder)
                .env("PYTHONPATH", "src")
                .env("PYTHONDONTWRITEBYTECODE", "1");
            python
        }
    };
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{shown}` for the module's own tests"))?;
    if !status.success() {
        bail!("the module's own tests failed ({shown}: {status})");
    }
    Ok(())
}

/// The Node that came with the tools, else the one on PATH.
fn node() -> PathBuf {
    let ours = authoring::tools().node();
    if ours.exists() { ours } else { Path::new("node").to_owned() }
}
