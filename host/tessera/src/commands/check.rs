//! `tessera check`: everything that can be found wrong without compiling or starting.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use tessera_http::{PluginRoutes, RouteTable};
use tessera_manifest::Descriptor;

use crate::{cli::Settings, files, manifests};

/// Checks the descriptor and the plug-ins it names.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let descriptor = settings.descriptor()?;
    let plugins = all(&descriptor)?;
    // Its addresses, its password's file and its authorities; nobody is called.
    tessera_mail::Relay::new(&descriptor.mail)?;
    crate::tenants::s3(&descriptor.blobs)?;
    println!("good: {}", what(&descriptor, plugins));
    Ok(())
}

/// Checks the plug-ins that a descriptor names: files, manifests, configuration, and whether they fit together. Warnings go
/// to the standard error output. Gives how many there are.
pub(crate) fn all(descriptor: &Descriptor) -> Result<usize> {
    let files = files::read_all(descriptor)?;
    let mut manifests = Vec::with_capacity(files.len());
    for file in &files {
        let described = manifests::of(file)?;
        let allowed = described.allowed(descriptor);
        if let Some(line) = manifests::not_allowed(file.name.as_str(), &described.asked, &allowed) {
            eprintln!("warning: {line}");
        }
        let section = &described.manifest.config;
        let own = descriptor.plugins.get(&file.name).map(|plugin| &plugin.config);
        let config = own.map_or_else(|| section.default.clone(), |own| section.with(own));
        if let Err(problem) = section.check(&config) {
            bail!("`[plugins.{}.config]`: {problem}", file.name);
        }
        manifests.push(allowed.cut(&described.manifest));
    }
    let plugins: Vec<_> = manifests.iter().map(|manifest| PluginRoutes { manifest }).collect();
    let routes = RouteTable::build(&plugins, &descriptor.http, &descriptor.rates)?;
    let fitting = manifests::check_together(&manifests.iter().collect::<Vec<_>>())?;
    for warning in routes.warnings().iter().chain(&fitting) {
        eprintln!("warning: {warning}");
    }
    Ok(files.len())
}

/// What would be started: `5 plug-ins for example.org on 3 nodes`.
fn what(descriptor: &Descriptor, plugins: usize) -> String {
    let mut text = format!("{plugins} plug-ins for ");
    match descriptor.tenants.len() {
        0 => text.push_str(descriptor.tenant.name.as_str()),
        1 => text.push_str("1 tenant"),
        many => {
            let _ = write!(text, "{many} tenants");
        }
    }
    if !descriptor.nodes.is_empty() {
        let _ = write!(text, " on {} nodes", descriptor.nodes.len());
    }
    text
}
