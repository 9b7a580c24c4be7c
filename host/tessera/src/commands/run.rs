//! `tessera run`

use anyhow::{Context, Result};

use crate::{cli::Run, logging, resources, server, spans::Spans};

/// Runs the server, or one node of it, until it is told to stop.
pub(crate) fn run(arguments: &Run) -> Result<()> {
    let (descriptor, node) = arguments.settings.descriptor_of(arguments.node.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // One more than guests may take: it lets a quiet tenant in at once beside one that floods.
        .worker_threads(resources::processors() + 1)
        .enable_all()
        .thread_name("tessera")
        .build()
        .context("cannot start the threads of the server")?;
    let name = node.as_ref().map(|node| node.name.as_str());
    let spans = Spans::start(&descriptor.tracing, name, runtime.handle())?;
    logging::start(&descriptor.log, spans.as_ref())?;
    let files = resources::raise_open_files();
    tracing::debug!(?files, "open files");
    let result = runtime.block_on(server::run(&arguments.settings, &descriptor, node));
    if let Some(spans) = spans {
        runtime.block_on(spans.stop());
    }
    result
}
