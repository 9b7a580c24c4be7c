//! Figures: a name, a value, a unit; read and written as JSON.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// `load: what`, the same for every server.
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// A figure of a load.
pub(crate) fn figure(name: impl Into<String>, value: f64, unit: &'static str) -> Figure {
    Figure { name: name.into(), value, unit }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.name, short(self.value), self.unit)
    }
}

/// A value with three digits that say something.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Figures in the order of their loads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Results(pub(crate) Vec<Figure>);

/// Every unit that is written, so that reading gives the same.
const UNITS: [&str; 9] = ["ms", "µs", "/s", "KiB", "MiB", "MiB/s", "%", "×", ""];

impl Results {
    /// Adds a figure, in place of an older one of its name.
    pub(crate) fn put(&mut self, figure: Figure) {
        match self.0.iter_mut().find(|f| f.name == figure.name) {
            Some(old) => *old = figure,
            None => self.0.push(figure),
        }
    }

    /// These figures with newer ones over them.
    pub(crate) fn with(mut self, newer: &Self) -> Self {
        for figure in &newer.0 {
            self.put(figure.clone());
        }
        self
    }

    /// The value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|f| f.name == name).map(|f| f.value)
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let value: Value =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let list = value.get("figures").and_then(Value::as_array).context("no figures")?;
        let mut results = Self::default();
        for entry in list {
            let text = |field: &str| {
                entry.get(field).and_then(Value::as_str).with_context(|| format!("no {field}"))
            };
            let unit = text("unit")?;
            let unit = UNITS
                .into_iter()
                .find(|u| *u == unit)
                .with_context(|| format!("unknown unit {unit}"))?;
            let value = entry.get("value").and_then(Value::as_f64).context("no value")?;
            results.put(figure(text("name")?, value, unit));
        }
        Ok(results)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let figures: Vec<Value> = self
            .0
            .iter()
            .map(|f| json!({"name": f.name, "value": f.value, "unit": f.unit}))
            .collect();
        let text = format!("{:#}\n", json!({"figures": figures}));
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }
}

/// `NAME=FILE`.
pub(crate) fn parse_peer(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("wanted NAME=FILE")?;
    Ok((name.to_owned(), file.into()))
}

#[cfg(test)]
mod tests {
    use super::{Results, figure, short};

    #[test]
    fn newer_figures_replace_older_in_place() {
        let mut old = Results(vec![figure("a", 1.0, "ms"), figure("b", 2.0, "ms")]);
        let new = Results(vec![figure("a", 3.0, "ms"), figure("c", 4.0, "/s")]);
        old = old.with(&new);
        let values: Vec<_> = old.0.iter().map(|f| (f.name.as_str(), f.value)).collect();
        assert_eq!(values, [("a", 3.0), ("b", 2.0), ("c", 4.0)]);
    }

    #[test]
    fn written_figures_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("figures.json");
        let results = Results(vec![figure("send: CPU", 0.75, "ms"), figure("idle", 12.0, "KiB")]);
        results.write(&file).unwrap();
        assert_eq!(Results::read(&file).unwrap().0, results.0);
    }

    #[test]
    fn values_keep_three_digits() {
        assert_eq!(
            [short(0.1234), short(1.234), short(12.34), short(1234.5)],
            ["0.123", "1.23", "12.3", "1234"]
        );
    }
}
