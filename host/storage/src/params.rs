//! Parameters, checked against the statement.

use crate::dialect::{Compiled, ParamUse};
use crate::{Error, Value};

/// Checks one row of parameters. `positions`: how many the commit takes,
/// `None` outside of commits. `bytes` counts down.
pub(crate) fn prepare(
    compiled: &Compiled,
    params: &[Value],
    positions: Option<u32>,
    bytes: &mut usize,
) -> Result<(), Error> {
    if params.len() != compiled.params.len() {
        return Err(Error::Invalid(format!(
            "{} parameters given, the statement has {}",
            params.len(),
            compiled.params.len()
        )));
    }
    for (i, (value, how)) in params.iter().zip(&compiled.params).enumerate() {
        let n = i + 1;
        let is_list = matches!(value, Value::IntegerList(_) | Value::TextList(_));
        if is_list != (*how == ParamUse::List) {
            return Err(Error::Invalid(if is_list {
                format!("${n} is a list: lists stand alone behind IN, as IN (${n})")
            } else {
                format!("${n} stands behind IN and must be a list")
            }));
        }
        let size = match value {
            Value::Text(text) => {
                no_nul(text, n)?;
                text.len()
            }
            Value::Blob(blob) => blob.len(),
            Value::Double(v) if !v.is_finite() => {
                return Err(Error::Invalid(format!("${n} is not finite")));
            }
            Value::Position(offset) if positions.is_none_or(|count| *offset >= count) => {
                return Err(Error::Invalid(format!(
                    "${n}: position {offset} of {}",
                    positions.unwrap_or(0)
                )));
            }
            Value::IntegerList(list) => list.len() * 8,
            Value::TextList(list) => {
                for text in list.iter() {
                    no_nul(text, n)?;
                }
                list.iter().map(|text| text.len() + 8).sum()
            }
            _ => 0,
        };
        *bytes = bytes
            .checked_sub(8 + size)
            .ok_or_else(|| Error::TooLarge("the parameters have too many bytes".to_owned()))?;
    }
    Ok(())
}

fn no_nul(text: &str, n: usize) -> Result<(), Error> {
    if text.contains('\0') {
        return Err(Error::Invalid(format!("${n} holds U+0000, which text cannot")));
    }
    Ok(())
}
