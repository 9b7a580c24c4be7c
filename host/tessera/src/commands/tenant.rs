//! `tessera tenant`: through the running server, else on the data folder itself.

mod entry;
mod show;

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Serialize, de::DeserializeOwned};
use tessera_manifest::{Descriptor, TenantEntry};

use crate::{
    admin::{self, Question, TenantQuestion},
    cli::{Tenant, TenantCommand},
    folder::{DataFolder, Taken, live_socket},
    postgres,
    tenants::{
        Offline, Stores,
        archive::{Over, Progress},
        report::{Done, Listed, Shown},
    },
};

/// Runs the command.
pub(crate) fn run(arguments: Tenant) -> Result<()> {
    let descriptor = arguments.settings.descriptor()?;
    let place = Place::find(&descriptor)?;
    let json = arguments.json;
    match arguments.command {
        TenantCommand::List => {
            let listed: Vec<Listed> = place.ask(TenantQuestion::List)?;
            print(json, &listed, || show::list(&listed))
        }
        TenantCommand::Show { name } => {
            let shown: Shown = place.ask(TenantQuestion::Show { name })?;
            print(json, &shown, || show::one(&shown))
        }
        TenantCommand::Add { name, entry } => {
            let entry = Box::new(Over::try_from(entry)?.over(TenantEntry::default()));
            let done: Done = place.ask(TenantQuestion::Add { name, entry })?;
            print(json, &done, || show::done(&done, "added"))
        }
        TenantCommand::Suspend { name } => {
            let done: Done = place.ask(TenantQuestion::Suspend { name })?;
            print(json, &done, || show::done(&done, "suspended"))
        }
        TenantCommand::Resume { name } => {
            let done: Done = place.ask(TenantQuestion::Resume { name })?;
            print(json, &done, || show::done(&done, "resumed"))
        }
        TenantCommand::Remove { name, yes, no_export } => {
            if !yes {
                confirm(&place, &name)?;
            }
            let export = !no_export;
            let done: Done = place.ask(TenantQuestion::Remove { name, export })?;
            print(json, &done, || show::done(&done, "removed"))
        }
        TenantCommand::Export { name, file } => {
            let file = absolute(file)?;
            let done: Done = place.ask(TenantQuestion::Export { name, file })?;
            print(json, &done, || show::done(&done, "exported"))
        }
        TenantCommand::Import { file, entry } => {
            let (file, over) = (absolute(file)?, Box::new(Over::try_from(entry)?));
            let done: Done = place.ask(TenantQuestion::Import { file, over })?;
            print(json, &done, || show::done(&done, "imported"))
        }
    }
}

/// The server may run in another folder.
fn absolute(file: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&file).with_context(|| format!("{} is no file", file.display()))
}

fn print(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    let text = if json { serde_json::to_string_pretty(value)? + "\n" } else { text() };
    print!("{text}");
    Ok(())
}

/// Asks for the name: nobody types that by mistake.
fn confirm(place: &Place<'_>, name: &str) -> Result<()> {
    // Named wrongly, it is not asked for twice.
    let _: Shown = place.ask(TenantQuestion::Show { name: name.to_owned() })?;
    eprint!("This removes all that `{name}` has, for good. Type its name to go on: ");
    std::io::stderr().flush()?;
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    if typed.trim() != name {
        bail!("`{name}` is not removed: its name was not typed (--yes removes without asking)");
    }
    Ok(())
}

/// Where the tenants are.
enum Place<'a> {
    /// With a running server, at its socket.
    Server(PathBuf),
    /// On the disk, in a folder that this process holds.
    Disk(&'a Descriptor, Mutex<Option<DataFolder>>),
}

impl<'a> Place<'a> {
    fn find(descriptor: &'a Descriptor) -> Result<Self> {
        let data = &descriptor.server.data;
        if let Some(socket) = live_socket(data) {
            return Ok(Self::Server(socket));
        }
        if !descriptor.nodes.is_empty() {
            bail!(
                "no node runs on the data folder {}; ask where one does, since others may be at work elsewhere",
                data.display()
            );
        }
        match DataFolder::try_open(data)? {
            Taken::Mine(folder) => Ok(Self::Disk(descriptor, Mutex::new(Some(folder)))),
            Taken::Another(_) => bail!(
                "a server holds the data folder {}, but does not answer; is it starting or stopping?",
                data.display()
            ),
        }
    }

    fn ask<T: DeserializeOwned>(&self, question: TenantQuestion) -> Result<T> {
        let progress = progress();
        match self {
            Self::Server(socket) => admin::ask_long(socket, &Question::Tenant(question), &progress),
            Self::Disk(descriptor, folder) => {
                let mut held = folder.lock().unwrap_or_else(PoisonError::into_inner);
                let folder = match held.take() {
                    Some(folder) => folder,
                    // Given up by the question before.
                    None => DataFolder::open(&descriptor.server.data, None)?,
                };
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                let answer = runtime.block_on(answer(descriptor, folder, question, &progress))?;
                Ok(serde_json::from_value(answer)?)
            }
        }
    }
}

/// Answers on the disk as a server does.
async fn answer(
    descriptor: &Descriptor,
    folder: DataFolder,
    question: TenantQuestion,
    progress: &Progress,
) -> Result<serde_json::Value> {
    let stores = Stores::open(descriptor, &folder, postgres::connect(descriptor).await?)?;
    let offline = Offline::open(descriptor, stores, folder).await?;
    let done = |name: &str| Done { name: name.to_owned(), ..Done::default() };
    let work = async {
        Ok(match question {
            TenantQuestion::List => serde_json::to_value(offline.list().await?)?,
            TenantQuestion::Show { name } => serde_json::to_value(offline.show(&name).await?)?,
            TenantQuestion::Add { name, entry } => {
                offline.add(&name, *entry).await?;
                serde_json::to_value(done(name.as_str()))?
            }
            TenantQuestion::Suspend { name } => {
                let unchanged = !offline.set_suspended(&name, true).await?;
                serde_json::to_value(Done { unchanged, ..done(&name) })?
            }
            TenantQuestion::Resume { name } => {
                let unchanged = !offline.set_suspended(&name, false).await?;
                serde_json::to_value(Done { unchanged, ..done(&name) })?
            }
            TenantQuestion::Remove { name, export } => {
                let file = offline.remove(&name, export, progress).await?;
                serde_json::to_value(Done { file, ..done(&name) })?
            }
            TenantQuestion::Export { name, file } => {
                let end = Some(offline.export(&name, file.clone(), progress).await?);
                serde_json::to_value(Done { file: Some(file), end, ..done(&name) })?
            }
            TenantQuestion::Import { file, over } => {
                let name = offline.import(file, *over, progress).await?;
                serde_json::to_value(done(name.as_str()))?
            }
        })
    };
    let answer = work.await;
    offline.close().await;
    answer
}

/// A bar on a terminal.
fn progress() -> Progress {
    if !std::io::stderr().is_terminal() {
        return Progress::nobody();
    }
    let bar: Mutex<Option<ProgressBar>> = Mutex::new(None);
    Progress::new(move |what, done, total| {
        if what.is_empty() {
            return;
        }
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {percent}%")
            {
                bar.set_style(style);
            }
            bar
        });
        bar.set_message(what.to_owned());
        bar.set_length(total.max(done));
        bar.set_position(done);
    })
}
