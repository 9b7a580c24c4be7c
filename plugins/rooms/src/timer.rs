//! Work that is due at a time: the timers of this plug-in by the beginning of their names.

use tessera_sdk::bindings::timer::exports::tessera::plugin::timer::Guest;

use crate::Plugin;

impl Guest for Plugin {
    fn fire(name: String, _payload: String) -> Result<(), String> {
        Err(format!("no timer is called {name}"))
    }
}
