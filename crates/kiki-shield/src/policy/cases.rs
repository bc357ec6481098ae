//! Cases that a policy is tested with: requests and the judgement that each is to get, in files `*.tests.toml`.

use std::path::Path;

use kiki_types::money::{format_micros, parse_micros};
use kiki_types::{ActorKind, Currency, UnixMillis};
use serde::Deserialize;

use super::source::{bounded, listed};
use super::{Action, Judgement, Policy, PolicyError, PolicyErrors, PolicyRequest, Verdict};

/// Bytes of a file of cases at the most.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Files of cases beside a policy at the most.
pub const FILES_MAX: usize = 256;

/// When a case happens that names no time: a Monday at noon.
const TIME: &str = "2026-01-05T12:00:00Z";

/// What a name of an actor is where a case gives none.
const ACTOR_NAME: &str = "somebody";

/// The cases of one file.
#[derive(Debug)]
pub struct Suite {
    /// The file's name.
    pub file: String,
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// One request and what is expected.
#[derive(Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    request: Fields,
    amount_micros: i64,
    currency: Currency,
    at: UnixMillis,
    expected: Expected,
}

/// What a judgement is held against; what is `None` may be anything.
#[derive(Debug)]
struct Expected {
    verdict: Verdict,
    rules: Option<Vec<String>>,
    at_most: Option<i64>,
    mode: Option<String>,
}

/// A case that got another judgement.
#[derive(Debug)]
pub struct Failure {
    /// A line for each difference: what was expected, what came.
    pub differences: Vec<String>,
    /// The judgement, with its votes.
    pub judgement: Judgement,
}

/// A file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    defaults: Fields,
    #[serde(default, rename = "case")]
    cases: Vec<WrittenCase>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCase {
    name: String,
    #[serde(default)]
    request: Fields,
    expect: WrittenExpectation,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExpectation {
    verdict: Verdict,
    rules: Option<Vec<String>>,
    at_most: Option<String>,
    mode: Option<String>,
}

/// The fields of a request; a case takes from the defaults of its file what it does not say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    actor: Option<ActorKind>,
    actor_name: Option<String>,
    action: Option<Action>,
    target: Option<String>,
    account: Option<String>,
    category: Option<String>,
    payee: Option<String>,
    amount: Option<String>,
    currency: Option<String>,
    risk: Option<u8>,
    time: Option<String>,
}

/// The cases beside a policy: every `*.tests.toml` of the folder, or of the folder of the file.
///
/// # Errors
/// A file cannot be read or is not understood; the message names it, its line, and the case.
pub fn load(path: &Path) -> Result<Vec<Suite>, PolicyErrors> {
    let folder = if path.is_dir() { path } else { beside(path) };
    let files = listed(folder, ".tests.toml")?;
    if files.len() > FILES_MAX {
        let message = format!("at most {FILES_MAX} files of cases, here are {}", files.len());
        return Err(PolicyError::about(&folder.display().to_string(), message, "").into());
    }
    let suite = |file: &std::path::PathBuf| {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = bounded(file, FILE_BYTES_MAX)?;
        parse(&text).map(|cases| Suite { file: name.clone(), cases }).map_err(|mistake| {
            PolicyErrors::from(PolicyError::about(&name, mistake, "docs/policy.md shows how cases are written"))
        })
    };
    files.iter().map(suite).collect()
}

/// The folder of a file; a name alone is in the current one.
fn beside(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The cases of a text.
///
/// # Errors
/// It is not TOML, or a case is not understood; the message says where.
pub fn parse(text: &str) -> Result<Vec<Case>, String> {
    let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
    let defaults = &written.defaults;
    let case = |case: WrittenCase| {
        let name = case.name.clone();
        read(case, defaults).map_err(|mistake| format!("case {name:?}: {mistake}"))
    };
    written.cases.into_iter().map(case).collect()
}

fn read(case: WrittenCase, defaults: &Fields) -> Result<Case, String> {
    let request = case.request.or(defaults);
    for (name, is_there) in [("actor", request.actor.is_some()), ("action", request.action.is_some())] {
        if !is_there {
            return Err(format!("request.{name} is missing, here and in [defaults]"));
        }
    }
    if request.risk.is_some_and(|risk| risk > 100) {
        return Err("request.risk is 0 to 100".to_owned());
    }
    let micros = |field: &str, text: &str| parse_micros(text).map_err(|error| format!("{field}: {error}"));
    let amount_micros = request.amount.as_deref().map_or(Ok(0), |text| micros("request.amount", text))?;
    let currency = request.currency.as_deref().unwrap_or("USD").parse();
    let at = UnixMillis::parse_rfc3339(request.time.as_deref().unwrap_or(TIME));
    let WrittenExpectation { verdict, rules, at_most, mode } = case.expect;
    let at_most = at_most.map(|text| micros("expect.at_most", &text)).transpose()?;
    Ok(Case {
        name: case.name,
        amount_micros,
        currency: currency.map_err(|error| format!("request.currency: {error}"))?,
        at: at.map_err(|error| format!("request.time: {error}"))?,
        request,
        expected: Expected { verdict, rules, at_most, mode },
    })
}

impl Fields {
    fn or(self, defaults: &Self) -> Self {
        Self {
            actor: self.actor.or(defaults.actor),
            actor_name: self.actor_name.or_else(|| defaults.actor_name.clone()),
            action: self.action.or(defaults.action),
            target: self.target.or_else(|| defaults.target.clone()),
            account: self.account.or_else(|| defaults.account.clone()),
            category: self.category.or_else(|| defaults.category.clone()),
            payee: self.payee.or_else(|| defaults.payee.clone()),
            amount: self.amount.or_else(|| defaults.amount.clone()),
            currency: self.currency.or_else(|| defaults.currency.clone()),
            risk: self.risk.or(defaults.risk),
            time: self.time.or_else(|| defaults.time.clone()),
        }
    }
}

impl Case {
    /// The request of the case.
    #[must_use]
    pub fn request(&self) -> PolicyRequest<'_> {
        let fields = &self.request;
        PolicyRequest {
            actor: fields.actor.unwrap_or(ActorKind::Agent),
            actor_name: fields.actor_name.as_deref().unwrap_or(ACTOR_NAME),
            action: fields.action.unwrap_or(Action::Execute),
            target: fields.target.as_deref().unwrap_or_default(),
            account: fields.account.as_deref().unwrap_or_default(),
            category: fields.category.as_deref(),
            payee: fields.payee.as_deref(),
            amount_micros: self.amount_micros,
            currency: self.currency.as_str(),
            risk: fields.risk,
            at: self.at,
        }
    }

    /// Asks the policy.
    ///
    /// # Errors
    /// It answers otherwise than expected.
    pub fn run(&self, policy: &Policy) -> Result<(), Failure> {
        let judgement = policy.decide(&self.request());
        let differences = self.expected.differences(&judgement);
        if differences.is_empty() { Ok(()) } else { Err(Failure { differences, judgement }) }
    }
}

impl Expected {
    fn differences(&self, got: &Judgement) -> Vec<String> {
        let mut lines = Vec::new();
        let mut differ = |what: &str, expected: &str, got: &str| {
            if expected != got {
                lines.push(format!("{what}: expected {expected}, got {got}"));
            }
        };
        differ("verdict", self.verdict.as_str(), got.verdict.as_str());
        if let Some(expected) = &self.rules {
            let (mut expected, mut came) = (expected.clone(), got.deciding_rules().collect::<Vec<_>>());
            expected.sort();
            came.sort();
            differ("rules", &listed_rules(&expected), &listed_rules(&came));
        }
        if let Some(expected) = self.at_most {
            let came = got.amount.map_or_else(|| "no amount".to_owned(), |micros| format_micros(micros.into()));
            differ("at_most", &format_micros(expected.into()), &came);
        }
        if let Some(expected) = &self.mode {
            differ("mode", expected, got.mode.as_deref().unwrap_or("no mode"));
        }
        lines
    }
}

fn listed_rules(rules: &[String]) -> String {
    if rules.is_empty() { "none".to_owned() } else { rules.join(", ") }
}
