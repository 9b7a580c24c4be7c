//! `tessera check`: everything that can be found wrong without compiling or starting.

use anyhow::Result;
use tessera_http::{PluginRoutes, RouteTable};

use crate::{cli::Settings, files, manifests, settings::refuse_what_is_not_served};

/// Checks the descriptor and the plug-ins it names.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let descriptor = settings.descriptor()?;
    refuse_what_is_not_served(&descriptor)?;
    let files = files::read_all(&descriptor)?;
    let manifests = files.iter().map(manifests::of).collect::<Result<Vec<_>>>()?;
    let plugins: Vec<_> = manifests.iter().map(|manifest| PluginRoutes { manifest }).collect();
    let routes = RouteTable::build(&plugins, &descriptor.http, &descriptor.rates)?;
    let fitting = manifests::check_together(&manifests.iter().collect::<Vec<_>>())?;
    for warning in routes.warnings().iter().chain(&fitting) {
        eprintln!("warning: {warning}");
    }
    println!("good: {} plug-ins for {}", files.len(), descriptor.tenant.name);
    Ok(())
}
