//! Integration tests of the storage crate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::duplicate_mod,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

/// Runs the same tests on an engine.
macro_rules! behaviour {
    ($kind:ident) => {
        type Fixture = crate::support::Fixture<crate::support::$kind>;

        #[path = "../caps.rs"]
        mod caps;
        #[path = "../commit.rs"]
        mod commit;
        #[path = "../fences.rs"]
        mod fences;
        #[path = "../fulltext.rs"]
        mod fulltext;
        #[path = "../leases.rs"]
        mod leases;
        #[path = "../migrations.rs"]
        mod migrations;
        #[path = "../outbox.rs"]
        mod outbox;
        #[path = "../timers.rs"]
        mod timers;
        #[path = "../transfer.rs"]
        mod transfer;
        #[path = "../types.rs"]
        mod types;
    };
}

mod sqlite {
    behaviour!(OnSqlite);

    mod crash;
    mod file;
}

mod postgres {
    behaviour!(OnPostgres);

    mod horizon;
    mod lost;
    mod tenants;
}

mod fuzz;
mod support;
