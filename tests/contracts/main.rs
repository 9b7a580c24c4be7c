//! What a service owes the others: held against ours, against replacements, and against any file that is given.
//!
//! A suite runs a whole server in which one service is the file under test, and looks at it from where the others stand: clients at the
//! routes, a plug-in (`tests/fixtures/contract-probe`) at functions, views and topics. `cargo xtask test contracts` runs all;
//! `TESSERA_CONTRACT_PRESENCE=FILE` (`…_ACCOUNTS`, `…_ROOMS`, `…_PUSH`, `…_KEYS`) puts a file of yours in place of ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

/// Makes a test of each function of a suite: `chosen` holds the file of the environment, by default ours; each further module
/// holds the file that it names, of `target/plugins`.
macro_rules! suite {
    ($service:literal, $tests:tt $(, $module:ident = $file:literal)*) => {
        held!(chosen, $service, None, $tests);
        $(held!($module, $service, Some($file), $tests);)*
    };
}

/// One implementation, held against each function of a suite.
macro_rules! held {
    ($module:ident, $service:literal, $file:expr, [$($test:ident),+ $(,)?]) => {
        mod $module {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::world::World::start($service, $file).await).await;
            })+
        }
    };
}

mod accounts;
mod compat;
mod keys;
mod peer;
mod presence;
mod push;
mod rooms;
mod world;
