//! What stands against a customer's consents, whatever they agreed to: no sale, restriction, objection.

use kiki_spend::command::FORGOTTEN_MAX;
use kiki_spend::{Command, Digest};
use kiki_store::personal::Subject;
use kiki_types::{Bar, Purpose, UnixMillis};

use super::gpc::Gpc;
use super::model::{About, Act, Basis, OPT_OUT_MS, Record, State};
use super::repo;
use super::service::{SOURCE, Wanted};
use crate::error::ShieldError;
use crate::service::{Caller, Shield};

/// The source of what a browser's signal did.
const GPC: &str = "gpc";

impl Shield {
    /// Lets `bar` stand against what `who` agreed to, or takes it back. Returns its entry; `None` if it stood so before.
    ///
    /// # Errors
    /// The database or the governor does not answer.
    pub async fn bar(&self, caller: &Caller, who: &Subject, bar: Bar, set: bool) -> Result<Option<u64>, ShieldError> {
        self.put_bar(caller, who, bar, set, SOURCE).await
    }

    /// Forgets what people agreed to and what stood against it. Their digests mean nobody any more.
    ///
    /// # Errors
    /// The governor does not answer.
    pub async fn forget(&self, caller: &Caller, subjects: &[Digest]) -> Result<(), ShieldError> {
        for subjects in subjects.chunks(FORGOTTEN_MAX) {
            let draft = self.draft(caller, "consent.forget", "forget", "consent");
            self.decide(Command::Forget { subjects: subjects.into() }, draft).await?;
        }
        Ok(())
    }

    async fn put_bar(
        &self,
        caller: &Caller,
        who: &Subject,
        bar: Bar,
        set: bool,
        source: &str,
    ) -> Result<Option<u64>, ShieldError> {
        // Whoever profiles asks the person's row. It says no before the governor does, and yes after it.
        if set {
            self.mark(who, bar).await?;
        }
        if self.bars(who).await?.contains(&bar) == set {
            return Ok(None);
        }
        let (act, action) = if set { (Act::Bar, "bar") } else { (Act::Unbar, "unbar") };
        let record = Record {
            id: self.0.ids.uuid(),
            about: About::Bar(bar),
            act,
            state: State::Noted,
            basis: Basis::LegalObligation,
            text_version: String::new(),
            source: source.to_owned(),
            at: self.0.clock.now(),
            until: UnixMillis(0),
            confirm_by: UnixMillis(0),
            asked: None,
            entry: None,
        };
        let entry = self.note_and_decide(caller, who, record, action).await?.entry;
        if !set && matches!(bar, Bar::Objected | Bar::Restricted) {
            self.spread_end(who).await;
        }
        Ok(entry)
    }

    /// Lets those know who do not ask the governor that a bar has ended. What is not written now, the follower of the log
    /// writes.
    async fn spread_end(&self, who: &Subject) {
        let written = async {
            self.mark_again(&who.tenant, who.id, Digest(who.pseudonym)).await?;
            self.tell_apart(&who.tenant, who.id).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, "whose objection or restriction has ended is left out for a while yet");
        }
    }

    /// Does what a browser signals for a customer. Returns the entry, and what stands against their consents now.
    pub(super) async fn heed_signal(
        &self,
        caller: &Caller,
        customer_id: &str,
        gpc: Gpc,
    ) -> Result<(Option<u64>, Vec<Bar>), ShieldError> {
        let who = self.somebody(&caller.principal.tenant, customer_id).await?;
        let entry = self.heed(caller, &who, gpc).await?;
        Ok((entry, self.bars(&who).await?))
    }

    /// A bar that refuses `purpose`.
    pub(super) async fn barred(&self, who: &Subject, purpose: Purpose) -> Result<Option<Bar>, ShieldError> {
        Ok(self.bars(who).await?.into_iter().find(|bar| bar.refuses(purpose)))
    }

    /// Does what the browser's signal says: the customer's data are not sold or shared from now on.
    pub(super) async fn heed(&self, caller: &Caller, who: &Subject, gpc: Gpc) -> Result<Option<u64>, ShieldError> {
        if gpc.0 { self.put_bar(caller, who, Bar::DoNotSell, true, GPC).await } else { Ok(None) }
    }

    /// Takes back what stands against `wanted`, where that was asked for and may be done: all of it or none.
    pub(super) async fn lift(
        &self,
        caller: &Caller,
        who: &Subject,
        wanted: &Wanted,
        gpc: Gpc,
    ) -> Result<(), ShieldError> {
        let bars: Vec<_> = self.bars(who).await?.into_iter().filter(|bar| bar.refuses(wanted.purpose)).collect();
        for &bar in &bars {
            let contradicts = gpc.0 && bar == Bar::DoNotSell;
            // A restriction ends with the request that it came with.
            if !wanted.lift.wanted || contradicts || bar == Bar::Restricted {
                return Err(ShieldError::Barred(bar));
            }
            if wanted.evidence.as_ref().is_none_or(String::is_empty) {
                return Err(ShieldError::invalid("evidence", "is wanted where a bar is lifted"));
            }
            if bar == Bar::DoNotSell && !wanted.lift.at_their_request && self.is_recent(who, bar).await? {
                let detail = "must be true: who opted out is not asked again for twelve months";
                return Err(ShieldError::invalid("at_their_request", detail));
            }
        }
        for bar in bars {
            self.put_bar(caller, who, bar, false, &wanted.source).await?;
        }
        Ok(())
    }

    /// Whether the bar was set within the time in which nobody may be asked to lift it. Unknown is recent.
    async fn is_recent(&self, who: &Subject, bar: Bar) -> Result<bool, ShieldError> {
        let since = repo::barred_at(&self.0.store, (&who.tenant, who.id), bar).await?;
        Ok(since.is_none_or(|since| since > self.0.clock.now().plus(-OPT_OUT_MS)))
    }
}
