//! INSERT, UPDATE and DELETE on the plug-in's own tables.

use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, Expr, FromTable, Insert, ObjectName,
    OnConflictAction, OnInsert, SelectItem, SetExpr, TableFactor, TableObject, TableWithJoins,
    Update, UpdateTableFromKind,
};

use super::{Emit, Refusal, head, names, query};

impl Emit<'_> {
    /// The table that a statement writes.
    fn target(&mut self, name: &ObjectName) -> Result<(), Refusal> {
        let ident = names::single(name)?;
        let table = names::plain(ident)?;
        if !self.rules.owns(&table) {
            return Err(format!("table {table}: only a plug-in's own tables are written"));
        }
        self.relation(ident).map(|_| ())
    }

    fn target_factor(&mut self, table: &TableWithJoins) -> Result<(), Refusal> {
        match (&table.relation, table.joins.is_empty()) {
            (TableFactor::Table { name, alias, args: None, .. }, true) => {
                self.target(name)?;
                self.alias(alias.as_ref())
            }
            _ => Err(format!("target not in the dialect: {}", head(table))),
        }
    }

    pub(super) fn insert(&mut self, insert: &Insert) -> Result<(), Refusal> {
        let plain = insert.optimizer_hints.is_empty()
            && insert.or.is_none()
            && !insert.ignore
            && insert.into
            && insert.table_alias.is_none()
            && !insert.overwrite
            && insert.assignments.is_empty()
            && insert.partitioned.is_none()
            && insert.after_columns.is_empty()
            && !insert.has_table_keyword
            && insert.output.is_none()
            && !insert.replace_into
            && insert.priority.is_none()
            && insert.insert_alias.is_none()
            && insert.settings.is_none()
            && insert.format_clause.is_none()
            && insert.multi_table_insert_type.is_none()
            && insert.multi_table_into_clauses.is_empty()
            && insert.multi_table_when_clauses.is_empty()
            && insert.multi_table_else_clause.is_none();
        let (TableObject::TableName(table), Some(source), true) =
            (&insert.table, &insert.source, plain)
        else {
            return Err(format!("form of INSERT not in the dialect: {}", head(insert)));
        };
        if insert.columns.is_empty() {
            return Err("INSERT without a list of columns".to_owned());
        }
        self.push("INSERT INTO ");
        self.target(table)?;
        self.push(" (");
        self.list(&insert.columns, |this, column| {
            let column = names::single(column)?;
            this.ident(column).map(|_| ())
        })?;
        self.push(") ");
        match (source.body.as_ref(), insert.on.is_some()) {
            (SetExpr::Values(values), _) if source.with.is_none() => {
                let bare = source.order_by.is_none() && source.limit_clause.is_none();
                if !bare {
                    return Err("VALUES with ORDER BY or LIMIT: not in the dialect".to_owned());
                }
                self.values(values)?;
            }
            // SQLite reads the ON of ON CONFLICT as a join's unless a WHERE stands before.
            (_, true) if self.flavor.upsert_from_subquery() => {
                self.push("SELECT * FROM (");
                self.query(source)?;
                self.push(") WHERE TRUE");
            }
            _ => self.query(source)?,
        }
        match &insert.on {
            None => {}
            Some(OnInsert::OnConflict(conflict)) => {
                self.push(" ON CONFLICT");
                match &conflict.conflict_target {
                    Some(ConflictTarget::Columns(columns)) => {
                        self.push(" (");
                        self.list(columns, |this, column| this.ident(column).map(|_| ()))?;
                        self.push(")");
                    }
                    None if matches!(conflict.action, OnConflictAction::DoNothing) => {}
                    _ => return Err("ON CONFLICT: name the columns".to_owned()),
                }
                match &conflict.action {
                    OnConflictAction::DoNothing => self.push(" DO NOTHING"),
                    OnConflictAction::DoUpdate(update) => {
                        self.push(" DO UPDATE SET ");
                        self.assignments(&update.assignments)?;
                        self.condition(update.selection.as_ref())?;
                    }
                }
            }
            Some(other) => return Err(format!("not in the dialect: {}", head(other))),
        }
        self.returning(insert.returning.as_deref())
    }

    pub(super) fn update(&mut self, update: &Update) -> Result<(), Refusal> {
        let plain = update.optimizer_hints.is_empty()
            && update.output.is_none()
            && update.or.is_none()
            && update.order_by.is_empty()
            && update.limit.is_none();
        if !plain {
            return Err(format!("form of UPDATE not in the dialect: {}", head(update)));
        }
        self.push("UPDATE ");
        self.target_factor(&update.table)?;
        self.push(" SET ");
        self.assignments(&update.assignments)?;
        match &update.from {
            None => {}
            Some(UpdateTableFromKind::AfterSet(tables)) => {
                self.push(" FROM ");
                self.list(tables, Self::table_with_joins)?;
            }
            Some(_) => return Err("FROM before SET: not in the dialect".to_owned()),
        }
        self.condition(update.selection.as_ref())?;
        self.returning(update.returning.as_deref())
    }

    pub(super) fn delete(&mut self, delete: &Delete) -> Result<(), Refusal> {
        let plain = delete.optimizer_hints.is_empty()
            && delete.tables.is_empty()
            && delete.using.is_none()
            && delete.output.is_none()
            && delete.order_by.is_empty()
            && delete.limit.is_none();
        let table = match (&delete.from, plain) {
            (FromTable::WithFromKeyword(tables), true) => match tables.as_slice() {
                [table] => table,
                _ => return Err("DELETE from several tables: not in the dialect".to_owned()),
            },
            _ => return Err(format!("form of DELETE not in the dialect: {}", head(delete))),
        };
        self.push("DELETE FROM ");
        self.target_factor(table)?;
        self.condition(delete.selection.as_ref())?;
        self.returning(delete.returning.as_deref())
    }

    fn assignments(&mut self, assignments: &[Assignment]) -> Result<(), Refusal> {
        self.list(assignments, |this, assignment| {
            match &assignment.target {
                AssignmentTarget::ColumnName(name) => this.ident(names::single(name)?)?,
                AssignmentTarget::Tuple(_) => {
                    return Err("SET (a, b) = …: not in the dialect".to_owned());
                }
            };
            this.push(" = ");
            this.expr(&assignment.value)
        })
    }

    fn condition(&mut self, condition: Option<&Expr>) -> Result<(), Refusal> {
        if let Some(condition) = condition {
            self.push(" WHERE ");
            self.expr(condition)?;
        }
        Ok(())
    }

    fn returning(&mut self, items: Option<&[SelectItem]>) -> Result<(), Refusal> {
        if let Some(items) = items {
            self.truths = query::truths(items)?;
            self.push(" RETURNING ");
            self.items(items)?;
        }
        Ok(())
    }
}
