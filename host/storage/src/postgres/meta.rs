//! What the server says of a statement.

use sqlx::{Column, Statement};

use super::script::Type;

/// Parameters and columns of a statement.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) params: Vec<Type>,
    pub(super) columns: Vec<String>,
    pub(super) types: Vec<Type>,
}

impl Meta {
    pub(super) fn of(statement: &sqlx::postgres::PgStatement) -> Self {
        let oid = |info: &sqlx::postgres::PgTypeInfo| info.oid().map_or(0, |oid| oid.0);
        let params = match statement.parameters() {
            Some(sqlx::Either::Left(infos)) => infos.iter().map(|i| Type::of(oid(i))).collect(),
            _ => Vec::new(),
        };
        let columns = statement.columns();
        Self {
            params,
            columns: columns.iter().map(|c| c.name().to_owned()).collect(),
            types: columns.iter().map(|c| Type::of(oid(c.type_info()))).collect(),
        }
    }
}
