//! Making and opening what the host has in the database.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use arc_swap::ArcSwap;
use moka::sync::Cache;
use tokio::sync::Notify;

use crate::counts::Counts;
use crate::fence::Fences;
use crate::quota::Quota;
use crate::{DatabaseConfig, Error, OpenError, Wake};

use super::horizon::Horizon;
use super::ops::{ask_on, text};
use super::outcome::forget_sql;
use super::pool::{Leased, Pool};
use super::script::{Script, Step, quoted};
use super::{Engine, Gate, flavor, install, names};

const CLUSTER: &str = include_str!("cluster.sql");
const CLUSTER_2: &str = include_str!("cluster_2.sql");
const TENANT: &str = include_str!("tenant.sql");
const TENANT_2: &str = include_str!("tenant_2.sql");
const TENANT_3: &str = include_str!("tenant_3.sql");

/// Newest version of the shared tables that this program knows.
const CLUSTER_VERSION: i64 = 2;
/// Newest version of a tenant's tables of the host's that this program knows.
const TENANT_VERSION: i64 = 3;

/// The oldest server: views and functions that the host uses.
const OLDEST: u64 = 150_000;

/// The key under which the shared schema is made, and tenants.
const LOCK: i64 = 0x7465_7373_6572_6101;

/// Positions left out after the server was started anew: more than can be given out between two
/// flushes of its log. A crash may take numbers along that somebody has seen as the horizon.
const LEFT_OUT: u64 = 1_000_000;

/// Statements whose parameters and columns are remembered per tenant.
const METAS: u64 = 4_096;

fn failed(pool: &Pool) -> impl Fn(Error) -> OpenError + '_ {
    |error| OpenError::Engine { path: pool.database(), message: error.to_string() }
}

/// Checks the server and makes the schema that all tenants share.
pub(super) async fn prepare_database(pool: &Arc<Pool>) -> Result<(), OpenError> {
    let failed = failed(pool);
    let wrong = |message: String| OpenError::Engine { path: pool.database(), message };
    let mut leased = pool.lease().await.map_err(&failed)?;
    let about = "SELECT current_setting('server_version_num'), current_setting('server_encoding'), \
                 to_regclass('tessera.meta')";
    let rows = ask_on(&mut leased, Step::Host, about).await.map_err(&failed)?;
    let version: u64 = text(&rows, 0, 0).parse().unwrap_or(0);
    if version < OLDEST {
        return Err(wrong(format!("the server is too old ({version}): PostgreSQL 15 or newer")));
    }
    if text(&rows, 0, 1) != "UTF8" {
        return Err(wrong(format!("the encoding is {}: it must be UTF8", text(&rows, 0, 1))));
    }
    if text(&rows, 0, 2).is_empty() {
        leased.in_transaction = true;
        let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})");
        ask_on(&mut leased, Step::Quiet, &lock).await.map_err(&failed)?;
        // Another process may have made it while this one waited. Read from the table: `to_regclass` would say what
        // this connection remembers.
        let there = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = 'tessera'";
        if ask_on(&mut leased, Step::Host, there).await.map_err(&failed)?.is_empty() {
            let made = format!("{CLUSTER}{CLUSTER_2}");
            ask_on(&mut leased, Step::Quiet, &made).await.map_err(&failed)?;
        }
        ask_on(&mut leased, Step::Quiet, "COMMIT").await.map_err(&failed)?;
        leased.in_transaction = false;
    }
    let version = version_of(&mut leased, "tessera.meta").await.map_err(&failed)?;
    let found = upgrade(&mut leased, "tessera.meta", version, &[(CLUSTER_VERSION, CLUSTER_2)])
        .await
        .map_err(&failed)?;
    if leased.epoch().is_empty() {
        // It is from before there was an epoch.
        leased.discard();
    }
    if found > CLUSTER_VERSION {
        return Err(OpenError::Newer { path: pool.database(), found, known: CLUSTER_VERSION });
    }
    Ok(())
}

async fn version_of(leased: &mut Leased, meta: &str) -> Result<i64, Error> {
    let sql = format!("SELECT value FROM {meta} WHERE key = 'schema'");
    let rows = ask_on(leased, Step::Host, &sql).await?;
    Ok(text(&rows, 0, 0).parse().unwrap_or(i64::MAX))
}

/// Brings the host's tables up by what leads to each version, in order, unless they are there. Gives their version.
async fn upgrade(
    leased: &mut Leased,
    meta: &str,
    found: i64,
    steps: &[(i64, &str)],
) -> Result<i64, Error> {
    if steps.iter().all(|(version, _)| *version <= found) {
        return Ok(found);
    }
    leased.in_transaction = true;
    let patience = std::mem::replace(&mut leased.patience, install::LONGEST);
    let lock =
        format!("BEGIN; SET LOCAL statement_timeout = '1h'; SELECT pg_advisory_xact_lock({LOCK})");
    ask_on(leased, Step::Quiet, &lock).await?;
    let mut found = version_of(leased, meta).await?;
    for (version, sql) in steps {
        // Another process may have done it while this one waited.
        if found < *version {
            ask_on(leased, Step::Quiet, sql).await?;
            found = *version;
        }
    }
    ask_on(leased, Step::Quiet, "COMMIT").await?;
    leased.in_transaction = false;
    leased.patience = patience;
    Ok(found)
}

/// Names of all tenants, sorted.
pub(super) async fn tenants(pool: &Arc<Pool>) -> Result<Vec<String>, Error> {
    let mut leased = pool.lease().await?;
    let sql = "SELECT name FROM tessera.tenants ORDER BY name COLLATE \"C\"";
    let rows = ask_on(&mut leased, Step::Host, sql).await?;
    Ok((0..rows.len()).map(|row| text(&rows, row, 0).to_owned()).collect())
}

struct Found {
    number: i32,
    schema: String,
}

async fn find(leased: &mut Leased, tenant: &str) -> Result<Option<Found>, Error> {
    let sql = format!("SELECT number, schema FROM tessera.tenants WHERE name = {}", quoted(tenant));
    let rows = ask_on(leased, Step::Host, &sql).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let number = text(&rows, 0, 0).parse();
    let number = number.map_err(|_| Error::Unavailable("a tenant without a number".to_owned()))?;
    Ok(Some(Found { number, schema: text(&rows, 0, 1).to_owned() }))
}

/// The text of a file, for a tenant.
fn filled(sql: &str, schema: &str, number: i32) -> String {
    sql.replace("@S@", schema).replace("@N@", &number.to_string())
}

async fn create(leased: &mut Leased, tenant: &str) -> Result<Found, Error> {
    leased.in_transaction = true;
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})");
    ask_on(leased, Step::Quiet, &lock).await?;
    let found = match find(leased, tenant).await? {
        Some(found) => found,
        None => {
            let schema = names::schema(tenant);
            let sql = format!(
                "INSERT INTO tessera.tenants (name, schema) VALUES ({}, '{schema}') RETURNING number",
                quoted(tenant)
            );
            let rows = ask_on(leased, Step::Host, &sql).await?;
            let number = text(&rows, 0, 0)
                .parse::<i32>()
                .map_err(|_| Error::Unavailable("a tenant without a number".to_owned()))?;
            let made =
                [TENANT, TENANT_2, TENANT_3].map(|sql| filled(sql, &schema, number)).concat();
            let epoch = quoted(&leased.epoch());
            let sql = format!(
                "CREATE SCHEMA {schema}; {made}; \
                 UPDATE {schema}.tessera_meta SET value = {epoch} WHERE key = 'server_start'; \
                 REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC"
            );
            ask_on(leased, Step::Quiet, &sql).await?;
            Found { number, schema }
        }
    };
    ask_on(leased, Step::Quiet, "COMMIT").await?;
    leased.in_transaction = false;
    Ok(found)
}

/// Opens or makes a tenant.
pub(super) async fn open(
    pool: &Arc<Pool>,
    tenant: &str,
    config: DatabaseConfig,
    wake: Arc<dyn Wake>,
) -> Result<Engine, OpenError> {
    let failed = failed(pool);
    if tenant.is_empty() || tenant.contains('\0') {
        return Err(failed(Error::Invalid(format!("tenant name {tenant:?}"))));
    }
    let mut leased = pool.lease().await.map_err(&failed)?;
    let found = match find(&mut leased, tenant).await.map_err(&failed)? {
        Some(found) => found,
        None => create(&mut leased, tenant).await.map_err(&failed)?,
    };
    let Found { number: key, schema } = found;
    let epoch = leased.epoch();
    let meta = format!("{schema}.tessera_meta");
    let version = version_of(&mut leased, &meta).await.map_err(&failed)?;
    let (second, third) = (filled(TENANT_2, &schema, key), filled(TENANT_3, &schema, key));
    let steps = [(2, second.as_str()), (TENANT_VERSION, third.as_str())];
    let version = upgrade(&mut leased, &meta, version, &steps).await.map_err(&failed)?;
    if version > TENANT_VERSION {
        let path = format!("{}, tenant {tenant}", pool.database());
        return Err(OpenError::Newer { path, found: version, known: TENANT_VERSION });
    }
    after_restart(&mut leased, &schema, key, &epoch).await.map_err(&failed)?;
    ask_on(&mut leased, Step::Quiet, &forget_sql(&schema)).await.map_err(&failed)?;
    let rows = ask_on(&mut leased, Step::Host, "SELECT current_database()").await;
    let database = text(&rows.map_err(&failed)?, 0, 0).to_owned();
    drop(leased);
    let most = pool.config.connections.max(2);
    let engine = Engine {
        pool: pool.clone(),
        // Less than all together: one tenant must leave room for others.
        reading: Gate::new(most / 2, config.read_queue),
        writing: Gate::new(most / 4, config.write_queue),
        asking: Gate::new(most / 8, config.read_queue),
        config,
        tenant: tenant.to_owned(),
        number: key,
        flavor: Arc::new(flavor::Postgres { schema: schema.clone() }),
        schema,
        database,
        fences: Fences::default(),
        catalog: ArcSwap::default(),
        generation: AtomicU64::new(0),
        shape: Mutex::default(),
        horizon: Arc::new(Horizon::default()),
        wake,
        stats: Counts::default(),
        metas: Cache::new(METAS),
        roles: Mutex::default(),
        epoch: Mutex::new(epoch),
        closed: AtomicBool::new(false),
        active: AtomicUsize::new(0),
        idle: Notify::new(),
        settled: Mutex::default(),
        advancing: AtomicBool::new(false),
        outbox_full: AtomicBool::new(false),
        emitting: AtomicU64::new(0),
        quota: Quota::default(),
    };
    engine.load_catalog().await.map_err(&failed)?;
    engine.look().await.map_err(&failed)?;
    Ok(engine)
}

/// Leaves positions out if the server was started anew, or has recovered from a crash, since somebody last looked.
pub(super) async fn after_restart(
    leased: &mut Leased,
    schema: &str,
    key: i32,
    epoch: &str,
) -> Result<(), Error> {
    let known = format!("SELECT value FROM {schema}.tessera_meta WHERE key = 'server_start'");
    let rows = ask_on(leased, Step::Host, &known).await?;
    if text(&rows, 0, 0) == epoch {
        return Ok(());
    }
    leased.in_transaction = true;
    let mut script = Script::default();
    script.push(Step::Quiet, "BEGIN");
    // The lock under which positions are given out.
    script.push(Step::Quiet, &format!("SELECT pg_advisory_xact_lock(-{key}, 0)"));
    script.push(Step::Host, &known);
    let mut stored = String::new();
    leased
        .run(&script, |_, row| {
            if let Some(bytes) = row.bytes(0)? {
                stored = String::from_utf8_lossy(bytes).into_owned();
            }
            Ok(())
        })
        .await?;
    if stored == epoch {
        ask_on(leased, Step::Quiet, "ROLLBACK").await?;
    } else {
        tracing::info!(
            schema,
            "the server was started anew or has crashed: positions are left out"
        );
        let sql = format!(
            "SELECT setval('{schema}.tessera_position', last_value + {LEFT_OUT}) \
             FROM {schema}.tessera_position; \
             UPDATE {schema}.tessera_meta SET value = {} WHERE key = 'server_start'; COMMIT",
            quoted(epoch)
        );
        ask_on(leased, Step::Quiet, &sql).await?;
    }
    leased.in_transaction = false;
    Ok(())
}

/// Removes a tenant, its schema and its roles.
pub(super) async fn drop_tenant(pool: &Arc<Pool>, tenant: &str) -> Result<bool, Error> {
    let mut leased = pool.lease().await?;
    leased.in_transaction = true;
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})");
    ask_on(&mut leased, Step::Quiet, &lock).await?;
    let Some(Found { number: key, schema }) = find(&mut leased, tenant).await? else {
        ask_on(&mut leased, Step::Quiet, "ROLLBACK").await?;
        leased.in_transaction = false;
        return Ok(false);
    };
    let roles = format!("SELECT role FROM tessera.roles WHERE tenant = {key}");
    let roles = ask_on(&mut leased, Step::Host, &roles).await?;
    let mut sql = format!("DROP SCHEMA {schema} CASCADE;\n");
    for i in 0..roles.len() {
        // Made by `names::role`: no quote is in it.
        let role = text(&roles, i, 0);
        sql.push_str(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\";\n"));
    }
    sql.push_str(&format!(
        "DELETE FROM tessera.roles WHERE tenant = {key}; \
         DELETE FROM tessera.tenants WHERE number = {key}; COMMIT"
    ));
    ask_on(&mut leased, Step::Quiet, &sql).await?;
    leased.in_transaction = false;
    Ok(true)
}
