//! What the kernel counts for a process: CPU time and resident memory, from `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Clock ticks a second in `/proc/PID/stat`: 100 on every Linux that matters (`getconf CLK_TCK`).
const TICKS_PER_SECOND: u64 = 100;

/// User and system CPU time of a process and its threads since it started, exact to 10 ms.
///
/// # Errors
/// There is no such process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid}"))?;
    // The second field is the command in parentheses and may hold blanks: count from behind it.
    let (_, rest) = stat.rsplit_once(')').context("malformed /proc stat")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks =
        || fields.next().and_then(|f| f.parse::<u64>().ok()).context("malformed /proc stat");
    Ok(Duration::from_millis((ticks()? + ticks()?) * 1000 / TICKS_PER_SECOND))
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// There is no such process.
pub fn rss(pid: u32) -> Result<u64> {
    Ok(status(pid, "VmRSS:")? * 1024)
}

/// Threads of a process.
///
/// # Errors
/// There is no such process.
pub fn threads(pid: u32) -> Result<usize> {
    Ok(usize::try_from(status(pid, "Threads:")?)?)
}

/// Files, sockets and the like that a process has open.
///
/// # Errors
/// There is no such process.
pub fn files(pid: u32) -> Result<usize> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).with_context(|| format!("process {pid}"))?;
    Ok(open.count())
}

/// A number in `/proc/PID/status`.
fn status(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next()).context("no such field")?;
    number.parse().with_context(|| format!("malformed {field} {number}"))
}

#[cfg(test)]
mod tests {
    use super::{cpu, files, rss, threads};

    #[test]
    fn own_process_has_memory_and_cpu() {
        let pid = std::process::id();
        assert!(rss(pid).unwrap() > 100_000);
        assert!(threads(pid).unwrap() > 0);
        let (before, _file) = (files(pid).unwrap(), std::fs::File::open("/dev/null").unwrap());
        assert!(files(pid).unwrap() > before);
        let before = cpu(pid).unwrap();
        let mut x = 1u64;
        while cpu(pid).unwrap() == before {
            for i in 0..1_000_000u64 {
                x = std::hint::black_box(x.wrapping_mul(i | 1));
            }
        }
    }

    #[test]
    fn missing_process_is_an_error() {
        assert!(cpu(u32::MAX).is_err());
    }
}
