//! A whole tenant from one database into another, directly or by way of a file.
//!
//! The file is lines of JSON, the same for both engines: a header, the plug-ins with their
//! migrations, then table after table its rows, last what was written, as counts and checksums.
//! Reading is one moment of a database in use; what is read goes into an empty tenant, in one
//! transaction, and is compared before that ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};

use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use crate::{Database, Error, FullTextEntry, Value};

/// Version of the file's form.
const FORMAT: u64 = 1;

/// Rows on their way at one time, per batch; and batches.
pub(crate) const BATCH: usize = 500;
const BATCHES: usize = 4;

/// Bytes of one line: a row has at most 128 MiB, and blobs are written in hexadecimal digits.
const MAX_LINE: u64 = 512 << 20;

/// How far a transfer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows written.
    pub rows: u64,
    /// Rows there are.
    pub total: u64,
}

/// What was transferred.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Tables, the host's own included.
    pub tables: u64,
    /// Their rows.
    pub rows: u64,
}

/// Why a transfer failed. The target is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// Only an empty tenant takes another's data.
    #[error("the tenant is not empty")]
    NotEmpty,
    /// Written by a newer program.
    #[error("the export has format {found}; this program knows {known}: use a newer one")]
    Newer {
        /// Format of the file.
        found: u64,
        /// The one known here.
        known: u64,
    },
    /// Not an export, damaged, or cut off.
    #[error("line {line} of the export: {reason}")]
    Format {
        /// From 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// What was written is not what was read.
    #[error("table {table}: {reason}")]
    Differs {
        /// Which.
        table: String,
        /// In what.
        reason: String,
    },
    /// The file.
    #[error("reading or writing the export")]
    Io(#[from] std::io::Error),
    /// A database.
    #[error(transparent)]
    Storage(#[from] Error),
}

/// Rows and the sum of their hashes: the same in whatever order they come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) rows: u64,
    pub(crate) hash: u64,
}

impl Sum {
    /// Counts a row.
    pub(crate) fn add(&mut self, row: &[Value]) {
        self.rows += 1;
        let text = line_of(row);
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.hash = self.hash.wrapping_add(hash);
    }
}

/// Numbers that were given out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) position: u64,
    pub(crate) message: u64,
    pub(crate) timer: u64,
}

/// A plug-in as it was installed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plugin {
    pub(crate) name: String,
    /// Name, text and the plug-in's version, in order.
    pub(crate) migrations: Vec<(String, String, String)>,
    pub(crate) full_text: Vec<String>,
}

/// What travels.
#[derive(Debug)]
pub(crate) enum Record {
    /// First.
    Header { counters: Counters, total: u64 },
    /// All before the first table.
    Plugin(Plugin),
    /// Rows follow.
    Table { name: String, columns: Vec<String> },
    /// Of the last table.
    Rows(Vec<Vec<Value>>),
    /// Last, with the sums of all tables.
    End(BTreeMap<String, Sum>),
    /// The source failed; nothing follows.
    Failed(TransferError),
}

/// The host's tables and the columns that travel; `words` of the full text stand for its vectors.
pub(crate) const HOST_TABLES: &[(&str, &[&str])] = &[
    ("tessera_consumers", &["topic", "consumer", "after"]),
    ("tessera_outbox", &["id", "topic", "key", "payload", "position", "emitted_ms"]),
    ("tessera_deliveries", &["consumer", "id", "topic", "settled", "attempts", "next_ms", "error"]),
    (
        "tessera_dead",
        &[
            "consumer",
            "id",
            "topic",
            "key",
            "payload",
            "attempts",
            "error",
            "position",
            "emitted_ms",
            "died_ms",
            "retry",
            "next_ms",
        ],
    ),
    ("tessera_timers", &["plugin", "name", "due_ms", "payload", "generation"]),
    ("tessera_commits", &["plugin", "id", "first_position", "affected"]),
];

/// The table that stands for all full-text indexes, and its columns. The words are as the source's
/// engine folds them, so only their number is compared.
pub(crate) const FULL_TEXT: (&str, &[&str]) =
    ("tessera_fulltext", &["plugin", "name", "key", "grp", "words"]);

/// A row of [`FULL_TEXT`] as its plug-in and what that once said.
pub(crate) fn words(row: &[Value]) -> (String, FullTextEntry) {
    let mut cells = row.iter().map(|value| match value {
        Value::Text(text) => text.clone(),
        _ => String::new(),
    });
    let mut next = || cells.next().unwrap_or_default();
    let plugin = next();
    let (index, key, group, words) = (next(), next(), next(), next());
    (plugin, FullTextEntry { index, key, group, text: Some(words) })
}

/// Whether a table's content is compared, beside its number of rows.
pub(crate) fn compared(table: &str) -> bool {
    table != FULL_TEXT.0
}

/// Compares what was written with what was to be.
pub(crate) fn compare(table: &str, wanted: Sum, found: Sum) -> Result<(), TransferError> {
    let differs = |reason: String| TransferError::Differs { table: table.to_owned(), reason };
    if wanted.rows != found.rows {
        return Err(differs(format!("{} rows instead of {}", found.rows, wanted.rows)));
    }
    if compared(table) && wanted.hash != found.hash {
        return Err(differs("the rows are not the same".to_owned()));
    }
    Ok(())
}

pub(crate) type Sender = mpsc::Sender<Record>;
pub(crate) type Receiver = mpsc::Receiver<Record>;

/// A way for records.
pub(crate) fn channel() -> (Sender, Receiver) {
    mpsc::channel(BATCHES)
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Boolean(v) => json!(v),
        Value::Integer(v) => json!(v),
        // As text: JSON's readers do not all give back the last bit.
        Value::Double(v) => json!({ "d": format!("{v:?}") }),
        Value::Text(v) => json!(v),
        Value::Blob(v) => {
            let mut digits = String::with_capacity(v.len() * 2);
            for byte in v {
                for half in [byte >> 4, byte & 15] {
                    digits.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
                }
            }
            json!({ "x": digits })
        }
        Value::Null | Value::IntegerList(_) | Value::TextList(_) | Value::Position(_) => Json::Null,
    }
}

fn line_of(row: &[Value]) -> String {
    Json::Array(row.iter().map(json_of).collect()).to_string()
}

fn value_of(json: Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(v) => Value::Boolean(v),
        Json::Number(v) => Value::Integer(v.as_i64()?),
        Json::String(v) => Value::Text(v),
        Json::Object(map) => match (map.get("d"), map.get("x")) {
            (Some(Json::String(text)), None) => Value::Double(text.parse().ok()?),
            (None, Some(Json::String(text))) => {
                let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                let pairs = text.as_bytes().chunks_exact(2);
                let bytes = pairs.map(|pair| match pair {
                    [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                    _ => None,
                });
                Value::Blob(bytes.collect::<Option<_>>()?)
            }
            _ => return None,
        },
        Json::Array(_) => return None,
    })
}

/// Writes what comes, until its end.
fn write_all(
    writer: &mut impl Write,
    records: &mut Receiver,
    progress: &dyn Fn(Progress),
) -> Result<Transferred, TransferError> {
    let mut done = Transferred::default();
    let mut total = 0;
    while let Some(record) = records.blocking_recv() {
        match record {
            Record::Header { counters, total: all } => {
                total = all;
                let Counters { position, message, timer } = counters;
                let header = json!({
                    "tessera": "tenant", "format": FORMAT, "position": position,
                    "message": message, "timer": timer, "rows": all,
                });
                writeln!(writer, "{header}")?;
            }
            Record::Plugin(Plugin { name, migrations, full_text }) => {
                let migrations: Vec<Json> = migrations
                    .into_iter()
                    .map(|(name, sql, version)| json!({ "name": name, "sql": sql, "version": version }))
                    .collect();
                let plugin =
                    json!({ "plugin": name, "migrations": migrations, "full_text": full_text });
                writeln!(writer, "{plugin}")?;
            }
            Record::Table { name, columns } => {
                done.tables += 1;
                writeln!(writer, "{}", json!({ "table": name, "columns": columns }))?;
            }
            Record::Rows(rows) => {
                done.rows += rows.len() as u64;
                for row in rows {
                    writeln!(writer, "{}", line_of(&row))?;
                }
                progress(Progress { rows: done.rows, total });
            }
            Record::End(sums) => {
                let sums: BTreeMap<String, Json> = sums
                    .into_iter()
                    .map(|(table, sum)| (table, json!({ "rows": sum.rows, "sum": sum.hash })))
                    .collect();
                writeln!(writer, "{}", json!({ "end": sums }))?;
                writer.flush()?;
                return Ok(done);
            }
            Record::Failed(error) => return Err(error),
        }
    }
    Err(Error::Unavailable("the export ended early".to_owned()).into())
}

struct Lines<R> {
    reader: BufReader<R>,
    line: u64,
    text: Vec<u8>,
}

impl<R: Read> Lines<R> {
    fn wrong(&self, reason: impl Into<String>) -> TransferError {
        TransferError::Format { line: self.line, reason: reason.into() }
    }

    fn next(&mut self) -> Result<Json, TransferError> {
        self.line += 1;
        self.text.clear();
        let read = (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut self.text)?;
        if read == 0 {
            return Err(self.wrong("the export is cut off here"));
        }
        serde_json::from_slice(&self.text).map_err(|e| self.wrong(e.to_string()))
    }
}

fn text(json: &Json, key: &str) -> Option<String> {
    json.get(key)?.as_str().map(str::to_owned)
}

fn plugin_of(json: &Json) -> Option<Plugin> {
    let mut migrations = Vec::new();
    for migration in json.get("migrations")?.as_array()? {
        let part = |key| text(migration, key);
        migrations.push((part("name")?, part("sql")?, part("version")?));
    }
    let full_text = json.get("full_text")?.as_array()?;
    let full_text = full_text.iter().map(|name| name.as_str().map(str::to_owned));
    Some(Plugin {
        name: text(json, "plugin")?,
        migrations,
        full_text: full_text.collect::<Option<_>>()?,
    })
}

/// Reads a file to its end. An error is the last record.
fn read_all(reader: impl Read, records: &Sender) {
    let mut lines = Lines { reader: BufReader::new(reader), line: 0, text: Vec::new() };
    if let Err(error) = read_lines(&mut lines, records) {
        let _ = records.blocking_send(Record::Failed(error));
    }
}

fn read_lines(lines: &mut Lines<impl Read>, records: &Sender) -> Result<(), TransferError> {
    // Nobody wants the rest: whoever takes them tells why.
    let gone = |_| TransferError::Storage(Error::Unavailable("the import ended early".to_owned()));
    let header = lines.next()?;
    if text(&header, "tessera").as_deref() != Some("tenant") {
        return Err(lines.wrong("not the export of a tenant"));
    }
    let number = |key: &str| header.get(key).and_then(Json::as_u64).unwrap_or(0);
    let found = number("format");
    if found != FORMAT {
        return Err(TransferError::Newer { found, known: FORMAT });
    }
    let counters = Counters {
        position: number("position"),
        message: number("message"),
        timer: number("timer"),
    };
    let total = number("rows");
    records.blocking_send(Record::Header { counters, total }).map_err(gone)?;
    let mut rows = Vec::new();
    loop {
        let json = lines.next()?;
        if let Json::Array(cells) = json {
            let row: Option<Vec<Value>> = cells.into_iter().map(value_of).collect();
            rows.push(row.ok_or_else(|| lines.wrong("a value of no known type"))?);
            if rows.len() >= BATCH {
                records.blocking_send(Record::Rows(std::mem::take(&mut rows))).map_err(gone)?;
            }
            continue;
        }
        if !rows.is_empty() {
            records.blocking_send(Record::Rows(std::mem::take(&mut rows))).map_err(gone)?;
        }
        if json.get("plugin").is_some() {
            let plugin = plugin_of(&json).ok_or_else(|| lines.wrong("not a plug-in"))?;
            records.blocking_send(Record::Plugin(plugin)).map_err(gone)?;
        } else if let Some(name) = text(&json, "table") {
            let columns = json.get("columns").and_then(Json::as_array);
            let columns: Option<Vec<String>> = columns
                .map(|all| all.iter().map(|c| c.as_str().map(str::to_owned)).collect())
                .unwrap_or_default();
            let columns = columns.ok_or_else(|| lines.wrong("a table without columns"))?;
            records.blocking_send(Record::Table { name, columns }).map_err(gone)?;
        } else if let Some(end) = json.get("end").and_then(Json::as_object) {
            let mut sums = BTreeMap::new();
            for (table, sum) in end {
                let part = |key: &str| sum.get(key).and_then(Json::as_u64);
                match (part("rows"), part("sum")) {
                    (Some(rows), Some(hash)) => sums.insert(table.clone(), Sum { rows, hash }),
                    _ => return Err(lines.wrong(format!("no sums of {table}"))),
                };
            }
            return records.blocking_send(Record::End(sums)).map_err(gone);
        } else {
            return Err(lines.wrong("neither table nor row"));
        }
    }
}

fn panicked(_: tokio::task::JoinError) -> TransferError {
    Error::Unavailable("a transfer's task panicked".to_owned()).into()
}

impl Database {
    /// Writes all that the tenant has, as of one moment, while it is in use. `progress` is called
    /// after each batch of rows, on the thread that writes. Gives the writer back, flushed.
    ///
    /// # Errors
    /// The database or the writer failed; what was written is of no use then.
    pub async fn export<W: Write + Send + 'static>(
        &self,
        writer: W,
        progress: impl Fn(Progress) + Send + 'static,
    ) -> Result<(W, Transferred), TransferError> {
        let (sender, mut receiver) = channel();
        self.dump(sender);
        let written = tokio::task::spawn_blocking(move || {
            let mut writer = writer;
            let done = write_all(&mut writer, &mut receiver, &progress)?;
            Ok((writer, done))
        });
        written.await.map_err(panicked)?
    }

    /// Takes in what [`Database::export`] wrote, of whichever engine, in one transaction. The tenant
    /// must be empty: no plug-in installed. The plug-ins' migrations are run from the file.
    ///
    /// # Errors
    /// Nothing was taken in.
    pub async fn import<R: Read + Send + 'static>(
        &self,
        reader: R,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Transferred, TransferError> {
        let (sender, receiver) = channel();
        let reading = tokio::task::spawn_blocking(move || read_all(reader, &sender));
        let done = self.load(receiver, Box::new(progress)).await;
        reading.await.map_err(panicked)?;
        done
    }
}

/// Takes all that one database has into another, empty one, of whichever engine. `from` may be in use;
/// what is written to it after the beginning is not taken along.
///
/// # Errors
/// Nothing was taken in.
pub async fn copy(
    from: &Database,
    to: &Database,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Transferred, TransferError> {
    let (sender, receiver) = channel();
    from.dump(sender);
    to.load(receiver, Box::new(progress)).await
}

/// Told of progress.
pub(crate) type Watch = Box<dyn Fn(Progress) + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let row = vec![
            Value::Null,
            Value::Boolean(true),
            Value::Integer(i64::MIN),
            Value::Double(0.1 + 0.2),
            Value::Double(2.0),
            Value::Text("ü\"\n".to_owned()),
            Value::Blob(vec![0, 255, 16]),
        ];
        let json: Json = serde_json::from_str(&line_of(&row)).unwrap();
        let Json::Array(cells) = json else { panic!() };
        let back: Vec<Value> = cells.into_iter().map(|cell| value_of(cell).unwrap()).collect();
        assert_eq!(back, row);
    }
}
