//! WASI, whole but empty: no folders, environment, arguments or sockets; standard output goes to the log.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, ResourceTable, ResourceType};
use wasmtime_wasi::{
    WasiCtx,
    cli::{IsTerminal, StdoutStream},
};

use crate::{
    bindings::tessera::host::log::Level,
    capabilities::{Capabilities, log},
    contract::Interface,
    state::State,
};

/// Handles of one instance: streams, pollables, errors.
const HANDLES_MAX: usize = 1024;
/// Random bytes of one request.
const RANDOM_MAX: u64 = 64 << 10;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

/// Defines what a component imports of `wasi:http`: each function ends the call that uses it. Outgoing HTTP goes
/// through `tessera:host/fetch`, which has grants and a guard.
pub(crate) fn refuse_http(
    linker: &mut Linker<State>,
    imports: &[Interface],
) -> wasmtime::Result<()> {
    // Those that the interfaces of HTTP borrow from others.
    const BORROWED: [&str; 5] = ["input-stream", "output-stream", "pollable", "error", "io-error"];
    for import in imports.iter().filter(|import| import.base.starts_with("wasi:http/")) {
        let mut instance = linker.instance(&import.name)?;
        if import.base == "wasi:http/types" {
            let own = import.resources.iter().filter(|name| !BORROWED.contains(&name.as_str()));
            for resource in own {
                instance.resource(resource, ResourceType::host::<Refused>(), |_, _| Ok(()))?;
            }
        }
        for function in import.functions.keys() {
            let name = format!("{}.{function}", import.name);
            instance.func_new(function, move |store, _, _, _| {
                let reason = format!("{name} is refused: use tessera:host/fetch");
                log::refused(store.data(), "wasi:http", &reason);
                Err(wasmtime::Error::msg(reason))
            })?;
        }
    }
    Ok(())
}

/// Stands for resources of `wasi:http`, of which there never are any.
struct Refused;

/// The context of one instance.
pub(crate) fn context(caps: &Arc<Capabilities>) -> (WasiCtx, ResourceTable) {
    let context = WasiCtx::builder()
        .stdout(Output { caps: Arc::clone(caps), level: Level::Info })
        .stderr(Output { caps: Arc::clone(caps), level: Level::Warn })
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(RANDOM_MAX)
        .build();
    let mut table = ResourceTable::new();
    table.set_max_capacity(HANDLES_MAX);
    (context, table)
}

#[derive(Clone)]
struct Output {
    caps: Arc<Capabilities>,
    level: Level,
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()) {
            log::line(&self.caps, "", self.level, line, &[]);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
