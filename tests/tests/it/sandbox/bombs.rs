//! Components that are harmless when they run and deadly to compile: each is stopped in the process that compiles it.

use std::fs;

use tessera_tests::server::{Options, Refusal, Server};

use super::descriptor;

/// A number as the binary format has it.
fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(body.len()), body].concat()
}

/// A component of these sections with the manifest of a plug-in named `bomb`.
fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    let manifest = "name = \"bomb\"\nversion = \"0.1.0\"\ndescription = \"a bomb\"\n";
    let name = b"tessera:manifest";
    let custom = [&leb(name.len())[..], name, manifest.as_bytes()].concat();
    [&b"\0asm\x0d\0\x01\0"[..], &sections.concat(), &section(0, &custom)].concat()
}

/// A core module with so many functions of this body, each from a number to a number.
fn module(functions: usize, code: &[u8]) -> Vec<u8> {
    let types = [1, 0x60, 1, 0x7e, 1, 0x7e];
    let declared = [leb(functions), vec![0; functions]].concat();
    // No locals; the parameter is the result.
    let body = [&[0][..], code, &[0x20, 0, 0x0b]].concat();
    let body = [leb(body.len()), body].concat();
    let bodies = [leb(functions), body.repeat(functions)].concat();
    let module = [
        &b"\0asm\x01\0\0\0"[..],
        &section(1, &types),
        &section(3, &declared),
        &section(10, &bodies),
    ]
    .concat();
    section(1, &module)
}

/// `x = (x * x) ^ x`, so often: nothing of it can be left out.
fn arithmetic(times: usize) -> Vec<u8> {
    [0x20, 0, 0x20, 0, 0x7e, 0x20, 0, 0x85, 0x21, 0].repeat(times)
}

async fn refused(bytes: &[u8], engine: &str) -> Refusal {
    let folder = tempfile::tempdir().unwrap();
    let bomb = folder.path().join("bomb.wasm");
    fs::write(&bomb, bytes).unwrap();
    let config = folder.path().join("tessera.toml");
    let more = format!("[engine]\n{engine}\n[plugins.bomb]\nsource = {bomb:?}\n");
    fs::write(&config, descriptor(&more)).unwrap();
    let options = Options { config: Some(config), ..Options::testing().unwrap() };
    let refusal = Server::refuse_with(options).await.unwrap();
    assert!(!refusal.status.success() && refusal.output.contains("bomb"), "{}", refusal.output);
    refusal
}

#[tokio::test]
async fn components_that_are_bombs_to_compile_are_refused_with_the_limit_they_pass() {
    // The first-party plug-ins are in the cache after this: the limits below are the bombs' alone.
    drop(Server::start().await.unwrap());
    let huge = component(&[module(1, &arithmetic(700_000))]);
    for (bomb, engine, words) in [
        (&huge, "compile-memory = \"384MiB\"", "memory to compile"),
        (&huge, "compile-memory = \"16GiB\"\ncompile-time = \"1s\"", "1 s of CPU time to compile"),
        (
            &component(&[module(150_000, &arithmetic(8))]),
            "compile-memory = \"16GiB\"\ncompile-time = \"1s\"",
            "1 s of CPU time to compile",
        ),
    ] {
        let refusal = refused(bomb, engine).await;
        assert!(refusal.output.contains(words), "{engine}: {}", refusal.output);
    }
}

#[tokio::test]
async fn components_whose_types_explode_are_refused() {
    // Each a pair of the one before: 2^40 numbers.
    let mut types = [leb(41), vec![0x6f, 2, 0x7d, 0x7d]].concat();
    for before in 0..40 {
        types.extend([0x6f, 2, before, before]);
    }
    let refusal = refused(&component(&[section(7, &types)]), "").await;
    assert!(refusal.output.contains("size"), "{}", refusal.output);
    // More modules than any language needs.
    let empty = section(1, b"\0asm\x01\0\0\0");
    let refusal = refused(&component(&vec![empty; 2_000]), "").await;
    assert!(refusal.output.contains("core modules"), "{}", refusal.output);
}
