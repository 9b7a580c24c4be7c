//! SELECT.

use sqlparser::ast::{
    Distinct, GroupByExpr, Join, JoinConstraint, JoinOperator, LimitClause, OrderBy, OrderByExpr,
    OrderByKind, OrderBySort, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    SetOperator, SetQuantifier, TableAlias, TableFactor, TableWithJoins, Values,
    WildcardAdditionalOptions, With,
};

use super::{Emit, Refusal, expr::is_truth, head, names};

/// Result columns of a query that are truth values by form.
pub(super) fn truths_of_query(query: &Query) -> Result<Vec<usize>, Refusal> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Select(select) => return truths(&select.projection),
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Query(inner) => body = &inner.body,
            _ => return Ok(Vec::new()),
        }
    }
}

/// Which items of a select list are truth values by form. Beside a `*` their place is unknown.
pub(super) fn truths(items: &[SelectItem]) -> Result<Vec<usize>, Refusal> {
    let mut found = Vec::new();
    let mut wildcard = false;
    for (i, item) in items.iter().enumerate() {
        match item {
            SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => {
                if is_truth(e) {
                    found.push(i);
                }
            }
            _ => wildcard = true,
        }
    }
    if wildcard && !found.is_empty() {
        return Err("a truth value beside * in a select list: name the columns".to_owned());
    }
    Ok(found)
}

impl Emit<'_> {
    pub(super) fn query(&mut self, query: &Query) -> Result<(), Refusal> {
        let outer = self.scope.len();
        let result = self.deeper(|this| this.query_inner(query));
        self.scope.truncate(outer);
        result
    }

    fn query_inner(&mut self, query: &Query) -> Result<(), Refusal> {
        let plain = query.fetch.is_none()
            && query.locks.is_empty()
            && query.for_clause.is_none()
            && query.settings.is_none()
            && query.format_clause.is_none()
            && query.pipe_operators.is_empty();
        if !plain {
            return Err(format!("clause not in the dialect: {}", head(query)));
        }
        if let Some(with) = &query.with {
            self.with(with)?;
        }
        self.set_expr(&query.body)?;
        if let Some(order) = &query.order_by {
            self.order_by(order)?;
        }
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                match (limit, offset) {
                    (Some(limit), _) => {
                        self.push(" LIMIT ");
                        self.expr(limit)?;
                    }
                    // SQLite has no OFFSET without LIMIT; neither has the dialect.
                    (None, Some(_)) => return Err("OFFSET without LIMIT".to_owned()),
                    (None, None) => {}
                }
                if let Some(offset) = offset {
                    self.push(" OFFSET ");
                    self.expr(&offset.value)?;
                }
            }
            Some(other) => return Err(format!("not in the dialect:{other}")),
        }
        Ok(())
    }

    fn with(&mut self, with: &With) -> Result<(), Refusal> {
        if !self.allow_with {
            return Err("WITH in a view: not in the dialect".to_owned());
        }
        // All names first: each may be used before it is printed.
        for cte in &with.cte_tables {
            let name = names::plain(&cte.alias.name)?;
            self.rules.free(&name)?;
            self.ctes.insert(name.clone());
            self.scope.push(name);
        }
        self.push(if with.recursive { "WITH RECURSIVE " } else { "WITH " });
        self.list(&with.cte_tables, |this, cte| {
            if cte.from.is_some() || cte.materialized.is_some() {
                return Err(format!("WITH {}: form not in the dialect", cte.alias.name));
            }
            this.ident(&cte.alias.name)?;
            this.alias_columns(&cte.alias)?;
            this.push(" AS (");
            this.query(&cte.query)?;
            this.push(")");
            Ok(())
        })?;
        self.push(" ");
        Ok(())
    }

    fn alias_columns(&mut self, alias: &TableAlias) -> Result<(), Refusal> {
        if alias.at.is_some() || alias.columns.iter().any(|c| c.data_type.is_some()) {
            return Err(format!("alias {}: form not in the dialect", alias.name));
        }
        if alias.columns.is_empty() {
            return Ok(());
        }
        self.push("(");
        self.list(&alias.columns, |this, column| this.ident(&column.name).map(|_| ()))?;
        self.push(")");
        Ok(())
    }

    fn set_expr(&mut self, body: &SetExpr) -> Result<(), Refusal> {
        self.deeper(|this| match body {
            SetExpr::Select(select) => this.select(select),
            SetExpr::Values(values) => this.values(values),
            SetExpr::Query(query) => {
                let (before, behind) = this.flavor.member();
                this.push(before);
                this.query(query)?;
                this.push(behind);
                Ok(())
            }
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let all = match set_quantifier {
                    SetQuantifier::All => true,
                    SetQuantifier::None => false,
                    other => return Err(format!("{other}: not in the dialect")),
                };
                // INTERSECT binds more tightly on PostgreSQL: keep the parser's tree there too.
                if matches!(left.as_ref(), SetExpr::SetOperation { .. })
                    && matches!(op, SetOperator::Intersect)
                {
                    let (before, behind) = this.flavor.member();
                    this.push(before);
                    this.set_expr(left)?;
                    this.push(behind);
                } else {
                    this.set_expr(left)?;
                }
                this.push(match (op, all) {
                    (SetOperator::Union, true) => " UNION ALL ",
                    (SetOperator::Union, false) => " UNION ",
                    (SetOperator::Except, false) => " EXCEPT ",
                    (SetOperator::Intersect, false) => " INTERSECT ",
                    _ => return Err(format!("{op}: not in the dialect")),
                });
                // SQLite binds set operators from left to right: keep the parser's tree.
                if matches!(right.as_ref(), SetExpr::SetOperation { .. }) {
                    let (before, behind) = this.flavor.member();
                    this.push(before);
                    this.set_expr(right)?;
                    this.push(behind);
                    Ok(())
                } else {
                    this.set_expr(right)
                }
            }
            other => Err(format!("not in the dialect: {}", head(other))),
        })
    }

    pub(super) fn values(&mut self, values: &Values) -> Result<(), Refusal> {
        if values.explicit_row {
            return Err("VALUES ROW(…): not in the dialect".to_owned());
        }
        self.push("VALUES ");
        self.list(&values.rows, |this, row| {
            this.push("(");
            this.list(&row.content, |this, e| this.expr(e))?;
            this.push(")");
            Ok(())
        })
    }

    fn select(&mut self, select: &Select) -> Result<(), Refusal> {
        let plain = select.optimizer_hints.is_empty()
            && select.select_modifiers.is_none()
            && select.top.is_none()
            && select.exclude.is_none()
            && select.into.is_none()
            && select.lateral_views.is_empty()
            && select.prewhere.is_none()
            && select.connect_by.is_empty()
            && select.cluster_by.is_empty()
            && select.distribute_by.is_empty()
            && select.sort_by.is_empty()
            && select.named_window.is_empty()
            && select.qualify.is_none()
            && select.value_table_mode.is_none();
        if !plain {
            return Err(format!("clause not in the dialect: {}", head(select)));
        }
        self.push("SELECT ");
        match &select.distinct {
            None | Some(Distinct::All) => {}
            Some(Distinct::Distinct) => self.push("DISTINCT "),
            Some(Distinct::On(_)) => return Err("DISTINCT ON: not in the dialect".to_owned()),
        }
        self.items(&select.projection)?;
        if !select.from.is_empty() {
            self.push(" FROM ");
            self.list(&select.from, Self::table_with_joins)?;
        }
        if let Some(condition) = &select.selection {
            self.push(" WHERE ");
            self.expr(condition)?;
        }
        match &select.group_by {
            GroupByExpr::Expressions(items, modifiers) if modifiers.is_empty() => {
                if !items.is_empty() {
                    self.push(" GROUP BY ");
                    self.list(items, |this, e| this.expr_or_column_number(e))?;
                }
            }
            other => return Err(format!("not in the dialect: {other}")),
        }
        if let Some(having) = &select.having {
            self.push(" HAVING ");
            self.expr(having)?;
        }
        Ok(())
    }

    /// A select list or RETURNING.
    pub(super) fn items(&mut self, items: &[SelectItem]) -> Result<(), Refusal> {
        if items.is_empty() {
            return Err("nothing is selected: SQLite has no empty select list".to_owned());
        }
        self.list(items, |this, item| match item {
            SelectItem::UnnamedExpr(e) => this.expr(e),
            SelectItem::ExprWithAlias { expr, alias } => {
                this.expr(expr)?;
                this.push(" AS ");
                this.ident(alias).map(|_| ())
            }
            SelectItem::Wildcard(options) if bare(options) => {
                this.push("*");
                Ok(())
            }
            SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(name),
                options,
            ) if bare(options) => {
                this.ident(names::single(name)?)?;
                this.push(".*");
                Ok(())
            }
            other => Err(format!("not in the dialect: {}", head(other))),
        })
    }

    pub(super) fn table_with_joins(&mut self, table: &TableWithJoins) -> Result<(), Refusal> {
        self.factor(&table.relation)?;
        for join in &table.joins {
            self.join(join)?;
        }
        Ok(())
    }

    fn join(&mut self, join: &Join) -> Result<(), Refusal> {
        let (word, constraint) = match &join.join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) => (" JOIN ", c),
            JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (" LEFT JOIN ", c),
            JoinOperator::CrossJoin(c) => (" CROSS JOIN ", c),
            _ => return Err(format!("join not in the dialect:{}", head(join))),
        };
        if join.global {
            return Err("GLOBAL: not in the dialect".to_owned());
        }
        self.push(word);
        self.factor(&join.relation)?;
        match constraint {
            JoinConstraint::On(condition) => {
                self.push(" ON ");
                self.expr(condition)
            }
            JoinConstraint::Using(columns) => {
                self.push(" USING (");
                self.list(columns, |this, column| {
                    let column = names::single(column)?;
                    this.ident(column).map(|_| ())
                })?;
                self.push(")");
                Ok(())
            }
            JoinConstraint::None if matches!(join.join_operator, JoinOperator::CrossJoin(_)) => {
                Ok(())
            }
            JoinConstraint::None => Err("JOIN without ON or USING: write CROSS JOIN".to_owned()),
            JoinConstraint::Natural => Err("NATURAL: not in the dialect".to_owned()),
        }
    }

    fn factor(&mut self, factor: &TableFactor) -> Result<(), Refusal> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                let ident = names::single(name)?;
                let table = names::plain(ident)?;
                let cte = self.scope.contains(&table);
                if !cte && !self.rules.owns(&table) && !self.rules.reads(&table) {
                    return Err(format!("table or view {table}: not of this plug-in, not granted"));
                }
                if cte {
                    self.ident(ident)?;
                } else {
                    self.relation(ident)?;
                }
                self.alias(alias.as_ref())
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                if alias.is_none() {
                    return Err("subquery in FROM without an alias".to_owned());
                }
                self.push("(");
                self.query(subquery)?;
                self.push(")");
                self.alias(alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.push("(");
                self.deeper(|this| this.table_with_joins(table_with_joins))?;
                self.push(")");
                Ok(())
            }
            other => Err(format!("source not in the dialect: {}", head(other))),
        }
    }

    pub(super) fn alias(&mut self, alias: Option<&TableAlias>) -> Result<(), Refusal> {
        let Some(alias) = alias else { return Ok(()) };
        if !alias.columns.is_empty() || alias.at.is_some() {
            return Err(format!("alias {}: form not in the dialect", alias.name));
        }
        self.rules.free(&names::plain(&alias.name)?)?;
        self.push(" AS ");
        self.ident(&alias.name).map(|_| ())
    }

    fn order_by(&mut self, order: &OrderBy) -> Result<(), Refusal> {
        match &order.kind {
            OrderByKind::Expressions(items) if order.interpolate.is_none() => {
                self.push(" ORDER BY ");
                self.list(items, Self::order_item)
            }
            _ => Err(format!("not in the dialect: {order}")),
        }
    }

    pub(super) fn order_item(&mut self, item: &OrderByExpr) -> Result<(), Refusal> {
        if item.with_fill.is_some() {
            return Err("WITH FILL: not in the dialect".to_owned());
        }
        self.expr_or_column_number(&item.expr)?;
        let descending = match &item.options.sort {
            None | Some(OrderBySort::Asc) => false,
            Some(OrderBySort::Desc) => true,
            Some(OrderBySort::Using(_)) => return Err("USING: not in the dialect".to_owned()),
        };
        self.push(if descending { " DESC" } else { " ASC" });
        // The dialect's default, which is SQLite's: NULL is the smallest value.
        let first = item.options.nulls_first.unwrap_or(!descending);
        if first == descending || !self.flavor.null_is_smallest() {
            self.push(if first { " NULLS FIRST" } else { " NULLS LAST" });
        }
        Ok(())
    }
}

fn bare(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}
