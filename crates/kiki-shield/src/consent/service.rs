//! The verbs of consent: give, take back. [`super::confirm`] has how what was asked for comes to stand, [`super::look`] what
//! changes nothing.

use kiki_spend::{Command, Decision, Digest, Outcome};
use kiki_store::personal::Subject;
use kiki_types::event::AuditEvent;
use kiki_types::{Channel, Purpose, TenantId, UnixMillis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::confirm::{TOKEN, UNKNOWN};
use super::gpc::Gpc;
use super::model::{About, Act, Basis, CONFIRM_MS, EVIDENCE_BYTES_MAX, Record, State as RecordState};
use super::repeat::waited;
use super::repo::{self, Sealed};
use crate::error::ShieldError;
use crate::names::check_name;
use crate::report::DAY_MS;
use crate::service::{Caller, Shield};

/// Where what is sealed of a record stands.
pub(crate) const EVIDENCE: &str = "consent_record.evidence";
/// The source of what came without one.
pub(crate) const SOURCE: &str = "api";

/// What a customer agrees to, as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The record's id; absent: a fresh one.
    pub(crate) id: Option<Uuid>,
    pub(crate) customer_id: String,
    pub(crate) purpose: Purpose,
    pub(crate) channel: Channel,
    pub(crate) basis: Basis,
    pub(crate) text_version: String,
    pub(crate) source: String,
    pub(crate) evidence: Option<String>,
    /// Absent: as configured.
    pub(crate) until: Option<UnixMillis>,
    pub(crate) double_opt_in: bool,
    /// Whether a basis that is no consent lets decisions pass, too.
    pub(crate) enforce: bool,
    pub(crate) lift: Lift,
}

/// Whether a bar that stands against it is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lift {
    pub(crate) wanted: bool,
    /// Whether the customer asked for it, rather than being asked.
    pub(crate) at_their_request: bool,
}

impl Wanted {
    /// Consent, with nothing said but what must be.
    pub(crate) fn of(customer_id: String, purpose: Purpose, channel: Channel) -> Self {
        Self {
            id: None,
            customer_id,
            purpose,
            channel,
            basis: Basis::Consent,
            text_version: String::new(),
            source: SOURCE.to_owned(),
            evidence: None,
            until: None,
            double_opt_in: false,
            enforce: false,
            lift: Lift::default(),
        }
    }
}

/// What was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) record: Record,
    /// The bar that the request's own signal set, and its entry.
    pub(crate) signal: Option<u64>,
}

/// What is sealed as evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) confirmed_at: Option<String>,
    /// The request that confirmed it, by its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) confirmed_under: Option<Uuid>,
}

impl Evidence {
    pub(crate) fn seal(&self, who: &Subject, id: Uuid) -> Vec<u8> {
        // Texts always have a JSON.
        who.seal(EVIDENCE, &id.to_string(), &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Nothing, where it does not open: what it was cannot be told any more.
    pub(crate) fn open(who: &Subject, id: Uuid, sealed: &[u8]) -> Self {
        let plain = who.open(EVIDENCE, &id.to_string(), sealed);
        plain.ok().and_then(|plain| serde_json::from_slice(&plain).ok()).unwrap_or_default()
    }
}

impl Shield {
    /// Writes down that a customer agrees, and lets it stand: at once, or once they confirm it.
    pub(crate) async fn give_consent(&self, caller: &Caller, wanted: Wanted, gpc: Gpc) -> Result<Made, ShieldError> {
        let now = self.0.clock.now();
        self.check_wanted(&caller.principal.tenant, &wanted, now).await?;
        let who = self.somebody(&caller.principal.tenant, &wanted.customer_id).await?;
        let signal = self.heed(caller, &who, gpc).await?;
        if wanted.basis == Basis::Consent || wanted.enforce {
            self.lift(caller, &who, &wanted, gpc).await?;
        }
        let until = wanted.until.or_else(|| self.usual_end(now)).unwrap_or(UnixMillis(0));
        let record = Record {
            id: wanted.id.unwrap_or_else(|| self.0.ids.uuid()),
            about: About::Purpose(wanted.purpose, wanted.channel),
            act: Act::Grant,
            state: if wanted.double_opt_in { RecordState::Awaiting } else { RecordState::Noted },
            basis: wanted.basis,
            text_version: wanted.text_version,
            source: wanted.source,
            at: now,
            until,
            confirm_by: if wanted.double_opt_in { now.plus(CONFIRM_MS) } else { UnixMillis(0) },
            asked: if wanted.double_opt_in { Some(self.decided().await?) } else { None },
            entry: None,
        };
        let evidence = Evidence { given: wanted.evidence, ..Evidence::default() }.seal(&who, record.id);
        let mut sealed = Sealed { evidence, token: None };
        let mut tx = self.0.store.begin().await?;
        if wanted.double_opt_in {
            sealed.token = Some(who.seal(TOKEN, &record.id.to_string(), self.token(record.id).as_bytes()));
            repo::insert(&mut tx, (&who.tenant, who.id), &record, &sealed).await?;
            self.ask_to_confirm(&mut tx, caller, &who, &record)?;
            tx.commit().await?;
            return Ok(Made { record, signal });
        }
        repo::insert(&mut tx, (&who.tenant, who.id), &record, &sealed).await?;
        tx.commit().await?;
        let enforced = wanted.basis == Basis::Consent || wanted.enforce;
        let record = self.decide_record(caller, &who, record, "grant", enforced).await?;
        Ok(Made { record, signal })
    }

    /// Takes consent back. The governor is told at once, whatever the register does.
    pub(crate) async fn revoke_consent(&self, caller: &Caller, wanted: Wanted, gpc: Gpc) -> Result<Made, ShieldError> {
        check_words(&wanted)?;
        let who = self.somebody(&caller.principal.tenant, &wanted.customer_id).await?;
        self.revoke_consent_of(caller, &who, wanted, gpc).await
    }

    /// As [`Shield::revoke_consent`], of who is known: their name is not looked up, so nobody becomes known by it.
    pub(crate) async fn revoke_consent_of(
        &self,
        caller: &Caller,
        who: &Subject,
        wanted: Wanted,
        gpc: Gpc,
    ) -> Result<Made, ShieldError> {
        let record = Record {
            id: wanted.id.unwrap_or_else(|| self.0.ids.uuid()),
            about: About::Purpose(wanted.purpose, wanted.channel),
            act: Act::Revoke,
            state: RecordState::Noted,
            basis: wanted.basis,
            text_version: String::new(),
            source: wanted.source,
            at: self.0.clock.now(),
            until: UnixMillis(0),
            confirm_by: UnixMillis(0),
            asked: None,
            entry: None,
        };
        let evidence = Evidence { given: wanted.evidence, ..Evidence::default() }.seal(who, record.id);
        let noted = async {
            let about = (wanted.purpose, wanted.channel);
            let mut tx = self.0.store.begin().await?;
            repo::void_awaiting(&mut tx, (&who.tenant, who.id), about, UnixMillis(i64::MAX)).await?;
            repo::insert(&mut tx, (&who.tenant, who.id), &record, &Sealed { evidence, token: None }).await?;
            tx.commit().await
        };
        let (decided, noted) = tokio::join!(self.decide_about(caller, who, &record, "revoke"), noted);
        let entry = decided?.index;
        let record = match noted {
            Ok(()) => self.settled_record(record, &who.tenant, entry).await,
            Err(error) => {
                tracing::warn!(%error, "a revocation stands and is not in the register yet");
                Record { state: RecordState::Standing, entry, ..record }
            }
        };
        let signal = self.heed(caller, who, gpc).await?;
        Ok(Made { record, signal })
    }

    /// When a consent ends that says nothing of it.
    fn usual_end(&self, now: UnixMillis) -> Option<UnixMillis> {
        (self.0.consent_days > 0).then(|| now.plus(i64::from(self.0.consent_days) * DAY_MS))
    }

    async fn check_wanted(&self, tenant: &TenantId, wanted: &Wanted, now: UnixMillis) -> Result<(), ShieldError> {
        check_words(wanted)?;
        if wanted.until.is_some_and(|until| until <= now) {
            return Err(ShieldError::invalid("expires_at", "must be later than now"));
        }
        if wanted.double_opt_in && wanted.basis != Basis::Consent {
            return Err(ShieldError::invalid("double_opt_in", "is for consent; another basis needs no confirmation"));
        }
        if wanted.double_opt_in && wanted.lift.wanted {
            let detail = "cannot be with double_opt_in: a bar is lifted at once, before anybody has confirmed";
            return Err(ShieldError::invalid("lift", detail));
        }
        self.check_text(tenant, &wanted.text_version, wanted.purpose).await
    }

    /// Decides what was noted, and lets the record stand with its entry.
    pub(super) async fn decide_record(
        &self,
        caller: &Caller,
        who: &Subject,
        record: Record,
        action: &str,
        is_enforced: bool,
    ) -> Result<Record, ShieldError> {
        let decided = if is_enforced {
            self.decide_about(caller, who, &record, action).await
        } else {
            let mut draft = self.consent_draft(caller, who, &record, "record");
            record.basis.as_str().clone_into(&mut draft.reason);
            self.decide(Command::Note { from: None }, draft).await
        };
        let decision = match decided {
            Ok(decision) => decision,
            Err(error) => {
                self.leave_undecided(&who.tenant, &record, &error).await?;
                return Err(error);
            }
        };
        Ok(self.settled_record(record, &who.tenant, decision.index).await)
    }

    /// Takes back what was noted, and was not decided.
    pub(super) async fn leave_undecided(
        &self,
        tenant: &TenantId,
        record: &Record,
        error: &ShieldError,
    ) -> Result<(), ShieldError> {
        let state = if waited(record) && !error.is_refusal() {
            // If it was decided after all, the follower of the log finds it; to confirm it twice does no harm.
            RecordState::Awaiting
        } else if error.has_decided_nothing() {
            // And will not be: nobody asks for it once more.
            RecordState::Void
        } else {
            return Ok(());
        };
        repo::settle(self.0.store.pool(), (tenant, record.id), state, None).await?;
        Ok(())
    }

    /// Asks the governor for what the record says.
    async fn decide_about(
        &self,
        caller: &Caller,
        who: &Subject,
        record: &Record,
        action: &str,
    ) -> Result<Decision, ShieldError> {
        let subject = Digest(who.pseudonym);
        let command = match record.about {
            About::Purpose(purpose, channel) => Command::Consent {
                subject,
                purpose,
                granted: record.act == Act::Grant,
                channel: Some(channel).filter(|channel| *channel != Channel::Any),
                until: Some(record.until.0).filter(|until| *until > 0),
                asked: record.asked,
            },
            About::Bar(bar) => Command::Bar { subject, bar, set: record.act == Act::Bar },
        };
        let decision = self.decide_any(command, self.consent_draft(caller, who, record, action)).await?;
        match decision.outcome {
            Outcome::Invalid => Err(ShieldError::invalid("expires_at", "must be later than now")),
            // It was taken back since they were asked.
            Outcome::Stale => Err(UNKNOWN),
            _ => Ok(decision),
        }
    }

    pub(super) fn consent_draft(&self, caller: &Caller, who: &Subject, record: &Record, action: &str) -> AuditEvent {
        let resource = record.about.resource(record.id);
        let mut draft = self.draft(caller, &format!("consent.{action}"), action, &resource);
        draft.customer = Digest(who.pseudonym).to_string();
        "consent".clone_into(&mut draft.data);
        draft
    }

    /// The record with its entry. What the register does not take now, the follower of the log brings to it.
    async fn settled_record(&self, record: Record, tenant: &TenantId, entry: Option<u64>) -> Record {
        let settled = repo::settle(self.0.store.pool(), (tenant, record.id), RecordState::Standing, entry).await;
        if let Err(error) = settled {
            tracing::warn!(%error, record = %record.id, "a record of consent has not got its entry yet");
        }
        Record { state: RecordState::Standing, entry, ..record }
    }

    pub(super) async fn note_and_decide(
        &self,
        caller: &Caller,
        who: &Subject,
        record: Record,
        action: &str,
    ) -> Result<Record, ShieldError> {
        let evidence = Evidence::default().seal(who, record.id);
        let mut tx = self.0.store.begin().await?;
        repo::insert(&mut tx, (&who.tenant, who.id), &record, &Sealed { evidence, token: None }).await?;
        tx.commit().await?;
        self.decide_record(caller, who, record, action, true).await
    }
}

fn check_words(wanted: &Wanted) -> Result<(), ShieldError> {
    check_name("source", &wanted.source)?;
    if wanted.evidence.as_ref().is_some_and(|evidence| evidence.len() > EVIDENCE_BYTES_MAX) {
        return Err(ShieldError::invalid("evidence", format_args!("must be at most {EVIDENCE_BYTES_MAX} bytes")));
    }
    Ok(())
}
