//! What both engines check of a plug-in's schema.

use std::collections::HashSet;

use crate::dialect::valid_name;
use crate::{InstallError, PluginSchema, compatible};

/// Checks the names that a schema gives.
pub(crate) fn names(schema: &PluginSchema) -> Result<(), InstallError> {
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

/// Checks what is applied, names and texts in order, against what the plug-in brings.
pub(crate) fn applied_fit(
    schema: &PluginSchema,
    applied: &[(String, String)],
) -> Result<(), InstallError> {
    let plugin = schema.plugin.clone();
    for (i, (name, sql)) in applied.iter().enumerate() {
        let migration = name.clone();
        let plugin = plugin.clone();
        match schema.migrations.get(i) {
            Some(known) if known.name == *name && known.sql == *sql => {}
            Some(known) if known.name == *name => {
                return Err(InstallError::Changed { plugin, migration });
            }
            Some(known) if schema.migrations.iter().any(|m| m.name == *name) => {
                let reason = format!("stands before {name}, which is applied already");
                let migration = known.name.clone();
                return Err(InstallError::Refused { plugin, migration, reason });
            }
            // A newer version was here; this one can work with what it made, or cannot.
            None => {
                compatible(sql).map_err(|why| InstallError::Newer { plugin, migration, why })?;
            }
            Some(_) => {
                let why = "this version has another one in its place".to_owned();
                return Err(InstallError::Newer { plugin, migration, why });
            }
        }
    }
    Ok(())
}
