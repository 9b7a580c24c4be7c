//! A plug-in's file, read, checked by itself, and compiled.

mod inspect;
mod sections;

pub use self::inspect::{InspectedInterface, Inspection};
pub(crate) use self::sections::Footprint;

use std::sync::{Arc, OnceLock};

use semver::Version;
use tessera_manifest::PluginManifest;
use tessera_storage::Migration;
use wasmtime::component::{Component, types::ComponentItem};

use crate::{
    contract::Interface,
    engine::{Engine, Kind},
    grants::Grants,
    pool::Linked,
};

/// Why a file is not a plug-in that can run here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Over the cap of the descriptor (`[engine] component-max`).
    #[error("the file has {size} bytes, over the cap of {cap}")]
    TooLarge {
        /// Bytes of the file.
        size: u64,
        /// The cap.
        cap: u64,
    },
    /// Not WebAssembly, or damaged.
    #[error("not a WebAssembly component: {0}")]
    NotWasm(String),
    /// A core module instead of a component.
    #[error(
        "a core WebAssembly module, not a component; build it for wasm32-wasip2 or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// The section that holds `plugin.toml` is absent.
    #[error(
        "no manifest: the component lacks the section `tessera:manifest`, which the build appends from plugin.toml"
    )]
    NoManifest,
    /// The manifest is wrong; the text has line, column and key.
    #[error("{0}")]
    Manifest(String),
    /// The migrations are no JSON list of `{"name", "sql"}`.
    #[error("the section `tessera:migrations` is damaged: {0}")]
    Migrations(String),
    /// The component imports what neither the host nor a plug-in can offer.
    #[error("nobody offers these imports: {}", .0.join(", "))]
    Imports(Vec<String>),
    /// The manifest promises an interface that the component does not export.
    #[error("the manifest declares {what}, but the component does not export `{interface}`")]
    Export {
        /// What the manifest has, such as `[[http.routes]]`.
        what: String,
        /// The interface to export.
        interface: String,
    },
    /// An interface breaks the rules for contracts between plug-ins.
    #[error("interface `{interface}`: {reason}")]
    Rule {
        /// The interface with its version.
        interface: String,
        /// Function and rule.
        reason: String,
    },
    /// wasmtime refused it.
    #[error("the component does not compile or link: {0}")]
    Compile(String),
}

/// A plug-in that was loaded. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// What of the file's `plugin.toml` is in force: cut down to what the plug-in is allowed.
    pub manifest: Arc<PluginManifest>,
    inner: Arc<Loaded>,
}

/// What [`Plugin`] points to.
pub struct Loaded {
    /// `plugin.toml` as the file has it.
    pub manifest: PluginManifest,
    /// In the order in which they run.
    pub migrations: Vec<Migration>,
    /// Interfaces that it imports, WASI's and the host's included.
    pub imports: Vec<Interface>,
    /// Interfaces that it exports.
    pub exports: Vec<Interface>,
    /// Bytes of the file.
    pub size: u64,
    pub(crate) component: Component,
    pub(crate) kind: Kind,
    /// Made when it is first needed.
    linked: OnceLock<Result<Linked, String>>,
}

/// The same load of the same file, whatever each is allowed.
impl PartialEq for Plugin {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Plugin {}

impl std::ops::Deref for Plugin {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        &self.inner
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, version) = (self.name(), self.version());
        f.debug_struct("Loaded")
            .field("name", &name)
            .field("version", version)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Reads, checks and compiles a component. Takes seconds where the code is not in the cache, so not on a
    /// thread of the runtime. `file` names it in messages.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn load(engine: &Engine, file: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        let size = bytes.len() as u64;
        if size > engine.config.component_max {
            return Err(LoadError::TooLarge { size, cap: engine.config.component_max });
        }
        let sections = sections::read(bytes)?;
        let text = sections.manifest.ok_or(LoadError::NoManifest)?;
        let manifest = PluginManifest::parse(file, &text)
            .map_err(|problem| LoadError::Manifest(problem.to_string()))?;
        let kind = Kind::of(&sections.footprint);
        let machine = engine.machine(kind).map_err(LoadError::Compile)?;
        let component = engine
            .cache
            .component(&machine.wasm, bytes, &engine.metrics)
            .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        let imports = interfaces(&component, true)?;
        let exports = interfaces(&component, false)?;
        let linked = OnceLock::new();
        let loaded = Loaded {
            manifest,
            migrations: sections.migrations,
            imports,
            exports,
            size,
            component,
            kind,
            linked,
        };
        loaded.check()?;
        Ok(Self { manifest: Arc::new(loaded.manifest.clone()), inner: Arc::new(loaded) })
    }

    /// All that the file asks for.
    #[must_use]
    pub fn asked(&self) -> Grants {
        let exports = self.exports.iter().filter(|export| !export.functions.is_empty());
        Grants::asked(&self.inner.manifest, exports.map(|export| export.name.as_str()))
    }

    /// The same plug-in with its manifest cut down to what is allowed: what is not is as if it did not have it.
    #[must_use]
    pub fn granted(&self, grants: &Grants) -> Self {
        let manifest = Arc::new(grants.cut(&self.inner.manifest));
        Self { manifest, inner: Arc::clone(&self.inner) }
    }

    /// The component linked to what the host offers and to whatever answers its other imports, for all tenants.
    pub(crate) fn linked(&self, engine: &Engine) -> Result<&Linked, String> {
        let link = || {
            let machine = engine.machine(self.kind)?;
            Linked::new(machine, self.kind, &self.component, &self.imports, &self.exports)
                .map_err(|error| format!("{error:#}"))
        };
        self.inner.linked.get_or_init(link).as_ref().map_err(Clone::clone)
    }

    /// What `tessera plugin inspect` shows.
    #[must_use]
    pub fn inspect(&self) -> Inspection {
        Inspection::of(&self.inner)
    }
}

impl Loaded {
    /// The plug-in's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.manifest.name.as_str()
    }

    /// The plug-in's version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.manifest.version
    }

    /// The exported interface of this name without version, of which there may be several versions.
    pub(crate) fn exported<'a>(&'a self, base: &'a str) -> impl Iterator<Item = &'a Interface> {
        self.exports.iter().filter(move |export| export.base == base)
    }

    fn check(&self) -> Result<(), LoadError> {
        let missing: Vec<String> = self
            .imports
            .iter()
            .filter(|import| !import.functions.is_empty() || !import.resources.is_empty())
            .filter(|import| !import.is_between_plugins() && !offered(&import.base))
            .map(|import| import.name.clone())
            .collect();
        if !missing.is_empty() {
            return Err(LoadError::Imports(missing));
        }
        for interface in self.imports.iter().chain(&self.exports) {
            if !interface.is_between_plugins() {
                continue;
            }
            let checked = if interface.is_hook() {
                crate::contract::check_hook(interface)
            } else {
                crate::contract::check_service(interface)
            };
            checked
                .map_err(|reason| LoadError::Rule { interface: interface.name.clone(), reason })?;
        }
        let manifest = &self.manifest;
        let wants = [
            (!manifest.http.routes.is_empty(), "[[http.routes]]", "tessera:plugin/http"),
            (
                !manifest.authenticators.is_empty(),
                "[authenticators]",
                "tessera:plugin/authenticator",
            ),
            (
                !manifest.topics.consumes.is_empty(),
                "[[topics.consumes]]",
                "tessera:plugin/consumer",
            ),
        ];
        for (wanted, what, interface) in wants {
            if wanted && self.exported(interface).next().is_none() {
                return Err(LoadError::Export {
                    what: what.to_owned(),
                    interface: interface.to_owned(),
                });
            }
        }
        for hook in &manifest.hooks.provides {
            let has = |export: &Interface| {
                hook.function().is_none_or(|function| export.functions.contains_key(function))
            };
            if !self.exported(hook.interface().as_str()).any(has) {
                return Err(LoadError::Export {
                    what: "[hooks] provides".to_owned(),
                    interface: hook.to_string(),
                });
            }
        }
        Ok(())
    }
}

/// The imports or exports of a component. Anything but an interface is named in the error.
fn interfaces(component: &Component, imports: bool) -> Result<Vec<Interface>, LoadError> {
    let engine = component.engine();
    let ty = component.component_type();
    let mut found = Vec::new();
    let mut bare = Vec::new();
    let mut add = |name: &str, item: ComponentItem| match item {
        ComponentItem::ComponentInstance(instance) => {
            found.push(Interface::of(engine, name, &instance));
        }
        ComponentItem::Type(_) => {}
        _ => bare.push(name.to_owned()),
    };
    if imports {
        ty.imports(engine).for_each(|(name, item)| add(name, item.ty));
    } else {
        ty.exports(engine).for_each(|(name, item)| add(name, item.ty));
    }
    if imports && !bare.is_empty() {
        return Err(LoadError::Imports(bare));
    }
    Ok(found)
}

/// Whether the host links something under this name.
fn offered(base: &str) -> bool {
    // HTTP is linked and refused at use: guests of some languages import it whether they use it or not.
    const PREFIXES: [&str; 7] = [
        "wasi:cli/",
        "wasi:clocks/",
        "wasi:filesystem/",
        "wasi:http/",
        "wasi:io/",
        "wasi:random/",
        "wasi:sockets/",
    ];
    const CAPABILITIES: [&str; 14] = [
        "storage", "bus", "fetch", "mail", "blobs", "crypto", "cache", "timers", "limits", "log",
        "metrics", "config", "peers", "answer",
    ];
    match base.strip_prefix("tessera:host/") {
        Some(capability) => CAPABILITIES.contains(&capability),
        None => PREFIXES.iter().any(|prefix| base.starts_with(prefix)),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_capability_of_the_contract_is_offered() {
        let world = include_str!("../../../wit/host/host.wit").split("world capabilities").nth(1);
        let names: Vec<&str> = world
            .unwrap()
            .lines()
            .filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';'))
            .collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert!(super::offered(&format!("tessera:host/{name}")), "{name}");
        }
    }
}
