//! The Tessera homeserver: a host for plug-ins, and the tools of its operator.

mod admin;
mod authoring;
mod cli;
mod cluster;
mod commands;
mod compiler;
mod files;
mod folder;
mod logging;
mod manifests;
mod metrics;
mod modules;
mod plain;
mod postgres;
mod readiness;
mod reload;
mod resources;
mod server;
mod service;
mod settings;
mod spans;
mod tenants;
mod topics;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, ConfigCommand, StorageCommand};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Plugin(command) => commands::plugin::run(&command),
        Command::Reload(settings) => commands::reload::run(&settings),
        Command::Tenant(arguments) => commands::tenant::run(arguments),
        Command::Topics(arguments) => commands::topics::run(arguments),
        Command::Nodes(arguments) => commands::nodes::run(&arguments),
        Command::Storage(StorageCommand::Copy(arguments)) => commands::storage::run(&arguments),
        Command::Check(settings) => commands::check::run(&settings),
        Command::Config(ConfigCommand::Default) => {
            print!("{}", settings::DEFAULT);
            Ok(())
        }
        Command::Schema { out } => commands::schema::run(&out),
        Command::Compile { memory, seconds } => {
            return ExitCode::from(tessera_engine::compile_as_child(memory, seconds));
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
