#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tessera_storage::fuzzing::sql(bytes);
});
