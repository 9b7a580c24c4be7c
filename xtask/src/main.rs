//! `cargo xtask …`: set-up, build, run, test, checks and benchmarks of this repository.
//!
//! Nothing of this hides in shell scripts: every step prints what it does, and a step that fails
//! prints the command to run by hand.

mod apt;
mod bench;
mod ci;
mod clients;
mod cmd;
mod coverage;
mod docs;
mod doctor;
mod front;
mod fuzz;
mod guests;
mod host;
mod nodes;
mod plugins;
mod proofs;
mod run;
mod services;
mod summary;
mod test;
mod toolchain;
mod ui;
#[cfg(test)]
mod wit;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Builds, runs and tests Tessera.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Set this machine up, build everything and start the server (`tessera run`).
    Run {
        /// Build the host optimised (guests always are).
        #[arg(long)]
        release: bool,
        /// Start so many nodes (1 to 9) on loopback, with PostgreSQL and NATS; all of it ends with Ctrl-C.
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=9), conflicts_with = "args")]
        nodes: Option<u16>,
        /// Arguments for `tessera run`, after `--`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Start PostgreSQL and NATS alone, for tests by hand, until Ctrl-C.
    Services,
    /// Build `target/<profile>/tessera` and `target/plugins/*.wasm`.
    Build {
        /// Build the host optimised (guests always are).
        #[arg(long)]
        release: bool,
        /// Build the plug-ins only, not the host.
        #[arg(long, conflicts_with = "release")]
        guests: bool,
        /// Build this plug-in only (its folder's name); may be given more than once.
        #[arg(long = "plugin", value_name = "NAME", conflicts_with = "release")]
        plugins: Vec<String>,
        /// Build the guests of tests and benchmarks only, into `target/fixtures`.
        #[arg(long, conflicts_with_all = ["release", "guests", "plugins"])]
        fixtures: bool,
    },
    /// Run the tests: all of them, or those of one filter.
    Test {
        /// `unit`, `client`, `clients`, `e2e`, `crash`, `http`, `nodes`, `tenants`, `modules`, `sandbox`, `contracts`, `compat`, or a nextest filter expression such as `test(horizon)`.
        filter: Option<String>,
    },
    /// Run the tests of clients' operations and say of each operation which plug-in serves it and which tests call it.
    Coverage {
        /// Report on an earlier run's notes in place of a new run.
        #[arg(long, value_name = "FOLDER")]
        notes: Option<std::path::PathBuf>,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Everything that must hold before a change lands: format, lints, tests, docs, generated files.
    Ci,
    /// Run the benchmarks on an optimised build; arguments go to the harness.
    Bench {
        /// `[name] [--url URL]` and whatever else the harness takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Feed the fuzz targets of `tests/fuzz`, guided by coverage, each for some seconds.
    Fuzz {
        /// `manifest`, `sql`, `values` or `edge`; all of them where none is named.
        target: Option<String>,
        /// How long each runs.
        #[arg(long, value_name = "N", default_value_t = 10)]
        seconds: u32,
    },
    /// Write the reference of the contract, a page for each interface, into `target/docs/reference`.
    Docs,
    /// Say of each tool whether it is there, and the command that installs it if not.
    Doctor,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Run { release, nodes: Some(count), .. } => nodes::run(release, count).map(success),
        Task::Run { release, args, .. } => run::run(release, args).map(success),
        Task::Services => services::run().map(success),
        Task::Build { fixtures: true, .. } => run::fixtures().map(success),
        Task::Build { release, guests, plugins, fixtures: false } => {
            run::build(release, guests, &plugins).map(success)
        }
        Task::Test { filter } => test::test(filter.as_deref()),
        Task::Coverage { notes, json } => coverage::coverage(notes.as_deref(), json),
        Task::Ci => ci::ci(),
        Task::Bench { args } => bench::bench(args).map(success),
        Task::Fuzz { target, seconds } => fuzz::fuzz(target.as_deref(), seconds).map(success),
        Task::Docs => docs::docs().map(success),
        Task::Doctor => doctor::doctor().map(success),
    };
    done.unwrap_or_else(|error| {
        ui::error(&error);
        ExitCode::FAILURE
    })
}

fn success((): ()) -> ExitCode {
    ExitCode::SUCCESS
}
