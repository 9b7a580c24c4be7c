//! `tessera run`

use anyhow::{Context, Result};

use crate::{
    cli::Settings, logging, resources, server, settings::refuse_what_is_not_served, spans::Spans,
};

/// Runs the server until it is told to stop.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let descriptor = settings.descriptor()?;
    refuse_what_is_not_served(&descriptor)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("tessera")
        .build()
        .context("cannot start the threads of the server")?;
    let spans = Spans::start(&descriptor.tracing, None, runtime.handle())?;
    logging::start(&descriptor.log, spans.as_ref())?;
    let files = resources::raise_open_files();
    tracing::debug!(?files, "open files");
    let result = runtime.block_on(server::run(&descriptor));
    if let Some(spans) = spans {
        runtime.block_on(spans.stop());
    }
    result
}
