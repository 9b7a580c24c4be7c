//! Migrations: the schema statements of the dialect.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    AlterTable, AlterTableOperation, ColumnDef, ColumnOption, CreateIndex, CreateTable,
    CreateTableOptions, CreateView, HiveDistributionStyle, IndexColumn, ObjectName, ObjectType,
    PrimaryKeyConstraint, Statement, TableConstraint, UniqueConstraint, visit_relations,
};

use super::{Emit, Flavor, Kind, Refusal, Rules, expr::kind, head, names, parse};

/// Checks and translates a migration file: one text per statement.
pub(crate) fn migration(
    sql: &str,
    rules: &Rules,
    flavor: &dyn Flavor,
) -> Result<Vec<String>, Refusal> {
    parse(sql)?
        .iter()
        .map(|statement| {
            let mut emit = Emit::new(rules, flavor);
            emit.allow_params = false;
            emit.ddl(statement).map_err(|reason| format!("{reason} (in: {})", head(statement)))?;
            for after in std::mem::take(&mut emit.after) {
                emit.push("; ");
                emit.push(&after);
            }
            Ok(emit.out)
        })
        .collect()
}

/// The tables and views that a CREATE VIEW reads; empty for anything else.
pub(crate) fn relations(sql: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for statement in parse_view(sql) {
        if let Statement::CreateView(view) = statement {
            let _ = visit_relations(&view.query, |name: &ObjectName| {
                if let Ok(ident) = names::single(name) {
                    found.insert(ident.value.to_ascii_lowercase());
                }
                ControlFlow::<()>::Continue(())
            });
        }
    }
    found
}

fn parse_view(sql: &str) -> Vec<Statement> {
    parse(sql).unwrap_or_default()
}

impl Emit<'_> {
    fn ddl(&mut self, statement: &Statement) -> Result<(), Refusal> {
        match statement {
            Statement::CreateTable(table) => self.create_table(table),
            Statement::CreateIndex(index) => self.create_index(index),
            Statement::CreateView(view) => self.create_view(view),
            Statement::AlterTable(alter) => self.alter_table(alter),
            Statement::Drop {
                object_type,
                if_exists,
                names,
                cascade: false,
                restrict: false,
                purge: false,
                temporary: false,
                table: None,
            } => {
                self.push(match object_type {
                    ObjectType::Table => "DROP TABLE ",
                    ObjectType::View => "DROP VIEW ",
                    ObjectType::Index => "DROP INDEX ",
                    _ => return Err("not in the dialect of migrations".to_owned()),
                });
                if *if_exists {
                    self.push("IF EXISTS ");
                }
                match names.as_slice() {
                    [name] => self.own(name).map(|_| ()),
                    _ => Err("DROP of several: one at a time".to_owned()),
                }
            }
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            _ => Err("not in the dialect of migrations".to_owned()),
        }
    }

    /// The name of something of the plug-in's.
    fn own(&mut self, name: &ObjectName) -> Result<String, Refusal> {
        let ident = names::single(name)?;
        let text = names::plain(ident)?;
        if !self.rules.owns(&text) {
            return Err(format!("{text} does not begin with the plug-in's name and _"));
        }
        self.relation(ident)
    }

    /// The name of an index to be made: it lives where its table does.
    fn own_index(&mut self, name: &ObjectName) -> Result<(), Refusal> {
        let ident = names::single(name)?;
        let text = names::plain(ident)?;
        if !self.rules.owns(&text) {
            return Err(format!("{text} does not begin with the plug-in's name and _"));
        }
        self.ident(ident).map(|_| ())
    }

    /// A unique index that stands for a key of `table`, made after it.
    fn key_index(&mut self, table: &str, columns: &[IndexColumn]) -> Result<(), Refusal> {
        let outer = std::mem::take(&mut self.out);
        let result = self.key(columns);
        let columns = std::mem::replace(&mut self.out, outer);
        result?;
        self.key_index_on(table, &columns);
        Ok(())
    }

    fn key_index_on(&mut self, table: &str, columns: &str) {
        // FNV-1a: the same in every version of the program.
        let hash = table
            .bytes()
            .chain([0])
            .chain(columns.bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut text = format!("CREATE UNIQUE INDEX IF NOT EXISTS \"tessera_u_{hash:016x}\" ON ");
        self.flavor.relation(&mut text, table);
        text.push_str(&format!(" ({columns})"));
        self.after.push(text);
    }

    fn create_table(&mut self, table: &CreateTable) -> Result<(), Refusal> {
        let plain = !(table.or_replace
            || table.temporary
            || table.unlogged
            || table.external
            || table.strict
            || table.inherits.is_some()
            || table.partition_by.is_some()
            || table.partition_of.is_some())
            && table.query.is_none()
            && table.like.is_none()
            && table.clone.is_none()
            && table.on_commit.is_none()
            && matches!(table.table_options, CreateTableOptions::None)
            && matches!(table.hive_distribution, HiveDistributionStyle::NONE);
        if !plain {
            return Err("form of CREATE TABLE not in the dialect".to_owned());
        }
        self.push("CREATE TABLE ");
        if table.if_not_exists {
            self.push("IF NOT EXISTS ");
        }
        let name = self.own(&table.name)?;
        let mut keys = HashSet::new();
        let mut single_key = None;
        for constraint in &table.constraints {
            if let TableConstraint::PrimaryKey(key) = constraint {
                let columns = key_columns(&key.columns)?;
                if let [column] = columns.as_slice() {
                    single_key = Some(column.clone());
                }
                keys.extend(columns);
            }
        }
        self.push(" (");
        self.list(&table.columns, |this, column| {
            let of = names::plain(&column.name)?;
            this.column(&name, column, keys.contains(&of), single_key.as_ref() == Some(&of))
        })?;
        for constraint in &table.constraints {
            match constraint {
                TableConstraint::PrimaryKey(key) if self.flavor.keys_are_indexes() => {
                    check_primary(key)?;
                    self.key_index(&name, &key.columns)?;
                    continue;
                }
                TableConstraint::Unique(unique) if self.flavor.keys_are_indexes() => {
                    check_unique(unique)?;
                    self.key_index(&name, &unique.columns)?;
                    continue;
                }
                TableConstraint::PrimaryKey(key) => {
                    check_primary(key)?;
                    self.push(", PRIMARY KEY (");
                    self.key(&key.columns)?;
                }
                TableConstraint::Unique(unique) => {
                    check_unique(unique)?;
                    self.push(", UNIQUE (");
                    self.key(&unique.columns)?;
                }
                TableConstraint::Check(check) if check.name.is_none() => {
                    self.push(", CHECK (");
                    self.expr(&check.expr)?;
                }
                other => return Err(format!("constraint not in the dialect: {other}")),
            }
            self.push(")");
        }
        self.push(")");
        if table.without_rowid && self.flavor.has_without_rowid() {
            self.push(" WITHOUT ROWID");
        }
        Ok(())
    }

    fn key(&mut self, columns: &[IndexColumn]) -> Result<(), Refusal> {
        self.list(columns, |this, column| {
            if column.operator_class.is_some() {
                return Err("operator class: not in the dialect".to_owned());
            }
            this.order_item(&column.column)
        })
    }

    /// `in_key`: part of the table's primary key; `sole_key`: all of it.
    fn column(
        &mut self,
        table: &str,
        def: &ColumnDef,
        in_key: bool,
        sole_key: bool,
    ) -> Result<(), Refusal> {
        let name = self.ident(&def.name)?;
        let of = kind(&def.data_type)?;
        let own_key = def.options.iter().any(|o| matches!(o.option, ColumnOption::PrimaryKey(_)));
        let rowid = of == Kind::Bigint && (own_key || sole_key);
        self.push(" ");
        self.push(if rowid { self.flavor.key_type() } else { self.flavor.column_type(of) });
        let mut not_null = in_key || own_key;
        for option in &def.options {
            if option.name.is_some() {
                return Err(format!("named constraint on {name}: not in the dialect"));
            }
            match &option.option {
                ColumnOption::Null => {}
                ColumnOption::NotNull => not_null = true,
                ColumnOption::Default(value) => {
                    self.push(" DEFAULT ");
                    self.push("(");
                    self.expr(value)?;
                    self.push(")");
                }
                ColumnOption::PrimaryKey(_) | ColumnOption::Unique(_)
                    if self.flavor.keys_are_indexes() =>
                {
                    self.key_index_on(table, &format!("\"{name}\" ASC NULLS FIRST"));
                }
                ColumnOption::PrimaryKey(_) => self.push(" PRIMARY KEY"),
                ColumnOption::Unique(_) => self.push(" UNIQUE"),
                ColumnOption::Check(check) => {
                    self.push(" CHECK (");
                    self.expr(&check.expr)?;
                    self.push(")");
                }
                other => return Err(format!("option of {name} not in the dialect: {other}")),
            }
        }
        if not_null {
            self.push(" NOT NULL");
        }
        self.flavor.type_check(&mut self.out, &name, of);
        Ok(())
    }

    fn create_index(&mut self, index: &CreateIndex) -> Result<(), Refusal> {
        let plain = index.using.is_none()
            && !index.concurrently
            && !index.r#async
            && index.include.is_empty()
            && index.nulls_distinct.is_none()
            && index.with.is_empty()
            && index.index_options.is_empty()
            && index.alter_options.is_empty();
        let (Some(name), true) = (&index.name, plain) else {
            return Err("form of CREATE INDEX not in the dialect".to_owned());
        };
        self.push(if index.unique { "CREATE UNIQUE INDEX " } else { "CREATE INDEX " });
        if index.if_not_exists {
            self.push("IF NOT EXISTS ");
        }
        self.own_index(name)?;
        self.push(" ON ");
        self.own(&index.table_name)?;
        self.push(" (");
        self.key(&index.columns)?;
        self.push(")");
        if let Some(predicate) = &index.predicate {
            self.push(" WHERE ");
            self.expr(predicate)?;
        }
        Ok(())
    }

    fn create_view(&mut self, view: &CreateView) -> Result<(), Refusal> {
        let plain = !view.or_alter
            && !view.or_replace
            && !view.materialized
            && !view.secure
            && !view.temporary
            && !view.if_not_exists
            && view.params.is_none()
            && view.to.is_none()
            && matches!(view.options, CreateTableOptions::None);
        if !plain {
            return Err("form of CREATE VIEW not in the dialect".to_owned());
        }
        self.push("CREATE VIEW ");
        self.own(&view.name)?;
        if !view.columns.is_empty() {
            self.push(" (");
            self.list(&view.columns, |this, column| {
                if column.data_type.is_some() || column.options.is_some() {
                    return Err("type of a view's column: not in the dialect".to_owned());
                }
                this.ident(&column.name).map(|_| ())
            })?;
            self.push(")");
        }
        self.push(" AS ");
        self.allow_with = false;
        self.query(&view.query)
    }

    fn alter_table(&mut self, alter: &AlterTable) -> Result<(), Refusal> {
        if alter.if_exists || alter.only || alter.on_cluster.is_some() {
            return Err("form of ALTER TABLE not in the dialect".to_owned());
        }
        self.push("ALTER TABLE ");
        let table = self.own(&alter.name)?;
        match alter.operations.as_slice() {
            [AlterTableOperation::AddColumn { column_def, column_position: None, .. }] => {
                self.push(" ADD COLUMN ");
                self.column(&table, column_def, false, false)
            }
            [AlterTableOperation::DropColumn { column_names, drop_behavior: None, .. }] => {
                match column_names.as_slice() {
                    [column] => {
                        self.push(" DROP COLUMN ");
                        self.ident(column).map(|_| ())
                    }
                    _ => Err("DROP COLUMN of several: one at a time".to_owned()),
                }
            }
            [AlterTableOperation::RenameColumn { old_column_name, new_column_name }] => {
                self.push(" RENAME COLUMN ");
                self.ident(old_column_name)?;
                self.push(" TO ");
                self.ident(new_column_name).map(|_| ())
            }
            _ => Err("form of ALTER TABLE not in the dialect".to_owned()),
        }
    }
}

fn key_columns(columns: &[IndexColumn]) -> Result<Vec<String>, Refusal> {
    columns
        .iter()
        .map(|column| match &column.column.expr {
            sqlparser::ast::Expr::Identifier(ident) => names::plain(ident),
            other => Err(format!("key on an expression: {other}")),
        })
        .collect()
}

fn check_primary(key: &PrimaryKeyConstraint) -> Result<(), Refusal> {
    let plain = key.name.is_none()
        && key.index_name.is_none()
        && key.index_type.is_none()
        && key.include.is_empty()
        && key.index_options.is_empty()
        && key.characteristics.is_none();
    if plain { Ok(()) } else { Err(format!("constraint not in the dialect: {key}")) }
}

fn check_unique(unique: &UniqueConstraint) -> Result<(), Refusal> {
    let plain = unique.name.is_none()
        && unique.index_name.is_none()
        && unique.index_type.is_none()
        && unique.include.is_empty()
        && unique.index_options.is_empty()
        && unique.characteristics.is_none();
    if plain { Ok(()) } else { Err(format!("constraint not in the dialect: {unique}")) }
}
