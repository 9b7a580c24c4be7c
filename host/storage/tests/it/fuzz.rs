//! The bounded run of the fuzz target `sql`; `cargo xtask fuzz sql` runs it longer.

#[path = "../../../../tests/fuzz/src/mutate.rs"]
mod mutate;

#[test]
fn the_sql_fence_prints_what_it_understands_again_and_names_only_what_is_allowed() {
    mutate::run("sql", 6000, tessera_storage::fuzzing::sql);
}
