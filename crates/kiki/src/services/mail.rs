//! The sandbox mailbox as the mail provider, with everything in it sealed under the key of whom it is for.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiki_growth::engage::{MailSender, OutgoingMail, SendError};
use kiki_sandbox::mailbox::{self, Delivery, DeliveryError, Faults, MESSAGES_MAX, Mail, Mailbox, Open, Owner, Sealed};
use kiki_shield::mail::{Mail as Post, MailError, Message};
use kiki_store::StoreError;
use kiki_store::personal::{Cutoffs, Declared, Document, Expired, Mint, PersonalStore, Subject, SubjectId, Subjects};
use kiki_types::TenantId;
use serde_json::{Value, json};
use uuid::Uuid;

/// Where a message stands, for its seal.
const PLACE: &str = "mailbox.message";
/// Where one stands that carries a code or a token. It can be read where mail is read, and leaves in no copy.
const SECRET_PLACE: &str = "mailbox.secret";
/// What an export says in the place of such a message.
const WITHHELD: &str = "withheld: it carries a code or a token";
/// Messages of one export at the most.
const EXPORT_MAX: usize = 10_000;
/// Owners that are looked up at once.
const OWNERS_AT_ONCE: usize = 500;

/// Sends into the sandbox.
#[derive(Clone)]
pub(crate) struct SandboxMail {
    pub(super) mailbox: Mailbox,
    pub(super) subjects: Subjects,
}

impl SandboxMail {
    /// The mailbox in the data folder `data`. There is one in a process: it knows in memory what its files are.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub(crate) fn open(data: &Path, subjects: Subjects) -> anyhow::Result<Self> {
        let open = Arc::new(Keys(subjects.clone()));
        let mailbox = Mailbox::open(&data.join("sandbox/mailbox"), open, MESSAGES_MAX);
        Ok(Self { mailbox: mailbox.context("cannot open the sandbox mailbox")?, subjects })
    }

    /// The same mailbox, whose deliveries fail as `faults` say.
    pub(super) fn with_faults(self, faults: Faults) -> Self {
        Self { mailbox: self.mailbox.with_faults(faults), ..self }
    }

    /// Delivers `mail`, which is to `who` and is sealed for `place`.
    async fn deliver(&self, who: &Subject, mail: Mail<'_>, place: &'static str) -> Result<(), DeliveryError> {
        let eml = mail.to_rfc5322()?;
        let recipient = mailbox::recipient(&eml)?;
        let delivery = Delivery {
            id: mail.id,
            tenant: &who.tenant,
            at: mail.at,
            owner: who.id.uuid().into_bytes(),
            recipient: &recipient,
            sealed: who.seal(place, &mail.id.to_string(), &eml),
        };
        self.mailbox.deliver(delivery).await
    }
}

impl MailSender for SandboxMail {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'static, Result<(), SendError>> {
        let sandbox = self.clone();
        async move {
            let who = sandbox.subjects.resolve(&mail.tenant, &mail.customer_id, Mint::No).await;
            let who = match who {
                Ok(Some(who)) => who,
                // They were erased after the message was decided upon.
                Ok(None) => return Err(SendError::Rejected),
                Err(error) => {
                    tracing::warn!(%error, "the mailbox cannot seal");
                    return Err(SendError::Unavailable);
                }
            };
            let message = Mail {
                id: mail.id,
                at: mail.at,
                from: &mail.from,
                customer_id: &mail.customer_id,
                subject: &mail.subject,
                body: &mail.body,
            };
            sandbox.deliver(&who, message, PLACE).await.map_err(|error| match error {
                DeliveryError::Rejected(_) => SendError::Rejected,
                DeliveryError::Unavailable(_) => SendError::Unavailable,
                DeliveryError::Io(error) => {
                    tracing::error!(%error, "the mailbox cannot be written");
                    SendError::Unavailable
                }
            })
        }
        .boxed()
    }
}

impl Post for SandboxMail {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<(), MailError>> {
        async move {
            let mail = Mail {
                id: message.id,
                at: message.at,
                from: super::MAIL_FROM,
                customer_id: message.who.name(),
                subject: &message.subject,
                body: &message.body,
            };
            let place = if message.is_secret { SECRET_PLACE } else { PLACE };
            self.deliver(&message.who, mail, place).await.map_err(|error| match error {
                DeliveryError::Rejected(_) => MailError::Rejected,
                DeliveryError::Unavailable(_) => MailError::Unavailable,
                DeliveryError::Io(error) => {
                    tracing::error!(%error, "the mailbox cannot be written");
                    MailError::Unavailable
                }
            })
        }
        .boxed()
    }
}

/// Opens what is in the mailbox.
struct Keys(Subjects);

impl Open for Keys {
    fn open<'a>(
        &'a self,
        tenant: &'a TenantId,
        messages: &'a [Sealed],
    ) -> BoxFuture<'a, io::Result<Vec<Option<Vec<u8>>>>> {
        async move {
            let mut owners: Vec<SubjectId> = messages.iter().map(|message| handle(message.owner)).collect();
            owners.sort_unstable();
            owners.dedup();
            let people = self.0.by_id(tenant, &owners).await.map_err(io::Error::other)?;
            let people: HashMap<SubjectId, Subject> = people.into_iter().map(|person| (person.id, person)).collect();
            let open = |message: &Sealed| {
                let person = people.get(&handle(message.owner))?;
                opened(person, message).map(|(eml, _)| eml)
            };
            Ok(messages.iter().map(open).collect())
        }
        .boxed()
    }
}

/// A message, and whether it carries a code or a token.
fn opened(who: &Subject, message: &Sealed) -> Option<(Vec<u8>, bool)> {
    let open = |place: &'static str| who.open(place, &message.id.to_string(), &message.sealed).ok();
    open(PLACE).map(|eml| (eml, false)).or_else(|| open(SECRET_PLACE).map(|eml| (eml, true)))
}

fn handle(owner: Owner) -> SubjectId {
    Uuid::from_bytes(owner).into()
}

const DECLARED: Declared = Declared { name: "mailbox", service: "engage", tables: &[], files: &["sandbox/mailbox/"] };

/// The messages in the mailbox, by the people they went to. A message says what was sent, and is not corrected.
#[derive(Clone)]
pub(crate) struct MailboxStore(pub(crate) SandboxMail);

impl PersonalStore for MailboxStore {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        async move {
            let found = self.0.mailbox.of(&who.tenant, who.id.uuid().into_bytes(), EXPORT_MAX).await;
            let row = |message: &Sealed| {
                let (eml, is_secret) = opened(who, message)?;
                // Whoever reads the copy of what is held could go on in the person's name.
                let text = if is_secret { WITHHELD.into() } else { String::from_utf8_lossy(&eml) };
                match json!({"message_id": message.id, "message": text}) {
                    Value::Object(row) => Some(row),
                    _ => None,
                }
            };
            let rows: Vec<_> = found.map_err(|error| unreadable(&error))?.iter().filter_map(row).collect();
            let document = Document { name: "mail".to_owned(), provided: false, rows };
            Ok(if document.rows.is_empty() { Vec::new() } else { vec![document] })
        }
        .boxed()
    }

    fn erase<'a>(&'a self, tenant: &'a TenantId, who: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        async move {
            let owners: Vec<Owner> = who.iter().map(|id| id.uuid().into_bytes()).collect();
            self.0.mailbox.forget(tenant, &owners).await.map_err(|error| unreadable(&error))
        }
        .boxed()
    }

    /// Messages that are old, and those to people who have no key any more.
    fn expire<'a>(
        &'a self,
        tenant: &'a TenantId,
        cutoffs: &'a Cutoffs,
        limit: u32,
        dry: bool,
    ) -> BoxFuture<'a, Result<Expired, StoreError>> {
        async move {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let gone = self.gone(tenant).await?;
            let old = self
                .0
                .mailbox
                .expire(tenant, cutoffs.marketing, gone, limit, dry)
                .await
                .map_err(|error| unreadable(&error))?;
            Ok(Expired { rows: old.messages, oldest: old.oldest })
        }
        .boxed()
    }
}

impl MailboxStore {
    /// Those to whom messages went and who have no key any more.
    async fn gone(&self, tenant: &TenantId) -> Result<HashSet<Owner>, StoreError> {
        let (mut gone, mut after) = (HashSet::new(), None);
        loop {
            let owners =
                self.0.mailbox.owners(tenant, after, OWNERS_AT_ONCE).await.map_err(|error| unreadable(&error))?;
            let Some(last) = owners.last() else { return Ok(gone) };
            after = Some(*last);
            let handles: Vec<SubjectId> = owners.iter().map(|owner| handle(*owner)).collect();
            let known = self.0.subjects.by_id(tenant, &handles).await?;
            let known: HashSet<Owner> = known.iter().map(|person| person.id.uuid().into_bytes()).collect();
            gone.extend(owners.into_iter().filter(|owner| !known.contains(owner)));
        }
    }
}

fn unreadable(error: &io::Error) -> StoreError {
    StoreError::Unreadable { column: "sandbox/mailbox".to_owned(), why: error.kind().to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use kiki_store::testing::{People, TestDb};
    use kiki_types::UnixMillis;

    use super::*;

    #[tokio::test]
    async fn a_code_can_be_read_where_mail_is_read_and_is_in_no_export() {
        let (db, folder) = (TestDb::sqlite().await, tempfile::tempdir().unwrap());
        let people = People::of(&db.store).await;
        let who = people.resolve(&TenantId::default_tenant(), "ann", Mint::Yes).await.unwrap().unwrap();
        let sandbox = SandboxMail::open(folder.path(), Subjects::clone(&people)).unwrap();
        for (n, is_secret) in [(1, true), (2, false)] {
            let message = Message {
                id: Uuid::from_u128(n).into(),
                at: UnixMillis(1_700_000_000_000),
                who: who.clone(),
                subject: "Your request".to_owned(),
                body: "It is 482913.".to_owned(),
                is_secret,
            };
            Post::send(&sandbox, message).await.unwrap();
        }
        let sent = sandbox.mailbox.of(&who.tenant, who.id.uuid().into_bytes(), 9).await.unwrap();
        let read = Keys(Subjects::clone(&people)).open(&who.tenant, &sent).await.unwrap();
        assert!(read.iter().all(|eml| String::from_utf8_lossy(eml.as_ref().unwrap()).contains("482913")));
        let told = MailboxStore(sandbox).export(&who).await.unwrap().remove(0).rows;
        let codes = told.iter().filter(|row| row["message"].as_str().unwrap().contains("482913")).count();
        assert_eq!((told.len(), codes), (2, 1), "{told:?}");
    }
}
