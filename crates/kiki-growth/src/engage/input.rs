//! What callers ask for: the JSON as it comes, and the checks that make it mean something. Errors name the field.

use kiki_kit::schema::MoneySchema;
use kiki_types::id::CampaignId;
use kiki_types::personal::looks_personal;
use kiki_types::tenant::is_name;
use kiki_types::{Money, UnixMillis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::campaign::{Audience, Campaign, Offer, Status};
use super::error::EngageError;
use super::template::Text;

const NAME_CHARS_MAX: usize = 200;
const SUBJECT_CHARS_MAX: usize = 200;
const BODY_CHARS_MAX: usize = 20_000;
/// As at the value service and at shield.
const CUSTOMER_ID_BYTES_MAX: usize = 256;
/// Parts of an account below its tenant.
const ACCOUNT_PARTS_MAX: usize = 7;
const HORIZON_WEEKS_MAX: f64 = 520.0;
const SLUG_BYTES_MAX: usize = 40;

/// A campaign to be created.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCampaign {
    /// What people call it.
    #[schema(example = "Win-back")]
    name: String,
    /// Whom it is for; everybody unless it says otherwise.
    #[serde(default)]
    audience: Audience,
    /// What it says.
    template: Template,
    /// What one message costs.
    #[schema(value_type = MoneySchema)]
    cost_per_message: Money,
    /// What it may spend in all.
    #[schema(value_type = MoneySchema)]
    budget: Money,
    /// Whose money it is: 1 to 7 names with slashes between them. Its own account under `growth/` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
}

/// A message with placeholders `{customer_id}`, `{value}` and `{probability_alive}`; `{{` and `}}` are braces.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Template {
    /// One line.
    #[schema(example = "We miss you")]
    subject: String,
    /// The text.
    #[schema(example = "Dear customer {customer_id}, come back.")]
    body: String,
}

/// A message to one customer: of a campaign, or with a template and a price of its own.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTrigger {
    /// Who it goes to.
    #[schema(example = "00042")]
    pub(super) customer_id: String,
    /// The campaign whose message it is.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    campaign_id: Option<CampaignId>,
    /// What it says, where there is no campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<Template>,
    /// What it costs, where there is no campaign.
    #[schema(value_type = Option<MoneySchema>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cost_per_message: Option<Money>,
    /// Whose money it is, where there is no campaign; `growth/triggers` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
}

/// What a trigger sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sends {
    /// The message of this campaign.
    Campaign(CampaignId),
    /// A message of its own.
    Own(Offer),
}

impl NewCampaign {
    /// The campaign `id`, checked.
    pub(super) fn check(self, id: CampaignId, now: UnixMillis) -> Result<Campaign, EngageError> {
        let name = self.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            let why = format!("must be 1 to {NAME_CHARS_MAX} characters on one line");
            return Err(EngageError::invalid("name", why));
        }
        not_a_person("name", &name)?;
        check_audience(&self.audience)?;
        check_positive("cost_per_message", self.cost_per_message)?;
        check_positive("budget", self.budget)?;
        if self.budget.currency != self.cost_per_message.currency {
            let why = format!("must be in {}, as cost_per_message is", self.cost_per_message.currency);
            return Err(EngageError::invalid("budget", why));
        }
        if self.budget.micros < self.cost_per_message.micros {
            return Err(EngageError::invalid("budget", "must be enough for one message, which costs cost_per_message"));
        }
        let account = match self.account {
            Some(account) => check_account(account)?,
            None => own_account(&name, id),
        };
        let (subject, body) = self.template.check()?;
        Ok(Campaign {
            offer: Offer { campaign: id, account, cost: self.cost_per_message, subject, body },
            name,
            audience: self.audience,
            budget: self.budget,
            created_at: now,
            status: Status::Ready,
            runs: 0,
            run_until: UnixMillis(0),
        })
    }
}

impl NewTrigger {
    /// Who it goes to and what it sends, checked. `id` stands for the campaign where there is none.
    pub(super) fn check(self, id: CampaignId) -> Result<(String, Sends), EngageError> {
        let customer_id = self.customer_id;
        if !(1..=CUSTOMER_ID_BYTES_MAX).contains(&customer_id.len()) || customer_id.chars().any(char::is_control) {
            let why = format!("must be 1 to {CUSTOMER_ID_BYTES_MAX} bytes without control characters");
            return Err(EngageError::invalid("customer_id", why));
        }
        let sends = match (self.campaign_id, self.template) {
            (Some(campaign), None) => {
                if self.cost_per_message.is_some() {
                    return Err(EngageError::invalid("cost_per_message", "is the campaign's, leave it out"));
                }
                if self.account.is_some() {
                    return Err(EngageError::invalid("account", "is the campaign's, leave it out"));
                }
                Sends::Campaign(campaign)
            }
            (None, Some(template)) => {
                let why = "is needed with a template";
                let cost = self.cost_per_message.ok_or_else(|| EngageError::invalid("cost_per_message", why))?;
                check_positive("cost_per_message", cost)?;
                let account = self.account.map_or_else(|| Ok("growth/triggers".to_owned()), check_account)?;
                let (subject, body) = template.check()?;
                Sends::Own(Offer { campaign: id, account, cost, subject, body })
            }
            (Some(_), Some(_)) => return Err(EngageError::invalid("template", "is the campaign's, leave it out")),
            (None, None) => return Err(EngageError::invalid("campaign_id", "is needed, or a template")),
        };
        Ok((customer_id, sends))
    }
}

impl Template {
    fn check(&self) -> Result<(Text, Text), EngageError> {
        let text = |field: &'static str, source: &str, max: usize, is_control: fn(char) -> bool| {
            if source.trim().is_empty() || source.chars().count() > max || source.chars().any(is_control) {
                let why = format!("must be 1 to {max} characters without control characters");
                return Err(EngageError::invalid(field, why));
            }
            Text::parse(source).map_err(|error| EngageError::invalid(field, error.to_string()))
        };
        let in_body = |character: char| character.is_control() && !matches!(character, '\n' | '\r' | '\t');
        let subject = text("template.subject", &self.subject, SUBJECT_CHARS_MAX, char::is_control)?;
        Ok((subject, text("template.body", &self.body, BODY_CHARS_MAX, in_body)?))
    }
}

fn check_positive(field: &'static str, amount: Money) -> Result<(), EngageError> {
    if amount.micros > 0 { Ok(()) } else { Err(EngageError::invalid(field, "must be positive")) }
}

/// Names of campaigns and accounts stand in the log in the clear.
fn not_a_person(field: &'static str, name: &str) -> Result<(), EngageError> {
    if name.split('/').any(looks_personal) { Err(EngageError::PersonalName(field)) } else { Ok(()) }
}

fn check_account(account: String) -> Result<String, EngageError> {
    not_a_person("account", &account)?;
    let parts = account.split('/').count();
    if parts <= ACCOUNT_PARTS_MAX && account.split('/').all(is_name) {
        return Ok(account);
    }
    let why = format!("must be 1 to {ACCOUNT_PARTS_MAX} names of letters, digits, '.', '_', '-' with slashes between");
    Err(EngageError::invalid("account", why))
}

fn not_negative(field: &'static str, value: Option<f64>) -> Result<(), EngageError> {
    // Also what is no number is refused.
    if value.is_none_or(|value| value >= 0.0) { Ok(()) } else { Err(EngageError::invalid(field, "must be 0 or more")) }
}

fn check_audience(audience: &Audience) -> Result<(), EngageError> {
    let in_range = |field, value: Option<f64>, min: f64, max: f64| match value {
        Some(value) if !(min..=max).contains(&value) => {
            Err(EngageError::invalid(field, format!("must be {min} to {max}")))
        }
        _ => Ok(()),
    };
    not_negative("audience.value_min", audience.value_min)?;
    not_negative("audience.value_max", audience.value_max)?;
    in_range("audience.probability_alive_min", audience.probability_alive_min, 0.0, 1.0)?;
    in_range("audience.probability_alive_max", audience.probability_alive_max, 0.0, 1.0)?;
    let is_above = |min: Option<f64>, max: Option<f64>| min.zip(max).is_some_and(|(min, max)| min > max);
    if is_above(audience.value_min, audience.value_max) {
        return Err(EngageError::invalid("audience.value_min", "must not be above value_max"));
    }
    if is_above(audience.probability_alive_min, audience.probability_alive_max) {
        let why = "must not be above probability_alive_max";
        return Err(EngageError::invalid("audience.probability_alive_min", why));
    }
    match audience.horizon_weeks {
        Some(weeks) if !(weeks > 0.0 && weeks <= HORIZON_WEEKS_MAX) => {
            let why = format!("must be above 0 and at most {HORIZON_WEEKS_MAX}");
            Err(EngageError::invalid("audience.horizon_weeks", why))
        }
        _ => Ok(()),
    }
}

/// `growth/win-back-` and the end of the id: readable, and no other campaign's.
fn own_account(name: &str, id: CampaignId) -> String {
    let mut slug = String::new();
    for character in name.chars().flat_map(char::to_lowercase) {
        if slug.len() >= SLUG_BYTES_MAX {
            break;
        }
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let simple = id.uuid().simple().to_string();
    let slug = if slug.is_empty() { "campaign" } else { slug.trim_end_matches('-') };
    format!("growth/{slug}-{}", &simple[simple.len() - 12..])
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
