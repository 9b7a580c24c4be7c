//! `tessera:host/peers`: who answers a hook.

use crate::{bindings::tessera::host::peers as wit, state::State};

impl wit::Host for State {
    fn answered(&mut self, hook: String) -> wasmtime::Result<bool> {
        self.enter()?;
        let hook = hook.split('@').next().unwrap_or_default();
        Ok(self.call.context.answers(hook))
    }
}
