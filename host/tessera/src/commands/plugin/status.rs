//! `tessera plugin status`

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;

use crate::{
    admin::{self, Question},
    cli::Settings,
    folder::live_socket,
};

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Where the server's data folder is.
    #[command(flatten)]
    settings: Settings,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Shows how the plug-ins of a running server are.
pub(crate) fn run(arguments: &Status) -> Result<()> {
    let Status { settings, json } = arguments;
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
    if *json {
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
