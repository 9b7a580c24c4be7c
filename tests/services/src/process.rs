//! What the kernel tells of processes, from `/proc`.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::guard::run;

/// Clock ticks a second in `/proc/PID/stat`: 100 on every Linux that matters (`getconf CLK_TCK`).
const TICKS_PER_SECOND: u64 = 100;

/// The fields of `/proc/PID/stat` behind the command's name: state first, then the parent.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold blanks.
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Whether a process runs. One that has ended and was not waited for does not.
#[must_use]
pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z"))
}

/// The processes that this one has started itself and that are still there.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let parent = pid.to_string();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .filter(|child| stat(*child).is_some_and(|fields| fields.get(1) == Some(&parent)))
        .collect()
}

/// Sends a signal such as `KILL`. No error if there is no such process.
pub fn signal(pid: u32, signal: &str) {
    let _ = run(Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()));
}

/// Waits until none of these runs any more; gives up after `patience`.
pub fn wait_for(pids: &[u32], patience: Duration) {
    let until = Instant::now() + patience;
    while pids.iter().any(|pid| alive(*pid)) && Instant::now() < until {
        sleep(Duration::from_millis(5));
    }
}

/// CPU time (user and system) of a process, its children, and those of them that have ended; exact
/// to 10 ms. Zero for a process that is gone.
#[must_use]
pub fn cpu_of_family(pid: u32) -> Duration {
    let ticks = |pid: u32, fields: std::ops::Range<usize>| -> u64 {
        let stat = stat(pid).unwrap_or_default();
        stat.get(fields).unwrap_or_default().iter().filter_map(|f| f.parse::<u64>().ok()).sum()
    };
    // utime, stime, and both of the children that were waited for.
    let own = ticks(pid, 11..15);
    let theirs: u64 = children(pid).into_iter().map(|child| ticks(child, 11..13)).sum();
    Duration::from_millis((own + theirs) * 1000 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_counted_and_gone_after_kill() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let own = std::process::id();
        assert!(children(own).contains(&child.id()));
        assert!(alive(child.id()));
        signal(child.id(), "KILL");
        wait_for(&[child.id()], Duration::from_secs(10));
        assert!(!alive(child.id()));
        child.wait().unwrap();
        assert_eq!(cpu_of_family(child.id()), Duration::ZERO);
    }
}
