//! The layers of a configuration, as text, and the names of the places where values are found.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::settings::Setting;

/// The variable that names another file than `kiki.toml`.
pub const FILE_VARIABLE: &str = "KIKI_CONFIG";
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file that was read.
#[derive(Clone, Debug, Default)]
pub struct Text {
    /// How it is called in messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A setting given on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag, such as `--host`.
    pub flag: &'static str,
    /// The environment variable of the setting.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
}

/// All layers, lowest first.
#[derive(Clone, Default)]
pub struct Sources {
    /// `kiki.toml`, or the file that [`FILE_VARIABLE`] or a flag named.
    pub file: Option<Text>,
    /// `.env`.
    pub dot_env: Option<Text>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// The command line.
    pub flags: Vec<Flag>,
}

impl Sources {
    /// Reads the files below `directory`: `.env`, and `kiki.toml` or else the file named by `file` or by
    /// [`FILE_VARIABLE`], which must then be there.
    ///
    /// # Errors
    /// A file cannot be read, or is larger than 1 MiB; the message names it.
    pub fn read(
        directory: &Path,
        file: Option<&Path>,
        environment: impl Iterator<Item = (OsString, OsString)>,
        flags: Vec<Flag>,
    ) -> io::Result<Self> {
        // What is not UTF-8 can be none of ours, whose names and values are.
        let environment: Vec<(String, String)> = environment
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let named = environment.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
        let file = match file.map(Path::to_owned).or_else(|| named.map(|(_, path)| PathBuf::from(path))) {
            Some(path) => Some(read_file(&path)?),
            None => read_if_there(&directory.join("kiki.toml"))?,
        };
        Ok(Self { file, dot_env: read_if_there(&directory.join(".env"))?, environment, flags })
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

fn read_if_there(path: &Path) -> io::Result<Option<Text>> {
    match read_file(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_file(path: &Path) -> io::Result<Text> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()));
    if path.metadata().map_err(named)?.len() > FILE_BYTES_MAX {
        return Err(named(io::Error::other("it is larger than 1 MiB")));
    }
    Ok(Text { name, text: std::fs::read_to_string(path).map_err(named)? })
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of `kiki.toml`.
    File(String, usize),
    /// A line of `.env`.
    DotEnv(String, usize),
    /// The environment.
    Environment,
    /// The command line.
    Flag(&'static str),
}

impl Origin {
    /// What the setting is called there.
    pub(super) fn name_of(&self, setting: &Setting) -> &'static str {
        match self {
            Self::File(..) => setting.key,
            Self::Flag(flag) => flag,
            Self::Default | Self::DotEnv(..) | Self::Environment => setting.variable,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name, line) | Self::DotEnv(name, line) => write!(f, "{name}:{line}"),
            Self::Environment => f.write_str("environment"),
            Self::Flag(_) => f.write_str("flag"),
        }
    }
}
