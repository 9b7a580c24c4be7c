//! Whether a migration leaves room for the version before it: one that runs beside the new one during a swap, or takes
//! its place again.

use std::collections::HashSet;

use sqlparser::ast::{
    AlterTable, AlterTableOperation, AssignmentTarget, ColumnOption, FromTable, ObjectName,
    ObjectType, Statement, TableFactor, TableObject, TableWithJoins,
};

use crate::dialect::parse;

/// Checks that a plug-in which knows nothing of the migration `sql` still works after it: the migration only adds
/// tables, columns that may be left out, plain indexes and views, and touches no row that was there before except in
/// columns that it added.
///
/// # Errors
///
/// What the older version would stumble over.
pub fn compatible(sql: &str) -> Result<(), String> {
    let mut new = New::default();
    for statement in parse(sql)? {
        new.check(&statement)?;
    }
    Ok(())
}

/// What the migration has made so far.
#[derive(Default)]
struct New {
    relations: HashSet<String>,
    columns: HashSet<(String, String)>,
}

impl New {
    fn check(&mut self, statement: &Statement) -> Result<(), String> {
        match statement {
            // It may have been there already.
            Statement::CreateTable(table) if table.if_not_exists => Ok(()),
            Statement::CreateTable(table) => self.made(&table.name),
            Statement::CreateView(view) => self.made(&view.name),
            Statement::CreateIndex(index) if index.unique => {
                self.own(&index.table_name, "makes a unique index on")
            }
            Statement::CreateIndex(index) => {
                index.name.as_ref().map_or(Ok(()), |name| self.made(name))
            }
            Statement::AlterTable(alter) => self.alter(alter),
            Statement::Drop { object_type, names, .. } => {
                let what = match object_type {
                    ObjectType::Table => "drops the table",
                    ObjectType::View => "drops the view",
                    _ => "drops",
                };
                names.iter().try_for_each(|name| self.own(name, what))
            }
            Statement::Insert(insert) => match &insert.table {
                TableObject::TableName(table) => self.own(table, "adds rows to"),
                _ => Err("adds rows to what has no name".to_owned()),
            },
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) =
                    &delete.from;
                from.iter().try_for_each(|table| self.own(named(table)?, "removes rows of"))
            }
            Statement::Update(update) => {
                let table = named(&update.table)?;
                let text = text(table);
                let added = update.assignments.iter().all(|one| match &one.target {
                    AssignmentTarget::ColumnName(column) => {
                        let column = self::text(column);
                        self.columns.contains(&(text.clone(), column))
                    }
                    AssignmentTarget::Tuple(_) => false,
                });
                if added { Ok(()) } else { self.own(table, "changes rows of") }
            }
            other => Err(format!("has a statement that is not known: {other}")),
        }
    }

    fn made(&mut self, name: &ObjectName) -> Result<(), String> {
        self.relations.insert(text(name));
        Ok(())
    }

    /// An error unless the migration itself has made it.
    fn own(&self, name: &ObjectName, what: &str) -> Result<(), String> {
        let name = text(name);
        if self.relations.contains(&name) { Ok(()) } else { Err(format!("{what} {name}")) }
    }

    fn alter(&mut self, alter: &AlterTable) -> Result<(), String> {
        let table = text(&alter.name);
        if self.relations.contains(&table) {
            return Ok(());
        }
        for operation in &alter.operations {
            let AlterTableOperation::AddColumn { column_def, .. } = operation else {
                return Err(format!("changes the table {table} ({operation})"));
            };
            let has = |wanted: fn(&ColumnOption) -> bool| {
                column_def.options.iter().any(|option| wanted(&option.option))
            };
            let column = &column_def.name;
            if has(|option| matches!(option, ColumnOption::Unique(_) | ColumnOption::PrimaryKey(_)))
            {
                return Err(format!("adds the column {table}.{column}, which must be unique"));
            }
            if has(|option| matches!(option, ColumnOption::Check(_) | ColumnOption::ForeignKey(_)))
            {
                return Err(format!("adds the column {table}.{column}, which is checked"));
            }
            let default = has(|option| matches!(option, ColumnOption::Default(_)));
            if has(|option| matches!(option, ColumnOption::NotNull)) && !default {
                return Err(format!(
                    "adds the column {table}.{column}, which must have a value and has no default"
                ));
            }
            self.columns.insert((table.clone(), column.value.to_ascii_lowercase()));
        }
        Ok(())
    }
}

fn named(table: &TableWithJoins) -> Result<&ObjectName, String> {
    match &table.relation {
        TableFactor::Table { name, .. } if table.joins.is_empty() => Ok(name),
        _ => Err("changes rows of what is no plain table".to_owned()),
    }
}

fn text(name: &ObjectName) -> String {
    name.to_string().replace('"', "").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::compatible;

    #[test]
    fn what_only_adds_is_compatible() {
        for sql in [
            "CREATE TABLE notes_b (x bigint PRIMARY KEY, y text NOT NULL)",
            "CREATE TABLE notes_b (x bigint); INSERT INTO notes_b (x) VALUES (1); CREATE UNIQUE INDEX notes_b_x ON notes_b (x)",
            "CREATE INDEX notes_i ON notes_a (x)",
            "CREATE VIEW notes_v2_all AS SELECT x FROM notes_a",
            "ALTER TABLE notes_a ADD COLUMN z text; UPDATE notes_a SET z = 'a'",
            "ALTER TABLE notes_a ADD COLUMN z bigint NOT NULL DEFAULT 0",
            "CREATE TABLE notes_b (x bigint); DROP TABLE notes_b",
        ] {
            assert_eq!(compatible(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn what_the_older_version_stumbles_over_is_told() {
        for (sql, why) in [
            ("DROP TABLE notes_a", "drops the table notes_a"),
            ("DROP VIEW notes_v1_all", "drops the view notes_v1_all"),
            ("DROP VIEW notes_v1_all; CREATE VIEW notes_v1_all AS SELECT x FROM notes_a", "drops"),
            ("ALTER TABLE notes_a DROP COLUMN x", "changes the table notes_a"),
            ("ALTER TABLE notes_a RENAME COLUMN x TO y", "changes the table notes_a"),
            ("ALTER TABLE notes_a ADD COLUMN z bigint NOT NULL", "has no default"),
            ("ALTER TABLE notes_a ADD COLUMN z bigint UNIQUE", "must be unique"),
            ("CREATE UNIQUE INDEX notes_i ON notes_a (x)", "makes a unique index on notes_a"),
            ("UPDATE notes_a SET x = 1", "changes rows of notes_a"),
            ("DELETE FROM notes_a WHERE x = 1", "removes rows of notes_a"),
            ("INSERT INTO notes_a (x) VALUES (1)", "adds rows to notes_a"),
            (
                "CREATE TABLE IF NOT EXISTS notes_a (x bigint); DROP TABLE notes_a",
                "drops the table notes_a",
            ),
            ("ALTER TABLE notes_a ADD COLUMN z text CHECK (z IS NOT NULL)", "is checked"),
            ("not sql", "syntax"),
        ] {
            let got = compatible(sql).expect_err(sql);
            assert!(got.contains(why) || why == "syntax", "{sql}: {got}");
        }
    }
}
