//! `tessera:host/bus`.

use crate::{bindings::tessera::host::bus as wit, state::State};

/// Watches of one call; a guest needs one.
const WATCHES_MAX: usize = 16;

impl wit::Host for State {
    fn watch(&mut self, topics: Vec<String>) -> wasmtime::Result<wit::WatchId> {
        self.enter()?;
        if self.call.watches.len() >= WATCHES_MAX {
            self.caps.hit("watches");
            return Err(wasmtime::format_err!("more than {WATCHES_MAX} watches in one call"));
        }
        let watch = self
            .caps
            .shared
            .bus
            .watch(&self.caps.shared.tenant, &topics)
            .map_err(|error| wasmtime::format_err!("watch: {error}"))?;
        Ok(self.call.keep(watch))
    }

    fn notify(&mut self, topics: Vec<String>) -> wasmtime::Result<()> {
        self.enter()?;
        if self.call.context.shadow.is_some() {
            return Ok(());
        }
        self.caps.shared.bus.notify(&self.caps.shared.tenant, &topics);
        Ok(())
    }
}
