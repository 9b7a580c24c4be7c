//! SQL on the tenant's database. The dialect is written down in `docs/sql.md`.
//!
//! ```ignore
//! let name: Option<(String,)> =
//!     storage::query("SELECT name FROM greeter_names WHERE id = $1", params![7])?.first()?;
//! Batch::new().run("UPDATE greeter_names SET name = $1 WHERE id = $2", params!["x", 7]).expect(1).commit()?;
//! ```

mod batch;
mod race;
mod row;
mod value;

pub use batch::Batch;
pub use race::{Failure, race};
pub use row::{FromRow, FromValue, RowError};
pub use value::{IntoValue, position};

use crate::backend;
pub use crate::bindings::host::storage::{
    Committed, Durability, Error, Hit, Message, Moment, Rows, Select, Statement, TextEntry, Value,
};

/// Makes a parameter row: `params![a, b]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::storage::IntoValue::into_value($value)),*]
    };
}

/// One SELECT, for [`snapshot`].
pub fn select(sql: &str, params: Vec<Value>) -> Select {
    Select { sql: sql.to_owned(), params }
}

/// Runs one SELECT.
///
/// # Errors
/// See `tessera:host/storage`.
pub fn query(sql: &str, params: Vec<Value>) -> Result<Rows, Error> {
    backend::with(|host| host.query(&select(sql, params)))
}

/// Runs several SELECTs that see one and the same moment.
///
/// # Errors
/// See `tessera:host/storage`.
pub fn snapshot(selects: &[Select]) -> Result<Moment, Error> {
    backend::with(|host| host.snapshot(selects))
}

/// Finds entries of a full-text index, the best first.
///
/// # Errors
/// See `tessera:host/storage`.
pub fn search(
    index: &str,
    words: &str,
    groups: Option<&[String]>,
    limit: u32,
    offset: u32,
) -> Result<Vec<Hit>, Error> {
    find(index, words, groups, false, limit, offset)
}

/// As [`search`], the entries made last first; their rank is 0.
///
/// # Errors
/// As [`search`].
pub fn search_newest(
    index: &str,
    words: &str,
    groups: Option<&[String]>,
    limit: u32,
    offset: u32,
) -> Result<Vec<Hit>, Error> {
    find(index, words, groups, true, limit, offset)
}

/// Asks a full-text index with words and groups as [`Batch::text`] writes them.
fn find(
    index: &str,
    words: &str,
    groups: Option<&[String]>,
    newest: bool,
    limit: u32,
    offset: u32,
) -> Result<Vec<Hit>, Error> {
    let escaped: Option<Vec<String>> =
        groups.filter(|groups| groups.iter().any(|group| value::escape(group).is_some())).map(
            |groups| groups.iter().map(|g| value::escape(g).unwrap_or_else(|| g.clone())).collect(),
        );
    let groups = escaped.as_deref().or(groups);
    let words = value::words(words);
    let mut hits = backend::with(|host| host.search(index, &words, groups, newest, limit, offset))?;
    for hit in &mut hits {
        hit.key = value::unescape(std::mem::take(&mut hit.key));
        hit.group = value::unescape(std::mem::take(&mut hit.group));
    }
    Ok(hits)
}

/// Waits for the named keys and holds them until [`unlock`] or the end of the call. `false`: go on without.
pub fn lock(keys: &[String], wait_ms: u32) -> bool {
    backend::with(|host| host.lock(keys, wait_ms))
}

/// Gives up what [`lock`] took.
pub fn unlock() {
    backend::with(|host| host.unlock());
}

impl Rows {
    /// Every row as `T`, a tuple or another [`FromRow`].
    ///
    /// # Errors
    /// A column has another type than asked for.
    pub fn all<T: FromRow>(self) -> Result<Vec<T>, RowError> {
        self.rows.into_iter().map(T::from_row).collect()
    }

    /// The first row, if there is any.
    ///
    /// # Errors
    /// A column has another type than asked for.
    pub fn first<T: FromRow>(self) -> Result<Option<T>, RowError> {
        self.rows.into_iter().next().map(T::from_row).transpose()
    }
}

impl Moment {
    /// Takes the answers out, one for each SELECT, in order.
    pub fn answers(self) -> impl Iterator<Item = Rows> {
        self.results.into_iter()
    }
}
