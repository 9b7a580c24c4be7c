//! Running a plug-in's migrations: each in one transaction, as the plug-in's role, by one process at
//! a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::now_ms;
use crate::dialect::{Rules, migration};
use crate::install::{applied_fit, names};
use crate::{Error, InstallError, Migration, PluginSchema};

use super::Engine;
use super::ops::{Lines, int, text};
use super::pool::Leased;
use super::script::{Script, Step, quoted};

/// A migration may take long, not for ever: the server ends each of its statements after an hour.
pub(super) const LONGEST: Duration = Duration::from_secs(60 * 60 + 5);

fn engine_error(schema: &PluginSchema, migration: &str, error: Error) -> InstallError {
    let plugin = schema.plugin.clone();
    InstallError::Engine { plugin, migration: migration.to_owned(), error }
}

/// Checks names, runs what is pending, makes full-text indexes, checks exposed views.
pub(super) async fn install(
    engine: &Arc<Engine>,
    schema: PluginSchema,
) -> Result<(), InstallError> {
    names(&schema)?;
    let plugin = schema.plugin.clone();
    let failed = |error| InstallError::Engine { plugin, migration: "-".to_owned(), error };
    let worker = engine.clone();
    let work = async move { Ok(run(&worker, &schema).await) };
    engine.detached(work).await.map_err(failed)?
}

async fn run(engine: &Engine, schema: &PluginSchema) -> Result<(), InstallError> {
    let failed = |error| engine_error(schema, "-", error);
    let mut leased = engine.lease().await.map_err(failed)?;
    let role = engine.role(&schema.plugin);
    let result = loop {
        leased.in_transaction = true;
        let applied = begin(engine, &mut leased, schema, &role).await.map_err(failed)?;
        let step = match applied_fit(schema, &applied) {
            Ok(()) => match schema.migrations.get(applied.len()) {
                Some(next) => apply(engine, &mut leased, schema, &role, applied.len(), next).await,
                None => break Ok(()),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = step {
            break Err(error);
        }
        leased.in_transaction = false;
        // Names of tables are checked against what is there.
        engine.load_catalog_on(&mut leased).await.map_err(failed)?;
    };
    // Still in a transaction, under the lock.
    match result {
        Ok(()) => full_text(engine, &mut leased, schema).await.map_err(failed)?,
        Err(error) => {
            let _ = super::ops::ask_on(&mut leased, Step::Quiet, "ROLLBACK").await;
            leased.in_transaction = false;
            return Err(error);
        }
    }
    leased.in_transaction = false;
    engine.load_catalog_on(&mut leased).await.map_err(failed)?;
    drop(leased);
    let catalog = engine.catalog.load();
    for view in &schema.exposes {
        if !catalog.views.contains_key(&view.name) {
            let reason = format!("exposed view {}: no migration makes it", view.name);
            return Err(InstallError::Name { plugin: schema.plugin.clone(), reason });
        }
    }
    Ok(())
}

/// Takes the lock and reads what is applied.
async fn begin(
    engine: &Engine,
    leased: &mut Leased,
    schema: &PluginSchema,
    role: &str,
) -> Result<Vec<(String, String)>, Error> {
    let mut script = engine.locked();
    engine.make_role(&mut script, role);
    let s = &engine.schema;
    let applied = format!(
        "SELECT name, sql FROM {s}.tessera_migrations WHERE plugin = {} ORDER BY seq",
        quoted(&schema.plugin)
    );
    script.push(Step::Host, &applied);
    let host = script.steps.len() - 1;
    let mut lines = Lines::new();
    leased
        .run(&script, |step, row| {
            if step == host {
                let cell = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                lines.push(vec![row.bytes(0)?.map(cell), row.bytes(1)?.map(cell)]);
            }
            Ok(())
        })
        .await?;
    let pair = |i| (text(&lines, i, 0).to_owned(), text(&lines, i, 1).to_owned());
    Ok((0..lines.len()).map(pair).collect())
}

async fn apply(
    engine: &Engine,
    leased: &mut Leased,
    schema: &PluginSchema,
    role: &str,
    seq: usize,
    file: &Migration,
) -> Result<(), InstallError> {
    let mut script = Script::default();
    add(engine, &mut script, schema, role, seq, file)?;
    script.push(Step::Commit, "COMMIT");
    let patience = std::mem::replace(&mut leased.patience, LONGEST);
    let done = leased.run(&script, |_, _| Ok(())).await;
    leased.patience = patience;
    done.map(drop).map_err(|stop| engine_error(schema, &file.name, stop.into()))
}

/// Adds what runs a migration and records it.
pub(super) fn add(
    engine: &Engine,
    script: &mut Script,
    schema: &PluginSchema,
    role: &str,
    seq: usize,
    file: &Migration,
) -> Result<(), InstallError> {
    let plugin = &schema.plugin;
    let known = engine.catalog.load().known.clone();
    let rules = Rules::new(plugin, [], HashSet::new(), HashSet::new(), known);
    let statements = migration(&file.sql, &rules, &*engine.flavor).map_err(|reason| {
        InstallError::Refused { plugin: plugin.clone(), migration: file.name.clone(), reason }
    })?;
    let s = &engine.schema;
    script.push(Step::Quiet, "SET LOCAL statement_timeout = '1h'");
    script.push(Step::Quiet, &format!("GRANT CREATE ON SCHEMA {s} TO \"{role}\""));
    script.push(Step::Quiet, &format!("SET LOCAL ROLE \"{role}\""));
    for statement in &statements {
        script.push(Step::Quiet, statement);
    }
    script.push(Step::Quiet, "SET LOCAL ROLE NONE");
    script.push(Step::Quiet, &format!("REVOKE CREATE ON SCHEMA {s} FROM \"{role}\""));
    script.push(
        Step::Quiet,
        &format!(
            "INSERT INTO {s}.tessera_migrations (plugin, seq, name, sql, plugin_version, applied_ms) \
             VALUES ({}, {seq}, {}, {}, {}, {})",
            quoted(plugin),
            quoted(&file.name),
            quoted(&file.sql),
            quoted(&schema.version),
            int(now_ms())
        ),
    );
    Ok(())
}

/// Declares the full-text indexes and ends the transaction.
async fn full_text(
    engine: &Engine,
    leased: &mut Leased,
    schema: &PluginSchema,
) -> Result<(), Error> {
    let mut script = Script::default();
    for index in &schema.full_text {
        script.push(
            Step::Quiet,
            &format!(
                "INSERT INTO {}.tessera_fulltext_indexes (plugin, name) VALUES ({}, {}) \
                 ON CONFLICT DO NOTHING",
                engine.schema,
                quoted(&schema.plugin),
                quoted(&index.name)
            ),
        );
    }
    script.push(Step::Commit, "COMMIT");
    leased.run(&script, |_, _| Ok(())).await.map(drop).map_err(Error::from)
}
