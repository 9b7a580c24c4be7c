//! The bounded run of the fuzz target `values`; `cargo xtask fuzz values` runs it longer.

#[path = "../../../../tests/fuzz/src/mutate.rs"]
mod mutate;

#[test]
fn values_come_back_as_they_went_and_no_bytes_break_the_codec() {
    mutate::run("values", 40000, tessera_engine::fuzzing::values);
}
