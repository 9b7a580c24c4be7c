//! A PostgreSQL server, and databases in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::guard::{Folder, Guard, free_port, own, run};
use crate::process;

/// The user under which the server runs when the tests run as root, which it refuses.
const USER: &str = "postgres";

/// How long its processes may take to be gone after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server. What it stores outlives [`Postgres::kill`], not the server's folder.
#[derive(Debug)]
pub struct Postgres {
    guard: Mutex<Option<Guard>>,
    folder: Folder,
    port: u16,
    disk: Disk,
}

/// What the server does for its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// Nothing: a crash of the machine may cost everything.
    Careless,
    /// What an operator's does: commits are synced.
    Durable,
}

/// A new, empty database, dropped with this.
#[derive(Debug)]
pub struct TestDatabase {
    admin: String,
    name: String,
    url: String,
    server: Option<Arc<Postgres>>,
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

/// Where the server's programs are: the newest of those known.
fn programs() -> Result<PathBuf, Failure> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        let bin = entry.path().join("bin");
        if let Ok(version) = entry.file_name().to_string_lossy().parse()
            && bin.join("initdb").exists()
        {
            found.push((version, bin));
        }
    }
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return Ok(bin);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|folder| folder.join("initdb").exists())
        .ok_or_else(|| "no PostgreSQL server (initdb) is installed".to_owned())
}

/// `program` under the server's user.
fn as_user(program: &Path) -> Vec<String> {
    let program = program.display().to_string();
    if !is_root() {
        return vec![program];
    }
    let setpriv = format!("setpriv --reuid={USER} --regid={USER} --clear-groups --");
    setpriv.split(' ').map(str::to_owned).chain([program]).collect()
}

fn command(words: &[String]) -> Command {
    let mut words = words.iter();
    let mut command = Command::new(words.next().map_or("false", String::as_str));
    command.args(words).current_dir("/");
    command
}

impl Postgres {
    /// Whether the programs are there; the error says which are not.
    ///
    /// # Errors
    /// No server is installed.
    pub fn installed() -> Result<(), Failure> {
        programs().map(drop)
    }

    /// Starts a server of its own, with nothing in it. Nothing is synced to disk.
    ///
    /// # Errors
    /// The programs are missing or do not come up.
    pub fn start() -> Result<Self, Failure> {
        Self::start_on(Disk::Careless)
    }

    /// As [`Postgres::start`], with every commit synced and the memory of a small server: for
    /// servers that are killed, and for measuring.
    ///
    /// # Errors
    /// The programs are missing or do not come up.
    pub fn durable() -> Result<Self, Failure> {
        Self::start_on(Disk::Durable)
    }

    fn start_on(disk: Disk) -> Result<Self, Failure> {
        let bin = programs()?;
        let user = is_root().then_some(USER);
        let folder = Folder::new("postgres", user)?;
        let data = folder.0.join("data");
        let mut init = as_user(&bin.join("initdb"));
        let options = "-E UTF8 --locale=C -A trust -U postgres --no-sync --no-instructions -D";
        init.extend(options.split(' ').map(str::to_owned));
        init.push(data.display().to_string());
        run(&mut command(&init))?;
        let mut failure = String::new();
        // Another process may take the port between look and start.
        for _ in 0..5 {
            let port = free_port()?;
            match launch(&folder, port, disk) {
                Ok(guard) => {
                    return Ok(Self { guard: Mutex::new(Some(guard)), folder, port, disk });
                }
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    /// The superuser's address of the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The process id of its first process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Guard::pid)
    }

    /// CPU time of all its processes since it started; those that have ended are counted in.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        self.pid().map(process::cpu_of_family)
    }

    /// Ends all its processes with SIGKILL: what was not written is lost, connections break.
    pub fn kill(&self) {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(guard) = guard else { return };
        let Some(pid) = guard.pid() else { return };
        // Without its first process no other one is started.
        guard.signal("KILL");
        let children = process::children(pid);
        for child in &children {
            process::signal(*child, "KILL");
        }
        guard.wait();
        // Those that were not its children when they were counted end by themselves.
        process::wait_for(&children, PATIENCE);
    }

    /// Starts the server again, at the same address and with what it had stored; one that still
    /// runs is killed first.
    ///
    /// # Errors
    /// It does not come up.
    pub fn restart(&self) -> Result<(), Failure> {
        self.kill();
        // A process that was being forked when the others were killed holds the shared memory until it sees that it is
        // alone.
        let end = Instant::now() + PATIENCE;
        let guard = loop {
            match launch(&self.folder, self.port, self.disk) {
                Err(error) if error.contains("is still in use") && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                launched => break launched?,
            }
        };
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
        Ok(())
    }
}

fn launch(folder: &Folder, port: u16, disk: Disk) -> Result<Guard, Failure> {
    let data = folder.0.join("data");
    let mut words = as_user(&programs()?.join("postgres"));
    words.extend(["-D".to_owned(), data.display().to_string()]);
    let (fsync, buffers) = match disk {
        Disk::Careless => ("off", "32MB"),
        Disk::Durable => ("on", "128MB"),
    };
    for setting in [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        format!("fsync={fsync}"),
        format!("shared_buffers={buffers}"),
        "max_connections=200".to_owned(),
    ] {
        words.extend(["-c".to_owned(), setting]);
    }
    if is_root() {
        own(&data, USER)?;
    }
    let pid = data.join("postmaster.pid");
    // Its eighth line tells the state; a crash leaves the file, not the process.
    let _ = fs::remove_file(&pid);
    Guard::start(&folder.0, &words, || {
        let text = fs::read_to_string(&pid).unwrap_or_default();
        text.lines().nth(7).is_some_and(|state| state.trim() == "ready")
    })
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server that the tests of this process share, while one of them has a database.
fn shared() -> Result<Arc<Postgres>, Failure> {
    static SHARED: OnceLock<Mutex<Weak<Postgres>>> = OnceLock::new();
    let mut shared =
        SHARED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Ok(server);
    }
    let server = Arc::new(Postgres::start()?);
    *shared = Arc::downgrade(&server);
    Ok(server)
}

impl TestDatabase {
    /// A new database on the server that `TESSERA_TEST_POSTGRES` (a superuser's address) names, or
    /// else on one that is started for it.
    ///
    /// # Errors
    /// There is no server to be had.
    pub fn new() -> Result<Self, Failure> {
        match std::env::var("TESSERA_TEST_POSTGRES") {
            Ok(url) => Self::make(url, None),
            Err(_) => {
                let server = shared()?;
                Self::make(server.url(), Some(server))
            }
        }
    }

    /// A new database on this very server.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn on(server: &Arc<Postgres>) -> Result<Self, Failure> {
        Self::make(server.url(), Some(server.clone()))
    }

    fn make(admin: String, server: Option<Arc<Postgres>>) -> Result<Self, Failure> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanos = now.map_or(0, |time| time.subsec_nanos());
        let name = format!("test_{}_{number}_{nanos}", std::process::id());
        let (head, tail) = admin.split_once('?').map_or((admin.as_str(), ""), |parts| parts);
        let address = head.rsplit_once('/').map_or(head, |(address, _)| address);
        let query = if tail.is_empty() { String::new() } else { format!("?{tail}") };
        let url = format!("{address}/{name}{query}");
        let database = Self { admin, name, url, server };
        database.admin(&format!("CREATE DATABASE {}", database.name))?;
        Ok(database)
    }

    /// Its address, as the superuser.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server, if it was started by this process.
    #[must_use]
    pub fn server(&self) -> Option<&Arc<Postgres>> {
        self.server.as_ref()
    }

    /// Runs SQL in this database by `psql`; gives its unaligned output without headers.
    ///
    /// # Errors
    /// What `psql` says.
    pub fn sql(&self, sql: &str) -> Result<String, Failure> {
        psql(&self.url, sql)
    }

    fn admin(&self, sql: &str) -> Result<String, Failure> {
        psql(&self.admin, sql)
    }
}

fn psql(url: &str, sql: &str) -> Result<String, Failure> {
    let program = programs().map(|bin| bin.join("psql")).unwrap_or_else(|_| "psql".into());
    run(Command::new(program).args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        sql,
        url,
    ]))
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A server that ends with this takes it along.
        if self.server.as_ref().is_none_or(|server| Arc::strong_count(server) > 1) {
            let roles = format!(
                "SELECT string_agg(format('DROP ROLE %I', r.rolname), ';') FROM pg_roles AS r \
                 JOIN pg_shdescription AS d ON d.objoid = r.oid \
                 AND d.classoid = 'pg_authid'::regclass WHERE d.description = 'tessera {}'",
                self.name
            );
            let drops = self.admin(&roles).unwrap_or_default();
            let _ = self.admin(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
            if !drops.trim().is_empty() {
                let _ = self.admin(drops.trim());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_made_and_outlives_a_crash_of_its_server() {
        let server = match Postgres::start() {
            Ok(server) => Arc::new(server),
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return;
            }
        };
        let database = TestDatabase::on(&server).unwrap();
        database.sql("CREATE TABLE t (a int)").unwrap();
        database.sql("INSERT INTO t VALUES (5)").unwrap();
        server.kill();
        database.sql("SELECT 1").unwrap_err();
        server.restart().unwrap();
        assert_eq!(database.sql("SELECT a FROM t").unwrap().trim(), "5");
    }
}
