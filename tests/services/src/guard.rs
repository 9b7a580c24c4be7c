//! A server under a shell that ends it when its starter is gone.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Failure, process};

/// How long a server may take to come up or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The shell reads a line from its starter: end of file means that the starter is gone, and then the
/// folder goes too.
const SCRIPT: &str = r#"
folder=$1; shift
trap '' INT TERM HUP
"$@" >>"$folder/log" 2>&1 </dev/null &
echo $! >"$folder/pid.new"; mv "$folder/pid.new" "$folder/pid"
read -r _; ended=$?
kill -QUIT "$(cat "$folder/pid")" 2>/dev/null
wait
[ "$ended" = 0 ] || rm -rf "$folder"
"#;

/// A folder that is removed on drop.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// `user`: who owns it besides root.
    pub(crate) fn new(kind: &str, user: Option<&str>) -> Result<Self, Failure> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tessera-{kind}-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        // What a process of the same id has left.
        let _ = fs::remove_dir_all(&folder.0);
        fs::create_dir_all(&folder.0).map_err(|e| format!("{}: {e}", folder.0.display()))?;
        if let Some(user) = user {
            own(&folder.0, user)?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Gives a folder and what is in it to `user`.
pub(crate) fn own(path: &Path, user: &str) -> Result<(), Failure> {
    run(Command::new("chown").arg("-R").arg(user).arg(path)).map(drop)
}

/// Runs a program to its end; gives its standard output.
pub(crate) fn run(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {error}", command.get_program().to_string_lossy()))
}

/// A port that nobody listened at a moment ago.
pub(crate) fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|e| e.to_string())
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
    folder: PathBuf,
}

impl Guard {
    /// Starts `command` (program first) and waits until `ready` says so.
    pub(crate) fn start(
        folder: &Path,
        command: &[String],
        ready: impl FnMut() -> bool,
    ) -> Result<Self, Failure> {
        Self::start_within(folder, command, PATIENCE, ready)
    }

    /// As [`Guard::start`], for what takes longer.
    pub(crate) fn start_within(
        folder: &Path,
        command: &[String],
        patience: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<Self, Failure> {
        let _ = fs::remove_file(folder.join("pid"));
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal is for the starter, which ends its servers in order.
            .process_group(0)
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        let guard = Self { shell, folder: folder.to_owned() };
        let until = Instant::now() + patience;
        while !ready() {
            if Instant::now() > until || !guard.alive() {
                return Err(format!("{command:?} did not come up:\n{}", guard.log()));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(guard)
    }

    /// The server's own process id, once the shell has written it.
    pub(crate) fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()
    }

    /// Before the shell has written the id, the server counts as alive.
    fn alive(&self) -> bool {
        self.pid().is_none_or(process::alive)
    }

    fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(self.folder.join("log")) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }

    /// Sends a signal (`KILL`, `QUIT`, `STOP`, `CONT`) to the server itself.
    pub(crate) fn signal(&self, signal: &str) {
        if let Some(pid) = self.pid() {
            process::signal(pid, signal);
        }
    }

    /// Waits until the server has ended.
    pub(crate) fn wait(&self) {
        let until = Instant::now() + PATIENCE;
        while self.alive() && Instant::now() < until {
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.signal("CONT");
        if let Some(mut stdin) = self.shell.stdin.take() {
            // An error: the shell is gone already.
            let _ = stdin.write_all(b"stop\n");
        }
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if !matches!(self.shell.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(5));
        }
        self.signal("KILL");
        let _ = self.shell.wait();
    }
}
