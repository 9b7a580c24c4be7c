//! What the host itself keeps: tenants made while it ran, who is suspended, who was awake, and when a sleeper's next
//! timer is due. All nodes share it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use tessera_manifest::{TenantEntry, TenantName};
use tessera_storage::{
    Batch, Database, Error, Migration, PluginSchema, Query, Rows, Session, SessionGrant, Statement,
    Value,
};

/// The tenant that the host database is on the bus; no server name has an `@`.
pub(crate) const HOST: &str = "@host";

/// The topic that is woken when the list of tenants has changed.
pub(crate) const CHANGED: &str = "tenants";

/// Tenants of one page of the list.
const PAGE: i64 = 1_000;

/// A setting that is there once the tenants of older data folders are entered.
const KNOWN: &str = "tenants-known";

const PLUGIN: &str = "registry";

const MIGRATION: &str = "
CREATE TABLE registry_tenants (
  name text NOT NULL PRIMARY KEY,
  entry text NOT NULL,
  created_ms bigint NOT NULL
);
CREATE TABLE registry_suspended (
  name text NOT NULL PRIMARY KEY
);
CREATE TABLE registry_awake (
  name text NOT NULL,
  node text NOT NULL,
  PRIMARY KEY (name, node)
);
CREATE TABLE registry_due (
  name text NOT NULL PRIMARY KEY,
  due_ms bigint NOT NULL
);
CREATE INDEX registry_due_order ON registry_due (due_ms);
CREATE TABLE registry_debris (
  name text NOT NULL PRIMARY KEY,
  node text NOT NULL
);
CREATE TABLE registry_settings (
  name text NOT NULL PRIMARY KEY,
  value text NOT NULL
);
";

/// A tenant made by `tessera tenant add` or `import`.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) name: TenantName,
    pub(crate) entry: TenantEntry,
    /// Milliseconds since the epoch.
    pub(crate) created_ms: u64,
}

/// The host database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    database: Database,
    session: Session,
    /// This process' name in the cluster; empty where it is by itself.
    node: String,
}

impl Registry {
    /// Brings the database's tables up to date.
    pub(crate) async fn open(database: Database, node: &str) -> Result<Self> {
        let migration = Migration { name: "0001_init.sql".to_owned(), sql: MIGRATION.to_owned() };
        let schema = PluginSchema {
            plugin: PLUGIN.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            migrations: vec![migration],
            ..PluginSchema::default()
        };
        database.install(schema).await.context("cannot set up the host database")?;
        let grant = SessionGrant { plugin: PLUGIN.to_owned(), ..SessionGrant::default() };
        let session = database.session(grant);
        Ok(Self { database, session, node: node.to_owned() })
    }

    /// Whether this process is the node of this name.
    pub(crate) fn is_mine(&self, node: &str) -> bool {
        self.node == node
    }

    /// Closes the database.
    pub(crate) async fn close(self) {
        self.database.close().await;
    }

    /// Tenants made while the server ran, by name.
    pub(crate) async fn made(&self) -> Result<Vec<Made>> {
        let mut made = Vec::new();
        let mut after = String::new();
        loop {
            let rows = self
                .query(
                    "SELECT name, entry, created_ms FROM registry_tenants WHERE name > $1 \
                     ORDER BY name LIMIT $2",
                    vec![text(&after), Value::Integer(PAGE)],
                )
                .await?;
            let full = rows.rows.len() as i64 == PAGE;
            for row in rows.rows {
                let [Value::Text(name), Value::Text(entry), Value::Integer(created)] =
                    row.as_slice()
                else {
                    bail!("the host database holds an odd tenant: {row:?}");
                };
                after.clone_from(name);
                let read = || -> Result<Made> {
                    Ok(Made {
                        name: name.parse().map_err(anyhow::Error::msg)?,
                        entry: serde_json::from_str(entry)?,
                        created_ms: u64::try_from(*created).unwrap_or_default(),
                    })
                };
                // Written by a newer version perhaps: the others are served all the same.
                match read() {
                    Ok(one) => made.push(one),
                    Err(error) => {
                        tracing::error!(tenant = name, %error, "the host database holds a tenant that cannot be read");
                    }
                }
            }
            if !full {
                return Ok(made);
            }
        }
    }

    /// Adds a tenant; what was debris of its name is its own now. False: there is one of this name.
    pub(crate) async fn add(&self, made: &Made) -> Result<bool> {
        let insert = Statement {
            sql: "INSERT INTO registry_tenants (name, entry, created_ms) VALUES ($1, $2, $3)"
                .to_owned(),
            rows: vec![vec![
                text(made.name.as_str()),
                Value::Text(serde_json::to_string(&made.entry)?),
                Value::Integer(i64::try_from(made.created_ms).unwrap_or(i64::MAX)),
            ]],
            expect: Some(1),
        };
        let own = statement(
            "DELETE FROM registry_debris WHERE name = $1",
            vec![text(made.name.as_str())],
        );
        match self.commit(vec![insert, own], true).await {
            Ok(()) => Ok(true),
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error).context("cannot write to the host database"),
        }
    }

    /// Takes a tenant from the list. With `debris` what it has is debris from now on, which the caller removes. Where
    /// it is open is known until [`Registry::forget`].
    pub(crate) async fn remove(&self, name: &str, debris: bool) -> Result<()> {
        let mut statements = delete_of(name, &["tenants", "suspended", "due"]);
        if debris {
            statements.push(self.debris_of(name, "DO NOTHING"));
        }
        self.commit(statements, true).await.context("cannot write to the host database")
    }

    /// Forgets where a tenant that was removed is open, and what it waits for.
    pub(crate) async fn forget(&self, name: &str) -> Result<()> {
        self.commit(delete_of(name, &["awake", "due"]), false)
            .await
            .context("cannot write to the host database")
    }

    fn debris_of(&self, name: &str, conflict: &str) -> Statement {
        let conflict = if conflict.is_empty() {
            String::new()
        } else {
            format!(" ON CONFLICT (name) {conflict}")
        };
        let sql = format!("INSERT INTO registry_debris (name, node) VALUES ($1, $2){conflict}");
        statement(&sql, vec![text(name), text(&self.node)])
    }

    /// Notes that what is made under this name now is debris until the tenant is added: this node removes it at its
    /// next start, if it does not come so far. False: another tenant of this name is just being made or removed.
    pub(crate) async fn begin_debris(&self, name: &str) -> Result<bool> {
        match self.commit(vec![self.debris_of(name, "")], false).await {
            Ok(()) => Ok(true),
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error).context("cannot write to the host database"),
        }
    }

    /// Notes that there is no debris of this name any more.
    pub(crate) async fn end_debris(&self, name: &str) -> Result<()> {
        let sql = "DELETE FROM registry_debris WHERE name = $1";
        self.commit(vec![statement(sql, vec![text(name)])], false)
            .await
            .context("cannot write to the host database")
    }

    /// Whether some node is just making or removing a tenant of this name.
    pub(crate) async fn is_debris(&self, name: &str) -> Result<bool> {
        let sql = "SELECT name FROM registry_debris WHERE name = $1";
        Ok(!self.query(sql, vec![text(name)]).await?.rows.is_empty())
    }

    /// Names of what this node did not finish to make or to remove.
    pub(crate) async fn debris(&self) -> Result<Vec<String>> {
        let sql = "SELECT name FROM registry_debris WHERE node = $1 ORDER BY name";
        Ok(first_texts(self.query(sql, vec![text(&self.node)]).await?))
    }

    /// Names of tenants that are suspended.
    pub(crate) async fn suspended(&self) -> Result<BTreeSet<String>> {
        let rows = self.query("SELECT name FROM registry_suspended ORDER BY name", vec![]).await?;
        Ok(first_texts(rows).into_iter().collect())
    }

    /// Suspends a tenant or lets it go on.
    pub(crate) async fn suspend(&self, name: &str, suspended: bool) -> Result<()> {
        let sql = if suspended {
            "INSERT INTO registry_suspended (name) VALUES ($1) ON CONFLICT (name) DO NOTHING"
        } else {
            "DELETE FROM registry_suspended WHERE name = $1"
        };
        self.commit(vec![statement(sql, vec![text(name)])], true)
            .await
            .context("cannot write to the host database")
    }

    /// Notes that this node has a tenant awake: if it ends without [`Registry::asleep`], the tenant is woken at
    /// the next start, since it may have work to do.
    pub(crate) async fn awake(&self, name: &str) -> Result<()> {
        let statements = vec![
            statement(
                "INSERT INTO registry_awake (name, node) VALUES ($1, $2) \
                 ON CONFLICT (name, node) DO NOTHING",
                vec![text(name), text(&self.node)],
            ),
            statement("DELETE FROM registry_due WHERE name = $1", vec![text(name)]),
        ];
        self.commit(statements, false).await.context("cannot write to the host database")
    }

    /// Notes that this node has put a tenant to sleep, and when something is due there (milliseconds since the
    /// epoch).
    pub(crate) async fn asleep(&self, name: &str, due_ms: Option<u64>) -> Result<()> {
        let mut statements = vec![statement(
            "DELETE FROM registry_awake WHERE name = $1 AND node = $2",
            vec![text(name), text(&self.node)],
        )];
        if let Some(due) = due_ms {
            statements.push(statement(
                "INSERT INTO registry_due (name, due_ms) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET due_ms = excluded.due_ms",
                vec![text(name), Value::Integer(i64::try_from(due).unwrap_or(i64::MAX))],
            ));
        }
        self.commit(statements, false).await.context("cannot write to the host database")
    }

    /// Whether the database is new: nothing is known of any tenant.
    pub(crate) async fn is_new(&self) -> Result<bool> {
        let sql = "SELECT name FROM registry_settings WHERE name = $1";
        let known = self.query(sql, vec![text(KNOWN)]).await?;
        Ok(known.rows.is_empty())
    }

    /// Takes these tenants for ones that may have work to do: they are woken at the next start, or now.
    pub(crate) async fn begin(&self, names: &[String]) -> Result<()> {
        for chunk in names.chunks(500) {
            let awake = Statement {
                sql: "INSERT INTO registry_awake (name, node) VALUES ($1, $2) \
                      ON CONFLICT (name, node) DO NOTHING"
                    .to_owned(),
                rows: chunk.iter().map(|name| vec![text(name), text(&self.node)]).collect(),
                expect: None,
            };
            self.commit(vec![awake], false).await.context("cannot write to the host database")?;
        }
        self.setting(KNOWN, "yes").await.map(drop)
    }

    /// Nodes that have tenants awake.
    pub(crate) async fn busy_nodes(&self) -> Result<Vec<String>> {
        let sql = "SELECT DISTINCT node FROM registry_awake ORDER BY node";
        Ok(first_texts(self.query(sql, Vec::new()).await?))
    }

    /// Takes on what a node that died had awake. Gives the tenants that no other node was faster to take.
    pub(crate) async fn take_over(&self, node: &str) -> Result<Vec<String>> {
        let sql = "SELECT name FROM registry_awake WHERE node = $1 ORDER BY name";
        let mut taken = Vec::new();
        for name in first_texts(self.query(sql, vec![text(node)]).await?) {
            let statements = vec![
                Statement {
                    expect: Some(1),
                    ..statement(
                        "DELETE FROM registry_awake WHERE name = $1 AND node = $2",
                        vec![text(&name), text(node)],
                    )
                },
                statement(
                    "INSERT INTO registry_awake (name, node) VALUES ($1, $2) \
                     ON CONFLICT (name, node) DO NOTHING",
                    vec![text(&name), text(&self.node)],
                ),
            ];
            match self.commit(statements, false).await {
                Ok(()) => taken.push(name),
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error).context("cannot write to the host database"),
            }
        }
        Ok(taken)
    }

    /// Other nodes that have a tenant awake.
    pub(crate) async fn awake_elsewhere(&self, name: &str) -> Result<Vec<String>> {
        let sql = "SELECT node FROM registry_awake WHERE name = $1 AND node <> $2 ORDER BY node";
        Ok(first_texts(self.query(sql, vec![text(name), text(&self.node)]).await?))
    }

    /// Tenants that this node had awake when it ended without putting them to sleep.
    pub(crate) async fn left_awake(&self) -> Result<Vec<String>> {
        let sql = "SELECT name FROM registry_awake WHERE node = $1 ORDER BY name";
        Ok(first_texts(self.query(sql, vec![text(&self.node)]).await?))
    }

    /// Sleepers with something due at `now_ms`, the earliest first.
    pub(crate) async fn due(&self, now_ms: u64, limit: u32) -> Result<Vec<String>> {
        let now = Value::Integer(i64::try_from(now_ms).unwrap_or(i64::MAX));
        let sql = "SELECT name FROM registry_due WHERE due_ms <= $1 ORDER BY due_ms LIMIT $2";
        Ok(first_texts(self.query(sql, vec![now, Value::Integer(i64::from(limit))]).await?))
    }

    /// Takes on what is due in a sleeper. False: another node was faster.
    pub(crate) async fn claim(&self, name: &str) -> Result<bool> {
        let statements = vec![
            Statement {
                expect: Some(1),
                ..statement("DELETE FROM registry_due WHERE name = $1", vec![text(name)])
            },
            statement(
                "INSERT INTO registry_awake (name, node) VALUES ($1, $2) \
                 ON CONFLICT (name, node) DO NOTHING",
                vec![text(name), text(&self.node)],
            ),
        ];
        match self.commit(statements, false).await {
            Ok(()) => Ok(true),
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error).context("cannot write to the host database"),
        }
    }

    /// Asks the database for next to nothing: whether it answers.
    pub(crate) async fn ping(&self) -> Result<()> {
        let sql = "SELECT value FROM registry_settings WHERE name = $1";
        self.query(sql, vec![text(KNOWN)]).await.map(drop)
    }

    /// What is kept under a name for the whole cluster; `fresh` is kept where there is nothing yet.
    pub(crate) async fn setting(&self, name: &str, fresh: &str) -> Result<String> {
        let insert = statement(
            "INSERT INTO registry_settings (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO NOTHING",
            vec![text(name), text(fresh)],
        );
        self.commit(vec![insert], false).await.context("cannot write to the host database")?;
        let sql = "SELECT value FROM registry_settings WHERE name = $1";
        let rows = self.query(sql, vec![text(name)]).await?;
        first_texts(rows).pop().with_context(|| format!("the host database lost `{name}`"))
    }

    async fn query(&self, sql: &str, params: Vec<Value>) -> Result<Rows> {
        let query = Query { sql: sql.to_owned(), params };
        self.session.query(query).await.context("cannot read the host database")
    }

    async fn commit(&self, statements: Vec<Statement>, changed: bool) -> Result<(), Error> {
        let wake = if changed { vec![CHANGED.to_owned()] } else { Vec::new() };
        let batch = Batch { statements, wake, ..Batch::default() };
        self.session.commit(batch).await.map(drop)
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn statement(sql: &str, params: Vec<Value>) -> Statement {
    Statement { sql: sql.to_owned(), rows: vec![params], expect: None }
}

fn delete_of(name: &str, tables: &[&str]) -> Vec<Statement> {
    let delete = |table: &&str| {
        statement(&format!("DELETE FROM registry_{table} WHERE name = $1"), vec![text(name)])
    };
    tables.iter().map(delete).collect()
}

fn first_texts(rows: Rows) -> Vec<String> {
    let first = |row: Vec<Value>| match row.into_iter().next() {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    };
    rows.rows.into_iter().filter_map(first).collect()
}
