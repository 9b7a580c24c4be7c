//! `tessera:host/config`.

use crate::{bindings::tessera::host::config as wit, state::State};

impl wit::Host for State {
    fn get(&mut self) -> wasmtime::Result<String> {
        self.enter()?;
        Ok(self.caps.config.clone())
    }
}
