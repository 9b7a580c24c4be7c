//! `tessera:host/answer`: answers in pieces.

use crate::{api::MAX_PARKED_STATE, bindings::tessera::host::answer as wit, state::State};

impl wit::Host for State {
    fn continue_with(&mut self, state: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        self.enter()?;
        if state.len() > MAX_PARKED_STATE {
            let text = format!("a state of {} bytes; at most {MAX_PARKED_STATE}", state.len());
            return Ok(Err(text));
        }
        self.call.more = Some(state);
        Ok(Ok(()))
    }
}
