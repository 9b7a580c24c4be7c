//! Expressions.

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, DuplicateTreatment, ExactNumberInfo, Expr, Function,
    FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::{Call, Emit, Kind, ParamUse, Refusal, functions, head, names};

/// Whether an expression is a truth value by its form.
pub(super) fn is_truth(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_truth(inner),
        Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Between { .. }
        | Expr::Exists { .. }
        | Expr::UnaryOp { op: UnaryOperator::Not, .. } => true,
        Expr::Value(v) => matches!(v.value, Value::Boolean(_)),
        Expr::BinaryOp { op, .. } => matches!(
            op,
            BinaryOperator::Gt
                | BinaryOperator::Lt
                | BinaryOperator::GtEq
                | BinaryOperator::LtEq
                | BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::And
                | BinaryOperator::Or
        ),
        _ => false,
    }
}

/// A type of the dialect.
pub(super) fn kind(data_type: &DataType) -> Result<Kind, Refusal> {
    Ok(match data_type {
        DataType::BigInt(None) => Kind::Bigint,
        DataType::Text => Kind::Text,
        DataType::Blob(None) => Kind::Blob,
        DataType::Boolean => Kind::Boolean,
        DataType::DoublePrecision | DataType::Double(ExactNumberInfo::None) => Kind::Double,
        other => {
            return Err(format!(
                "type {other}: the dialect has bigint, text, blob, boolean and double precision"
            ));
        }
    })
}

fn binary(op: &BinaryOperator) -> Option<&'static str> {
    Some(match op {
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::StringConcat => "||",
        BinaryOperator::Gt => ">",
        BinaryOperator::Lt => "<",
        BinaryOperator::GtEq => ">=",
        BinaryOperator::LtEq => "<=",
        BinaryOperator::Eq => "=",
        BinaryOperator::NotEq => "<>",
        BinaryOperator::And => "AND",
        BinaryOperator::Or => "OR",
        BinaryOperator::BitwiseAnd => "&",
        BinaryOperator::BitwiseOr => "|",
        _ => return None,
    })
}

impl Emit<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) -> Result<(), Refusal> {
        self.deeper(|this| this.expr_inner(expr))
    }

    fn suffixed(&mut self, expr: &Expr, suffix: &str) -> Result<(), Refusal> {
        self.push("(");
        self.expr(expr)?;
        self.push(suffix);
        self.push(")");
        Ok(())
    }

    fn infix(&mut self, left: &Expr, op: &str, right: &Expr) -> Result<(), Refusal> {
        self.push("(");
        self.expr(left)?;
        self.push(" ");
        self.push(op);
        self.push(" ");
        self.expr(right)?;
        self.push(")");
        Ok(())
    }

    fn expr_inner(&mut self, expr: &Expr) -> Result<(), Refusal> {
        match expr {
            Expr::Identifier(ident) => {
                self.ident(ident)?;
            }
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] => {
                    self.ident(table)?;
                    self.push(".");
                    self.ident(column)?;
                }
                _ => return Err(format!("name {}: not in the dialect", head(expr))),
            },
            Expr::Value(value) => self.value(&value.value)?,
            Expr::Nested(inner) => {
                self.push("(");
                self.expr(inner)?;
                self.push(")");
            }
            Expr::IsNull(e) => self.suffixed(e, " IS NULL")?,
            Expr::IsNotNull(e) => self.suffixed(e, " IS NOT NULL")?,
            Expr::IsTrue(e) => self.suffixed(e, " IS TRUE")?,
            Expr::IsNotTrue(e) => self.suffixed(e, " IS NOT TRUE")?,
            Expr::IsFalse(e) => self.suffixed(e, " IS FALSE")?,
            Expr::IsNotFalse(e) => self.suffixed(e, " IS NOT FALSE")?,
            Expr::IsDistinctFrom(l, r) => self.infix(l, "IS DISTINCT FROM", r)?,
            Expr::IsNotDistinctFrom(l, r) => self.infix(l, "IS NOT DISTINCT FROM", r)?,
            Expr::BinaryOp { left, op, right } => match binary(op) {
                Some(op) => self.infix(left, op, right)?,
                None => return Err(format!("operator {op}: not in the dialect")),
            },
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(expr.as_ref(), Expr::Value(v) if matches!(v.value, Value::Number(..))) =>
            {
                self.number(expr, "-")?;
            }
            Expr::UnaryOp { op, expr } => {
                self.push(match op {
                    UnaryOperator::Not => "(NOT ",
                    UnaryOperator::Minus => "(- ",
                    UnaryOperator::Plus => "(+ ",
                    other => return Err(format!("operator {other}: not in the dialect")),
                });
                self.expr(expr)?;
                self.push(")");
            }
            Expr::InList { expr, list, negated } => {
                self.push("(");
                self.expr(expr)?;
                let sole = match list.as_slice() {
                    [Expr::Value(v)] => match &v.value {
                        Value::Placeholder(name) => Some(name),
                        _ => None,
                    },
                    _ => None,
                };
                match sole {
                    Some(name) => {
                        let n = self.param(name, ParamUse::List)?;
                        self.flavor.in_list(&mut self.out, *negated, n);
                    }
                    None => {
                        self.push(if *negated { " NOT IN (" } else { " IN (" });
                        self.list(list, |this, e| this.expr(e))?;
                        self.push(")");
                    }
                }
                self.push(")");
            }
            Expr::InSubquery { expr, subquery, negated } => {
                self.push("(");
                self.expr(expr)?;
                self.push(if *negated { " NOT IN (" } else { " IN (" });
                self.query(subquery)?;
                self.push("))");
            }
            Expr::Exists { subquery, negated } => {
                self.push(if *negated { "(NOT EXISTS (" } else { "(EXISTS (" });
                self.query(subquery)?;
                self.push("))");
            }
            Expr::Subquery(query) => {
                self.push("(");
                self.query(query)?;
                self.push(")");
            }
            Expr::Between { expr, negated, low, high } => {
                self.push("(");
                self.expr(expr)?;
                self.push(if *negated { " NOT BETWEEN " } else { " BETWEEN " });
                self.expr(low)?;
                self.push(" AND ");
                self.expr(high)?;
                self.push(")");
            }
            Expr::Tuple(items) => {
                self.push("(");
                self.list(items, |this, e| this.expr(e))?;
                self.push(")");
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.push("(CASE");
                if let Some(operand) = operand {
                    self.push(" ");
                    self.expr(operand)?;
                }
                for when in conditions {
                    self.push(" WHEN ");
                    self.expr(&when.condition)?;
                    self.push(" THEN ");
                    self.expr(&when.result)?;
                }
                if let Some(other) = else_result {
                    self.push(" ELSE ");
                    self.expr(other)?;
                }
                self.push(" END)");
            }
            Expr::Cast { kind: CastKind::Cast, expr, data_type, format: None } => {
                let to = kind(data_type)?;
                if !matches!(to, Kind::Bigint | Kind::Text | Kind::Double) {
                    return Err(format!("CAST to {data_type}: not in the dialect"));
                }
                self.push("CAST(");
                self.expr(expr)?;
                self.push(" AS ");
                self.push(self.flavor.cast_type(to));
                self.push(")");
            }
            Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
                let Call { others: (before, behind), .. } = self.flavor.call("substr");
                self.push("substr(");
                self.expr(expr)?;
                for number in [Some(from), substring_for.as_ref()].into_iter().flatten() {
                    self.push(", ");
                    self.push(before);
                    self.expr(number)?;
                    self.push(behind);
                }
                self.push(")");
            }
            Expr::Function(function) => self.function(function)?,
            other => return Err(format!("expression not in the dialect: {}", head(other))),
        }
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), Refusal> {
        match value {
            Value::Null => self.push("NULL"),
            Value::Boolean(true) => self.push("TRUE"),
            Value::Boolean(false) => self.push("FALSE"),
            Value::Number(text, false) => self.literal(text, "")?,
            // Escapes are where parsers differ: such text travels as a parameter.
            Value::SingleQuotedString(text) if !text.contains(['\'', '\\', '\0']) => {
                self.flavor.text(&mut self.out, text);
            }
            Value::SingleQuotedString(_) => {
                return Err("a literal with a quote or backslash: use a parameter".to_owned());
            }
            Value::Placeholder(name) => {
                self.param(name, ParamUse::Scalar)?;
            }
            other => return Err(format!("literal not in the dialect: {}", head(other))),
        }
        Ok(())
    }

    /// A number with a sign, which belongs to it: the smallest has no positive.
    fn number(&mut self, expr: &Expr, sign: &str) -> Result<(), Refusal> {
        match expr {
            Expr::Value(v) => match &v.value {
                Value::Number(text, false) => self.literal(text, sign),
                other => Err(format!("literal not in the dialect: {}", head(other))),
            },
            other => Err(format!("literal not in the dialect: {}", head(other))),
        }
    }

    fn literal(&mut self, text: &str, sign: &str) -> Result<(), Refusal> {
        let number = format!("{sign}{text}");
        if text.chars().all(|c| c.is_ascii_digit()) {
            self.flavor.integer(&mut self.out, &number);
        } else if text.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c)) {
            self.flavor.double(&mut self.out, &number);
        } else {
            return Err(format!("literal not in the dialect: {text}"));
        }
        Ok(())
    }

    /// An expression where a whole number would be the number of a result's column.
    pub(super) fn expr_or_column_number(&mut self, expr: &Expr) -> Result<(), Refusal> {
        if let Expr::Value(v) = expr
            && let Value::Number(text, false) = &v.value
            && text.chars().all(|c| c.is_ascii_digit())
        {
            self.push(text);
            return Ok(());
        }
        self.expr(expr)
    }

    fn function(&mut self, call: &Function) -> Result<(), Refusal> {
        let name = names::plain(names::single(&call.name)?)?;
        let known = functions::function(&name)
            .ok_or_else(|| format!("function {name}: not in the dialect"))?;
        let args = match &call.args {
            FunctionArguments::List(list) if list.clauses.is_empty() => list,
            _ => return Err(format!("call of {name}: arguments not in the dialect")),
        };
        let plain = !call.uses_odbc_syntax
            && matches!(call.parameters, FunctionArguments::None)
            && call.within_group.is_empty()
            && call.null_treatment.is_none();
        let distinct = matches!(args.duplicate_treatment, Some(DuplicateTreatment::Distinct));
        let extras = args.duplicate_treatment.is_some() || call.filter.is_some();
        if !plain || extras && !known.aggregate || known.window && call.over.is_none() {
            return Err(format!("call of {name}: form not in the dialect"));
        }
        if call.over.is_some() && !(known.window || known.aggregate) {
            return Err(format!("{name} is no window function"));
        }
        if args.args.len() < known.least || args.args.len() > known.most {
            return Err(format!("call of {name}: takes {} to {}", known.least, known.most));
        }
        let form = self.flavor.call(&name);
        self.push(form.around.0);
        self.push(form.name.unwrap_or(&name));
        self.push(if distinct { "(DISTINCT " } else { "(" });
        let offset = matches!(name.as_str(), "lag" | "lead");
        let offset = if offset { self.flavor.offset_argument() } else { form.others };
        // The last is for all others.
        let mut arounds = vec![form.others, offset, form.first];
        self.list(&args.args, |this, arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => {
                let (before, behind) = arounds.pop().unwrap_or(form.others);
                this.push(before);
                this.expr(e)?;
                this.push(behind);
                Ok(())
            }
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "count" && !distinct => {
                this.push("*");
                Ok(())
            }
            _ => Err(format!("argument of {name}: not in the dialect")),
        })?;
        self.push(")");
        if let Some(filter) = &call.filter {
            self.push(" FILTER (WHERE ");
            self.expr(filter)?;
            self.push(")");
        }
        match &call.over {
            None => {}
            Some(WindowType::WindowSpec(spec)) => self.window(spec)?,
            Some(WindowType::NamedWindow(_)) => {
                return Err("named window: not in the dialect".to_owned());
            }
        }
        self.push(form.around.1);
        Ok(())
    }

    fn window(&mut self, spec: &WindowSpec) -> Result<(), Refusal> {
        if spec.window_name.is_some() {
            return Err("named window: not in the dialect".to_owned());
        }
        self.push(" OVER (");
        if !spec.partition_by.is_empty() {
            self.push("PARTITION BY ");
            self.list(&spec.partition_by, |this, e| this.expr(e))?;
        }
        if !spec.order_by.is_empty() {
            self.push(" ORDER BY ");
            self.list(&spec.order_by, Self::order_item)?;
        }
        if let Some(WindowFrame { units, start_bound, end_bound }) = &spec.window_frame {
            if !matches!(units, WindowFrameUnits::Rows) {
                return Err("window frame: only ROWS is in the dialect".to_owned());
            }
            self.push(" ROWS BETWEEN ");
            self.bound(start_bound)?;
            self.push(" AND ");
            self.bound(end_bound.as_ref().unwrap_or(&WindowFrameBound::CurrentRow))?;
        }
        self.push(")");
        Ok(())
    }

    fn bound(&mut self, bound: &WindowFrameBound) -> Result<(), Refusal> {
        let (by, side) = match bound {
            WindowFrameBound::CurrentRow => {
                self.push("CURRENT ROW");
                return Ok(());
            }
            WindowFrameBound::Preceding(by) => (by, " PRECEDING"),
            WindowFrameBound::Following(by) => (by, " FOLLOWING"),
        };
        match by {
            None => self.push("UNBOUNDED"),
            Some(by) => self.expr(by)?,
        }
        self.push(side);
        Ok(())
    }
}
