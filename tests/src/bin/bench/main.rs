//! Front-door loads: the same requests against Tessera or any other homeserver, with the server's CPU time and memory
//! taken from `/proc`. Bounded by count and time; stops by itself.
//!
//! Without `--url` it starts the release build in a temporary folder and writes `docs/benchmarks.md`.

mod figure;
mod goals;
mod loads;
mod measure;
mod native;
mod page;
mod people;
mod target;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Parser;
use tessera_tests::binary;

use crate::{figure::Results, loads::Load, target::Target};

/// What to run, and against whom.
#[derive(Debug, Parser)]
#[command(name = "bench", about = "Loads a homeserver through its front door")]
pub(crate) struct Options {
    /// The loads to run; all but `client` when none is named.
    loads: Vec<Load>,
    /// The server to load; the release build is started when this is missing.
    #[arg(long)]
    url: Option<String>,
    /// The server's process id, for CPU and memory.
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Most seconds that one measured part may take.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Idle syncs, and members of the one large room.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Rooms of the account that `client` syncs, and members of each.
    #[arg(long, default_value_t = 300)]
    rooms: usize,
    #[arg(long, default_value_t = 300)]
    members: usize,
    /// Members of the very large room of `client`.
    #[arg(long, default_value_t = 10_000)]
    large: usize,
    /// Messages that this room has before it is measured.
    #[arg(long, default_value_t = 100_000)]
    history: usize,
    /// Messages that `client` searches.
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    /// Write the figures of this run as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only print: leave `docs/benchmarks.md` as it is.
    #[arg(long)]
    dry: bool,
    /// Show another server's figures beside these: `NAME=FILE`, as `--json` wrote them.
    #[arg(long, value_parser = figure::parse_peer)]
    peer: Vec<(String, PathBuf)>,
    /// Serve a native no-op handler on this address until standard input closes (the harness's own use).
    #[arg(long, hide = true)]
    serve_native: Option<std::net::SocketAddr>,
    /// The path of the no-op route that is compared with a native handler.
    #[arg(long, default_value = "/_matrix/client/versions")]
    noop_path: String,
}

impl Options {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(address) = options.serve_native {
        return native::serve(address).await;
    }
    let mut peers = Vec::new();
    for (name, path) in &options.peer {
        peers.push((
            name.clone(),
            Results::read(path).with_context(|| format!("the figures of {name}"))?,
        ));
    }
    let mut results = Results::default();
    let chosen = if options.loads.is_empty() { Load::all() } else { options.loads.clone() };
    let mut failed = Vec::new();
    let mut target = Target::open(&options).await?;
    for load in chosen {
        eprintln!("{load}: {}", load.about());
        match load.run(&mut target, &options).await {
            Ok(figures) => {
                for figure in figures {
                    eprintln!("  {figure}");
                    results.put(figure);
                }
            }
            // The other loads are still worth their figures; the exit status tells.
            Err(error) => {
                eprintln!("  failed: {error:#}");
                failed.push(load.to_string());
            }
        }
    }
    target.close().await?;
    if let Some(path) = &options.json {
        results.write(path)?;
    }
    if options.url.is_none() && !options.dry {
        let kept = binary::workspace().join("target/bench.json");
        let all = Results::read(&kept).unwrap_or_default().with(&results);
        all.write(&kept)?;
        let docs = binary::workspace().join("docs/benchmarks.md");
        std::fs::write(&docs, page::render(&all, &peers))
            .with_context(|| docs.display().to_string())?;
        eprintln!("written: {}", docs.display());
    }
    println!("{}", page::table(&results, &peers));
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}
