//! `tessera storage copy`: tenants from one place to another, of whichever engine.
//!
//! The source is only read. Each tenant is copied in one transaction and compared before that ends; a place that has
//! the tenant already is refused before anything is written.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tessera_storage::{
    Database, DatabaseConfig, Postgres, PostgresConfig, Progress, Transferred, Wake, copy,
};

use crate::{
    cli::StorageCopy,
    folder::{self, DataFolder, Taken},
    postgres,
    tenants::HOST,
};

/// Nobody is here to be woken.
struct Nobody;

impl Wake for Nobody {
    fn committed(&self, _: &[String], _: u64) {}
}

/// Where databases are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// SQLite files in a data folder.
    Folder(PathBuf),
    /// Schemas in a PostgreSQL database, by its URL.
    Server(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("name a data folder, or a URL postgres://USER:PASSWORD@HOST/DATABASE".into()),
            url if postgres::is_url(url) => Ok(Self::Server(url.to_owned())),
            odd if odd.contains("://") => {
                Err("the only URLs known here are those of PostgreSQL (postgres://…)".into())
            }
            path => Ok(Self::Folder(path.into())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Server(url) => f.write_str(&postgres::shown(url)),
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &StorageCopy) -> Result<()> {
    if arguments.from == arguments.to {
        bail!("--from and --to are the same place");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let from = Open::new(&arguments.from, Side::Source).await?;
        let to = Open::new(&arguments.to, Side::Target).await?;
        let names = match &arguments.tenant {
            Some(name) => vec![name.to_string()],
            None => from.tenants().await?,
        };
        let known = from.tenants().await?;
        for name in &names {
            if !known.contains(name) {
                let known = shown(&known);
                bail!("there is no tenant `{name}` in {} (there are: {known})", arguments.from);
            }
        }
        let there = to.tenants().await?;
        for name in &names {
            if there.contains(name) && !to.is_empty(name).await? {
                bail!("{} has {} already; nothing was copied", arguments.to, called(name));
            }
        }
        for name in &names {
            let done = one(&from, &to, name, there.contains(name)).await.with_context(|| {
                format!(
                    "{} was not copied; {} has nothing of it, so this command can be run again",
                    called(name),
                    arguments.to
                )
            })?;
            println!(
                "{}: {} rows in {} tables, the same in both",
                called(name),
                done.rows,
                done.tables
            );
        }
        println!(
            "keys and blobs stay where they are: `[server] keys` and `blobs` of the descriptor"
        );
        Ok(())
    })
}

/// How a tenant is spoken of.
fn called(name: &str) -> String {
    if name == HOST { "the list of tenants".to_owned() } else { format!("tenant `{name}`") }
}

fn shown(names: &[String]) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != HOST).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// `existed`: the target has something of this name, though it is empty.
async fn one(from: &Open, to: &Open, name: &str, existed: bool) -> Result<Transferred> {
    let target = to.begin(name).await?;
    let copied = match from.open(name).await {
        Ok(source) => {
            let bar = progress(name);
            let telling = bar.clone();
            let copied = copy(&source, &target, move |done: Progress| {
                telling.set_length(done.total);
                telling.set_position(done.rows);
            });
            let copied = copied.await;
            bar.finish_and_clear();
            source.close().await;
            copied.map_err(anyhow::Error::from)
        }
        Err(error) => Err(error),
    };
    target.close().await;
    match copied {
        Ok(done) => to.finish(name).map(|()| done),
        Err(error) => {
            // What was there before is not ours to remove.
            if !existed {
                to.give_up(name).await;
            }
            Err(error)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Target,
}

/// A place that is open.
enum Open {
    Folder(DataFolder),
    Server(Postgres),
}

impl Open {
    async fn new(place: &Place, side: Side) -> Result<Self> {
        match place {
            Place::Folder(path) => {
                if side == Side::Source && !path.is_dir() {
                    bail!("there is no data folder {}", path.display());
                }
                match DataFolder::try_open(path)? {
                    Taken::Mine(folder) => Ok(Self::Folder(folder)),
                    Taken::Another(_) => {
                        bail!("a server runs on the data folder {}; stop it first", path.display())
                    }
                }
            }
            Place::Server(url) => {
                let config = PostgresConfig { connections: 4, ..PostgresConfig::new(url) };
                let postgres = Postgres::connect(config).await;
                let shown = postgres::shown(url);
                Ok(Self::Server(postgres.with_context(|| format!("cannot use {shown}"))?))
            }
        }
    }

    /// Names of those that have a database; the host's own among them.
    async fn tenants(&self) -> Result<Vec<String>> {
        match self {
            Self::Folder(folder) => {
                let data = folder.path();
                let mut names = Vec::new();
                for name in folder::tenants(data).context("cannot read the data folder")? {
                    if folder::database(data, &name).is_file() {
                        names.push(name);
                    }
                }
                if folder::host_database(data).is_file() {
                    names.push(HOST.to_owned());
                }
                Ok(names)
            }
            Self::Server(postgres) => Ok(postgres.tenants().await?),
        }
    }

    /// Opens what is there.
    async fn open(&self, name: &str) -> Result<Database> {
        let config = DatabaseConfig { readers: 1, ..DatabaseConfig::default() };
        let opened = match self {
            Self::Folder(folder) => {
                Database::open(&file(folder.path(), name), config, Arc::new(Nobody)).await
            }
            Self::Server(postgres) => postgres.open(name, config, Arc::new(Nobody)).await,
        };
        opened.with_context(|| format!("cannot open {}", called(name)))
    }

    /// Whether nothing is in it, as an attempt that was interrupted leaves it.
    async fn is_empty(&self, name: &str) -> Result<bool> {
        if let Self::Folder(_) = self {
            return Ok(false);
        }
        let database = self.open(name).await?;
        let usage = database.usage().await;
        database.close().await;
        Ok(usage?.rows == 0)
    }

    /// Makes a database to write to, out of sight.
    async fn begin(&self, name: &str) -> Result<Database> {
        let Self::Folder(folder) = self else { return self.open(name).await };
        let part = part(folder.path(), name);
        // Of an attempt that was interrupted.
        clear(&part)?;
        if let Some(parent) = part.parent() {
            fs::create_dir_all(parent)?;
        }
        let config = DatabaseConfig { readers: 1, ..DatabaseConfig::default() };
        Ok(Database::open(&part, config, Arc::new(Nobody)).await?)
    }

    /// Brings it into sight.
    fn finish(&self, name: &str) -> Result<()> {
        let Self::Folder(folder) = self else { return Ok(()) };
        let (part, file) = (part(folder.path(), name), file(folder.path(), name));
        let moved = if name == HOST {
            fs::rename(&part, &file)
        } else {
            // The folder of the tenant, with the database in it.
            match (part.parent(), file.parent()) {
                (Some(part), Some(file)) => fs::rename(part, file),
                _ => Ok(()),
            }
        };
        moved.with_context(|| format!("cannot make {}", file.display()))?;
        let synced = file.parent().and_then(Path::parent).map(fs::File::open);
        synced.transpose()?.map(|folder| folder.sync_all()).transpose()?;
        Ok(())
    }

    /// Takes away what was begun.
    async fn give_up(&self, name: &str) {
        let gone = match self {
            Self::Folder(folder) => clear(&part(folder.path(), name)),
            Self::Server(postgres) => {
                postgres.drop_tenant(name).await.map(drop).map_err(anyhow::Error::from)
            }
        };
        if let Err(error) = gone {
            eprintln!("warning: what was begun could not be taken away: {error:#}");
        }
    }
}

/// The file of a database.
fn file(data: &Path, name: &str) -> PathBuf {
    if name == HOST { folder::host_database(data) } else { folder::database(data, name) }
}

/// Where it is made. No tenant's name begins with a dot.
fn part(data: &Path, name: &str) -> PathBuf {
    if name == HOST {
        return data.join(".copy-host.sqlite");
    }
    folder::database(data, &format!(".copy-{name}"))
}

/// Removes a database that was begun, with what lies beside it.
fn clear(part: &Path) -> Result<()> {
    let own = part.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    if own.is_some_and(|name| name.starts_with(".copy-")) {
        return match part.parent().map(fs::remove_dir_all) {
            Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        };
    }
    for ending in ["", "-wal", "-shm", ".lock"] {
        let mut file = part.as_os_str().to_owned();
        file.push(ending);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn progress(name: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} rows, {per_sec}, {eta} to go")
    {
        bar.set_style(style);
    }
    bar.set_message(called(name));
    bar
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_is_a_folder_or_a_url_of_postgresql() {
        assert_eq!("data".parse(), Ok(Place::Folder("data".into())));
        let url = "postgres://me:secret@host/db";
        let place: Place = url.parse().unwrap();
        assert_eq!(place, Place::Server(url.into()));
        assert_eq!(place.to_string(), "postgres://me:…@host/db");
        assert!("mysql://host/db".parse::<Place>().is_err());
        assert!("".parse::<Place>().is_err());
    }
}
