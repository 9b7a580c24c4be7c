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
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid}"))?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .context("no VmRSS in /proc status")?;
    let kib =
        line.trim().trim_end_matches("kB").trim().parse::<u64>().context("malformed VmRSS")?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::{cpu, rss};

    #[test]
    fn own_process_has_memory_and_cpu() {
        let pid = std::process::id();
        assert!(rss(pid).unwrap() > 100_000);
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
