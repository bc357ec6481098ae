//! The configuration: defaults, under `kiki.toml`, under `.env`, under the environment, under flags.
//!
//! [`SETTINGS`] declares every setting once. [`Sources`] holds the layers as text, so that nothing below reads the machine;
//! [`Config::load`] merges and validates them, and reports every mistake at once. A variable that is set to nothing counts
//! as not set. Secrets are in nothing that can be printed.

mod check;
mod merge;
mod mistake;
mod secret;
mod settings;
mod show;
mod sources;
mod value;

pub use mistake::{Mistake, Mistakes};
pub use secret::{Secret, SecretUrl};
pub use settings::{Config, SETTINGS, Secrecy, Setting};
pub use show::default_toml;
pub use sources::{FILE_VARIABLE, Flag, Origin, Sources, Text};
pub use value::{Environment, IdentityCheck, LogFormat, MasterChoice};

use merge::Values;

/// A valid configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// What works but is risky, one sentence each. To be logged at start.
    pub warnings: Vec<String>,
    values: Values,
}

impl Config {
    /// Merges the layers of `sources` and validates the outcome.
    ///
    /// # Errors
    /// Every mistake in any layer, together.
    pub fn load(sources: &Sources) -> Result<Loaded, Mistakes> {
        let (mut mistakes, mut warnings) = (Vec::new(), Vec::new());
        let values = Values::merge(sources, &mut mistakes, &mut warnings);
        let config = Self::parse(&values, &mut mistakes);
        if let Some(config) = &config {
            check::together(config, &values, &mut mistakes, &mut warnings);
        }
        match config {
            Some(config) if mistakes.is_empty() => Ok(Loaded { config, warnings, values }),
            _ => Err(Mistakes(mistakes)),
        }
    }
}

impl Loaded {
    /// Where the value of the setting with this environment variable came from; `None` if there is no such setting.
    #[must_use]
    pub fn origin(&self, variable: &str) -> Option<&Origin> {
        self.values.find(variable).map(|value| &value.origin)
    }

    /// What is in force and where from, a line per setting, secrets hidden.
    #[must_use]
    pub fn describe(&self) -> String {
        show::describe(&self.values)
    }
}
