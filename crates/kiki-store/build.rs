//! Embeds `migrations/NNNN_name.sql` so that the binary carries what it needs to bring a database up to date.
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var_os("CARGO_MANIFEST_DIR").ok_or("not run by cargo")?).join("migrations");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        names.push(entry?.file_name().into_string().map_err(|name| format!("{} is not UTF-8", name.display()))?);
    }
    names.sort();
    let mut code = String::from("&[\n");
    for name in &names {
        let (version, title) = parts(name).ok_or_else(|| format!("migrations/{name} is not named NNNN_name.sql"))?;
        let path = folder.join(name);
        writeln!(code, "Migration {{ version: {version}, name: {title:?}, text: include_str!({path:?}) }},")?;
    }
    code.push(']');
    fs::write(Path::new(&env::var_os("OUT_DIR").ok_or("not run by cargo")?).join("migrations.rs"), code)?;
    Ok(())
}

/// `0001_foundation.sql` as 1 and `foundation`.
fn parts(file: &str) -> Option<(u32, &str)> {
    let (digits, title) = file.strip_suffix(".sql")?.split_once('_')?;
    let named = title.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let version = digits.parse().ok().filter(|_| digits.len() == 4 && named)?;
    Some((version, title))
}
