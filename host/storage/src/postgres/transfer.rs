//! Reading all of a schema, and filling an empty one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::transfer::{
    BATCH, Counters, FULL_TEXT, HOST_TABLES, Plugin, Progress, Receiver, Record, Sender, Sum,
    TransferError, Transferred, Watch, compare, words,
};
use crate::{Error, FullTextIndex, Migration, PluginSchema, Value};

use super::ops::{ask_on, int, number, text};
use super::pool::Leased;
use super::script::{Script, Step, Type, param, quoted, value};
use super::{Engine, fulltext, install};

/// Bytes of text per message, about.
const CHUNK: usize = 2 << 20;

/// Reading and writing all there is takes its time, and the other side may be slow.
const PATIENT: &str = "SET LOCAL statement_timeout = 0; \
                       SET LOCAL idle_in_transaction_session_timeout = 0";

/// How long one answer of a transfer may take.
const PATIENCE: Duration = Duration::from_secs(6 * 60 * 60);

/// A table, its columns with their types, and what gives its rows.
struct Table {
    name: String,
    columns: Vec<String>,
    types: Vec<Type>,
    select: String,
}

impl Engine {
    /// Sends all there is, as of one moment, on a task of its own.
    pub(crate) fn dump(self: &Arc<Self>, to: Sender) {
        let engine = self.clone();
        tokio::spawn(async move {
            if let Err(error) = engine.dump_all(&to).await {
                let _ = to.send(Record::Failed(error)).await;
            }
        });
    }

    async fn dump_all(self: &Arc<Self>, to: &Sender) -> Result<(), TransferError> {
        let _active = self.begin_work()?;
        let mut leased = self.lease().await?;
        leased.patience = PATIENCE;
        leased.in_transaction = true;
        let begin = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {PATIENT}");
        ask_on(&mut leased, Step::Quiet, &begin).await?;
        let tables = self.tables(&mut leased).await?;
        let mut total = 0;
        for table in &tables {
            let count = format!("SELECT count(*) FROM {}.\"{}\"", self.schema, table.name);
            total += number(&ask_on(&mut leased, Step::Host, &count).await?);
        }
        // After the moment that is read: no lower than what is in it.
        let s = &self.schema;
        let counters = format!(
            "SELECT p.last_value, g.last_value FROM {s}.tessera_position AS p, \
             {s}.tessera_generation AS g"
        );
        let lines = ask_on(&mut leased, Step::Host, &counters).await?;
        let position = text(&lines, 0, 0).parse().unwrap_or(0);
        let timer = text(&lines, 0, 1).parse().unwrap_or(0);
        let counters = Counters { position, message: position, timer };
        send(to, Record::Header { counters, total }).await?;
        for plugin in self.plugins(&mut leased).await? {
            send(to, Record::Plugin(plugin)).await?;
        }
        let mut sums = BTreeMap::new();
        for table in tables {
            let columns = table.columns.clone();
            send(to, Record::Table { name: table.name.clone(), columns }).await?;
            let sum = each_batch(&mut leased, &table, Some(to)).await?;
            sums.insert(table.name, sum);
        }
        ask_on(&mut leased, Step::Commit, "COMMIT").await?;
        leased.in_transaction = false;
        send(to, Record::End(sums)).await?;
        Ok(())
    }

    async fn plugins(&self, leased: &mut Leased) -> Result<Vec<Plugin>, Error> {
        let s = &self.schema;
        let all = format!(
            "SELECT plugin, name, sql, plugin_version FROM {s}.tessera_migrations \
             ORDER BY plugin COLLATE \"C\", seq"
        );
        let lines = ask_on(leased, Step::Host, &all).await?;
        let mut plugins: Vec<Plugin> = Vec::new();
        for i in 0..lines.len() {
            let cell = |column| text(&lines, i, column).to_owned();
            let (name, file) = (cell(0), (cell(1), cell(2), cell(3)));
            match plugins.last_mut() {
                Some(last) if last.name == name => last.migrations.push(file),
                _ => plugins.push(Plugin { name, migrations: vec![file], ..Plugin::default() }),
            }
        }
        let all = format!("SELECT plugin, name FROM {s}.tessera_fulltext_indexes ORDER BY 1, 2");
        let lines = ask_on(leased, Step::Host, &all).await?;
        for i in 0..lines.len() {
            let (name, index) = (text(&lines, i, 0).to_owned(), text(&lines, i, 1).to_owned());
            match plugins.iter_mut().find(|plugin| plugin.name == name) {
                Some(plugin) => plugin.full_text.push(index),
                None => {
                    plugins.push(Plugin { name, full_text: vec![index], ..Plugin::default() });
                }
            }
        }
        Ok(plugins)
    }

    /// All tables of plug-ins, then the host's.
    async fn tables(&self, leased: &mut Leased) -> Result<Vec<Table>, Error> {
        let columns = format!(
            "SELECT c.relname, a.attname, a.atttypid FROM pg_class AS c \
             JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE c.relkind = 'r' AND c.relnamespace = '{}'::regnamespace \
             ORDER BY c.relname COLLATE \"C\", a.attnum",
            self.schema
        );
        let lines = ask_on(leased, Step::Host, &columns).await?;
        let mut found: BTreeMap<String, Vec<(String, Type)>> = BTreeMap::new();
        for i in 0..lines.len() {
            let kind = Type::of(text(&lines, i, 2).parse().unwrap_or(0));
            let columns = found.entry(text(&lines, i, 0).to_owned()).or_default();
            columns.push((text(&lines, i, 1).to_owned(), kind));
        }
        let mut tables = Vec::new();
        for (name, columns) in found.iter().filter(|(name, _)| !name.starts_with("tessera_")) {
            tables.push(self.table(name, columns.clone()));
        }
        for (name, wanted) in HOST_TABLES {
            let known = found.get(*name).map(Vec::as_slice).unwrap_or_default();
            let kind = |column: &str| {
                known.iter().find(|(name, _)| name == column).map_or(Type::Other, |(_, kind)| *kind)
            };
            let columns = wanted.iter().map(|column| ((*column).to_owned(), kind(column)));
            tables.push(self.table(name, columns.collect()));
        }
        let (name, columns) = FULL_TEXT;
        tables.push(Table {
            name: name.to_owned(),
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            types: vec![Type::Text; columns.len()],
            select: format!(
                "SELECT f.plugin, f.name, f.key, f.grp, coalesce((SELECT string_agg(u.lexeme, ' ' \
                 ORDER BY p) FROM unnest(f.words) AS u (lexeme, positions, weights), \
                 unnest(u.positions) AS p), '') FROM {}.tessera_fulltext AS f ORDER BY f.id",
                self.schema
            ),
        });
        Ok(tables)
    }

    fn table(&self, name: &str, columns: Vec<(String, Type)>) -> Table {
        let list: Vec<String> = columns.iter().map(|(column, _)| format!("\"{column}\"")).collect();
        let order = if name == "tessera_commits" { " ORDER BY seq" } else { "" };
        let select = format!("SELECT {} FROM {}.\"{name}\"{order}", list.join(", "), self.schema);
        let (columns, types) = columns.into_iter().unzip();
        Table { name: name.to_owned(), columns, types, select }
    }

    /// Takes in what comes.
    pub(crate) async fn load(
        self: &Arc<Self>,
        from: Receiver,
        watch: Watch,
    ) -> Result<Transferred, TransferError> {
        let engine = self.clone();
        let done = self.detached(async move { Ok(engine.load_all(from, watch).await) }).await?;
        // Also what was undone: tables were looked at in the transaction.
        self.load_catalog().await?;
        self.look().await?;
        done
    }

    async fn load_all(
        self: &Arc<Self>,
        mut from: Receiver,
        watch: Watch,
    ) -> Result<Transferred, TransferError> {
        let mut leased = self.lease().await?;
        leased.patience = PATIENCE;
        leased.in_transaction = true;
        let mut script = self.locked();
        for sql in PATIENT.split(';') {
            script.push(Step::Quiet, sql);
        }
        leased.run(&script, |_, _| Ok(())).await.map_err(Error::from)?;
        let s = &self.schema;
        let used = format!(
            "SELECT (SELECT count(*) FROM {s}.tessera_migrations) \
             + (SELECT count(*) FROM {s}.tessera_outbox)"
        );
        if number(&ask_on(&mut leased, Step::Host, &used).await?) > 0 {
            return Err(TransferError::NotEmpty);
        }
        let done = self.fill(&mut leased, &mut from, &watch).await?;
        ask_on(&mut leased, Step::Commit, "COMMIT").await?;
        leased.in_transaction = false;
        Ok(done)
    }

    async fn fill(
        &self,
        leased: &mut Leased,
        from: &mut Receiver,
        watch: &Watch,
    ) -> Result<Transferred, TransferError> {
        let mut done = Transferred::default();
        let mut total = 0;
        let mut tables: Vec<Table> = Vec::new();
        let mut into: Option<(String, Vec<Type>, String)> = None;
        let mut came: BTreeMap<String, Sum> = BTreeMap::new();
        let s = &self.schema;
        while let Some(record) = from.recv().await {
            match record {
                Record::Header { counters, total: all } => {
                    total = all;
                    let Counters { position, message, timer } = counters;
                    // One sequence for both here; what it has given out stays given out.
                    let last = int(position.max(message));
                    let sql = format!(
                        "SELECT setval('{s}.tessera_position', greatest(p.last_value, {last})), \
                         setval('{s}.tessera_generation', greatest(g.last_value, {})) \
                         FROM {s}.tessera_position AS p, {s}.tessera_generation AS g",
                        int(timer.max(1))
                    );
                    ask_on(leased, Step::Quiet, &sql).await?;
                }
                Record::Plugin(plugin) => self.make(leased, plugin).await?,
                Record::Table { name, columns } => {
                    if tables.is_empty() {
                        tables = self.tables(leased).await?;
                        // What migrations have put in comes as rows.
                        self.empty(leased, &tables).await?;
                    }
                    done.tables += 1;
                    let target = target(s, &tables, &name, &columns)?;
                    came.insert(name, Sum::default());
                    into = Some(target);
                }
                Record::Rows(rows) => {
                    let Some((name, types, insert)) = &into else {
                        return Err(Error::Invalid("rows before a table".to_owned()).into());
                    };
                    if let Some(sum) = came.get_mut(name) {
                        rows.iter().for_each(|row| sum.add(row));
                    }
                    if name == FULL_TEXT.0 {
                        self.put_words(leased, &rows).await?;
                    } else {
                        insert_rows(leased, insert, types, &rows).await?;
                    }
                    done.rows += rows.len() as u64;
                    watch(Progress { rows: done.rows, total });
                }
                Record::End(wanted) => {
                    for (name, sum) in &wanted {
                        compare(name, *sum, came.get(name).copied().unwrap_or_default())?;
                    }
                    for table in &tables {
                        let Some(sum) = wanted.get(&table.name) else { continue };
                        compare(&table.name, *sum, each_batch(leased, table, None).await?)?;
                    }
                    return Ok(done);
                }
                Record::Failed(error) => return Err(error),
            }
        }
        Err(Error::Unavailable("the source ended early".to_owned()).into())
    }

    async fn make(&self, leased: &mut Leased, plugin: Plugin) -> Result<(), Error> {
        let mut schema = PluginSchema { plugin: plugin.name, ..PluginSchema::default() };
        let wrong = |e: crate::InstallError| Error::Invalid(e.to_string());
        schema.full_text =
            plugin.full_text.iter().map(|name| FullTextIndex { name: name.clone() }).collect();
        crate::install::names(&schema).map_err(wrong)?;
        let role = self.role(&schema.plugin);
        let mut script = Script::default();
        self.make_role(&mut script, &role);
        for (seq, (name, sql, version)) in plugin.migrations.into_iter().enumerate() {
            schema.version = version;
            let file = Migration { name, sql };
            install::add(self, &mut script, &schema, &role, seq, &file).map_err(wrong)?;
        }
        for name in plugin.full_text {
            let sql = format!(
                "INSERT INTO {}.tessera_fulltext_indexes (plugin, name) VALUES ({}, {})",
                self.schema,
                quoted(&schema.plugin),
                quoted(&name)
            );
            script.push(Step::Quiet, &sql);
        }
        // A migration's own limit of time is not for what comes after it.
        for sql in PATIENT.split(';') {
            script.push(Step::Quiet, sql);
        }
        leased.run(&script, |_, _| Ok(())).await?;
        Ok(())
    }

    async fn empty(&self, leased: &mut Leased, tables: &[Table]) -> Result<(), Error> {
        let s = &self.schema;
        let mut script = Script::default();
        for table in tables.iter().filter(|table| !table.name.starts_with("tessera_")) {
            script.push(Step::Quiet, &format!("DELETE FROM {s}.\"{}\"", table.name));
        }
        script.push(Step::Quiet, &format!("DELETE FROM {s}.tessera_consumers"));
        script.push(Step::Quiet, &format!("DELETE FROM {s}.tessera_timers"));
        leased.run(&script, |_, _| Ok(())).await?;
        Ok(())
    }

    async fn put_words(&self, leased: &mut Leased, rows: &[Vec<Value>]) -> Result<(), Error> {
        let mut script = Script::default();
        for row in rows {
            let (plugin, entry) = words(row);
            fulltext::put(&mut script, &self.schema, &plugin, &entry);
            if script.sql.len() >= CHUNK {
                leased.run(&std::mem::take(&mut script), |_, _| Ok(())).await?;
            }
        }
        if !script.steps.is_empty() {
            leased.run(&script, |_, _| Ok(())).await?;
        }
        Ok(())
    }
}

async fn send(to: &Sender, record: Record) -> Result<(), Error> {
    // Whoever took the records has told why it takes no more.
    to.send(record).await.map_err(|_| Error::Unavailable("the transfer was given up".to_owned()))
}

/// Where rows of a table go: its name, the columns' types and the statement's head.
fn target(
    schema: &str,
    tables: &[Table],
    name: &str,
    columns: &[String],
) -> Result<(String, Vec<Type>, String), TransferError> {
    let differs = |reason: String| TransferError::Differs { table: name.to_owned(), reason };
    let table = tables
        .iter()
        .find(|table| table.name == name)
        .ok_or_else(|| differs("no migration makes it".to_owned()))?;
    let mut types = Vec::new();
    let mut list = Vec::new();
    for column in columns {
        let known = table.columns.iter().zip(&table.types).find(|(known, _)| *known == column);
        let (_, kind) = known.ok_or_else(|| differs(format!("no column {column}")))?;
        types.push(*kind);
        list.push(format!("\"{column}\""));
    }
    let insert = format!("INSERT INTO {schema}.\"{name}\" ({}) VALUES ", list.join(", "));
    Ok((name.to_owned(), types, insert))
}

async fn insert_rows(
    leased: &mut Leased,
    insert: &str,
    types: &[Type],
    rows: &[Vec<Value>],
) -> Result<(), Error> {
    let mut sql = String::new();
    for row in rows {
        sql.push_str(if sql.is_empty() { insert } else { "," });
        for (i, (value, kind)) in row.iter().zip(types).enumerate() {
            sql.push(if i == 0 { '(' } else { ',' });
            param(&mut sql, i + 1, value, *kind)?;
        }
        sql.push(')');
        if sql.len() >= CHUNK {
            ask_on(leased, Step::Quiet, &std::mem::take(&mut sql)).await?;
        }
    }
    if !sql.is_empty() {
        ask_on(leased, Step::Quiet, &sql).await?;
    }
    Ok(())
}

/// Reads a table from end to end, a batch at a time.
async fn each_batch(leased: &mut Leased, table: &Table, to: Option<&Sender>) -> Result<Sum, Error> {
    let mut sum = Sum::default();
    let declare = format!("DECLARE tessera_rows NO SCROLL CURSOR FOR {}", table.select);
    ask_on(leased, Step::Quiet, &declare).await?;
    let mut fetch = Script::default();
    fetch.push(Step::Host, &format!("FETCH {BATCH} FROM tessera_rows"));
    loop {
        let mut rows = Vec::new();
        leased
            .run(&fetch, |_, line| {
                let mut values = Vec::with_capacity(table.types.len());
                for (column, kind) in table.types.iter().enumerate() {
                    let bytes = line.bytes(column)?;
                    values.push(bytes.map_or(Ok(Value::Null), |bytes| value(bytes, *kind))?);
                }
                sum.add(&values);
                rows.push(values);
                Ok(())
            })
            .await?;
        let last = rows.len() < BATCH;
        if let Some(to) = to
            && !rows.is_empty()
        {
            send(to, Record::Rows(rows)).await?;
        }
        if last {
            break;
        }
    }
    ask_on(leased, Step::Quiet, "CLOSE tessera_rows").await?;
    Ok(sum)
}
