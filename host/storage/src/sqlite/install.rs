//! Running a plug-in's migrations.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::{Rules, migration, valid_name};
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

fn names(schema: &PluginSchema) -> Result<(), InstallError> {
    let wrong = |reason: String| Err(InstallError::Name { plugin: schema.plugin.clone(), reason });
    if !valid_name(&schema.plugin, false) {
        return wrong("the name must match [a-z][a-z0-9]*, at most 40 letters".to_owned());
    }
    for view in &schema.exposes {
        let versioned = view
            .name
            .strip_prefix(&format!("{}_v", schema.plugin))
            .and_then(|rest| rest.split_once('_'))
            .is_some_and(|(version, name)| {
                version.parse::<u32>().is_ok() && valid_name(name, true)
            });
        if !versioned {
            let plugin = &schema.plugin;
            return wrong(format!("view {}: must be named {plugin}_v<N>_<name>", view.name));
        }
    }
    for index in &schema.full_text {
        if !valid_name(&index.name, true) {
            return wrong(format!("full-text index {}: must match [a-z][a-z0-9_]*", index.name));
        }
    }
    let mut seen = HashSet::new();
    for migration in &schema.migrations {
        if migration.name.is_empty() || !seen.insert(&migration.name) {
            return wrong(format!("migration name {:?} is empty or not unique", migration.name));
        }
    }
    Ok(())
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
        let plugin = self.schema.plugin.clone();
        for (i, (name, sql)) in applied.iter().enumerate() {
            let migration = name.clone();
            let plugin = plugin.clone();
            match self.schema.migrations.get(i) {
                Some(known) if known.name == *name && known.sql == *sql => {}
                Some(known) if known.name == *name => {
                    return Err(InstallError::Changed { plugin, migration });
                }
                Some(known) if self.schema.migrations.iter().any(|m| m.name == *name) => {
                    let reason = format!("stands before {name}, which is applied already");
                    let migration = known.name.clone();
                    return Err(InstallError::Refused { plugin, migration, reason });
                }
                _ => return Err(InstallError::Newer { plugin, migration }),
            }
        }
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
