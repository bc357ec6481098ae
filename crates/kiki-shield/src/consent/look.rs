//! Looking at consent: what stands, and how it came to stand.

use kiki_spend::{ConsentView, Digest, State};
use kiki_store::personal::Mint;
use kiki_types::{Bar, Channel, Purpose, TenantId};
use uuid::Uuid;

use super::model::Record;
use super::repo;
use super::service::Evidence;
use crate::error::ShieldError;
use crate::service::Shield;

/// What stands of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) consents: Vec<ConsentView>,
    pub(crate) bars: Vec<Bar>,
}

impl Shield {
    /// Whether a customer agrees to `purpose` by `channel`, and until when; `None`: it does not end, or does not stand.
    pub(crate) async fn stands(
        &self,
        tenant: &TenantId,
        customer_id: &str,
        purpose: Purpose,
        channel: Channel,
    ) -> Result<(bool, Option<i64>), ShieldError> {
        let Some(who) = self.person(tenant, customer_id, Mint::No).await? else { return Ok((false, None)) };
        let subject = Digest(who.pseudonym);
        let look = move |state: &mut State| {
            let stands = state.has_consent(subject, purpose, channel);
            let views = state.consents_of(subject);
            let said = |by| views.iter().find(|view| (view.purpose, view.channel) == (purpose, by));
            (stands, said(channel).or_else(|| said(Channel::Any)).and_then(|view| view.until).filter(|_| stands))
        };
        Ok(self.0.governor.read(look).await?)
    }

    /// Whether a customer agrees to each of `purposes` by `channel`.
    pub(crate) async fn agrees(
        &self,
        tenant: &TenantId,
        customer_id: &str,
        purposes: &'static [Purpose],
        channel: Channel,
    ) -> Result<Vec<(Purpose, bool)>, ShieldError> {
        let Some(who) = self.person(tenant, customer_id, Mint::No).await? else {
            return Ok(purposes.iter().map(|&purpose| (purpose, false)).collect());
        };
        let subject = Digest(who.pseudonym);
        let look = move |state: &mut State| {
            purposes.iter().map(|&purpose| (purpose, state.has_consent(subject, purpose, channel))).collect()
        };
        Ok(self.0.governor.read(look).await?)
    }

    /// What stands of a customer; nothing of one who is not known.
    pub(crate) async fn standing(&self, tenant: &TenantId, customer_id: &str) -> Result<Standing, ShieldError> {
        let Some(who) = self.person(tenant, customer_id, Mint::No).await? else { return Ok(Standing::default()) };
        let subject = Digest(who.pseudonym);
        let look =
            move |state: &mut State| Standing { consents: state.consents_of(subject), bars: state.bars(subject) };
        Ok(self.0.governor.read(look).await?)
    }

    /// At most `limit` records of a customer after the record `after`, the oldest first.
    pub(crate) async fn consent_history(
        &self,
        tenant: &TenantId,
        customer_id: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<(Record, Evidence)>, ShieldError> {
        let Some(who) = self.person(tenant, customer_id, Mint::No).await? else { return Ok(Vec::new()) };
        let rows = repo::history(&self.0.store, (tenant, who.id), after, limit).await?;
        Ok(rows
            .into_iter()
            .map(|(record, sealed)| {
                let evidence = Evidence::open(&who, record.id, &sealed);
                (record, evidence)
            })
            .collect())
    }
}
