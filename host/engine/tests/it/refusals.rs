//! What the embedded descriptor has callers told where a module does not answer.

use std::collections::BTreeSet;

use tessera_engine::{HookSettings, PluginSpec};
use tessera_manifest::Descriptor;
use wit_parser::{
    Function, Resolve, Type, TypeDefKind,
    abi::{AbiVariant, WasmType},
};

use crate::support::{House, contract, encoded, manifest, with_section};

const DEFAULT: &str = include_str!("../../../../config/default.toml");
const PACKAGE: &str = "tessera:hooks";
const VERSION: &str = "0.1.0";

fn may_refuse(resolve: &Resolve, function: &Function) -> bool {
    let Some(Type::Id(id)) = function.result else { return false };
    matches!(&resolve.types[id].kind, TypeDefKind::Result(result) if result.err.is_some())
}

/// The import of a function in a core module.
fn import(resolve: &Resolve, interface: &str, function: &Function) -> String {
    let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
    let list = |what: &str, types: &[WasmType]| {
        let name = |ty: &WasmType| match ty {
            WasmType::I64 | WasmType::PointerOrI64 => " i64",
            WasmType::F32 => " f32",
            WasmType::F64 => " f64",
            WasmType::I32 | WasmType::Pointer | WasmType::Length => " i32",
        };
        format!("({what}{})", types.iter().map(name).collect::<String>())
    };
    format!(
        "(import \"{PACKAGE}/{interface}@{VERSION}\" \"{}\" (func {} {}))\n",
        function.name,
        list("param", &signature.params),
        list("result", &signature.results)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hook_that_may_refuse_has_a_refusal_that_fits_it() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(contract("hooks")).unwrap();
    let world = resolve.select_world(&[package], Some("hook-caller")).unwrap();
    let descriptor = Descriptor::parse("default.toml", DEFAULT).unwrap();

    let (mut code, mut calls) = (String::new(), Vec::new());
    let mut refusing = BTreeSet::new();
    for (name, id) in &resolve.packages[package].interfaces {
        for function in resolve.interfaces[*id].functions.values() {
            code.push_str(&import(&resolve, name, function));
            if may_refuse(&resolve, function) {
                refusing.insert(format!("{PACKAGE}/{name}"));
            }
        }
        if !resolve.interfaces[*id].functions.is_empty() {
            calls.push(format!("{PACKAGE}/{name}"));
        }
    }
    let configured: BTreeSet<String> =
        descriptor.hooks.refusals.keys().map(ToString::to_string).collect();
    assert!(refusing.len() >= 8, "{refusing:?}");
    assert_eq!(configured, refusing);
    for (hook, refusal) in &descriptor.hooks.refusals {
        // A verdict on a file is kept, so there the host's refusal must not look like a module's.
        let is_kept = hook.to_string().ends_with("/media-policy");
        let expected = if is_kept { (503, "M_UNKNOWN") } else { (403, "M_FORBIDDEN") };
        let (status, errcode) = expected;
        assert_eq!((&refusal["status"], &refusal["errcode"]), (&status.into(), &errcode.into()));
        assert!(refusal["error"].as_str().is_some_and(|text| !text.is_empty()), "{hook}");
    }

    // Linking who asks them all is where each is read as its hook's type.
    let asker = manifest("asker", &format!("[grants]\ncall = {calls:?}"));
    let bytes = with_section(encoded(&resolve, world, &code), "tessera:manifest", asker.as_bytes());
    let refusals = descriptor.hooks.refusals.iter();
    let refusals = refusals.map(|(hook, refusal)| (hook.to_string(), refusal.clone())).collect();
    let house = House::with(HookSettings { refusals, ..HookSettings::default() }).await;
    house.install(std::slice::from_ref(&bytes));

    // One that does not fit is noticed there.
    let refusals = [(format!("{PACKAGE}/account-rules"), serde_json::json!("pretend"))].into();
    let strict = House::with(HookSettings { refusals, ..HookSettings::default() }).await;
    let refused = strict.tenant.install(vec![PluginSpec::asked(strict.load(&bytes))]).unwrap_err();
    assert!(refused.to_string().contains("the configured refusal"), "{refused}");
}
