//! The raw SQLite handle: prepared statements, authorizer and progress handler.
//!
//! sqlx opens and configures the connections; it has no authorizer call, and its path costs one
//! hop between threads per statement. This module runs statements on the handle that sqlx lends
//! (`lock_handle`), on a thread that owns the connection. All unsafe code of the crate is here.
//! Invariants: a [`Raw`] never outlives the lent handle (lifetime `'h`) and stays on its thread
//! (it holds raw pointers, so it is not `Send`); statements are private to their `Raw` and are
//! finalized before it goes; hooks point to a heap cell that lives until they are removed.

#![expect(unsafe_code, reason = "the audited boundary to libsqlite3")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::time::Instant;

use libsqlite3_sys as ffi;

use super::authorizer::Mode;
use super::code::SqlError;

/// VM instructions between two looks at the clock: some 20 µs.
const PROGRESS_STEPS: c_int = 2_000;

/// Bytes of one value or row, within a statement too: twice what a call may bring in.
const VALUE_MAX: c_int = 128 << 20;

/// Memory of the engine in the whole process: page caches, and what statements sort and gather, which
/// is bounded by nothing else than their time. Over it a statement fails, not the process.
const HEAP_MAX: i64 = 512 << 20;

/// A parameter as the engine takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bind<'a> {
    Null,
    Integer(i64),
    Double(f64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// A cell as the engine gives it; valid until the next step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cellv<'a> {
    Null,
    Integer(i64),
    Double(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

struct Hooks {
    mode: RefCell<Mode>,
    deadline: Cell<Option<Instant>>,
}

/// Names a cached statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The host's own SQL.
    Host(&'static str),
    /// A compiled statement of a plug-in, by its number.
    Plugin(u64),
}

struct Cached {
    stmt: Stmt,
    used: u64,
}

/// One connection's handle with its statement cache.
pub(crate) struct Raw<'h> {
    cache: HashMap<Key, Cached>,
    capacity: usize,
    clock: u64,
    db: NonNull<ffi::sqlite3>,
    hooks: Box<Hooks>,
    handle: PhantomData<&'h mut ffi::sqlite3>,
}

impl<'h> Raw<'h> {
    /// Takes over a handle lent by sqlx and hardens it.
    pub(crate) fn new(
        handle: &'h mut sqlx::sqlite::LockedSqliteHandle<'_>,
        capacity: usize,
    ) -> Result<Self, SqlError> {
        let db = handle.as_raw_handle();
        let hooks = Box::new(Hooks { mode: RefCell::new(Mode::Host), deadline: Cell::new(None) });
        let user = ptr::from_ref::<Hooks>(&hooks).cast_mut().cast::<c_void>();
        let raw =
            Self { cache: HashMap::new(), capacity, clock: 0, db, hooks, handle: PhantomData };
        // SAFETY: `db` is open and ours alone while the handle is lent; `user` points into a box
        // that lives as long as `raw`, whose drop removes both hooks first.
        unsafe {
            let p = db.as_ptr();
            for (option, on) in [
                (ffi::SQLITE_DBCONFIG_DEFENSIVE, 1),
                (ffi::SQLITE_DBCONFIG_DQS_DML, 0),
                (ffi::SQLITE_DBCONFIG_DQS_DDL, 0),
                (ffi::SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
                // Without it the planner looks at what `LIMIT $n` is bound to, and every binding of such
                // a parameter makes the engine prepare the statement anew: most of the time of a short query.
                (ffi::SQLITE_DBCONFIG_ENABLE_QPSG, 1),
            ] {
                check(p, ffi::sqlite3_db_config(p, option, on as c_int, ptr::null_mut::<c_int>()))?;
            }
            ffi::sqlite3_limit(p, ffi::SQLITE_LIMIT_ATTACHED, 0);
            ffi::sqlite3_limit(p, ffi::SQLITE_LIMIT_LENGTH, VALUE_MAX);
            ffi::sqlite3_hard_heap_limit64(HEAP_MAX);
            check(p, ffi::sqlite3_set_authorizer(p, Some(authorize), user))?;
            ffi::sqlite3_progress_handler(p, PROGRESS_STEPS, Some(progress), user);
        }
        Ok(raw)
    }

    /// Whose statements are prepared and run from now on.
    pub(crate) fn set_mode(&self, mode: Mode) {
        *self.hooks.mode.borrow_mut() = mode;
    }

    /// When running statements are interrupted.
    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        self.hooks.deadline.set(deadline);
    }

    /// Forgets all prepared statements: after schema changes.
    pub(crate) fn clear(&mut self) {
        self.cache.clear();
    }

    /// Forgets all prepared statements and reads the schema anew: the engine notices a change made
    /// by another connection only when a statement runs, which is too late for column names.
    pub(crate) fn refresh(&mut self) -> Result<(), SqlError> {
        self.clear();
        self.set_mode(Mode::Host);
        self.once("SELECT 1 FROM sqlite_schema LIMIT 1")
    }

    /// Whether a transaction is open.
    pub(crate) fn in_transaction(&self) -> bool {
        // SAFETY: the handle is open and ours.
        unsafe { ffi::sqlite3_get_autocommit(self.db.as_ptr()) == 0 }
    }

    /// Rows changed by the last INSERT, UPDATE or DELETE.
    pub(crate) fn changes(&self) -> u64 {
        // SAFETY: the handle is open and ours.
        let changes = unsafe { ffi::sqlite3_changes64(self.db.as_ptr()) };
        u64::try_from(changes).unwrap_or(0)
    }

    /// A prepared statement, from the cache if it is there.
    pub(crate) fn prepare(&mut self, key: Key, sql: &str) -> Result<&mut Stmt, SqlError> {
        self.clock += 1;
        let clock = self.clock;
        if !self.cache.contains_key(&key) {
            let stmt = Stmt::new(self.db, sql)?;
            if self.cache.len() >= self.capacity
                && let Some(oldest) = self.cache.iter().min_by_key(|(_, c)| c.used).map(|(k, _)| *k)
            {
                self.cache.remove(&oldest);
            }
            self.cache.insert(key, Cached { stmt, used: clock });
        }
        match self.cache.get_mut(&key) {
            Some(cached) => {
                cached.used = clock;
                Ok(&mut cached.stmt)
            }
            None => Err(SqlError::internal("statement cache")),
        }
    }

    /// Runs a statement of the host's without keeping it.
    pub(crate) fn once(&mut self, sql: &str) -> Result<(), SqlError> {
        Stmt::new(self.db, sql)?.run(&[], |_| Ok(()))
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        self.cache.clear();
        // SAFETY: the handle is still lent; no statement runs on this thread now.
        unsafe {
            ffi::sqlite3_progress_handler(self.db.as_ptr(), 0, None, ptr::null_mut());
            ffi::sqlite3_set_authorizer(self.db.as_ptr(), None, ptr::null_mut());
        }
    }
}

/// A prepared statement.
pub(crate) struct Stmt {
    stmt: NonNull<ffi::sqlite3_stmt>,
    db: NonNull<ffi::sqlite3>,
    columns: Vec<String>,
    boolean: Vec<bool>,
}

impl Stmt {
    fn new(db: NonNull<ffi::sqlite3>, sql: &str) -> Result<Self, SqlError> {
        let text = CString::new(sql).map_err(|_| SqlError::internal("NUL in a statement"))?;
        let length = c_int::try_from(text.as_bytes_with_nul().len())
            .map_err(|_| SqlError::internal("statement too long"))?;
        let mut raw = ptr::null_mut();
        let mut tail = ptr::null();
        // SAFETY: `text` is NUL-terminated and outlives the call; the handle is open and ours.
        let (stmt, rest) = unsafe {
            let flags = ffi::SQLITE_PREPARE_PERSISTENT;
            let code = ffi::sqlite3_prepare_v3(
                db.as_ptr(),
                text.as_ptr(),
                length,
                flags,
                &mut raw,
                &mut tail,
            );
            check(db.as_ptr(), code)?;
            let stmt = NonNull::new(raw).ok_or_else(|| SqlError::internal("empty statement"))?;
            (stmt, CStr::from_ptr(tail).to_bytes())
        };
        let mut this = Self { stmt, db, columns: Vec::new(), boolean: Vec::new() };
        if !rest.trim_ascii().is_empty() {
            return Err(SqlError::internal("more than one statement"));
        }
        // SAFETY: the statement is alive; names and types are NUL-terminated or null.
        unsafe {
            for i in 0..ffi::sqlite3_column_count(this.stmt.as_ptr()) {
                let name = text_of(ffi::sqlite3_column_name(this.stmt.as_ptr(), i));
                let kind = text_of(ffi::sqlite3_column_decltype(this.stmt.as_ptr(), i));
                this.columns.push(name.unwrap_or_default().to_owned());
                this.boolean.push(kind.is_some_and(|k| k.eq_ignore_ascii_case("boolean")));
            }
        }
        Ok(this)
    }

    /// Names of the result's columns.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Which result columns are declared `boolean`.
    pub(crate) fn boolean(&self) -> &[bool] {
        &self.boolean
    }

    /// Binds, steps through all rows, and resets whatever happens.
    pub(crate) fn run<E: From<SqlError>>(
        &mut self,
        params: &[Bind<'_>],
        mut row: impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let db = self.db.as_ptr();
        let width = self.columns.len();
        let running = Running(self.stmt);
        let stmt = running.0.as_ptr();
        // SAFETY: the statement is alive. Bound memory is borrowed for this call and unbound by
        // `Running` before it ends; the engine does not write to it.
        unsafe {
            for (i, param) in params.iter().enumerate() {
                let n = c_int::try_from(i + 1).unwrap_or(c_int::MAX);
                let code = match *param {
                    Bind::Null => ffi::sqlite3_bind_null(stmt, n),
                    Bind::Integer(v) => ffi::sqlite3_bind_int64(stmt, n, v),
                    Bind::Double(v) => ffi::sqlite3_bind_double(stmt, n, v),
                    Bind::Text(v) => ffi::sqlite3_bind_text64(
                        stmt,
                        n,
                        v.as_ptr().cast::<c_char>(),
                        v.len() as u64,
                        None,
                        ffi::SQLITE_UTF8 as u8,
                    ),
                    Bind::Blob(v) => ffi::sqlite3_bind_blob64(
                        stmt,
                        n,
                        v.as_ptr().cast::<c_void>(),
                        v.len() as u64,
                        None,
                    ),
                };
                check(db, code)?;
            }
            loop {
                match ffi::sqlite3_step(stmt) {
                    ffi::SQLITE_ROW => {
                        // Prepared anew under the hood, after a migration in between.
                        if usize::try_from(ffi::sqlite3_column_count(stmt)).ok() != Some(width) {
                            let message = "the schema has just changed: try again".to_owned();
                            return Err(SqlError { code: ffi::SQLITE_SCHEMA, message }.into());
                        }
                        row(&Row { stmt: running.0, run: PhantomData })?;
                    }
                    ffi::SQLITE_DONE => return Ok(()),
                    code => {
                        check(db, code)?;
                        return Err(SqlError::internal("unexpected step result").into());
                    }
                }
            }
        }
    }
}

impl Drop for Stmt {
    fn drop(&mut self) {
        // SAFETY: finalized once, here.
        unsafe {
            ffi::sqlite3_finalize(self.stmt.as_ptr());
        }
    }
}

struct Running(NonNull<ffi::sqlite3_stmt>);

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: the statement outlives the run that borrows it.
        unsafe {
            ffi::sqlite3_reset(self.0.as_ptr());
            ffi::sqlite3_clear_bindings(self.0.as_ptr());
        }
    }
}

/// The row that a running statement stands on.
pub(crate) struct Row<'a> {
    stmt: NonNull<ffi::sqlite3_stmt>,
    run: PhantomData<&'a ()>,
}

impl Row<'_> {
    /// A cell; null past the last column.
    pub(crate) fn get(&self, column: usize) -> Cellv<'_> {
        let i = c_int::try_from(column).unwrap_or(c_int::MAX);
        let stmt = self.stmt.as_ptr();
        // SAFETY: the statement stands on a row; pointers are read before the next step because
        // the result borrows this row. Out of range is null.
        unsafe {
            match ffi::sqlite3_column_type(stmt, i) {
                ffi::SQLITE_INTEGER => Cellv::Integer(ffi::sqlite3_column_int64(stmt, i)),
                ffi::SQLITE_FLOAT => Cellv::Double(ffi::sqlite3_column_double(stmt, i)),
                ffi::SQLITE_TEXT => {
                    let data = ffi::sqlite3_column_text(stmt, i);
                    Cellv::Text(bytes(data, ffi::sqlite3_column_bytes(stmt, i)))
                }
                ffi::SQLITE_BLOB => {
                    let data = ffi::sqlite3_column_blob(stmt, i).cast::<u8>();
                    Cellv::Blob(bytes(data, ffi::sqlite3_column_bytes(stmt, i)))
                }
                _ => Cellv::Null,
            }
        }
    }

    /// An integer cell of the host's tables; anything else is 0.
    pub(crate) fn int(&self, column: usize) -> i64 {
        match self.get(column) {
            Cellv::Integer(v) => v,
            _ => 0,
        }
    }

    /// A text cell of the host's tables; anything else is empty.
    pub(crate) fn text(&self, column: usize) -> String {
        match self.get(column) {
            Cellv::Text(v) => String::from_utf8_lossy(v).into_owned(),
            _ => String::new(),
        }
    }
}

/// # Safety
/// `data` is null or points to `length` bytes that live for `'a`.
unsafe fn bytes<'a>(data: *const u8, length: c_int) -> &'a [u8] {
    match usize::try_from(length) {
        // SAFETY: as promised by the caller.
        Ok(length) if !data.is_null() => unsafe { std::slice::from_raw_parts(data, length) },
        _ => &[],
    }
}

/// # Safety
/// `text` is null or NUL-terminated and lives for `'a`.
unsafe fn text_of<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}

/// # Safety
/// `db` is an open handle that is ours.
unsafe fn check(db: *mut ffi::sqlite3, code: c_int) -> Result<(), SqlError> {
    if code == ffi::SQLITE_OK {
        return Ok(());
    }
    // SAFETY: the message is NUL-terminated and copied at once.
    let message = unsafe { text_of(ffi::sqlite3_errmsg(db)) }.unwrap_or_default().to_owned();
    // SAFETY: as promised by the caller.
    let extended = unsafe { ffi::sqlite3_extended_errcode(db) };
    // A stale code of the handle must not hide the one at hand.
    let code = if extended & 0xff == code & 0xff { extended } else { code };
    Err(SqlError { code, message })
}

unsafe extern "C" fn authorize(
    user: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _database: *const c_char,
    accessor: *const c_char,
) -> c_int {
    // SAFETY: `user` is the `Hooks` given at registration, alive until the hook is removed; the
    // texts are null or NUL-terminated for the duration of the call.
    let allowed = unsafe {
        let hooks = &*user.cast::<Hooks>();
        match hooks.mode.try_borrow() {
            Ok(mode) => mode.allows(action, text_of(first), text_of(second), text_of(accessor)),
            Err(_) => false,
        }
    };
    if allowed { ffi::SQLITE_OK } else { ffi::SQLITE_DENY }
}

unsafe extern "C" fn progress(user: *mut c_void) -> c_int {
    // SAFETY: as in `authorize`.
    let hooks = unsafe { &*user.cast::<Hooks>() };
    c_int::from(hooks.deadline.get().is_some_and(|deadline| Instant::now() >= deadline))
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;

    #[tokio::test]
    async fn a_bound_limit_does_not_prepare_the_statement_anew() {
        let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut handle = connection.lock_handle().await.unwrap();
        let mut raw = Raw::new(&mut handle, 10).unwrap();
        let sql = "SELECT name FROM sqlite_schema ORDER BY name LIMIT ?1";
        let stmt = raw.prepare(Key::Host(sql), sql).unwrap();
        for limit in [5, 5, 7] {
            stmt.run::<SqlError>(&[Bind::Integer(limit)], |_| Ok(())).unwrap();
        }
        // SAFETY: the statement is alive and ours.
        let anew = unsafe {
            ffi::sqlite3_stmt_status(stmt.stmt.as_ptr(), ffi::SQLITE_STMTSTATUS_REPREPARE, 0)
        };
        assert_eq!(anew, 0);
    }
}
