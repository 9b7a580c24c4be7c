//! `tessera topics`: through the running server, else on the database itself.

use std::{fmt::Write as _, sync::Arc};

use anyhow::{Context, Result, bail};
use tessera_manifest::Descriptor;
use tessera_storage::{Database, DatabaseConfig, Wake};

use crate::{
    admin::{self, Question},
    cli::{Letters, Topics, TopicsCommand},
    folder::{self, DataFolder, Taken, admin_socket, live_socket},
    postgres,
    topics::{self, Action, Chosen, Report},
};

/// Nobody is here to be woken.
struct Nobody;

impl Wake for Nobody {
    fn committed(&self, _: &[String], _: u64) {}
}

/// Runs the command.
pub(crate) fn run(arguments: Topics) -> Result<()> {
    let descriptor = arguments.settings.descriptor()?;
    let command = arguments.command.unwrap_or(TopicsCommand::List { payloads: false });
    let data = &descriptor.server.data;
    if !data.is_dir() {
        bail!("there is no data folder {}; name the server's with --data DIR", data.display());
    }
    let folder = match DataFolder::try_open(data)? {
        Taken::Another(_) => None,
        Taken::Mine(folder) => Some(folder),
    };
    let named = arguments.settings.server_name.as_ref().map(ToString::to_string);
    let place = Place { descriptor: &descriptor, named, folder };
    match command {
        TopicsCommand::List { payloads } => print!("{}", show(&place.report()?, payloads)),
        TopicsCommand::Retry(letters) => {
            println!("{} to be delivered again", place.act(Action::Retry, letters)?);
        }
        TopicsCommand::Drop(letters) => println!("{} dropped", place.act(Action::Drop, letters)?),
        TopicsCommand::Forget { consumer } => {
            println!(
                "{consumer} no longer consumes {}",
                place.forget(consumer.as_str())?.join(", ")
            );
        }
    }
    Ok(())
}

/// Where the topics are: on the disk, or with a running server.
struct Place<'a> {
    descriptor: &'a Descriptor,
    /// The tenant, where one is named.
    named: Option<String>,
    /// Held by this process; otherwise a server holds it.
    folder: Option<DataFolder>,
}

impl Place<'_> {
    fn report(&self) -> Result<Report> {
        match &self.folder {
            None => self.ask(&Question::Topics { tenant: self.named.clone() }),
            Some(folder) => self.on_disk(folder, async |database| topics::report(&database).await),
        }
    }

    fn act(&self, action: Action, letters: Letters) -> Result<u64> {
        let ids = (!letters.all).then_some(letters.ids);
        let chosen = Chosen { consumer: letters.consumer, ids };
        match &self.folder {
            None => {
                let tenant = self.named.clone();
                self.ask(&Question::Letters { tenant, action, chosen })
            }
            Some(folder) => {
                self.on_disk(folder, async |database| topics::act(&database, action, &chosen).await)
            }
        }
    }

    fn forget(&self, consumer: &str) -> Result<Vec<String>> {
        let Some(folder) = &self.folder else {
            let tenant = self.named.clone();
            return self.ask(&Question::Forget { tenant, consumer: consumer.to_owned() });
        };
        if self.descriptor.enabled_plugins().any(|(name, _)| name.as_str() == consumer) {
            bail!("the descriptor has `{consumer}`; only a plug-in that is gone is forgotten");
        }
        self.on_disk(folder, async |database| topics::forget(&database, consumer).await)
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, question: &Question) -> Result<T> {
        let data = &self.descriptor.server.data;
        // Where none answers, what is asked says where it should.
        let socket = live_socket(data).unwrap_or_else(|| admin_socket(data));
        admin::ask(&socket, question)
    }

    fn on_disk<T>(
        &self,
        folder: &DataFolder,
        work: impl AsyncFnOnce(Database) -> Result<T>,
    ) -> Result<T> {
        let tenant = self.named.as_deref().unwrap_or(self.descriptor.tenant.name.as_str());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let config = DatabaseConfig { readers: 1, ..DatabaseConfig::default() };
            let database = match postgres::connect(self.descriptor).await? {
                Some(postgres) => postgres
                    .open(tenant, config, Arc::new(Nobody))
                    .await
                    .with_context(|| format!("cannot open the schema of `{tenant}`"))?,
                None => in_folder(folder, tenant, config).await?,
            };
            let result = work(database.clone()).await;
            database.close().await;
            result
        })
    }
}

async fn in_folder(folder: &DataFolder, tenant: &str, config: DatabaseConfig) -> Result<Database> {
    let path = folder::database(folder.path(), tenant);
    if !path.is_file() {
        let others = folder::tenants(folder.path())?.join(", ");
        bail!(
            "no database of `{tenant}` in {} (there are: {others}); name the server with --server-name NAME",
            folder.path().display()
        );
    }
    Database::open(&path, config, Arc::new(Nobody))
        .await
        .with_context(|| format!("cannot open {}", path.display()))
}

fn show(report: &Report, payloads: bool) -> String {
    let mut text = String::new();
    if report.consumers.is_empty() {
        text.push_str("no plug-in consumes a topic\n");
    }
    for entry in &report.consumers {
        let _ = writeln!(
            text,
            "{} → {}: {} waiting, {} dead",
            entry.topic, entry.consumer, entry.pending, entry.dead
        );
    }
    for letter in &report.letters {
        let _ = writeln!(
            text,
            "\ndead letter {} of {}: topic {}, key {}, {} attempts\n  {}",
            letter.id, letter.consumer, letter.topic, letter.key, letter.attempts, letter.error
        );
        if payloads {
            let _ = writeln!(text, "  {}", letter.payload);
        }
    }
    if report.more {
        text.push_str("\nthere are more dead letters\n");
    }
    if !report.letters.is_empty() {
        text.push_str("\n`tessera topics retry CONSUMER ID…` delivers again, `tessera topics drop CONSUMER ID…` forgets\n");
    }
    text
}
