//! Compiles `proto/` without a `protoc` on the machine.
use std::error::Error;
use std::path::Path;

const FILES: [&str; 2] = ["kiki/shield/v1/shield.proto", "kiki/value/v1/value.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
