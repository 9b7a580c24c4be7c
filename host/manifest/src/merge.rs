//! One descriptor over another.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::{Problem, locate};

/// Reads what `text` over `below` makes.
pub(crate) fn read<T: DeserializeOwned>(below: &str, file: &str, text: &str) -> Result<T, Problem> {
    let mut merged: Table = locate::read("embedded default", below)?;
    merge(&mut merged, locate::read(file, text)?);
    T::deserialize(Value::Table(merged)).map_err(|error| {
        let message = format!("together with the embedded default: {}", error.message());
        Problem::at(file, text, None, String::new(), message, Vec::new())
    })
}

/// Reads what `text` over `below`, and `changes` over both, make.
pub(crate) fn read_layers<T: DeserializeOwned>(
    below: &str,
    file: &str,
    text: &str,
    overlay: &str,
    changes: &Table,
) -> Result<T, Problem> {
    let mut merged: Table = locate::read("embedded default", below)?;
    merge(&mut merged, locate::read(file, text)?);
    merge(&mut merged, changes.clone());
    // With its places where it is wrong by itself already.
    let shown = changes.to_string();
    T::deserialize(Value::Table(changes.clone()))
        .and_then(|_| T::deserialize(Value::Table(merged)))
        .map_err(|error| {
            let message = error.message().to_owned();
            Problem::at(overlay, &shown, None, String::new(), message, Vec::new())
        })
}

/// Tables key by key; everything else is replaced.
fn merge(below: &mut Table, over: Table) {
    for (key, value) in over {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(over)) => merge(below, over),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn tables_merge_and_lists_are_replaced() {
        let mut below = toml::toml! {
            [a]
            x = 1
            y = [1, 2]
            [a.b]
            z = true
        };
        merge(&mut below, toml::toml! { a = { y = [3], b = { w = 1 } } });
        let expected = toml::toml! {
            [a]
            x = 1
            y = [3]
            [a.b]
            z = true
            w = 1
        };
        assert_eq!(below, expected);
    }
}
