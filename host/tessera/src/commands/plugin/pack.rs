//! `tessera plugin pack`

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::Args;
use tessera_package::{Package, Provenance, SecretKey, build::write_if_changed};

use super::size;
use crate::{authoring::CAP, manifests::Described};

#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// The module's file, or the folder to build first.
    file: PathBuf,
    /// The package to make; none: NAME-VERSION.tar.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where its source is.
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// Which revision of the source it was built of.
    #[arg(long)]
    revision: Option<String>,
    /// Sign it with this secret key's file, too.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Makes a package of a module.
pub(crate) fn run(arguments: &Pack) -> Result<()> {
    let file = if arguments.file.is_dir() {
        crate::authoring::build(&arguments.file, None)?.path
    } else {
        arguments.file.clone()
    };
    let module = Package::read_file(&file, CAP)?;
    let described = Described::read(&file.display().to_string(), module.component())?;
    let provenance = Provenance {
        source: arguments.source.clone(),
        revision: arguments.revision.clone(),
        built_by: Some(format!("tessera {}", env!("CARGO_PKG_VERSION"))),
        created: Some(rfc3339(now())),
        asks: described.asked.words(),
    };
    let mut package = Package::new(module.component().to_vec(), provenance)?;
    if let Some(key) = &arguments.key {
        package.sign(&SecretKey::read(key)?);
    }
    let out = arguments.out.clone().unwrap_or_else(|| package.file_name().into());
    let archive = package.archive()?;
    write_if_changed(&out, &archive).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}  {}  {}", out.display(), size(archive.len()), package.verify(&[]));
    Ok(())
}

/// Seconds since 1970: as SOURCE_DATE_EPOCH says, for builds that shall give the same bytes again, else now.
fn now() -> u64 {
    let said = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    said.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    })
}

/// `2026-01-31T12:00:00Z`
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days of the civil calendar, in eras of 400 years that begin in March.
    let from_era = days + 719_468;
    let (era, day_of_era) = (from_era / 146_097, from_era % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn seconds_become_dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_798_761_599), "2026-12-31T23:59:59Z");
    }
}
