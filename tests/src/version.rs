//! Other versions of plug-ins that were built: the same code with another manifest.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::binary;

/// The section of a component that holds its manifest.
const SECTION: &[u8] = b"tessera:manifest";

/// Writes a plug-in of the plug-ins' folder to `to`, as another version and with what `change` makes of its manifest.
///
/// # Errors
/// It is not built, or cannot be read or written.
pub fn write(
    plugin: &str,
    version: &str,
    to: &Path,
    change: impl Fn(String) -> String,
) -> Result<()> {
    let built = fs::read(binary::plugins()?.join(format!("{plugin}.wasm")))?;
    let change = |text: &str| {
        let lines = text.lines().map(|line| {
            if line.starts_with("version = ") {
                format!("version = \"{version}\"")
            } else {
                line.to_owned()
            }
        });
        change(lines.collect::<Vec<_>>().join("\n"))
    };
    fs::write(to, with_manifest(&built, change).with_context(|| format!("{plugin}.wasm"))?)?;
    Ok(())
}

/// A component with its manifest changed.
fn with_manifest(component: &[u8], change: impl Fn(&str) -> String) -> Result<Vec<u8>> {
    let (head, mut rest) = component.split_at_checked(8).context("no component")?;
    let mut made = head.to_vec();
    let mut manifest = None;
    while let Some((id, after)) = rest.split_first() {
        let (length, body) = number(after)?;
        let (body, next) = body.split_at_checked(length).context("it is cut off")?;
        let whole = rest.len().saturating_sub(next.len());
        let named = if *id == 0 { Some(number(body)?) } else { None };
        let text = named.and_then(|(length, name)| {
            name.split_at_checked(length).filter(|(name, _)| *name == SECTION)
        });
        match text {
            Some((_, text)) => manifest = Some(std::str::from_utf8(text)?.to_owned()),
            None => made.extend_from_slice(rest.get(..whole).unwrap_or_default()),
        }
        rest = next;
    }
    let text = change(&manifest.context("it has no manifest")?);
    let mut body = Vec::new();
    put_number(&mut body, SECTION.len());
    body.extend_from_slice(SECTION);
    body.extend_from_slice(text.as_bytes());
    made.push(0);
    put_number(&mut made, body.len());
    made.extend(body);
    Ok(made)
}

/// A LEB128 number, and what follows it.
fn number(bytes: &[u8]) -> Result<(usize, &[u8])> {
    let (mut value, mut shift, mut rest) = (0_usize, 0_u32, bytes);
    while let Some((byte, after)) = rest.split_first() {
        value |= usize::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        rest = after;
        if byte & 0x80 == 0 {
            return Ok((value, rest));
        }
        shift = shift.saturating_add(7);
    }
    bail!("a number is cut off")
}

fn put_number(into: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            into.push(low);
            return;
        }
        into.push(low | 0x80);
    }
}
