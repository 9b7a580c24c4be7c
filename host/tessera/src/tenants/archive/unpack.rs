//! Reading the file.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tar::{Archive, EntryType};
use tessera_blobs::{BlobId, Blobs};
use tessera_manifest::Quotas;
use tessera_storage::{Database, Progress as Rows};
use tokio::{runtime::Handle, sync::mpsc};

use super::{
    super::stores::{Nobody, Stores},
    BLOBS, DATABASE, END, End, FORMAT, HEADER, Header, KEY, PIECE, Progress, SMALL, stream,
};

/// Reads the whole file without making anything of it, and gives its header: a file that is broken or not ours
/// is found here.
pub(crate) async fn check(file: &Path, progress: &Progress) -> Result<Header> {
    let (file, progress) = (file.to_owned(), progress.clone());
    let checking = move || {
        let mut nothing = Nothing;
        read(&file, "checking", &mut nothing, &progress)
    };
    tokio::task::spawn_blocking(checking).await.context("reading the file failed")?
}

/// Makes a tenant's database, key and blobs of a file that was checked. The tenant has nothing yet; what was made is left
/// for the caller to remove where this fails.
pub(crate) async fn unpack(
    stores: &Stores,
    file: &Path,
    name: &str,
    progress: &Progress,
) -> Result<()> {
    let blobs = stores.blobs(name, None).await?;
    let database = stores.database(name, &Quotas::default(), Arc::new(Nobody)).await?;
    let unpacked = unpack_into(stores, file, name, &database, blobs, progress).await;
    database.close().await;
    unpacked
}

async fn unpack_into(
    stores: &Stores,
    file: &Path,
    name: &str,
    database: &Database,
    blobs: Blobs,
    progress: &Progress,
) -> Result<()> {
    let (send, joining) = stream::joining();
    let mut making =
        Making { key: stores.key(name), pieces: Some(send), blobs, runtime: Handle::current() };
    let (path, telling) = (file.to_owned(), progress.clone());
    let reading =
        tokio::task::spawn_blocking(move || read(&path, "importing", &mut making, &telling));
    let telling = progress.clone();
    let tell = move |done: Rows| telling.tell("database", done.rows, done.total);
    let imported = database.import(joining, tell).await;
    let read = reading.await.context("reading the file failed")?;
    // The database's word first: when it fails, the reader only finds that nobody takes its pieces.
    imported.context("cannot write the database")?;
    read.map(drop)
}

/// What is done with the entries, in order. Called on a thread that may block.
trait Sink {
    fn key(&mut self, key: &[u8]) -> Result<()>;
    fn piece(&mut self, piece: Vec<u8>) -> Result<()>;
    /// No piece follows.
    fn pieces_end(&mut self);
    fn blob(&mut self, id: BlobId, bytes: &mut dyn Read) -> Result<()>;
}

struct Nothing;

impl Sink for Nothing {
    fn key(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn piece(&mut self, _: Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn pieces_end(&mut self) {}

    fn blob(&mut self, _: BlobId, bytes: &mut dyn Read) -> Result<()> {
        io::copy(bytes, &mut io::sink()).map(drop).map_err(broken)
    }
}

struct Making {
    key: PathBuf,
    pieces: Option<mpsc::Sender<Vec<u8>>>,
    blobs: Blobs,
    runtime: Handle,
}

impl Sink for Making {
    fn key(&mut self, key: &[u8]) -> Result<()> {
        let path = &self.key;
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(key)?;
            file.sync_all()?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        write().with_context(|| format!("cannot make the key {}", path.display()))
    }

    fn piece(&mut self, piece: Vec<u8>) -> Result<()> {
        let sent = self.pieces.as_ref().map(|pieces| pieces.blocking_send(piece));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => bail!("the database takes no more"),
        }
    }

    fn pieces_end(&mut self) {
        self.pieces = None;
    }

    fn blob(&mut self, id: BlobId, bytes: &mut dyn Read) -> Result<()> {
        let mut writer = self.blobs.writer(None);
        loop {
            let mut piece = Vec::new();
            bytes.take(PIECE as u64).read_to_end(&mut piece).map_err(broken)?;
            if piece.is_empty() {
                break;
            }
            self.runtime
                .block_on(writer.write(Bytes::from(piece)))
                .with_context(|| format!("cannot write the blob {id}"))?;
        }
        let made = self
            .runtime
            .block_on(writer.finish())
            .with_context(|| format!("cannot write the blob {id}"))?;
        if made != id {
            bail!("the export is broken: the blob {id} has other bytes than it had");
        }
        Ok(())
    }
}

fn read(path: &Path, what: &str, sink: &mut dyn Sink, progress: &Progress) -> Result<Header> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let size = file.metadata().with_context(|| format!("cannot read {shown}"))?.len();
    let counted = Counted { file: BufReader::new(file), done: 0, told: 0, size, what, progress };
    read_from(counted, sink).with_context(|| format!("{shown} cannot be imported"))
}

fn read_from(file: impl Read, sink: &mut dyn Sink) -> Result<Header> {
    let foreign = || {
        anyhow!("it is no export of `tessera tenant export`, or broken or cut off at its beginning")
    };
    let decoder = zstd::Decoder::new(file).map_err(|_| foreign())?;
    let mut tar = Archive::new(decoder);
    // Raw: what stands for a long name is refused by its type, not read into the memory first.
    let mut entries = tar.entries().map_err(|_| foreign())?.raw(true);
    let mut first = match entries.next() {
        Some(Ok(first)) if first.path_bytes().as_ref() == HEADER.as_bytes() => first,
        _ => return Err(foreign()),
    };
    let header = header(&small(&mut first)?)?;
    let mut found = End::default();
    let mut end = None;
    let mut number = 0_u64;
    for entry in entries {
        let mut entry = entry.map_err(broken)?;
        if end.is_some() || entry.header().entry_type() != EntryType::Regular {
            bail!("the export is broken: it has entries that no export has");
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let size = entry.size();
        if name == KEY && found == End::default() {
            sink.key(&small(&mut entry)?)?;
        } else if let Some(piece) = name.strip_prefix(DATABASE) {
            if piece.parse() != Ok(number) || size > PIECE as u64 || found.blobs > 0 {
                bail!("the export is broken: a piece of the database is missing or misplaced");
            }
            number += 1;
            found.database += size;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(broken)?;
            sink.piece(bytes)?;
        } else if let Some(id) = name.strip_prefix(BLOBS) {
            let id = id.parse().map_err(|_| anyhow!("the export is broken: `{id}` is no blob"))?;
            if found.blobs == 0 {
                sink.pieces_end();
            }
            found.blobs += 1;
            found.blob_bytes += size;
            sink.blob(id, &mut entry)?;
        } else if name == END {
            end = Some(json::<End>(&small(&mut entry)?)?);
        } else {
            bail!("the export is broken: it has an entry `{name}`, which no export has");
        }
    }
    sink.pieces_end();
    // What follows the end of the tar is the checksum of the whole.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(broken)?;
    match end {
        Some(end) if end == found => Ok(header),
        Some(_) => bail!("the export is broken: parts of it are missing"),
        None => bail!("the export is cut off: its end is missing; make it again"),
    }
}

fn header(bytes: &[u8]) -> Result<Header> {
    // The version by itself first: the rest may be another in a newer one.
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
        tessera: String,
    }
    let Version { format, tessera } = json(bytes)?;
    if format > FORMAT {
        bail!(
            "it was written by a newer Tessera ({tessera}, format {format}); this one ({}) reads up to format {FORMAT}",
            env!("CARGO_PKG_VERSION")
        );
    }
    json(bytes)
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| anyhow!("the export is broken: {error}"))
}

fn small(entry: &mut impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = entry.take(SMALL + 1).read_to_end(&mut bytes).map_err(broken)?;
    if read as u64 > SMALL {
        bail!("the export is broken: one of its entries is too large");
    }
    Ok(bytes)
}

fn broken(error: io::Error) -> anyhow::Error {
    anyhow!("the export is broken or cut off: {error}")
}

/// Tells how much of the file has been read.
struct Counted<'a> {
    file: BufReader<File>,
    done: u64,
    told: u64,
    size: u64,
    what: &'a str,
    progress: &'a Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.done += read as u64;
        if self.done - self.told >= PIECE as u64 {
            self.told = self.done;
            self.progress.tell(self.what, self.done, self.size);
        }
        Ok(read)
    }
}
