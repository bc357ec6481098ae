//! `kiki_models::fuzzing::predictions` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kiki_models::fuzzing::predictions(bytes));
