//! What other plug-ins answer, as a test wants it.

use std::sync::Arc;

use tessera_sdk::services::*;

use crate::backend::Native;
use crate::{Hooks, TestHost};

type Fetch = dyn Fn(
        &tessera_sdk::bindings::host::fetch::Request,
    ) -> Result<
        tessera_sdk::bindings::host::fetch::Response,
        tessera_sdk::bindings::host::fetch::Error,
    > + Send
    + Sync;

type Mail = dyn Fn(
        &tessera_sdk::bindings::host::mail::Message,
    ) -> Result<(), tessera_sdk::bindings::host::mail::Error>
    + Send
    + Sync;

/// The answer where nobody provides a service.
trait Unprovided {
    fn unprovided(text: String) -> Self;
}

macro_rules! unprovided {
    ($($error:ident),*) => {
        $(impl Unprovided for $error {
            fn unprovided(text: String) -> Self {
                Self::Unavailable(text)
            }
        })*
    };
}

unprovided!(AccountsError, RoomsError, PushError, PresenceError, KeysError, ThumbnailsError);

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident = $interface:ident::$function:ident($($arg:ident: $ty:ty),*) -> $answer:ty;)*) => {
        /// Answers of services, hooks and the outside. At first: no provider (`unavailable`), nobody who answers a hook, nothing
        /// reachable. A closure gets the host, to run another plug-in's code with [`TestHost::acting`].
        #[derive(Clone)]
        pub struct Services {
            $($(#[$doc])* pub $name: Arc<dyn Fn(&TestHost, $($ty),*) -> $answer + Send + Sync>,)*
            /// `tessera:hooks`
            pub hooks: Hooks,
            /// `tessera:host/fetch.send`
            pub fetch: Arc<Fetch>,
            /// `tessera:host/mail.send`
            pub mail: Arc<Mail>,
        }

        impl Default for Services {
            fn default() -> Self {
                use tessera_sdk::bindings::host::fetch::Error;
                let nobody = || "no provider in this test".to_owned();
                Self {
                    $($name: Arc::new(move |_, $($arg),*| {
                        $(let _ = $arg;)*
                        Err(Unprovided::unprovided(nobody()))
                    }),)*
                    hooks: Hooks::default(),
                    fetch: Arc::new(|_| Err(Error::Unreachable("no network in tests".to_owned()))),
                    mail: Arc::new(|_| {
                        let none = "no mail relay in this test".to_owned();
                        Err(tessera_sdk::bindings::host::mail::Error::Refused(none))
                    }),
                }
            }
        }

        impl ServiceBackend for Native {
            $(fn $name(&self, $($arg: $ty),*) -> $answer {
                (self.services().$name)(&self.host(), $($arg),*)
            })*
        }
    };
}

tessera_sdk::every_service!(answers);

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}
