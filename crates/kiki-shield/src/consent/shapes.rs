//! The shapes of requests about consent, and of their answers.

use kiki_spend::ConsentView;
use kiki_types::{Channel, Purpose, UnixMillis};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::look::Standing;
use super::model::{About, Record};
use super::service::{Evidence, Lift, Made, SOURCE, Wanted};
use super::texts::ConsentText;
use crate::error::ShieldError;
use crate::model::{ReceiptAnswer, moment};
use crate::report::DAY_MS;
use crate::service::Shield;

/// Days that a consent may be given for at the most.
const DAYS_MAX: u32 = 36_525;

/// `POST /v1/consents`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsentBody {
    /// The customer.
    customer_id: String,
    /// `marketing`, `analytics`, `targeting`, `profiling` or `data_sharing`.
    #[schema(example = "marketing")]
    purpose: String,
    /// `email`, `sms`, `push`, `phone`, `post` or `web`; absent: all, whatever was said about one of them before.
    #[schema(example = "email")]
    channel: Option<String>,
    /// The legal basis (GDPR Art. 6(1)): `consent`, `contract`, `legal_obligation`, `vital_interests`, `public_task` or
    /// `legitimate_interests`; absent: `consent`.
    basis: Option<String>,
    /// The text that was agreed to, by its version at `/v1/consent-texts`.
    text_version: Option<String>,
    /// By which way it came, such as `checkout`; absent: `api`.
    source: Option<String>,
    /// What shows that it was given, at most 4,096 bytes. Sealed with the person's key.
    evidence: Option<String>,
    /// When it ends (RFC 3339); absent: as `valid_days` says.
    expires_at: Option<String>,
    /// After how many days it ends; absent: as configured.
    valid_days: Option<u32>,
    /// Let it stand once the customer has confirmed it by a mail. Until then nothing stands.
    #[serde(default)]
    double_opt_in: bool,
    /// Let a basis that is no consent pass decisions, too.
    #[serde(default)]
    enforce: bool,
    /// Take back what stands against it: an objection, or that data must not be sold. Wants evidence.
    #[serde(default)]
    lift: bool,
    /// The customer asked for that themselves. Within twelve months after they opted out of sale nothing else does.
    #[serde(default)]
    at_their_request: bool,
}

/// `POST /v1/consents/revoke`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeBody {
    /// The customer.
    customer_id: String,
    /// What they no longer agree to.
    #[schema(example = "marketing")]
    purpose: String,
    /// As when it was given; absent: all.
    channel: Option<String>,
    /// By which way it came, such as `unsubscribe`; absent: `api`.
    source: Option<String>,
    /// What shows it, at most 4,096 bytes. Sealed with the person's key.
    evidence: Option<String>,
}

/// `POST /v1/consents/confirm`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmBody {
    /// From the mail.
    pub(crate) token: String,
}

/// `POST /v1/consents/signals`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignalBody {
    /// The customer whose browser it is.
    pub(crate) customer_id: String,
    /// `gpc`: the browser sent `Sec-GPC: 1` to a site that passes it on here. Absent: the header of this request counts.
    pub(crate) signal: Option<String>,
}

/// `GET /v1/consents`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StandingRequest {
    /// The customer.
    pub(crate) customer_id: String,
}

/// `GET /v1/consents/history`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryRequest {
    /// The customer.
    pub(crate) customer_id: String,
    /// How many, at most 1,000; absent: 100.
    pub(crate) limit: Option<usize>,
    /// From the answer before.
    #[param(value_type = Option<String>)]
    pub(crate) after: Option<Uuid>,
}

/// `PUT /v1/consent-texts/{version}`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextBody {
    /// What the text is about.
    #[schema(example = "marketing")]
    pub(crate) purpose: String,
    /// Word by word, at most 64 KiB.
    pub(crate) text: String,
}

/// A text that people agree to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsentText)]
pub(crate) struct TextAnswer {
    version: String,
    #[schema(value_type = String, example = "marketing")]
    purpose: Purpose,
    /// In hexadecimal digits.
    sha256: String,
    text: String,
    created_at: String,
}

impl From<ConsentText> for TextAnswer {
    fn from(text: ConsentText) -> Self {
        let ConsentText { version, purpose, sha256, text, created_at } = text;
        Self { version, purpose, sha256, text, created_at: created_at.rfc3339() }
    }
}

/// An act of the register.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsentRecord)]
pub(crate) struct RecordAnswer {
    /// Its id.
    id: String,
    /// `grant`, `revoke`, `bar` or `unbar`.
    #[schema(example = "grant")]
    act: &'static str,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "marketing")]
    purpose: Option<Purpose>,
    /// `any`, or one channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "email")]
    channel: Option<Channel>,
    /// `do_not_sell`, `restricted` or `objected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    bar: Option<&'static str>,
    /// `noted` (not decided yet), `awaiting` (the customer's confirmation), `standing` (decided) or `void` (came to
    /// nothing).
    #[schema(example = "standing")]
    state: &'static str,
    /// The legal basis.
    #[schema(example = "consent")]
    basis: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    text_version: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<String>,
    /// When it was done.
    at: String,
    /// When it ends; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// By when it is to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_by: Option<String>,
    /// Where the log has it: `/v1/audit/entries/{index}/proof` proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptAnswer>,
}

impl RecordAnswer {
    pub(crate) fn new(record: Record, evidence: Evidence, shield: &Shield) -> Self {
        let (purpose, channel, bar) = match record.about {
            About::Purpose(purpose, channel) => (Some(purpose), Some(channel), None),
            About::Bar(bar) => (None, None, Some(bar.as_str())),
        };
        let time = |at: UnixMillis| (at > UnixMillis(0)).then(|| at.rfc3339());
        Self {
            id: record.id.to_string(),
            act: record.act.as_str(),
            purpose,
            channel,
            bar,
            state: record.state.as_str(),
            basis: record.basis.as_str(),
            text_version: record.text_version,
            source: record.source,
            evidence: evidence.given,
            confirmed_at: evidence.confirmed_at,
            at: record.at.rfc3339(),
            expires_at: time(record.until),
            confirm_by: time(record.confirm_by),
            receipt: shield.receipt(record.entry),
        }
    }
}

/// What was written down.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeAnswer {
    #[serde(flatten)]
    record: RecordAnswer,
    /// Where the log has that the browser's signal was heeded; absent where there was none, or it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<ReceiptAnswer>,
}

impl MadeAnswer {
    pub(crate) fn new(made: Made, shield: &Shield) -> Self {
        let signal = shield.receipt(made.signal);
        Self { record: RecordAnswer::new(made.record, Evidence::default(), shield), signal }
    }
}

/// What a signal did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignalAnswer {
    /// Whether the signal was there.
    pub(crate) gpc: bool,
    /// What stands against the customer's consents now.
    pub(crate) bars: Vec<&'static str>,
    /// Where the log has it; absent where it stood so before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptAnswer>,
}

/// What stands of a customer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingAnswer {
    customer_id: String,
    /// What was said about each purpose, for all channels or for one, and whether it stands now.
    consents: Vec<StandsAnswer>,
    /// What stands against them: `do_not_sell`, `restricted`, `objected`.
    bars: Vec<&'static str>,
}

/// What was said about a purpose.
#[derive(Debug, Serialize, ToSchema)]
struct StandsAnswer {
    #[schema(value_type = String, example = "marketing")]
    purpose: Purpose,
    /// `any`, or one channel.
    #[schema(value_type = String, example = "any")]
    channel: Channel,
    /// Whether a decision that names it passes now.
    stands: bool,
    /// When it ends; absent: never, or it was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl StandingAnswer {
    pub(crate) fn new(customer_id: String, standing: &Standing) -> Self {
        let stands = |view: &ConsentView| StandsAnswer {
            purpose: view.purpose,
            channel: view.channel,
            stands: view.stands,
            expires_at: view.until.filter(|until| *until > 0).map(|until| UnixMillis(until).rfc3339()),
        };
        let bars = standing.bars.iter().map(|bar| bar.as_str()).collect();
        Self { customer_id, consents: standing.consents.iter().map(stands).collect(), bars }
    }
}

/// A page of a customer's history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryAnswer {
    /// The oldest first.
    pub(crate) records: Vec<RecordAnswer>,
    /// Send it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// That the signal of browsers is heeded here (W3C, Global Privacy Control).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GpcAnswer {
    pub(crate) gpc: bool,
    #[serde(rename = "lastUpdate")]
    pub(crate) last_update: &'static str,
}

pub(crate) fn purpose(text: &str) -> Result<Purpose, ShieldError> {
    text.parse().map_err(|error| ShieldError::invalid("purpose", error))
}

pub(crate) fn channel(text: Option<&str>) -> Result<Channel, ShieldError> {
    text.map_or(Ok(Channel::Any), |text| text.parse().map_err(|error| ShieldError::invalid("channel", error)))
}

impl ConsentBody {
    pub(crate) fn wanted(self, now: UnixMillis) -> Result<Wanted, ShieldError> {
        let until = match (&self.expires_at, self.valid_days) {
            (Some(_), Some(_)) => return Err(ShieldError::invalid("valid_days", "must not be given with expires_at")),
            (Some(text), None) => Some(UnixMillis(moment("expires_at", text)?)),
            (None, Some(days @ 1..=DAYS_MAX)) => Some(now.plus(i64::from(days) * DAY_MS)),
            (None, Some(_)) => {
                return Err(ShieldError::invalid("valid_days", format_args!("must be 1 to {DAYS_MAX}")));
            }
            (None, None) => None,
        };
        let basis = self.basis.as_deref().unwrap_or("consent");
        Ok(Wanted {
            basis: basis.parse().map_err(|error| ShieldError::invalid("basis", error))?,
            text_version: self.text_version.unwrap_or_default(),
            source: self.source.unwrap_or_else(|| SOURCE.to_owned()),
            evidence: self.evidence,
            until,
            double_opt_in: self.double_opt_in,
            enforce: self.enforce,
            lift: Lift { wanted: self.lift, at_their_request: self.at_their_request },
            ..Wanted::of(self.customer_id, purpose(&self.purpose)?, channel(self.channel.as_deref())?)
        })
    }
}

impl RevokeBody {
    pub(crate) fn wanted(self) -> Result<Wanted, ShieldError> {
        Ok(Wanted {
            source: self.source.unwrap_or_else(|| SOURCE.to_owned()),
            evidence: self.evidence,
            ..Wanted::of(self.customer_id, purpose(&self.purpose)?, channel(self.channel.as_deref())?)
        })
    }
}
