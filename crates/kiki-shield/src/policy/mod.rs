//! Policy: rules over a request, written in Cedar, counted into one answer.
//!
//! Invariants:
//! - Evaluating is pure: the request and its time go in, a [`Judgement`] comes out; nothing is read, nothing waits.
//! - The most restrictive vote wins, and nothing is allowed that no rule allows. A rule that cannot be evaluated denies.
//! - A policy is checked whole when it is loaded, strictly against the schema in `schema.cedarschema`, and never changes;
//!   its [`Policy::version`] says which texts decided.
//! - The engine is asked about a rule only where scope and guard leave open whether it applies, and would count the others
//!   as they are counted: `what_is_left_out_changes_no_judgement`.
//!
//! Which policy is in force, and since when, is not said here: `service/rules.rs`.
//!
//! Start with [`Policy::decide`]. `docs/policy.md` is for those who write rules.

pub mod cases;
mod error;
mod folder;
mod guard;
mod in_force;
mod index;
mod judgement;
pub(crate) mod repo;
mod request;
mod rule;
mod shape;
mod source;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use cedar_policy::{Authorizer, Entities, Request, Schema, Validator};
use kiki_spend::Digest;
use kiki_types::tenant::is_name;
use sha2::{Digest as _, Sha256};

pub use error::{MISTAKES_MAX, PolicyError, PolicyErrors};
pub use folder::PolicyFolder;
pub use in_force::Policies;
pub use judgement::{Judgement, NO_RULE_ALLOWS, Vote};
pub use kiki_spend::Verdict;
pub use request::{Action, PolicyRequest};
pub use rule::REASON_BYTES_MAX;
pub use shape::{RULE_BYTES_MAX, RULE_NESTING_MAX, RULE_OPERATORS_MAX};

use index::Index;
use judgement::{Effect, Fired};
use request::{Facts, Vocabulary};
use rule::Rule;

/// Rule sets of a policy at the most.
pub const RULE_SETS_MAX: usize = 64;

/// Bytes of all texts of a policy at the most.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Rules of a policy at the most.
pub const RULES_MAX: usize = 10_000;

/// Names that no rule set may have: limits and consent vote beside the rule sets.
const RESERVED: [&str; 2] = ["limits", "consent"];

/// The schema that rules are checked against, in Cedar's own notation.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// A rule set's name and its text.
pub type RuleSetText = (String, String);

/// Checked rule sets, ready to decide. Shared between threads in an [`Arc`].
#[derive(Debug)]
pub struct Policy {
    texts: Vec<RuleSetText>,
    names: Vec<Arc<str>>,
    rules: Vec<Rule>,
    index: Index,
    version: Digest,
    engine: Option<Engine>,
}

/// What the engine needs beside the rules.
#[derive(Debug)]
struct Engine {
    vocabulary: Vocabulary,
    authorizer: Authorizer,
    entities: Entities,
}

impl Policy {
    /// No policy: everything is allowed, as far as limits and consent allow it.
    #[must_use]
    pub fn none() -> Self {
        Self {
            texts: Vec::new(),
            names: Vec::new(),
            rules: Vec::new(),
            index: Index::default(),
            version: version_of(&[]),
            engine: None,
        }
    }

    /// Reads the files `*.cedar` of a folder, or one such file. A file is a rule set of its name.
    ///
    /// # Errors
    /// It cannot be read, holds no rule set, or what it holds is refused as by [`Policy::from_texts`].
    pub fn load(path: &Path) -> Result<Self, PolicyErrors> {
        Self::from_texts(source::read(path)?)
    }

    /// A policy of named rule sets, in any order. Of no rule sets it is [`Policy::none`].
    ///
    /// # Errors
    /// A bound is passed, a name is none or is used twice, a text is no Cedar, or asks about what the schema does not
    /// know. All mistakes are told, each with its place.
    pub fn from_texts(mut texts: Vec<RuleSetText>) -> Result<Self, PolicyErrors> {
        texts.sort();
        check_texts(&texts)?;
        if texts.is_empty() {
            return Ok(Self::none());
        }
        let internal = |error: String| PolicyErrors::from(PolicyError::about("", error, ""));
        let schema = Schema::from_cedarschema_str(SCHEMA).map_err(|error| internal(error.to_string()))?.0;
        let vocabulary = Vocabulary::new().map_err(internal)?;
        let validator = Validator::new(schema);
        let (mut rules, mut mistakes) = (Vec::new(), Vec::new());
        for (set, (name, text)) in texts.iter().enumerate() {
            match rule::read(&validator, set, name, text) {
                Ok(more) => rules.extend(more),
                Err(more) => mistakes.extend(more),
            }
        }
        if !mistakes.is_empty() {
            return Err(PolicyErrors(mistakes));
        }
        Ok(Self {
            names: texts.iter().map(|(name, _)| name.as_str().into()).collect(),
            index: Index::of(&rules),
            version: version_of(&texts),
            engine: Some(Engine { vocabulary, authorizer: Authorizer::new(), entities: Entities::empty() }),
            texts,
            rules,
        })
    }

    /// The names and the texts, in the order of the names.
    #[must_use]
    pub fn texts(&self) -> &[RuleSetText] {
        &self.texts
    }

    /// Which policy this is: equal for equal names and texts, in whatever order they were given.
    #[must_use]
    pub fn version(&self) -> Digest {
        self.version
    }

    /// How many rules there are.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// What the rules say about a request.
    #[must_use]
    pub fn decide(&self, request: &PolicyRequest<'_>) -> Judgement {
        let Some(engine) = &self.engine else { return Judgement::unruled() };
        let Some(facts) = Facts::of(request) else { return self.undecidable("the time is out of range") };
        let mut candidates: Vec<u32> = self.index.candidates(request).collect();
        candidates.sort_unstable();
        let mut asked = None;
        let mut fired = Vec::new();
        for rule in candidates.iter().map(|position| &self.rules[*position as usize]) {
            if rule.scope.actor_name.as_ref().is_some_and(|name| **name != *request.actor_name) {
                continue;
            }
            match rule.guard.holds(&facts) {
                Some(false) => {}
                Some(true) if rule.scope.is_exact => fired.push(rule.fires(None)),
                // The engine's form of the request is made for the first rule that needs it.
                _ => match asked.get_or_insert_with(|| engine.vocabulary.request(&facts)) {
                    Ok(asked) => fired.extend(engine.fires(rule, asked)),
                    Err(error) => return self.undecidable(error),
                },
            }
        }
        judgement::count(&self.names, &fired, request.amount_micros)
    }

    /// Every set denies, because the request cannot be put to its rules.
    fn undecidable(&self, why: &str) -> Judgement {
        let id: Arc<str> = "request".into();
        let fired = (0..self.names.len()).map(|set| Fired {
            set,
            id: &id,
            effect: &Effect::Deny,
            reason: None,
            error: Some(why.to_owned()),
        });
        judgement::count(&self.names, &fired.collect::<Vec<_>>(), 0)
    }
}

impl Engine {
    /// Asks the engine about one rule.
    fn fires<'a>(&self, rule: &'a Rule, asked: &Request) -> Option<Fired<'a>> {
        let response = self.authorizer.is_authorized(asked, &rule.alone, &self.entities);
        let error = response.diagnostics().errors().next().map(ToString::to_string);
        let fires = error.is_some() || response.diagnostics().reason().next().is_some();
        fires.then(|| rule.fires(error))
    }
}

fn check_texts(texts: &[RuleSetText]) -> Result<(), PolicyErrors> {
    let mistake = |name: &str, message: String, help: &str| Err(PolicyError::about(name, message, help).into());
    if texts.len() > RULE_SETS_MAX {
        let message = format!("a policy has at most {RULE_SETS_MAX} rule sets, this one has {}", texts.len());
        return mistake("", message, "join some of them");
    }
    let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
    if bytes > TEXT_BYTES_MAX {
        let message = format!("the texts of a policy have at most {TEXT_BYTES_MAX} bytes, these have {bytes}");
        return mistake("", message, "put what is alike into one rule");
    }
    if let Some((name, _)) = texts.iter().find(|(name, _)| !is_name(name)) {
        let help = "use 1 to 64 letters, digits, '.', '_' or '-'";
        return mistake("", format!("{name:?} cannot name a rule set"), help);
    }
    if let Some((name, _)) = texts.iter().find(|(name, _)| RESERVED.contains(&name.as_str())) {
        return mistake(name, "this name is another vote's, beside those of the rule sets".to_owned(), "rename it");
    }
    let mut rules = 0;
    for (name, text) in texts {
        let of_set = shape::check(name, text)?;
        if of_set == 0 {
            // A file that lost its rules must not take its prohibitions along without a word.
            return mistake(name, "the rule set holds no rule".to_owned(), "write one, or remove the rule set");
        }
        rules += of_set;
    }
    if rules > RULES_MAX {
        let message = format!("a policy has at most {RULES_MAX} rules, this one has {rules}");
        return mistake("", message, "put what is alike into one rule");
    }
    match texts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => mistake(&pair[0].0, "two rule sets have this name".to_owned(), "rename one of them"),
        None => Ok(()),
    }
}

/// The first half of a SHA-256 over names and texts, each after its length.
fn version_of(texts: &[RuleSetText]) -> Digest {
    let mut hash = Sha256::new();
    for part in texts.iter().flat_map(|(name, text)| [name, text]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let full: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&full[..16]);
    Digest(half)
}
