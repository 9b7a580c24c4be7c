//! One JSON line for each check, as the other client scripts write them.

use std::{
    fmt::Display,
    process::exit,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::json;

static HELD: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Says whether a check holds, and hands on what it gave.
pub fn check<T>(name: impl Display, outcome: Result<T>) -> Option<T> {
    match outcome {
        Ok(value) => {
            HELD.fetch_add(1, Ordering::Relaxed);
            println!("{}", json!({"ok": name.to_string()}));
            Some(value)
        }
        Err(error) => {
            FAILED.fetch_add(1, Ordering::Relaxed);
            println!("{}", json!({"fail": name.to_string(), "detail": format!("{error:#}")}));
            None
        }
    }
}

/// A check without which the rest makes no sense.
pub fn need<T>(name: impl Display, outcome: Result<T>) -> T {
    check(name, outcome).unwrap_or_else(|| finish())
}

/// The last line, and the end.
pub fn finish() -> ! {
    let (ok, fail) = (HELD.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed));
    println!("{}", json!({"done": {"ok": ok, "fail": fail}}));
    exit(i32::from(fail > 0 || ok == 0))
}

/// Looks until `condition` gives something: the services work in tasks of their own.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let patience = std::env::var("E2E_PATIENCE_MS").ok().and_then(|ms| ms.parse().ok());
    let patience = Duration::from_millis(patience.unwrap_or(15_000));
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if started.elapsed() > patience {
            bail!("{what}: not so within {patience:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
