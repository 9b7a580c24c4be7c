//! What modules answer, as a test wants it.

use std::sync::Arc;

use tessera_sdk::hooks::*;

use crate::TestHost;
use crate::backend::Native;

/// The answer where nobody is asked.
trait Neutral {
    fn neutral() -> Self;
}

impl Neutral for () {
    fn neutral() -> Self {}
}

impl<T> Neutral for Option<T> {
    fn neutral() -> Self {
        None
    }
}

impl<T> Neutral for Vec<T> {
    fn neutral() -> Self {
        Self::new()
    }
}

impl<T: Default, E> Neutral for Result<T, E> {
    fn neutral() -> Self {
        Ok(T::default())
    }
}

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident = $interface:ident::$function:ident($($arg:ident: $ty:ty),*) -> $answer:ty;)*) => {
        /// Answers of modules, one for each hook function. None: nobody answers, the plug-in gets the neutral answer.
        #[derive(Clone, Default)]
        pub struct Hooks {
            $($(#[$doc])* pub $name: Option<Arc<dyn Fn(&TestHost, $($ty),*) -> $answer + Send + Sync>>,)*
        }

        impl Hooks {
            /// Whether a function of this interface has an answer.
            pub(crate) fn answered(&self, hook: &str) -> bool {
                let wanted = hook.trim_start_matches("tessera:hooks/").replace('-', "_");
                false $(|| (wanted == stringify!($interface) && self.$name.is_some()))*
            }
        }

        impl HookBackend for Native {
            $(fn $name(&self, $($arg: $ty),*) -> $answer {
                match self.services().hooks.$name {
                    Some(answer) => answer(&self.host(), $($arg),*),
                    None => Neutral::neutral(),
                }
            })*
        }
    };
}

tessera_sdk::every_hook!(answers);
