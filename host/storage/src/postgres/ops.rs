//! How the host's own reads and writes are sent and read back.

use std::sync::Arc;

use crate::{Error, InstallError, PluginSchema, Usage};

use super::Engine;
use super::pool::Leased;
use super::script::{Script, Step};

/// Rows as text.
pub(super) type Lines = Vec<Vec<Option<String>>>;

/// Sends a text and gives all rows that come back.
pub(super) async fn ask_on(leased: &mut Leased, step: Step, sql: &str) -> Result<Lines, Error> {
    let mut script = Script::default();
    script.push(step, sql);
    let mut lines = Lines::new();
    leased
        .run(&script, |_, row| {
            let mut line = Vec::with_capacity(row.width());
            for column in 0..row.width() {
                let bytes = row.bytes(column)?;
                line.push(bytes.map(|b| String::from_utf8_lossy(b).into_owned()));
            }
            lines.push(line);
            Ok(())
        })
        .await?;
    Ok(lines)
}

/// The text of a cell; empty for NULL and for none.
pub(super) fn text(lines: &Lines, row: usize, column: usize) -> &str {
    lines.get(row).map_or("", |line| cell(line, column))
}

pub(super) fn cell(line: &[Option<String>], column: usize) -> &str {
    line.get(column).and_then(|text| text.as_deref()).unwrap_or_default()
}

pub(super) fn uint(line: &[Option<String>], column: usize) -> u64 {
    cell(line, column).parse().unwrap_or(0)
}

/// The first cell as a number; 0 without one.
pub(super) fn number(lines: &Lines) -> u64 {
    text(lines, 0, 0).parse().unwrap_or(0)
}

/// A number of the host's as a literal.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn one_nul(texts: &[&str]) -> Result<(), Error> {
    if texts.iter().any(|text| text.contains('\0')) {
        return Err(Error::Invalid("U+0000 in a text".to_owned()));
    }
    Ok(())
}

impl Engine {
    /// Runs a text of the host's on a connection of its own, in one transaction.
    pub(super) async fn ask(self: &Arc<Self>, sql: String) -> Result<Lines, Error> {
        let engine = self.clone();
        self.detached(async move {
            let _permit = engine.asking.enter().await?;
            let mut leased = engine.lease().await?;
            ask_on(&mut leased, Step::Host, &sql).await
        })
        .await
    }

    pub(crate) async fn install(
        self: &Arc<Self>,
        schema: PluginSchema,
    ) -> Result<(), InstallError> {
        super::install::install(self, schema).await
    }

    pub(super) async fn look_detached(self: &Arc<Self>) -> Result<u64, Error> {
        let engine = self.clone();
        self.detached(async move {
            let _permit = engine.asking.enter().await?;
            engine.look().await
        })
        .await
    }

    pub(crate) async fn usage(self: &Arc<Self>) -> Result<Usage, Error> {
        let lines = self.ask(super::access::usage_sql(&self.schema)).await?;
        Ok(lines.first().map_or_else(Usage::default, |line| Usage {
            rows: uint(line, 0),
            bytes: uint(line, 1),
        }))
    }
}
