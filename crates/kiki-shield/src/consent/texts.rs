//! The texts that people agree to: kept word by word, so that it can be shown what somebody saw.

use kiki_types::event::AuditEvent;
use kiki_types::{Purpose, TenantId, UnixMillis};
use sha2::{Digest as _, Sha256};

use super::repo;
use crate::error::ShieldError;
use crate::names::check_name;
use crate::service::{Caller, Shield};

/// Bytes of a text at the most.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Texts of a tenant at the most.
const TEXTS_MAX: i64 = 10_000;

/// A text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsentText {
    pub(crate) version: String,
    pub(crate) purpose: Purpose,
    pub(crate) sha256: String,
    pub(crate) text: String,
    pub(crate) created_at: UnixMillis,
}

impl Shield {
    /// Keeps a text for ever. The same once more changes nothing; another one under the same version is refused.
    pub(crate) async fn put_consent_text(
        &self,
        caller: &Caller,
        version: &str,
        purpose: Purpose,
        text: String,
    ) -> Result<ConsentText, ShieldError> {
        check_name("version", version)?;
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(ShieldError::invalid("text", format_args!("must be 1 to {TEXT_BYTES_MAX} bytes")));
        }
        let tenant = &caller.principal.tenant;
        let now = self.0.clock.now();
        let sha256 = format!("{:x}", Sha256::digest(&text));
        let wanted = ConsentText { version: version.to_owned(), purpose, sha256, text, created_at: now };
        let mut tx = self.0.store.begin().await?;
        if repo::insert_text(&mut tx, tenant, &wanted, TEXTS_MAX).await? {
            let event = AuditEvent {
                id: self.0.ids.uuid(),
                at: now,
                ..self.draft(caller, "consent.text", "put", &format!("consent_text/{version}"))
            };
            crate::jobs::publish(&mut tx, &event)?;
            tx.commit().await?;
            return Ok(wanted);
        }
        tx.rollback().await?;
        match repo::text(&self.0.store, tenant, version).await? {
            Some(kept) if (kept.purpose, &kept.text) == (purpose, &wanted.text) => Ok(kept),
            Some(_) => Err(ShieldError::TextDiffers),
            None => Err(ShieldError::invalid("version", format_args!("{TEXTS_MAX} texts are kept; no more are taken"))),
        }
    }

    /// A text, as it was kept.
    pub(crate) async fn consent_text(&self, tenant: &TenantId, version: &str) -> Result<ConsentText, ShieldError> {
        repo::text(&self.0.store, tenant, version).await?.ok_or(ShieldError::NotFound("consent text"))
    }

    /// A text that is named as agreed to must be kept, and be about that purpose.
    pub(super) async fn check_text(
        &self,
        tenant: &TenantId,
        version: &str,
        purpose: Purpose,
    ) -> Result<(), ShieldError> {
        if version.is_empty() {
            return Ok(());
        }
        match repo::text(&self.0.store, tenant, version).await? {
            Some(text) if text.purpose == purpose => Ok(()),
            Some(text) => Err(ShieldError::invalid("text_version", format_args!("is about {}", text.purpose))),
            None => Err(ShieldError::invalid("text_version", "names no text; put it to /v1/consent-texts first")),
        }
    }
}
