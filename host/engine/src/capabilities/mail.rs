//! `tessera:host/mail`: mail through the operator's relay.

use crate::{bindings::tessera::host::mail as wit, capabilities::log, state::State};

impl wit::Host for State {
    async fn send(&mut self, _message: wit::Message) -> wasmtime::Result<Result<(), wit::Error>> {
        self.enter()?;
        if !self.caps.mail {
            let reason = "not granted: mail ([grants] mail)";
            log::refused(self, "grant", reason);
            return Ok(Err(wit::Error::Refused(reason.to_owned())));
        }
        Ok(Err(wit::Error::Refused("no relay is configured ([mail])".to_owned())))
    }
}
