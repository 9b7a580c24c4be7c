//! Running a plug-in's migrations.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::{Rules, migration};
use crate::install::{applied_fit, names};
use crate::{Error, InstallError, Migration, PluginSchema};

use super::authorizer::Mode;
use super::flavor::Sqlite;
use super::raw::Bind;
use super::writer::{Writer, int, now_ms};

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
        let catalog = self.writer.shared.catalog.load_full();
        let plugin = &self.schema.plugin;
        let rules = Rules::new(plugin, [], HashSet::new(), HashSet::new(), catalog.known.clone());
        let rules = Arc::new(rules);
        let statements = migration(&file.sql, &rules, &Sqlite).map_err(|reason| {
            InstallError::Refused { plugin: plugin.clone(), migration: file.name.clone(), reason }
        })?;
        let result = self.writer.begin().and_then(|()| {
            self.writer.raw.set_deadline(Some(std::time::Instant::now() + TIME));
            for statement in &statements {
                self.writer.raw.set_mode(Mode::Migration(rules.clone()));
                self.writer.raw.once(statement)?;
            }
            self.writer.raw.set_deadline(None);
            self.writer.host(
                "INSERT INTO tessera_migrations (plugin, seq, name, sql, plugin_version, \
                 applied_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                &[
                    Bind::Text(plugin),
                    int(seq as u64),
                    Bind::Text(&file.name),
                    Bind::Text(&file.sql),
                    Bind::Text(&self.schema.version),
                    int(now_ms()),
                ],
                |_| {},
            )?;
            self.writer.commit()
        });
        result.map_err(|error| {
            self.writer.rollback();
            self.engine(&file.name, error)
        })?;
        self.writer.load_catalog().map_err(|error| self.engine(&file.name, error))
    }

    fn full_text(&mut self) -> Result<(), InstallError> {
        let plugin = &self.schema.plugin;
        for index in &self.schema.full_text {
            let key = (plugin.clone(), index.name.clone());
            if self.writer.shared.catalog.load().full_text.contains(&key) {
                continue;
            }
            let table = super::fulltext::table(plugin, &index.name);
            let result = self.writer.begin().and_then(|()| {
                self.writer.raw.set_mode(Mode::Host);
                self.writer.raw.once(&format!(
                    "CREATE VIRTUAL TABLE {table} USING fts5(text, content='', \
                     contentless_delete=1, tokenize='unicode61 remove_diacritics 2')"
                ))?;
                self.writer.host(
                    "INSERT INTO tessera_fulltext_indexes (plugin, name) VALUES (?1, ?2)",
                    &[Bind::Text(plugin), Bind::Text(&index.name)],
                    |_| {},
                )?;
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
