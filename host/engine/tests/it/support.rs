//! Fixtures: components from WIT and core text, and a tenant to run them in.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use tessera_blobs::{BlobConfig, BlobStore};
use tessera_bus::{Bus, BusConfig, TenantWake};
use tessera_engine::{
    Crypto, Engine, EngineConfig, Fetch, FetchError, FetchGrants, FetchRequest, FetchResponse,
    HookSettings, LimitClass, LinkError, PasswordCost, Passwords, Plugin, PluginSpec, Remote,
    Tenant, TenantParts, TenantQuotas,
    api::{BoxFuture, CallError, Dispatch},
};
use tessera_storage::{Database, DatabaseConfig};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{Resolve, WorldId};

/// The services of the fixtures.
pub const WIT: &str = r#"
package demo:services@0.1.0;

interface calc {
    variant error { unavailable(string), unknown(string) }
    add: func(a: u32, b: u32) -> result<u32, error>;
}
interface back {
    variant error { unavailable(string), unknown(string) }
    add: func(a: u32, b: u32) -> result<u32, error>;
}
interface bytes {
    variant error { unavailable(string), unknown(string) }
    send: func(all: list<u8>) -> result<_, error>;
}
interface poor {
    send: func(all: string) -> result<_, string>;
}

world timer { export tessera:plugin/timer@0.1.0; }
world lifecycle { export tessera:plugin/lifecycle@0.1.0; }
world logging { import tessera:host/config@0.1.0; export tessera:plugin/timer@0.1.0; }
world provider { export calc; }
world caller { import calc; export tessera:plugin/timer@0.1.0; }
world forth { import back; export calc; export tessera:plugin/timer@0.1.0; }
world over { import calc; export back; }
world sends-bytes { export bytes; }
world sends-poor { export poor; }
world web { import tessera:host/bus@0.1.0; export tessera:plugin/http@0.1.0; }
world pieces {
    import tessera:host/bus@0.1.0;
    import tessera:host/answer@0.1.0;
    export tessera:plugin/http@0.1.0;
    export tessera:plugin/continuation@0.1.0;
}
"#;

/// Memory, an allocator that only goes up, and `fail`: the answer `err(text of that length)`.
pub const PRELUDE: &str = r#"
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (local.get $at))
    ;; result<_, string>: err with `length` bytes of whatever stands at 1024
    (func $fail (param $length i32) (result i32)
        (i32.store8 (i32.const 512) (i32.const 1))
        (i32.store (i32.const 516) (i32.const 1024))
        (i32.store (i32.const 520) (local.get $length))
        (global.set $next (i32.const 65536))
        (i32.const 512))
    (func $text (param $at i32) (param $length i32) (result i32)
        (i32.store8 (i32.const 512) (i32.const 1))
        (i32.store (i32.const 516) (local.get $at))
        (i32.store (i32.const 520) (local.get $length))
        (global.set $next (i32.const 65536))
        (i32.const 512))
    (func $ok (result i32)
        (i32.store8 (i32.const 512) (i32.const 0))
        (global.set $next (i32.const 65536))
        (i32.const 512))
    (data (i32.const 1024) "................................................................")
"#;

pub fn contract(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit").join(name)
}

/// Encodes a component; `code` is core text without `(module …)`.
pub fn component(wit: &str, world: &str, code: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(contract("host")).unwrap();
    resolve.push_dir(contract("plugin")).unwrap();
    let package = resolve.push_str("fixture.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    encoded(&resolve, world, code)
}

/// The same for a world that is resolved already.
pub fn encoded(resolve: &Resolve, world: WorldId, code: &str) -> Vec<u8> {
    // Imports come before the memory.
    let (imports, rest): (Vec<&str>, Vec<&str>) =
        code.lines().partition(|line| line.trim_start().starts_with("(import"));
    let text = format!("(module {} {PRELUDE} {})", imports.join("\n"), rest.join("\n"));
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
    wit_component::embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)
        .unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

pub fn with_section(mut component: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    fn leb(mut value: usize, into: &mut Vec<u8>) {
        while value >= 0x80 {
            into.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        into.push(value as u8);
    }
    let mut body = Vec::new();
    leb(name.len(), &mut body);
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    component.push(0);
    leb(body.len(), &mut component);
    component.extend_from_slice(&body);
    component
}

/// A manifest of this name; `rest` is more TOML.
pub fn manifest(name: &str, rest: &str) -> String {
    format!("name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"a fixture\"\n{rest}\n")
}

/// A packed plug-in.
pub fn packed(name: &str, rest: &str, world: &str, code: &str) -> Vec<u8> {
    packed_of(WIT, name, rest, world, code)
}

pub fn packed_of(wit: &str, name: &str, rest: &str, world: &str, code: &str) -> Vec<u8> {
    with_section(component(wit, world, code), "tessera:manifest", manifest(name, rest).as_bytes())
}

pub struct NoFetch;

impl Fetch for NoFetch {
    fn send<'a>(
        &'a self,
        _: FetchRequest,
        _: &'a FetchGrants,
        _: &'a tessera_blobs::Blobs,
    ) -> BoxFuture<'a, Result<FetchResponse, FetchError>> {
        Box::pin(async { Err(FetchError::Unreachable("no network".to_owned())) })
    }
}

/// An engine and a tenant in a folder of their own.
pub struct House {
    pub dir: TempDir,
    pub engine: Engine,
    pub registry: prometheus::Registry,
    pub bus: Bus,
    pub tenant: Arc<Tenant>,
    pub database: Database,
}

/// Few instances: a test needs no terabytes of address space.
pub fn engine(dir: &Path, registry: &prometheus::Registry) -> Engine {
    let config = EngineConfig { instances: 64, ..EngineConfig::below(dir) };
    Engine::new(config, registry).unwrap()
}

impl House {
    pub async fn new() -> Self {
        Self::with(HookSettings::default()).await
    }

    pub async fn with(hooks: HookSettings) -> Self {
        Self::of(hooks, 64).await
    }

    pub async fn of(hooks: HookSettings, instances: u32) -> Self {
        Self::configured(hooks, None, |config| config.instances = instances).await
    }

    /// A tenant that calls plug-ins on other nodes through `remote`.
    pub async fn joined(hooks: HookSettings, remote: Arc<dyn Remote>) -> Self {
        Self::configured(hooks, Some(remote), |config| config.instances = 64).await
    }

    pub async fn configured(
        hooks: HookSettings,
        remote: Option<Arc<dyn Remote>>,
        change: impl FnOnce(&mut EngineConfig),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let registry = prometheus::Registry::new();
        let mut config = EngineConfig::below(dir.path());
        change(&mut config);
        let engine = Engine::new(config, &registry).unwrap();
        let bus = Bus::new(BusConfig::default());
        let wake = Arc::new(TenantWake::new(bus.clone(), "t"));
        let database = Database::open(&dir.path().join("t.db"), DatabaseConfig::default(), wake)
            .await
            .unwrap();
        let tenant = tenant("t", &engine, dir.path(), &bus, &database, hooks, remote);
        Self { dir, engine, registry, bus, tenant, database }
    }

    /// Another tenant object in the same engine, on the same database and bus: another node as far as plug-ins can
    /// tell, or with another name another tenant.
    pub fn add(
        &self,
        name: &str,
        hooks: HookSettings,
        remote: Option<Arc<dyn Remote>>,
    ) -> Arc<Tenant> {
        tenant(name, &self.engine, self.dir.path(), &self.bus, &self.database, hooks, remote)
    }

    pub fn load(&self, bytes: &[u8]) -> Plugin {
        Plugin::load(&self.engine, "fixture.wasm", bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn try_install(&self, plugins: &[Vec<u8>]) -> Result<(), LinkError> {
        self.tenant
            .install(plugins.iter().map(|bytes| PluginSpec::asked(self.load(bytes))).collect())
    }

    pub fn install(&self, plugins: &[Vec<u8>]) {
        self.try_install(plugins).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Calls the fixture's timer: what tests use to make a guest do something.
    pub async fn fire(&self, plugin: &str, name: &str) -> Result<Result<(), String>, CallError> {
        self.tenant.fire(plugin, name, "").await
    }

    /// The sum of a metric over all labels that contain `label`.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        self.registry
            .gather()
            .iter()
            .filter(|family| family.name() == name)
            .flat_map(|family| family.get_metric())
            .filter(|metric| {
                label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label)
            })
            .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
            .sum()
    }
}

fn tenant(
    name: &str,
    engine: &Engine,
    dir: &Path,
    bus: &Bus,
    database: &Database,
    hooks: HookSettings,
    remote: Option<Arc<dyn Remote>>,
) -> Arc<Tenant> {
    let blobs = BlobStore::open(&dir.join("blobs"), BlobConfig::default()).unwrap();
    let cost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1, at_once: 1 };
    let parts = TenantParts {
        name: name.to_owned(),
        database: database.clone(),
        bus: bus.clone(),
        blobs: blobs.tenant(name).unwrap(),
        fetch: Arc::new(NoFetch),
        mail: None,
        crypto: Arc::new(Crypto::open(&dir.join("key"), Passwords::new(cost).unwrap()).unwrap()),
        limits: [("login".to_owned(), LimitClass { per_second: 0.001, burst: 2 })].into(),
        calls: 32,
        hooks,
        quotas: TenantQuotas::default(),
        remote,
    };
    Tenant::new(engine, parts)
}
