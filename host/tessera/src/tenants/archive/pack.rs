//! Writing the file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tar::{Builder, EntryType};
use tessera_blobs::{Blobs, Hold};
use tessera_manifest::{Quotas, TenantEntry};
use tessera_storage::{Database, Progress as Rows, now_ms};
use tokio::sync::mpsc;

use super::{
    super::stores::{Nobody, Stores},
    BLOBS, DATABASE, END, End, FORMAT, HEADER, Header, KEY, Progress, stream,
};

/// Zstandard's default: a good measure of time against size.
const LEVEL: i32 = 3;

/// What is exported.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) entry: &'a TenantEntry,
    pub(crate) database: &'a Database,
    pub(crate) blobs: &'a Blobs,
    /// The file of the signing key.
    pub(crate) key: PathBuf,
}

/// Exports a tenant that nobody has open.
pub(crate) async fn export_closed(
    stores: &Stores,
    name: &str,
    entry: &TenantEntry,
    file: PathBuf,
    progress: &Progress,
) -> Result<End> {
    let database = stores.database(name, &Quotas::default(), std::sync::Arc::new(Nobody)).await?;
    let exported = async {
        let blobs = stores.blobs(name, None).await?;
        let source =
            Source { name, entry, database: &database, blobs: &blobs, key: stores.key(name) };
        export(source, file, progress).await
    };
    let exported = exported.await;
    database.close().await;
    exported
}

/// Writes `file`, which must not be there yet. All in it is of the moment at which the database is read.
pub(crate) async fn export(source: Source<'_>, file: PathBuf, progress: &Progress) -> Result<End> {
    let entry = TenantEntry { tls: None, ..source.entry.clone() };
    let header = Header {
        format: FORMAT,
        tenant: source.name.parse().map_err(anyhow::Error::msg)?,
        entry,
        tessera: env!("CARGO_PKG_VERSION").to_owned(),
        exported_ms: now_ms(),
    };
    let part = Part::create(&file)?;
    // Before the database is read: what it speaks of then is there until the end.
    let hold = source.blobs.hold().await.context("cannot read the blobs")?;
    let total = source.blobs.used();
    let (cutting, pieces) = stream::cutting();
    let (key, telling) = (source.key.clone(), progress.clone());
    let writing = tokio::task::spawn_blocking(move || {
        write(part, &header, &key, pieces, &hold, total, &telling)
    });
    let telling = progress.clone();
    let tell = move |done: Rows| telling.tell("database", done.rows, done.total);
    // The writer is dropped at once, so that the other end sees that there is no more.
    let exported = source.database.export(cutting, tell).await.map(|(_, sent)| sent);
    let exported = exported.context("cannot read the database");
    let written = writing.await.context("writing the file failed")?;
    // The writer's word first: when it fails, the database only finds that nobody reads.
    let (part, end) = match (written, exported) {
        (Ok(written), Ok(_)) => written,
        (Err(error), _) => return Err(error),
        (Ok(_), Err(error)) => return Err(error),
    };
    part.keep()?;
    Ok(end)
}

fn write(
    part: Part,
    header: &Header,
    key: &Path,
    mut pieces: mpsc::Receiver<Vec<u8>>,
    hold: &Hold,
    total: u64,
    progress: &Progress,
) -> Result<(Part, End)> {
    let shown = part.shown();
    let failed = || format!("cannot write {shown}");
    let mut encoder = zstd::Encoder::new(&part.file, LEVEL).with_context(failed)?;
    encoder.include_checksum(true).with_context(failed)?;
    let mut tar = Builder::new(encoder);
    append(&mut tar, HEADER, &serde_json::to_vec_pretty(header)?).with_context(failed)?;
    match fs::read(key) {
        Ok(key) => append(&mut tar, KEY, &key).with_context(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the key {}", key.display()));
        }
    }
    let mut end = End::default();
    let mut number = 0_u64;
    while let Some(piece) = pieces.blocking_recv() {
        append(&mut tar, &format!("{DATABASE}{number:06}"), &piece).with_context(failed)?;
        number += 1;
        end.database += piece.len() as u64;
    }
    for first in 0..=u8::MAX {
        for (id, size) in hold.part(first).context("cannot read the blobs")? {
            let blob = hold.open(id).with_context(|| format!("cannot read the blob {id}"))?;
            let mut head = head(size);
            tar.append_data(&mut head, format!("{BLOBS}{id}"), io::Read::take(blob, size))
                .with_context(failed)?;
            end.blobs += 1;
            end.blob_bytes += size;
            progress.tell("blobs", end.blob_bytes, total.max(end.blob_bytes));
        }
    }
    append(&mut tar, END, &serde_json::to_vec(&end)?).with_context(failed)?;
    let encoder = tar.into_inner().with_context(failed)?;
    encoder.finish().with_context(failed)?;
    part.file.sync_all().with_context(failed)?;
    Ok((part, end))
}

fn append<W: Write>(tar: &mut Builder<W>, name: &str, bytes: &[u8]) -> io::Result<()> {
    tar.append_data(&mut head(bytes.len() as u64), name, bytes)
}

fn head(size: u64) -> tar::Header {
    let mut head = tar::Header::new_gnu();
    head.set_entry_type(EntryType::Regular);
    head.set_size(size);
    head.set_mode(0o600);
    head
}

/// The file while it is being written, under a name of its own; removed unless it is kept.
struct Part {
    file: File,
    path: PathBuf,
    to: PathBuf,
    kept: bool,
}

impl Part {
    fn create(to: &Path) -> Result<Self> {
        let shown = to.display();
        if to.exists() {
            bail!("there is a file {shown} already; remove it, or name another");
        }
        to.file_name().with_context(|| format!("{shown} is no name of a file"))?;
        // A name that nobody guesses and no other export has, and never what lies there already.
        let mut random = [0; 8];
        File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut random))
            .context("cannot read /dev/urandom")?;
        let path = to.with_file_name(format!(".tessera-export-{}.part", hex::encode(random)));
        let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = create().with_context(|| {
            format!("cannot make {}; name a file in a folder that can be written", path.display())
        })?;
        Ok(Self { file, path, to: to.to_owned(), kept: false })
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn keep(mut self) -> Result<()> {
        // Unlike a rename this fails where another has made such a file meanwhile.
        fs::hard_link(&self.path, &self.to)
            .with_context(|| format!("cannot make {}", self.to.display()))?;
        fs::remove_file(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))?;
        self.kept = true;
        let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, file = %self.path.display(), "half an export not removed");
        }
    }
}
