//! `tessera plugin …`: a file for each.

mod build;
mod check;
mod dev;
mod grant;
mod inspect;
mod install;
mod list;
pub(crate) mod log;
mod new;
mod order;
mod pack;
mod pull;
mod push;
mod record;
mod reference;
mod release;
mod remove;
mod revoke;
mod rollback;
mod shadow;
mod sign;
mod status;
mod swap;
mod test;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde::de::DeserializeOwned;
use tessera_manifest::ByteSize;

use crate::{
    admin::{self, ModuleQuestion, Question},
    cli::Settings,
    folder::live_socket,
};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Show what a plug-in file imports, exports, answers, stores and asks for.
    Inspect(inspect::Inspect),
    /// List the plug-ins of the descriptor with version, size, file and where each setting comes from.
    List(list::List),
    /// Show how the plug-ins of a running server are doing, and how to help those that are not well.
    Status(status::Status),
    /// Show what plug-ins refused, and what went wrong in them.
    Log(log::Log),
    /// Show what a module asks for, and install it for good; a running server takes it up at once.
    Install(install::Install),
    /// Remove a module that was installed.
    Remove(remove::Remove),
    /// Allow a plug-in something that it asks for; a running server takes it up at once.
    Grant(grant::Grant),
    /// Take away what a plug-in is allowed.
    Revoke(revoke::Revoke),
    /// Say in which order plug-ins are asked about a hook.
    Order(order::Order),
    /// Let a plug-in out of quarantine.
    Release(release::Release),
    /// Put another version in the place of a plug-in, while it runs and with no call failed.
    Swap(swap::Swap),
    /// Go back to the version before the last swap.
    Rollback(rollback::Rollback),
    /// Ask another version the same, and compare the answers; only the plug-in's own count.
    Shadow(shadow::Shadow),
    /// Make the folder of a module that builds and runs.
    New(new::New),
    /// Build a module into one file.
    Build(build::Build),
    /// Run a module's own tests, and the module in a throw-away server.
    Test(test::Test),
    /// Check a module: contract, what it asks for, size, imports that nobody offers.
    Check(check::Check),
    /// Watch a module, build it at each change and swap it into a running server.
    Dev(dev::Dev),
    /// Record what a module is asked in a running server and what it answers, to play it back in its tests.
    Record(record::Record),
    /// Print the contract: a list of its interfaces, or one of them.
    Reference(reference::Reference),
    /// Make a package of a module.
    Pack(pack::Pack),
    /// Sign a package, or make a key to sign with.
    Sign(sign::Sign),
    /// Bring a package to a registry.
    Push(push::Push),
    /// Get a package from a registry.
    Pull(pull::Pull),
}

/// Runs one.
pub(crate) fn run(command: &PluginCommand) -> Result<()> {
    match command {
        PluginCommand::Inspect(arguments) => inspect::run(arguments),
        PluginCommand::List(arguments) => list::run(arguments),
        PluginCommand::Status(arguments) => status::run(arguments),
        PluginCommand::Log(arguments) => log::run(arguments),
        PluginCommand::Install(arguments) => install::run(arguments),
        PluginCommand::Remove(arguments) => remove::run(arguments),
        PluginCommand::Grant(arguments) => grant::run(arguments),
        PluginCommand::Revoke(arguments) => revoke::run(arguments),
        PluginCommand::Order(arguments) => order::run(arguments),
        PluginCommand::Release(arguments) => release::run(arguments),
        PluginCommand::Swap(arguments) => swap::run(arguments),
        PluginCommand::Rollback(arguments) => rollback::run(arguments),
        PluginCommand::Shadow(arguments) => shadow::run(arguments),
        PluginCommand::New(arguments) => new::run(arguments),
        PluginCommand::Build(arguments) => build::run(arguments),
        PluginCommand::Test(arguments) => test::run(arguments),
        PluginCommand::Check(arguments) => check::run(arguments),
        PluginCommand::Dev(arguments) => dev::run(arguments),
        PluginCommand::Record(arguments) => record::run(arguments),
        PluginCommand::Reference(arguments) => reference::run(arguments),
        PluginCommand::Pack(arguments) => pack::run(arguments),
        PluginCommand::Sign(arguments) => sign::run(arguments),
        PluginCommand::Push(arguments) => push::run(arguments),
        PluginCommand::Pull(arguments) => pull::run(arguments),
    }
}

/// Asks the server that runs on the data folder; there must be one.
pub(crate) fn ask_server<T: DeserializeOwned>(
    settings: &Settings,
    question: &Question,
) -> Result<T> {
    let data = settings.descriptor()?.server.data;
    let Some(socket) = live_socket(&data) else {
        bail!(
            "no server runs on the data folder {}; start one, or name its folder with --data DIR",
            data.display()
        );
    };
    admin::ask(&socket, question)
}

fn ask<T: DeserializeOwned>(settings: &Settings, question: ModuleQuestion) -> Result<T> {
    ask_server(settings, &Question::Module(question))
}

/// Asks whoever sits at the terminal; an error means no.
fn confirm(question: &str) -> Result<()> {
    use std::io::{IsTerminal as _, Write as _};
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked; say --yes to go on without that");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "yes") {
        bail!("nothing is changed");
    }
    Ok(())
}

/// A size for a person.
pub(crate) fn size(bytes: usize) -> String {
    let size = ByteSize::bytes(bytes as u64);
    match size.get() {
        0..1024 => size.to_string(),
        1024..1_048_576 => format!("{} KiB", size.get().div_ceil(1 << 10)),
        bytes => format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20),
    }
}
