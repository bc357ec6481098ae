//! Consent that stands once the customer confirms it, by a token that is mailed to them.
//!
//! What they take back stays so: the record says how long the log was when they were asked, and the governor refuses a
//! confirmation of what was taken back by a later entry. No clock and no database has a part in that. So a token counts
//! until what it confirms was decided: whatever came between, the same confirmation may be sent again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kiki_store::personal::Subject;
use kiki_store::{StoreError, Tx, outbox};
use kiki_types::event::{AuditEvent, Envelope};
use kiki_types::{Channel, Purpose, TenantId, UnixMillis};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::gpc::Gpc;
use super::model::{About, Record, State};
use super::repo;
use super::service::{Evidence, Made};
use crate::error::ShieldError;
use crate::once::Claim;
use crate::service::{Caller, Shield};

/// The outbox topic of letters to people.
pub(crate) const MAIL_TOPIC: &str = "mail";
/// The token of a confirmation, as it is mailed.
pub(super) const TOKEN: &str = "consent_record.token";
/// Bytes of a token before they are written in base64: the record's id, and as many that nobody can guess.
const TOKEN_BYTES: usize = 32;
/// Whatever is wrong with a token, the answer is the same.
pub(super) const UNKNOWN: ShieldError = ShieldError::NotFound("confirmation");

/// What the mail says that asks for a confirmation.
#[derive(Clone)]
pub struct Confirmation {
    /// Whom it goes to.
    pub who: Subject,
    /// What is to be confirmed.
    pub purpose: Purpose,
    /// By which channel.
    pub channel: Channel,
    /// The text that is agreed to, if one was named.
    pub text: Option<String>,
    /// What the customer sends back to `/v1/consents/confirm`.
    pub token: Zeroizing<String>,
    /// Until when.
    pub confirm_by: UnixMillis,
}

impl Shield {
    /// Lets stand what a customer confirms by the token that was mailed to them, unless they have taken it back since.
    /// `under` tells the request from others with the same token.
    pub(crate) async fn confirm_consent(
        &self,
        caller: &Caller,
        token: &str,
        under: Option<Uuid>,
        gpc: Gpc,
    ) -> Result<Made, ShieldError> {
        let (who, made) = self.take_confirmation(caller, token, under, gpc).await?;
        let record = self.decide_record(caller, &who, made.record, "confirm", true).await?;
        Ok(Made { record, ..made })
    }

    /// Takes the token's word. What it confirms is noted, and not decided yet; the token counts until it is.
    pub(crate) async fn take_confirmation(
        &self,
        caller: &Caller,
        token: &str,
        under: Option<Uuid>,
        gpc: Gpc,
    ) -> Result<(Subject, Made), ShieldError> {
        let now = self.0.clock.now();
        let tenant = &caller.principal.tenant;
        let id = record_of(token)?;
        let (row, mut record, sealed) = repo::with_person(&self.0.store, tenant, id).await?.ok_or(UNKNOWN)?;
        let who = self.0.subjects.unlock(&row)?;
        let known = sealed.token.and_then(|sealed| who.open(TOKEN, &id.to_string(), &sealed).ok()).ok_or(UNKNOWN)?;
        if !bool::from(known.ct_eq(token.as_bytes())) || record.confirm_by < now {
            return Err(UNKNOWN);
        }
        let signal = self.heed(caller, &who, gpc).await?;
        let About::Purpose(purpose, _) = record.about else { return Err(UNKNOWN) };
        if let Some(bar) = self.barred(&who, purpose).await? {
            return Err(ShieldError::Barred(bar));
        }
        let mut evidence = Evidence::open(&who, id, &sealed.evidence);
        (evidence.confirmed_at, evidence.confirmed_under) = (Some(now.rfc3339()), under);
        let mut tx = self.0.store.begin().await?;
        if !repo::confirm(&mut tx, (tenant, id), now, &evidence.seal(&who, id)).await? {
            return Err(UNKNOWN);
        }
        tx.commit().await?;
        (record.state, record.at) = (State::Noted, now);
        Ok((who, Made { record, signal }))
    }

    /// What the same request came to that was broken off before its end was remembered.
    pub(super) async fn confirmed_before_the_end(
        &self,
        caller: &Caller,
        token: &str,
        claim: &Claim,
        gpc: Gpc,
    ) -> Result<Option<Made>, ShieldError> {
        let Some(under) = claim.id() else { return Ok(None) };
        let id = record_of(token)?;
        let found = repo::with_person(&self.0.store, &caller.principal.tenant, id).await?;
        let Some((row, record, sealed)) = found.filter(|found| found.1.state == State::Standing) else {
            return Ok(None);
        };
        let who = self.0.subjects.unlock(&row)?;
        // It was this request that the record took its word from, so it had the token.
        if Evidence::open(&who, id, &sealed.evidence).confirmed_under != Some(under) {
            return Ok(None);
        }
        let signal = self.heed(caller, &who, gpc).await?;
        Ok(Some(Made { record, signal }))
    }

    /// How many entries the log has: what is decided from now on comes after.
    pub(super) async fn decided(&self) -> Result<u64, ShieldError> {
        Ok(self.0.governor.read(|state| state.entries()).await?)
    }

    /// What the mail about the record `id` says; `None` if it waits for nothing any more.
    ///
    /// # Errors
    /// The database does not answer, or the record cannot be read.
    pub async fn confirmation(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Confirmation>, ShieldError> {
        let found = repo::with_person(&self.0.store, tenant, id).await?;
        let Some((row, record, sealed)) = found.filter(|found| found.1.state == State::Awaiting) else {
            return Ok(None);
        };
        let who = self.0.subjects.unlock(&row)?;
        let (About::Purpose(purpose, channel), Some(token)) = (record.about, sealed.token) else { return Ok(None) };
        let token = who.open(TOKEN, &id.to_string(), &token).map_err(StoreError::from)?;
        let token = Zeroizing::new(String::from_utf8(token).map_err(|_| UNKNOWN)?);
        let text = repo::text(&self.0.store, tenant, &record.text_version).await?.map(|text| text.text);
        Ok(Some(Confirmation { who, purpose, channel, text, token, confirm_by: record.confirm_by }))
    }

    /// The mail that asks for a confirmation, and its entry in the log.
    pub(super) fn ask_to_confirm(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        who: &Subject,
        record: &Record,
    ) -> Result<(), ShieldError> {
        let now = self.0.clock.now();
        let draft = self.consent_draft(caller, who, record, "ask");
        crate::jobs::publish(tx, &AuditEvent { id: self.0.ids.uuid(), at: now, ..draft })?;
        let payload = json!({"kind": "consent_confirm", "record": record.id}).to_string();
        let (id, tenant) = (self.0.ids.uuid(), who.tenant.clone());
        outbox::publish(tx, Envelope { id, tenant, at: now, topic: MAIL_TOPIC.to_owned(), payload })?;
        Ok(())
    }

    pub(super) fn token(&self, id: Uuid) -> String {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..16].copy_from_slice(id.as_bytes());
        bytes[16..].copy_from_slice(&(self.0.random)()[..16]);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The record that a token is about.
fn record_of(token: &str) -> Result<Uuid, ShieldError> {
    let mut bytes = [0; TOKEN_BYTES];
    let read = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes);
    Uuid::from_slice(&bytes[..16]).ok().filter(|_| read == Ok(TOKEN_BYTES)).ok_or(UNKNOWN)
}
