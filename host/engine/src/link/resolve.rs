//! Finds the providers of each import, or says why there are none.

use std::collections::{BTreeMap, BTreeSet};

use semver::{Comparator, Op, Version, VersionReq};

use crate::{contract::Interface, pool::functions_of, tenant::PluginSpec};

/// Why plug-ins cannot be linked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Two plug-ins of one name.
    #[error("two plug-ins are named `{0}`")]
    Twice(String),
    /// A service that nobody provides.
    #[error("plug-in `{caller}` imports `{interface}`, which no plug-in provides")]
    Missing {
        /// Who imports.
        caller: String,
        /// With version.
        interface: String,
    },
    /// A service that several provide.
    #[error("plug-in `{caller}` imports `{interface}`, which several plug-ins provide: {}", .providers.join(", "))]
    Several {
        /// Who imports.
        caller: String,
        /// With version.
        interface: String,
        /// Their names.
        providers: Vec<String>,
    },
    /// Provided, but in no version that fits.
    #[error("plug-in `{caller}` imports `{interface}` and wants version {wanted}; plug-in `{provider}` provides {}", .provided.join(", "))]
    Version {
        /// Who imports.
        caller: String,
        /// With version.
        interface: String,
        /// Semver range.
        wanted: String,
        /// Who provides.
        provider: String,
        /// Its versions.
        provided: Vec<String>,
    },
    /// A function differs.
    #[error(
        "plug-in `{caller}` imports `{interface}`, function `{function}`; it does not fit the one of plug-in `{provider}`: {difference}"
    )]
    Type {
        /// Who imports.
        caller: String,
        /// With version.
        interface: String,
        /// The function.
        function: String,
        /// Who provides.
        provider: String,
        /// What differs.
        difference: String,
    },
    /// wasmtime refused the links.
    #[error("plug-in `{plugin}` cannot be linked: {reason}")]
    Wasm {
        /// Which one.
        plugin: String,
        /// What wasmtime said.
        reason: String,
    },
}

/// The providers of one imported function.
#[derive(Debug)]
pub(crate) struct Binding<'a> {
    /// The caller's interface.
    pub(crate) import: &'a Interface,
    pub(crate) function: &'a str,
    /// Whether the caller may call it.
    pub(crate) granted: bool,
    /// Who answers.
    pub(crate) providers: Vec<Found<'a>>,
}

/// A function that answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    /// Index of the plug-in in the list given.
    pub(crate) plugin: usize,
    /// Index of the function among those that it offers.
    pub(crate) function: usize,
    /// The interface as the provider has it.
    pub(crate) export: &'a Interface,
}

/// Order in which modules answer a hook; those not named follow, by name.
pub(crate) type HookOrder = BTreeMap<String, Vec<String>>;

/// Resolves every import of `specs[caller]` that is a service or hook.
pub(crate) fn resolve<'a>(
    specs: &'a [PluginSpec],
    caller: usize,
    order: &HookOrder,
) -> Result<Vec<Binding<'a>>, LinkError> {
    let Some(spec) = specs.get(caller) else { return Ok(Vec::new()) };
    let name = spec.plugin.name();
    let mut bindings = Vec::new();
    // In the order of `imported`.
    for import in &spec.plugin.imports {
        if !import.is_between_plugins() || import.functions.is_empty() {
            continue;
        }
        let granted = |function: &str| spec.grants.allows_call(&import.base, function);
        let providers = if !import.functions.keys().any(|function| granted(function)) {
            Vec::new()
        } else if import.is_hook() {
            modules(specs, caller, import, order)?
        } else {
            vec![service(specs, caller, import)?]
        };
        for (function, wanted) in &import.functions {
            let mut found = Vec::with_capacity(providers.len());
            let granted = granted(function);
            let answers = |(index, _): &&(usize, &Interface)| {
                let may = |spec: &PluginSpec| spec.grants.allows_answer(&import.base, function);
                granted && (!import.is_hook() || specs.get(*index).is_some_and(may))
            };
            for (index, export) in providers.iter().filter(answers) {
                let provider = specs.get(*index).map_or("", |spec| spec.plugin.name());
                let differs = |difference: String| LinkError::Type {
                    caller: name.to_owned(),
                    interface: import.name.clone(),
                    function: function.clone(),
                    provider: provider.to_owned(),
                    difference,
                };
                let given = export
                    .functions
                    .get(function)
                    .ok_or_else(|| differs(format!("{} lacks the function", export.name)))?;
                if let Some(difference) = wanted.difference(given) {
                    return Err(differs(difference));
                }
                let exports = specs.get(*index).map_or(&[][..], |spec| &spec.plugin.exports);
                let position = functions_of(exports)
                    .position(|(interface, name)| interface.name == export.name && name == function)
                    .ok_or_else(|| differs("it cannot be called".to_owned()))?;
                found.push(Found { plugin: *index, function: position, export });
            }
            bindings.push(Binding { import, function, granted, providers: found });
        }
    }
    Ok(bindings)
}

/// What the caller accepts: its `[requires]`, or whatever is compatible with the version that it imports.
fn wanted(spec: &PluginSpec, import: &Interface) -> Wanted {
    let range = spec.plugin.manifest.requires.iter().find(|(name, _)| name.as_str() == import.base);
    match (range, &import.version) {
        (Some((_, range)), _) => Wanted::Range(range.clone()),
        (None, Some(version)) => Wanted::Compatible(compatible(version)),
        (None, None) => Wanted::Any,
    }
}

enum Wanted {
    Range(tessera_manifest::VersionRange),
    Compatible(VersionReq),
    Any,
}

impl Wanted {
    fn fits(&self, export: &Interface) -> bool {
        match (self, &export.version) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Range(range), Some(version)) => range.matches(version),
            (Self::Compatible(range), Some(version)) => range.matches(version),
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Range(range) => range.fmt(f),
            Self::Compatible(range) => range.fmt(f),
            Self::Any => f.write_str("*"),
        }
    }
}

fn compatible(version: &Version) -> VersionReq {
    VersionReq {
        comparators: vec![Comparator {
            op: Op::Caret,
            major: version.major,
            minor: Some(version.minor),
            patch: Some(version.patch),
            pre: version.pre.clone(),
        }],
    }
}

/// The export of a plug-in that fits an import: the highest version in range.
fn export_of<'a>(
    specs: &'a [PluginSpec],
    caller: usize,
    index: usize,
    import: &Interface,
) -> Result<Option<&'a Interface>, LinkError> {
    let (Some(spec), Some(provider)) = (specs.get(caller), specs.get(index)) else {
        return Ok(None);
    };
    let wanted = wanted(spec, import);
    let exports: Vec<&Interface> =
        provider.plugin.exports.iter().filter(|export| export.base == import.base).collect();
    if exports.is_empty() {
        return Ok(None);
    }
    let best = exports
        .iter()
        .filter(|export| wanted.fits(export))
        .max_by(|a, b| a.version.cmp(&b.version));
    match best {
        Some(export) => Ok(Some(export)),
        None => Err(LinkError::Version {
            caller: spec.plugin.name().to_owned(),
            interface: import.name.clone(),
            wanted: wanted.to_string(),
            provider: provider.plugin.name().to_owned(),
            provided: exports
                .iter()
                .map(|e| {
                    e.version.as_ref().map_or_else(|| "no version".to_owned(), ToString::to_string)
                })
                .collect(),
        }),
    }
}

/// The one provider of a service.
fn service<'a>(
    specs: &'a [PluginSpec],
    caller: usize,
    import: &Interface,
) -> Result<(usize, &'a Interface), LinkError> {
    let name = || specs.get(caller).map_or("", |spec| spec.plugin.name()).to_owned();
    let mut found = Vec::new();
    let mut other = None;
    for (index, spec) in specs.iter().enumerate() {
        if !spec.grants.allows_provide(&import.base) {
            continue;
        }
        match export_of(specs, caller, index, import) {
            Ok(Some(export)) => found.push((index, export)),
            Ok(None) => {}
            Err(error) => other = Some(error),
        }
    }
    match (found.as_slice(), other) {
        ([one], _) => Ok(*one),
        ([], Some(error)) => Err(error),
        ([], None) => Err(LinkError::Missing { caller: name(), interface: import.name.clone() }),
        (several, _) => Err(LinkError::Several {
            caller: name(),
            interface: import.name.clone(),
            providers: several
                .iter()
                .filter_map(|(index, _)| specs.get(*index))
                .map(|spec| spec.plugin.name().to_owned())
                .collect(),
        }),
    }
}

/// All modules that answer a hook, in order. There may be none.
fn modules<'a>(
    specs: &'a [PluginSpec],
    caller: usize,
    import: &Interface,
    order: &HookOrder,
) -> Result<Vec<(usize, &'a Interface)>, LinkError> {
    let first = order.get(&import.base).map_or(&[][..], Vec::as_slice);
    let answers = |spec: &&PluginSpec| spec.grants.answers(&import.base);
    let names: BTreeSet<&str> =
        specs.iter().filter(answers).map(|spec| spec.plugin.name()).collect();
    let named = first.iter().map(String::as_str).filter(|name| names.contains(name));
    let rest = names.iter().copied().filter(|name| !first.iter().any(|first| first == name));
    let mut found = Vec::new();
    for name in named.chain(rest) {
        let Some(index) = specs.iter().position(|spec| spec.plugin.name() == name) else {
            continue;
        };
        if let Some(export) = export_of(specs, caller, index, import)? {
            found.push((index, export));
        }
    }
    Ok(found)
}
