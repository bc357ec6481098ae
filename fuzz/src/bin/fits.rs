//! `kiki_models::fuzzing::fits` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kiki_models::fuzzing::fits(bytes));
