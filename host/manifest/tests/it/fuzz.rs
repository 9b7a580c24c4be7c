//! The bounded run of the fuzz target `manifest`; `cargo xtask fuzz manifest` runs it longer.

#[path = "../../../../tests/fuzz/src/mutate.rs"]
mod mutate;

#[test]
fn manifests_descriptors_and_their_values_come_back_as_they_were_written() {
    mutate::run("manifest", 4000, tessera_manifest::fuzzing::manifest);
}
