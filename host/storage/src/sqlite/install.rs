//! Running a plug-in's migrations.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::now_ms;
use crate::dialect::{Rules, migration};
use crate::install::{applied_fit, names};
use crate::{Error, InstallError, Migration, PluginSchema};

use super::authorizer::Mode;
use super::flavor::Sqlite;
use super::raw::Bind;
use super::writer::{Writer, int};

/// A migration may take long, not for ever.
const TIME: Duration = Duration::from_secs(3_600);

struct Install<'a, 'w, 'h> {
    writer: &'w mut Writer<'h>,
    schema: &'a PluginSchema,
}

/// Checks names, runs what is pending, makes full-text indexes, checks exposed views.
pub(super) fn install(writer: &mut Writer<'_>, schema: &PluginSchema) -> Result<(), InstallError> {
    names(schema)?;
    let mut install = Install { writer, schema };
    let result = install.run();
    let loaded = install.writer.load_catalog().map_err(|error| install.engine("-", error));
    result?;
    loaded?;
    install.exposed()
}

impl Install<'_, '_, '_> {
    fn engine(&self, migration: &str, error: Error) -> InstallError {
        let plugin = self.schema.plugin.clone();
        InstallError::Engine { plugin, migration: migration.to_owned(), error }
    }

    fn run(&mut self) -> Result<(), InstallError> {
        let mut applied: Vec<(String, String)> = Vec::new();
        self.writer
            .host(
                "SELECT name, sql FROM tessera_migrations WHERE plugin = ?1 ORDER BY seq",
                &[Bind::Text(&self.schema.plugin)],
                |row| applied.push((row.text(0), row.text(1))),
            )
            .map_err(|error| self.engine("-", error))?;
        applied_fit(self.schema, &applied)?;
        for (seq, migration) in self.schema.migrations.iter().enumerate().skip(applied.len()) {
            self.apply(seq, migration)?;
        }
        self.full_text()
    }

    fn apply(&mut self, seq: usize, file: &Migration) -> Result<(), InstallError> {
        self.writer.begin().map_err(|error| self.engine(&file.name, error))?;
        let applied = within(self.writer, self.schema, seq, file)
            .and_then(|()| self.writer.commit().map_err(|error| self.engine(&file.name, error)));
        if applied.is_err() {
            self.writer.rollback();
        }
        applied?;
        self.writer.load_catalog().map_err(|error| self.engine(&file.name, error))
    }

    fn full_text(&mut self) -> Result<(), InstallError> {
        let plugin = &self.schema.plugin;
        for index in &self.schema.full_text {
            let key = (plugin.clone(), index.name.clone());
            if self.writer.shared.catalog.load().full_text.contains(&key) {
                continue;
            }
            let result = self.writer.begin().and_then(|()| {
                super::fulltext::create(self.writer, plugin, &index.name)?;
                self.writer.commit()
            });
            result.map_err(|error| {
                self.writer.rollback();
                self.engine("-", error)
            })?;
        }
        Ok(())
    }

    fn exposed(&self) -> Result<(), InstallError> {
        let catalog = self.writer.shared.catalog.load();
        for view in &self.schema.exposes {
            if !catalog.views.contains_key(&view.name) {
                return Err(InstallError::Name {
                    plugin: self.schema.plugin.clone(),
                    reason: format!("exposed view {}: no migration makes it", view.name),
                });
            }
        }
        Ok(())
    }
}

/// Runs a migration within the transaction that the writer is in.
pub(super) fn within(
    writer: &mut Writer<'_>,
    schema: &PluginSchema,
    seq: usize,
    file: &Migration,
) -> Result<(), InstallError> {
    let plugin = &schema.plugin;
    let known = writer.shared.catalog.load().known.clone();
    let rules = Arc::new(Rules::new(plugin, [], HashSet::new(), HashSet::new(), known));
    let statements = migration(&file.sql, &rules, &Sqlite).map_err(|reason| {
        InstallError::Refused { plugin: plugin.clone(), migration: file.name.clone(), reason }
    })?;
    let run = |writer: &mut Writer<'_>| {
        writer.raw.set_deadline(Some(std::time::Instant::now() + TIME));
        for statement in &statements {
            writer.raw.set_mode(Mode::Migration(rules.clone()));
            writer.raw.once(statement)?;
        }
        writer.raw.set_deadline(None);
        writer.host(
            "INSERT INTO tessera_migrations (plugin, seq, name, sql, plugin_version, \
             applied_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            &[
                Bind::Text(plugin),
                int(seq as u64),
                Bind::Text(&file.name),
                Bind::Text(&file.sql),
                Bind::Text(&schema.version),
                int(now_ms()),
            ],
            |_| {},
        )
    };
    run(writer).map(drop).map_err(|error: Error| InstallError::Engine {
        plugin: plugin.clone(),
        migration: file.name.clone(),
        error,
    })
}
