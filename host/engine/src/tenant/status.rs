//! How plug-ins fare.

use std::collections::BTreeMap;

use serde::Serialize;

use super::trial::Compared;
use crate::pool::{Health, Pool};

/// How one plug-in fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginStatus {
    /// From the manifest.
    pub name: String,
    /// From the manifest.
    pub version: String,
    /// Running, paused or quarantined.
    pub health: Health,
    /// Instances alive, of all its versions.
    pub instances: u64,
    /// Those of them that run nothing.
    pub idle: u64,
    /// Bytes of its file.
    pub size: u64,
    /// What this version has done since it was put in.
    pub figures: VersionFigures,
    /// Another version beside it.
    pub trial: Option<TrialStatus>,
}

/// What one version has done on this node since it was put in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VersionFigures {
    /// Calls that ended.
    pub calls: u64,
    /// Those of them that went wrong.
    pub faults: u64,
    /// Half of the calls took at most so many microseconds.
    pub p50_us: u64,
    /// 99 of 100 calls took at most so many microseconds.
    pub p99_us: u64,
}

/// A version beside the one that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrialStatus {
    /// From its manifest.
    pub version: String,
    /// Its share of the calls in ten thousandths; none: it is a shadow.
    pub share: Option<u32>,
    /// Running, paused or quarantined.
    pub health: Health,
    /// What it has done.
    pub figures: VersionFigures,
    /// Of a shadow: how its answers compare, by function.
    pub compared: BTreeMap<String, Compared>,
}

pub(super) fn figures(pool: &Pool) -> VersionFigures {
    let read = pool.score.read();
    VersionFigures {
        calls: read.calls,
        faults: read.faults,
        p50_us: read.percentile_us(50),
        p99_us: read.percentile_us(99),
    }
}
