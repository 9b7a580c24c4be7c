//! Where PostgreSQL is (`[storage]`), and connecting to it.

use std::{env, fs, time::Duration};

use anyhow::{Context, Result, bail};
use tessera_manifest::{Descriptor, StorageEngine};
use tessera_storage::{Postgres, PostgresConfig};

/// Goes before `[storage] url`: it keeps the password out of files.
const VARIABLE: &str = "TESSERA_STORAGE_URL";

/// How long the first connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to the descriptor's PostgreSQL; none where it wants SQLite.
pub(crate) async fn connect(descriptor: &Descriptor) -> Result<Option<Postgres>> {
    let storage = &descriptor.storage;
    if storage.engine != StorageEngine::Postgres {
        return Ok(None);
    }
    let url = url(descriptor)?;
    let config = PostgresConfig {
        connections: storage.connections.get() as usize,
        queue: storage.read_queue.get() as usize,
        connect_timeout: PATIENCE,
        ..PostgresConfig::new(&url)
    };
    let postgres = Postgres::connect(config)
        .await
        .with_context(|| format!("cannot use the PostgreSQL database {}", shown(&url)))?;
    Ok(Some(postgres))
}

/// The URL that holds: the environment's, the descriptor's, its file's.
fn url(descriptor: &Descriptor) -> Result<String> {
    let storage = &descriptor.storage;
    if let Some(url) = env::var(VARIABLE).ok().filter(|url| !url.is_empty()) {
        return Ok(url);
    }
    if let Some(url) = &storage.url {
        return Ok(url.clone());
    }
    if let Some(path) = &storage.url_file {
        let text = fs::read_to_string(path)
            .with_context(|| format!("`[storage] url-file`: cannot read {}", path.display()))?;
        return Ok(text.trim().to_owned());
    }
    bail!(
        "`[storage] engine = \"postgres\"` needs to know where: set `url` or `url-file` there, or {VARIABLE}, to postgres://USER:PASSWORD@HOST/DATABASE"
    )
}

/// Whether `place` is a URL of PostgreSQL, and not a path.
pub(crate) fn is_url(place: &str) -> bool {
    place.starts_with("postgres://") || place.starts_with("postgresql://")
}

/// A URL as it may be shown: without the password, whichever place it stands in. Of one that is not written as
/// it should be, nothing is shown.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".to_owned() };
    // The last `@`, because a password that was not escaped may hold one.
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(l, p)| (Some(l), p));
    if login.is_some_and(|login| login.contains(['/', '?', '#'])) {
        return format!("{scheme}://…");
    }
    let login = login.map(|login| match login.split_once(':') {
        Some((user, _)) => format!("{user}:…@"),
        None => format!("{login}@"),
    });
    let (place, query) = place.split_once('?').unwrap_or((place, ""));
    let keys: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.to_ascii_lowercase().contains("password"))
        .collect();
    let mark = if keys.is_empty() { "" } else { "?" };
    format!("{scheme}://{}{place}{mark}{}", login.unwrap_or_default(), keys.join("&"))
}

#[cfg(test)]
mod tests {
    use super::{is_url, shown};

    #[test]
    fn a_password_is_never_shown() {
        for (url, said) in [
            ("postgres://me:secret@host:1/db", "postgres://me:…@host:1/db"),
            (
                "postgres://me:se:c@re@host/db?sslmode=require",
                "postgres://me:…@host/db?sslmode=require",
            ),
            ("postgres://me@host/db", "postgres://me@host/db"),
            ("postgres://host/db?user=me&password=secret", "postgres://host/db?user=me"),
            ("postgres://host/db?PASSWORD=secret", "postgres://host/db"),
            ("postgres://me:sec?secret@host/db", "postgres://…"),
            ("postgres://host/db?password=secret@x", "postgres://…"),
            ("me:secret@host", "…"),
            ("postgres:///db?host=/run", "postgres:///db?host=/run"),
        ] {
            assert_eq!(shown(url), said);
            assert!(!shown(url).contains("secret"));
        }
    }

    #[test]
    fn a_url_is_told_from_a_path() {
        assert!(is_url("postgres://host/db") && is_url("postgresql:///db"));
        assert!(!is_url("data") && !is_url("/var/lib/tessera"));
    }
}
