//! Reading all of a file, and filling an empty one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures::executor::block_on;

use crate::transfer::{
    BATCH, Counters, FULL_TEXT, HOST_TABLES, Plugin, Progress, Receiver, Record, Sender, Sum,
    TransferError, Transferred, Watch, compare, words,
};
use crate::{DatabaseConfig, Error, FullTextIndex, Migration, PluginSchema, Value};

use super::authorizer::Mode;
use super::fulltext::{self, interned};
use super::outbox::read;
use super::raw::{Bind, Key, Raw};
use super::writer::{Writer, uint};
use super::{connect, exec, install};

/// A table, its columns, and what gives its rows.
struct Table {
    name: String,
    columns: Vec<String>,
    select: String,
    count: String,
}

fn quoted(columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|c| format!("\"{c}\"")).collect();
    columns.join(", ")
}

/// Sends all that the file has; an error is the last record.
pub(super) fn dump(path: &Path, config: &DatabaseConfig, to: &Sender) {
    let result = connect::exporter(path, config)
        .map_err(|e| TransferError::from(Error::Unavailable(e.to_string())))
        .and_then(|mut connection| {
            let mut handle = block_on(connection.lock_handle())
                .map_err(|e| Error::Unavailable(e.to_string()))?;
            let mut raw = Raw::new(&mut handle, config.statements).map_err(Error::from)?;
            read(&mut raw, "BEGIN", &[], |_| {})?;
            dump_from(&mut raw, to)
        });
    if let Err(error) = result {
        let _ = to.blocking_send(Record::Failed(error));
    }
}

fn send(to: &Sender, record: Record) -> Result<(), Error> {
    // Whoever took the records has told why it takes no more.
    to.blocking_send(record).map_err(|_| Error::Unavailable("the transfer was given up".to_owned()))
}

fn dump_from(raw: &mut Raw<'_>, to: &Sender) -> Result<(), TransferError> {
    let mut counters = Counters::default();
    read(raw, "SELECT position, message, timer FROM tessera_sequence", &[], |row| {
        counters = Counters {
            position: uint(row.int(0)),
            message: uint(row.int(1)),
            timer: uint(row.int(2)),
        };
    })?;
    let tables = tables(raw)?;
    let mut total = 0;
    for table in &tables {
        read(raw, interned(table.count.clone()), &[], |row| total += uint(row.int(0)))?;
    }
    send(to, Record::Header { counters, total })?;
    for plugin in plugins(raw)? {
        send(to, Record::Plugin(plugin))?;
    }
    let mut sums = BTreeMap::new();
    for table in tables {
        let columns = table.columns.clone();
        send(to, Record::Table { name: table.name.clone(), columns })?;
        let mut rows = Vec::new();
        let sum = each_row(raw, &table, |row| {
            rows.push(row);
            if rows.len() >= BATCH {
                send(to, Record::Rows(std::mem::take(&mut rows)))?;
            }
            Ok(())
        })?;
        if !rows.is_empty() {
            send(to, Record::Rows(rows))?;
        }
        sums.insert(table.name, sum);
    }
    send(to, Record::End(sums))?;
    Ok(())
}

/// Reads a table from end to end.
fn each_row(
    raw: &mut Raw<'_>,
    table: &Table,
    mut each: impl FnMut(Vec<Value>) -> Result<(), Error>,
) -> Result<Sum, Error> {
    let mut sum = Sum::default();
    let sql = interned(table.select.clone());
    raw.set_mode(Mode::Host);
    let stmt = raw.prepare(Key::Host(sql), sql)?;
    let boolean = stmt.boolean().to_vec();
    stmt.run::<Error>(&[], |row| {
        let mut values = Vec::with_capacity(boolean.len());
        for (column, boolean) in boolean.iter().enumerate() {
            values.push(exec::read(row, column, *boolean).map_err(Error::from)?.0);
        }
        sum.add(&values);
        each(values)
    })?;
    Ok(sum)
}

fn plugins(raw: &mut Raw<'_>) -> Result<Vec<Plugin>, Error> {
    let mut plugins: Vec<Plugin> = Vec::new();
    read(
        raw,
        "SELECT plugin, name, sql, plugin_version FROM tessera_migrations ORDER BY plugin, seq",
        &[],
        |row| {
            let (name, file) = (row.text(0), (row.text(1), row.text(2), row.text(3)));
            match plugins.last_mut() {
                Some(last) if last.name == name => last.migrations.push(file),
                _ => plugins.push(Plugin { name, migrations: vec![file], ..Plugin::default() }),
            }
        },
    )?;
    let all = "SELECT plugin, name FROM tessera_fulltext_indexes ORDER BY plugin, name";
    read(raw, all, &[], |row| {
        let name = row.text(0);
        match plugins.iter_mut().find(|plugin| plugin.name == name) {
            Some(plugin) => plugin.full_text.push(row.text(1)),
            None => {
                plugins.push(Plugin { name, full_text: vec![row.text(1)], ..Plugin::default() });
            }
        }
    })?;
    Ok(plugins)
}

fn plain(name: &str, columns: Vec<String>) -> Table {
    let list = quoted(&columns);
    let order = if name == "tessera_commits" { " ORDER BY seq" } else { "" };
    Table {
        name: name.to_owned(),
        select: format!("SELECT {list} FROM \"{name}\"{order}"),
        count: format!("SELECT count(*) FROM \"{name}\""),
        columns,
    }
}

/// All tables of plug-ins, then the host's.
fn tables(raw: &mut Raw<'_>) -> Result<Vec<Table>, Error> {
    let mut names = Vec::new();
    read(
        raw,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'tessera_*' \
         AND name NOT GLOB 'sqlite_*' ORDER BY name",
        &[],
        |row| names.push(row.text(0)),
    )?;
    let mut tables = Vec::new();
    for name in names {
        let mut columns = Vec::new();
        let sql = "SELECT name FROM pragma_table_info(?1) ORDER BY cid";
        read(raw, sql, &[Bind::Text(&name)], |row| columns.push(row.text(0)))?;
        tables.push(plain(&name, columns));
    }
    for (name, columns) in HOST_TABLES {
        tables.push(plain(name, columns.iter().map(|c| (*c).to_owned()).collect()));
    }
    tables.push(full_text(raw)?);
    Ok(tables)
}

/// The indexes keep no text: their words are put together again from the indexes themselves.
fn full_text(raw: &mut Raw<'_>) -> Result<Table, Error> {
    let mut indexes = Vec::new();
    let all = "SELECT plugin, name FROM tessera_fulltext_indexes ORDER BY plugin, name";
    read(raw, all, &[], |row| indexes.push((row.text(0), row.text(1))))?;
    let mut parts = Vec::new();
    for (plugin, index) in indexes {
        let table = fulltext::table(&plugin, &index);
        raw.set_mode(Mode::Host);
        raw.once(&format!(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocab_{table} \
             USING fts5vocab('main', '{table}', 'instance')"
        ))?;
        parts.push(format!(
            "SELECT k.plugin AS plugin, k.name AS name, k.key AS key, k.grp AS grp, \
             coalesce(w.words, '') AS words FROM main.tessera_fulltext AS k LEFT JOIN \
             (SELECT doc, group_concat(term, ' ') AS words FROM (SELECT doc, term FROM \
             temp.vocab_{table} ORDER BY doc, \"offset\") GROUP BY doc) AS w ON w.doc = k.id \
             WHERE k.plugin = '{plugin}' AND k.name = '{index}'"
        ));
    }
    let (name, columns) = FULL_TEXT;
    let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
    if parts.is_empty() {
        parts
            .push("SELECT plugin, name, key, grp, '' FROM tessera_fulltext WHERE FALSE".to_owned());
    }
    Ok(Table {
        name: name.to_owned(),
        columns,
        select: parts.join(" UNION ALL "),
        count: "SELECT count(*) FROM tessera_fulltext".to_owned(),
    })
}

/// Fills an empty database in one transaction.
pub(super) fn load(
    writer: &mut Writer<'_>,
    from: &mut Receiver,
    watch: &Watch,
) -> Result<Transferred, TransferError> {
    writer.begin()?;
    let result = fill(writer, from, watch);
    if result.is_err() {
        writer.rollback();
        // The transaction's tables are gone again.
        writer.load_catalog()?;
        return result;
    }
    writer.commit()?;
    writer.load_catalog()?;
    writer.reread()?;
    result
}

fn fill(
    writer: &mut Writer<'_>,
    from: &mut Receiver,
    watch: &Watch,
) -> Result<Transferred, TransferError> {
    let used = writer.count("SELECT count(*) FROM tessera_migrations", &[])?
        + writer.count("SELECT count(*) FROM tessera_outbox", &[])?
        + writer.counters.position;
    if used > 0 {
        return Err(TransferError::NotEmpty);
    }
    let mut done = Transferred::default();
    let mut total = 0;
    let mut table: Option<(String, String)> = None;
    let mut emptied = false;
    let mut columns_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut read_sums: BTreeMap<String, Sum> = BTreeMap::new();
    while let Some(record) = from.blocking_recv() {
        match record {
            Record::Header { counters, total: all } => {
                total = all;
                writer.counters.position = counters.position;
                writer.counters.message = counters.message;
                writer.counters.timer = counters.timer;
            }
            Record::Plugin(plugin) => make(writer, plugin)?,
            Record::Table { name, columns } => {
                if !std::mem::replace(&mut emptied, true) {
                    // What migrations have put in comes as rows.
                    empty(writer)?;
                }
                done.tables += 1;
                let known = tables(&mut writer.raw)?.into_iter().map(|t| t.name);
                if !known.collect::<BTreeSet<_>>().contains(&name) {
                    let reason = "no migration makes it".to_owned();
                    return Err(TransferError::Differs { table: name, reason });
                }
                let marks: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
                let list = quoted(&columns);
                let insert =
                    format!("INSERT INTO \"{name}\" ({list}) VALUES ({})", marks.join(", "));
                read_sums.insert(name.clone(), Sum::default());
                columns_of.insert(name.clone(), columns);
                table = Some((name, insert));
            }
            Record::Rows(rows) => {
                let Some((name, insert)) = &table else {
                    return Err(Error::Invalid("rows before a table".to_owned()).into());
                };
                let count = rows.len() as u64;
                for row in rows {
                    if let Some(sum) = read_sums.get_mut(name) {
                        sum.add(&row);
                    }
                    if name == FULL_TEXT.0 {
                        put_words(writer, &row)?;
                    } else {
                        insert_row(writer, insert, &row)?;
                    }
                }
                done.rows += count;
                watch(Progress { rows: done.rows, total });
            }
            Record::End(sums) => {
                check(writer, &sums, &read_sums)?;
                return Ok(done);
            }
            Record::Failed(error) => return Err(error),
        }
    }
    Err(Error::Unavailable("the source ended early".to_owned()).into())
}

fn make(writer: &mut Writer<'_>, plugin: Plugin) -> Result<(), TransferError> {
    let mut schema = PluginSchema { plugin: plugin.name, ..PluginSchema::default() };
    schema.full_text =
        plugin.full_text.iter().map(|name| FullTextIndex { name: name.clone() }).collect();
    crate::install::names(&schema).map_err(|e| Error::Invalid(e.to_string()))?;
    for (seq, (name, sql, version)) in plugin.migrations.into_iter().enumerate() {
        schema.version = version;
        install::within(writer, &schema, seq, &Migration { name, sql })
            .map_err(|e| Error::Invalid(e.to_string()))?;
    }
    for index in plugin.full_text {
        fulltext::create(writer, &schema.plugin, &index)?;
    }
    writer.load_catalog()?;
    Ok(())
}

fn empty(writer: &mut Writer<'_>) -> Result<(), Error> {
    for table in tables(&mut writer.raw)? {
        if !table.name.starts_with("tessera_") {
            let sql = interned(format!("DELETE FROM \"{}\"", table.name));
            writer.host(sql, &[], |_| {})?;
        }
    }
    writer.host("DELETE FROM tessera_consumers", &[], |_| {})?;
    writer.host("DELETE FROM tessera_timers", &[], |_| {})?;
    Ok(())
}

fn insert_row(writer: &mut Writer<'_>, insert: &str, row: &[Value]) -> Result<(), Error> {
    let sql = interned(insert.to_owned());
    writer.raw.set_mode(Mode::Host);
    let binds: Vec<Bind<'_>> = row.iter().map(|value| exec::bind(value, 0)).collect();
    writer.raw.prepare(Key::Host(sql), sql)?.run::<Error>(&binds, |_| Ok(()))
}

fn put_words(writer: &mut Writer<'_>, row: &[Value]) -> Result<(), Error> {
    let (plugin, entry) = words(row);
    fulltext::put(writer, &plugin, &entry)
}

/// Compares what came with what was to come, and what is stored with both.
fn check(
    writer: &mut Writer<'_>,
    wanted: &BTreeMap<String, Sum>,
    came: &BTreeMap<String, Sum>,
) -> Result<(), TransferError> {
    for (name, sum) in wanted {
        compare(name, *sum, came.get(name).copied().unwrap_or_default())?;
    }
    for table in tables(&mut writer.raw)? {
        let Some(wanted) = wanted.get(&table.name) else { continue };
        let found = each_row(&mut writer.raw, &table, |_| Ok(()))?;
        compare(&table.name, *wanted, found)?;
    }
    Ok(())
}
