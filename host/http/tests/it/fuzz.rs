//! The bounded run of the fuzz target `edge`; `cargo xtask fuzz edge` runs it longer.

#[path = "../../../../tests/fuzz/src/mutate.rs"]
mod mutate;

#[test]
fn paths_queries_ranges_and_hosts_are_read_as_they_are_written() {
    mutate::run("edge", 8000, tessera_http::fuzzing::edge);
}
