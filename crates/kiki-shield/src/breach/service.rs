//! The verbs of the register.

use std::sync::Arc;

use kiki_store::personal::Subject;
use kiki_store::{Store, StoreError, Tx};
use kiki_types::event::{AuditEvent, Level};
use kiki_types::id::BreachId;
use kiki_types::personal::looks_personal;
use kiki_types::{Principal, TenantId, UnixMillis};

use super::error::BreachError;
use super::model::{BREACHES_MAX, Breach, Nature, Risk, Texts};
use super::repo::{self, Sealed};
use crate::error::ShieldError;
use crate::once::Claim;
use crate::service::{Caller, Shield};

/// Bytes of a text at the most.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Categories of one breach at the most, and bytes of the name of one.
const CATEGORIES_MAX: usize = 32;
const CATEGORY_BYTES_MAX: usize = 64;
/// Reminders that one look publishes at the most.
const REMINDED_MAX: u32 = 500;

/// The register of a shield. Cheap to clone.
#[derive(Clone)]
pub struct Breaches(Shield);

/// What is said of a breach: all of it when it is recorded, what has changed later.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) natures: Option<Vec<String>>,
    pub(crate) categories: Option<Vec<String>>,
    pub(crate) persons_about: Option<i64>,
    pub(crate) records_about: Option<i64>,
    pub(crate) risk: Option<String>,
    pub(crate) facts: Option<String>,
    pub(crate) effects: Option<String>,
    pub(crate) measures: Option<String>,
    pub(crate) risk_reason: Option<String>,
    pub(crate) delay_reason: Option<String>,
    pub(crate) persons_reason: Option<String>,
    pub(crate) authority_at: Option<String>,
    pub(crate) persons_at: Option<String>,
    pub(crate) closed: Option<bool>,
}

impl Breaches {
    /// The register of `shield`.
    #[must_use]
    pub const fn new(shield: Shield) -> Self {
        Self(shield)
    }

    pub(super) const fn shield(&self) -> &Shield {
        &self.0
    }

    fn store(&self) -> &Store {
        &self.0.0.store
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.0.0.clock.now()
    }

    /// Records a breach that somebody became aware of at `aware_at`, or now.
    pub(crate) async fn record(
        &self,
        caller: &Caller,
        aware_at: Option<&str>,
        said: &Said,
        claim: &Claim,
    ) -> Result<Breach<String>, BreachError> {
        let (now, tenant) = (self.now(), &caller.principal.tenant);
        let aware_at = past("aware_at", aware_at, now)?.unwrap_or(now);
        let mut breach = Breach {
            id: BreachId::new(self.0.0.ids.as_ref()),
            aware_at,
            natures: Vec::new(),
            categories: Vec::new(),
            persons_about: 0,
            records_about: 0,
            risk: Risk::Likely,
            texts: Texts::default(),
            authority_at: None,
            persons_at: None,
            closed_at: None,
            reminded: 0,
            reported_by: self.0.0.pseudonyms.actor(tenant, &caller.principal.name).to_string(),
        };
        if said.natures.is_none() {
            return Err(ShieldError::invalid("nature", "must be given").into());
        }
        said.apply(&mut breach, now)?;
        let sealed = sealed(&self.0.0.subjects.of_tenant(tenant).await?, &breach);
        let mut tx = self.store().begin().await?;
        if repo::count(&mut tx, tenant).await? >= BREACHES_MAX {
            return Err(BreachError::TooMany);
        }
        repo::insert(&mut tx, tenant, &sealed).await?;
        claim.remember(&mut tx, &[breach.id.uuid()]).await?;
        self.commit(tx, caller, "create", &breach, breach.risk).await?;
        Ok(breach)
    }

    /// Keeps what is said of a breach later.
    pub(crate) async fn change(
        &self,
        caller: &Caller,
        id: BreachId,
        said: &Said,
    ) -> Result<Breach<String>, BreachError> {
        let (now, tenant) = (self.now(), &caller.principal.tenant);
        let owner = self.0.0.subjects.of_tenant(tenant).await?;
        let mut tx = self.store().begin().await?;
        let found = repo::locked(&mut tx, tenant, id).await?.ok_or(UNKNOWN)?;
        let mut breach = opened(&owner, &found)?;
        if breach.closed_at.is_some() && said.closed != Some(false) {
            return Err(BreachError::Closed);
        }
        said.apply(&mut breach, now)?;
        repo::update(&mut tx, tenant, &sealed(&owner, &breach)).await?;
        self.commit(tx, caller, "update", &breach, found.risk).await?;
        Ok(breach)
    }

    /// A breach of the caller's tenant.
    pub(crate) async fn breach(&self, caller: &Caller, id: BreachId) -> Result<Breach<String>, BreachError> {
        let tenant = &caller.principal.tenant;
        let found = repo::breach(self.store(), tenant, id).await?.ok_or(UNKNOWN)?;
        Ok(opened(&self.0.0.subjects.of_tenant(tenant).await?, &found)?)
    }

    /// At most `limit` breaches that somebody became aware of in `period` or that are open, the newest first, from behind
    /// `after` on.
    pub(crate) async fn breaches(
        &self,
        caller: &Caller,
        period: (UnixMillis, UnixMillis),
        after: Option<BreachId>,
        limit: usize,
    ) -> Result<Vec<Breach<String>>, BreachError> {
        let tenant = &caller.principal.tenant;
        let after = match after {
            None => None,
            Some(after) => {
                let found = repo::breach(self.store(), tenant, after).await?;
                Some(found.ok_or_else(|| ShieldError::invalid("after", "names no breach"))?)
            }
        };
        let found = repo::breaches(self.store(), tenant, period, after.as_ref(), limit).await?;
        let owner = self.0.0.subjects.of_tenant(tenant).await?;
        Ok(found.iter().map(|breach| opened(&owner, breach)).collect::<Result<_, _>>()?)
    }

    /// Publishes every reminder that is due. Returns how many that were.
    pub(crate) async fn remind(&self) -> Result<usize, BreachError> {
        let now = self.now();
        let mut published = 0;
        for (tenant, breach) in repo::waiting(self.store(), REMINDED_MAX).await? {
            let Some((reminded, hours)) = breach.reminder(now) else { continue };
            let mut tx = self.store().begin().await?;
            if repo::set_reminded(&mut tx, &tenant, &breach, reminded).await? {
                crate::jobs::publish(&mut tx, &self.reminder(&tenant, &breach, hours))?;
                published += 1;
            }
            tx.commit().await?;
        }
        Ok(published)
    }

    fn reminder(&self, tenant: &TenantId, breach: &Sealed, hours: i64) -> AuditEvent {
        let shield = &self.0;
        let principal = Principal::service(tenant.clone(), "kiki-shield");
        let caller = Caller { principal: Arc::new(principal), network: String::new() };
        let is_over = self.now() > breach.notify_by();
        let kind = if is_over { "breach.overdue" } else { "breach.due" };
        AuditEvent {
            id: shield.0.ids.uuid(),
            at: self.now(),
            level: Level::Warning,
            reason: format!("{hours}h"),
            ..shield.draft(&caller, kind, "remind", &resource(breach.id))
        }
    }

    /// Makes what `caller` did to the register true, with its audit entry: how the telling of the authority stands, and the
    /// risk, with the one `before` where it was another.
    async fn commit(
        &self,
        mut tx: Tx,
        caller: &Caller,
        action: &str,
        breach: &Breach<String>,
        before: Risk,
    ) -> Result<(), BreachError> {
        let shield = &self.0;
        let (notification, risk) = (breach.notification(self.now()).as_str(), breach.risk.as_str());
        let reason = if before == breach.risk {
            format!("{notification}, risk {risk}")
        } else {
            format!("{notification}, risk {} to {risk}", before.as_str())
        };
        let event = AuditEvent {
            id: shield.0.ids.uuid(),
            at: self.now(),
            reason,
            ..shield.draft(caller, &format!("breach.{action}"), action, &resource(breach.id))
        };
        crate::jobs::publish(&mut tx, &event)?;
        Ok(tx.commit().await?)
    }
}

const UNKNOWN: ShieldError = ShieldError::NotFound("breach");

fn resource(id: BreachId) -> String {
    format!("breach/{id}")
}

fn sealed(owner: &Subject, breach: &Breach<String>) -> Sealed {
    let row = breach.id.to_string();
    let seal = |place, text: &String| Ok::<_, std::convert::Infallible>(owner.seal(place, &row, text.as_bytes()));
    let Ok(texts) = breach.texts.try_map(seal);
    breach.with_texts(texts)
}

fn opened(owner: &Subject, breach: &Sealed) -> Result<Breach<String>, StoreError> {
    let row = breach.id.to_string();
    let texts = breach.texts.try_map(|place, sealed| {
        let plain = owner.open(place, &row, sealed).map_err(StoreError::Personal)?;
        String::from_utf8(plain)
            .map_err(|_| StoreError::Unreadable { column: place.to_owned(), why: "is no text".to_owned() })
    })?;
    Ok(breach.with_texts(texts))
}

impl Said {
    /// Makes it true of `breach`.
    fn apply(&self, breach: &mut Breach<String>, now: UnixMillis) -> Result<(), BreachError> {
        if let Some(natures) = &self.natures {
            breach.natures = natures_of(natures)?;
        }
        if let Some(categories) = &self.categories {
            breach.categories = checked_categories(categories)?;
        }
        breach.persons_about = counted("persons_about", self.persons_about)?.unwrap_or(breach.persons_about);
        breach.records_about = counted("records_about", self.records_about)?.unwrap_or(breach.records_about);
        if let Some(risk) = &self.risk {
            breach.risk = risk.parse().map_err(|why| ShieldError::invalid("risk", why))?;
        }
        let texts = &mut breach.texts;
        for (field, said, kept) in [
            ("facts", &self.facts, &mut texts.facts),
            ("effects", &self.effects, &mut texts.effects),
            ("measures", &self.measures, &mut texts.measures),
        ] {
            if let Some(text) = said {
                *kept = checked_text(field, text)?;
            }
        }
        for (field, said, kept) in [
            ("unlikely_because", &self.risk_reason, &mut texts.risk_reason),
            ("delay_reason", &self.delay_reason, &mut texts.delay_reason),
            ("persons_not_told_because", &self.persons_reason, &mut texts.persons_reason),
        ] {
            if let Some(text) = said {
                *kept = Some(checked_text(field, text)?).filter(|text| !text.is_empty());
            }
        }
        let aware_at = breach.aware_at;
        for (field, said, kept) in [
            ("authority_notified_at", &self.authority_at, &mut breach.authority_at),
            ("persons_notified_at", &self.persons_at, &mut breach.persons_at),
        ] {
            let at = past(field, said.as_deref(), now)?;
            if at.is_some_and(|at| at < aware_at) {
                return Err(ShieldError::invalid(field, "must not be before aware_at").into());
            }
            *kept = at.or(*kept);
        }
        if at_late(breach) {
            let detail = "must be given where the authority is told after 72 hours (Art. 33(1) GDPR)";
            return Err(ShieldError::invalid("delay_reason", detail).into());
        }
        match self.closed {
            Some(true) if !breach.missing().is_empty() => Err(BreachError::Missing(breach.missing())),
            Some(is_closed) => {
                breach.closed_at = is_closed.then_some(breach.closed_at.unwrap_or(now));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Whether the authority was told late, and nobody said why.
fn at_late(breach: &Breach<String>) -> bool {
    breach.authority_at.is_some() && breach.missing().contains(&"delay_reason")
}

fn natures_of(names: &[String]) -> Result<Vec<Nature>, ShieldError> {
    let mut natures: Vec<Nature> = Vec::new();
    for name in names {
        let nature = name.parse().map_err(|why| ShieldError::invalid("nature", why))?;
        if !natures.contains(&nature) {
            natures.push(nature);
        }
    }
    if natures.is_empty() {
        return Err(ShieldError::invalid("nature", "must name at least one"));
    }
    Ok(natures)
}

fn checked_categories(names: &[String]) -> Result<Vec<String>, ShieldError> {
    let is_name = |name: &String| {
        (1..=CATEGORY_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'_' | b'-' | b'.'))
            && !looks_personal(name)
    };
    if names.len() > CATEGORIES_MAX || !names.iter().all(is_name) {
        let detail = "must be at most 32 names of 1 to 64 letters, digits, spaces, '.', '_' or '-'";
        return Err(ShieldError::invalid("categories", detail));
    }
    Ok(names.to_vec())
}

fn counted(field: &'static str, number: Option<i64>) -> Result<Option<i64>, ShieldError> {
    match number {
        Some(..0) => Err(ShieldError::invalid(field, "must not be negative")),
        number => Ok(number),
    }
}

fn checked_text(field: &'static str, text: &str) -> Result<String, ShieldError> {
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if text.len() > TEXT_BYTES_MAX || text.chars().any(is_odd) {
        return Err(ShieldError::invalid(field, "must be at most 16384 bytes without control characters"));
    }
    Ok(text.to_owned())
}

/// A time that is not ahead.
fn past(field: &'static str, text: Option<&str>, now: UnixMillis) -> Result<Option<UnixMillis>, ShieldError> {
    let Some(text) = text else { return Ok(None) };
    match UnixMillis::parse_rfc3339(text) {
        Ok(at) if at.0 > 0 && at <= now => Ok(Some(at)),
        Ok(_) => Err(ShieldError::invalid(field, "must not be ahead, nor before 1970")),
        Err(_) => Err(ShieldError::invalid(field, "must be a time such as 2026-02-01T00:00:00Z")),
    }
}
