//! `kiki_growth::value::fuzzing::fields` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kiki_growth::value::fuzzing::fields(bytes));
