//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tessera_manifest::{ListenAddr, OrOff, TenantName};

/// A Matrix homeserver assembled from WebAssembly components.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server; it runs until SIGTERM or Ctrl-C.
    Run(Settings),
    /// Look at plug-ins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Look at durable topics and their dead letters.
    Topics(Topics),
    /// Check a descriptor and the plug-ins it names, without starting anything.
    Check(Settings),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write the JSON schemas of plugin.toml and tessera.toml.
    Schema {
        /// The folder to write them to.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// The descriptor, and what goes before it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Settings {
    /// Descriptor that is merged over the embedded default (`tessera config default`).
    #[arg(long, global = true, value_name = "FILE", env = "TESSERA_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder; goes before `[server] data`.
    #[arg(long, global = true, value_name = "DIR", env = "TESSERA_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Address to listen on, such as 127.0.0.1:8008; may be repeated; goes before `[[listeners]]`.
    #[arg(long, global = true, value_name = "ADDR", env = "TESSERA_LISTEN", value_delimiter = ',')]
    pub(crate) listen: Vec<ListenAddr>,
    /// Server name; goes before `[tenant] name`.
    #[arg(long, global = true, value_name = "NAME", env = "TESSERA_SERVER_NAME")]
    pub(crate) server_name: Option<TenantName>,
    /// Folder of plug-in files; goes before `[server] plugins`.
    #[arg(long, global = true, value_name = "DIR", env = "TESSERA_PLUGINS")]
    pub(crate) plugins: Option<PathBuf>,
    /// Folder of compiled code, which servers may share; goes before `[engine] cache`.
    #[arg(long, global = true, value_name = "DIR", env = "TESSERA_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// Address of the Prometheus endpoint, or `off`; goes before `[metrics] address`.
    #[arg(long, global = true, value_name = "ADDR", env = "TESSERA_METRICS")]
    pub(crate) metrics: Option<OrOff<ListenAddr>>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Show what a plug-in file imports, exports, answers, stores and asks for.
    Inspect {
        /// The plug-in's file.
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the plug-ins of the descriptor with version, size and file.
    List(Settings),
    /// Show how the plug-ins of a running server are doing.
    Status {
        /// Where the server's data folder is.
        #[command(flatten)]
        settings: Settings,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the embedded default descriptor.
    Default,
}

#[derive(Debug, Args)]
pub(crate) struct Topics {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Option<TopicsCommand>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TopicsCommand {
    /// List consumers with what waits for them, and their dead letters (the default).
    List {
        /// Show the payloads of dead letters, too.
        #[arg(long)]
        payloads: bool,
    },
    /// Deliver dead letters again.
    Retry(Letters),
    /// Forget dead letters.
    Drop(Letters),
}

/// Which dead letters.
#[derive(Debug, Clone, Args)]
pub(crate) struct Letters {
    /// The plug-in that gave up on them.
    pub(crate) consumer: String,
    /// Their ids, as `tessera topics` shows them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ids: Vec<u64>,
    /// All of the consumer's.
    #[arg(long)]
    pub(crate) all: bool,
}
