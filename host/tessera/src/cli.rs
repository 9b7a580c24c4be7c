//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tessera_manifest::{HostPattern, ListenAddr, OrOff, PluginName, TenantName};

use crate::commands::{plugin::PluginCommand, storage::Place};

/// A Matrix homeserver assembled from WebAssembly components.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server, or one node of it; it runs until SIGTERM or Ctrl-C.
    Run(Run),
    /// Install, allow, swap, look at and write plug-ins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Make a running server take up what has changed in its descriptor; nothing changes where anything is wrong.
    Reload(Settings),
    /// Look at durable topics and their dead letters.
    Topics(Topics),
    /// Look at tenants (server names), add, suspend, move and remove them.
    Tenant(Tenant),
    /// Look at the nodes of the cluster.
    Nodes(Nodes),
    /// Move databases.
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Check a descriptor and the plug-ins it names, without starting anything.
    Check(Settings),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Compile a component from the standard input within limits; what the server starts for files it does not know.
    #[command(name = "__compile", hide = true)]
    Compile {
        /// Bytes of memory.
        memory: u64,
        /// Seconds of CPU time.
        seconds: u64,
    },
    /// Write the JSON schemas of plugin.toml and tessera.toml.
    Schema {
        /// The folder to write them to.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Which of the descriptor's `[nodes]` this process is.
    #[arg(long, value_name = "NAME", env = "TESSERA_NODE")]
    pub(crate) node: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Nodes {
    /// Where the data folder is, in which a node runs.
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Option<NodesCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Copy tenants from one place to another, such as from SQLite to PostgreSQL; no server may run on either.
    Copy(StorageCopy),
}

#[derive(Debug, Args)]
pub(crate) struct StorageCopy {
    /// Where they are: a data folder, or postgres://USER:PASSWORD@HOST/DATABASE.
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) from: Place,
    /// Where they shall be; it must not have them yet.
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) to: Place,
    /// Only this tenant; otherwise all, with the list of those that were made while the server ran.
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<TenantName>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodesCommand {
    /// Let a node hand over what it does, and end.
    Drain {
        /// The node.
        name: String,
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
    /// Forget a plug-in that is gone: no messages are kept for it any more.
    Forget {
        /// The plug-in.
        consumer: PluginName,
    },
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

#[derive(Debug, Args)]
pub(crate) struct Tenant {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// As JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: TenantCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Add a tenant; a running server serves it at once.
    Add {
        /// Its server name, for good.
        name: TenantName,
        #[command(flatten)]
        entry: EntryArguments,
    },
    /// List the tenants with their hosts and whether they are awake.
    List,
    /// Show a tenant's plug-ins, quotas, and what it uses of them.
    Show {
        /// Its server name.
        name: String,
    },
    /// Suspend a tenant: it answers nobody and does nothing until it is resumed.
    Suspend {
        /// Its server name.
        name: String,
    },
    /// Let a suspended tenant go on.
    Resume {
        /// Its server name.
        name: String,
    },
    /// Remove a tenant with all that it has; keeps an export in the data folder.
    Remove {
        /// Its server name.
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Keep no export.
        #[arg(long)]
        no_export: bool,
    },
    /// Write all that a tenant has into one file, also while it is in use. The file holds its signing key.
    Export {
        /// Its server name.
        name: String,
        /// The file to make; the server writes it.
        file: PathBuf,
    },
    /// Make a tenant of an exported file. What is said here goes before the file's settings.
    Import {
        /// The file; the server reads it.
        file: PathBuf,
        #[command(flatten)]
        entry: EntryArguments,
    },
}

/// A tenant's settings.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EntryArguments {
    /// A host that it answers to, such as chat.example.org or *.example.org; may be repeated. None: that of its name.
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<HostPattern>,
    /// A plug-in that it has, of those of the descriptor; may be repeated. None: all that are enabled.
    #[arg(long = "plugin", value_name = "NAME", value_delimiter = ',')]
    pub(crate) plugin: Vec<PluginName>,
    /// A quota, such as requests-per-second=50, bytes=2GiB or counts.users=100; may be repeated.
    #[arg(long = "quota", value_name = "KEY=VALUE")]
    pub(crate) quotas: Vec<String>,
    /// Configuration of a plug-in, such as accounts.registration=false; may be repeated. What is no JSON is a text.
    #[arg(long = "set", value_name = "PLUGIN.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn arguments_do_not_clash() {
        super::Cli::command().debug_assert();
    }
}
