//! `tessera plugin list` and `tessera plugin status`

use anyhow::{Result, bail};
use serde_json::Value;
use tessera_manifest::ByteSize;

use crate::{
    admin::{self, Question},
    cli::Settings,
    files,
    folder::live_socket,
    manifests,
};

/// Lists the descriptor's plug-ins; nothing is compiled.
pub(crate) fn list(settings: &Settings) -> Result<()> {
    let descriptor = settings.descriptor()?;
    for file in files::read_all(&descriptor)? {
        let manifest = manifests::of(&file)?;
        println!(
            "{} {}  {}  {}",
            file.name,
            manifest.version,
            size(file.bytes.len()),
            file.path.display()
        );
    }
    for (name, _) in descriptor.plugins.iter().filter(|(_, plugin)| !plugin.enabled) {
        println!("{name}  switched off");
    }
    Ok(())
}

/// Shows how the plug-ins of a running server are.
pub(crate) fn status(settings: &Settings, json: bool) -> Result<()> {
    let descriptor = settings.descriptor()?;
    let data = &descriptor.server.data;
    let Some(socket) = live_socket(data) else {
        bail!(
            "no server runs on the data folder {}; start one, or name its folder with --data DIR",
            data.display()
        );
    };
    let tenant = settings.server_name.as_ref().map(ToString::to_string);
    let answer: Vec<Value> = admin::ask(&socket, &Question::Status { tenant })?;
    if json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    for plugin in answer {
        let text = |pointer| match plugin.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        println!(
            "{} {}  {}  {} instances ({} idle)  {}",
            text("/name"),
            text("/version"),
            text("/health/state"),
            text("/instances"),
            text("/idle"),
            text("/health/reason"),
        );
    }
    Ok(())
}

/// A size for a person.
pub(crate) fn size(bytes: usize) -> String {
    let size = ByteSize::bytes(bytes as u64);
    match size.get() {
        0..1024 => size.to_string(),
        1024..1_048_576 => format!("{} KiB", size.get().div_ceil(1 << 10)),
        bytes => format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20),
    }
}
