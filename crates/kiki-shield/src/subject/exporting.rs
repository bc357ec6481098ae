//! Access and portability: every store tells what it holds, and the person is told where to get it.

use kiki_audit::Checkpoint;
use kiki_store::personal::Subject;
use kiki_types::event::AuditEvent;
use kiki_types::id::SubjectRequestId;

use super::error::SubjectError;
use super::export::{self, About, Export, Given};
use super::model::Outcome;
use super::repo::work::{self, Part};
use super::repo::{Request, copies};
use super::service::Requests;
use super::stores::tells_more;
use super::wave::{Wave, code_of};
use crate::error::ShieldError;
use crate::service::Caller;

/// Bytes of a part at the most, before it is sealed.
const PART_BYTES_MAX: usize = 1 << 20;
/// How long an export is kept: 30 days.
const KEPT_MS: i64 = 30 * 86_400_000;
/// Where parts stand.
const BODY: &str = "subject_export.body";

impl Requests {
    pub(super) async fn hand_out(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        let asked: Vec<_> = wave.with_people().collect();
        let collected = self.collect(wave, &asked).await?;
        for ((request, person), given) in asked.into_iter().zip(collected) {
            let Some(given) = given else {
                self.later(wave, &[request], wave.attempts + 1).await?;
                continue;
            };
            let is_known = Self::details(request, Some(person))?.is_known;
            let holds = given.iter().any(|given| {
                let has_rows = given.documents.iter().any(|document| !document.rows.is_empty());
                has_rows && tells_more(is_known, given.store.name)
            });
            let export = self.make_export(request, given, self.shield().checkpoint()).await?;
            self.keep_export(wave, request, person, &export).await?;
            let outcome = match (holds && export.rows > 0, export.is_whole) {
                (false, true) => Outcome::NothingHeld,
                (true, true) => Outcome::Whole,
                (_, false) => Outcome::Part,
            };
            self.complete(wave, &[request], outcome).await?;
        }
        self.end_overtaken(wave).await
    }

    /// What every store holds about each of the people; `None` where one did not say.
    async fn collect(
        &self,
        wave: &Wave<'_>,
        asked: &[(&Request, &Subject)],
    ) -> Result<Vec<Option<Vec<Given>>>, SubjectError> {
        let people: Vec<&Subject> = asked.iter().map(|(_, person)| *person).collect();
        let mut collected: Vec<_> = asked.iter().map(|_| Some(Vec::new())).collect();
        for store in wave.stores.iter() {
            let declared = store.declared();
            let told = store.export_all(&people).await;
            for (((request, _), given), told) in asked.iter().zip(&mut collected).zip(told) {
                let (rows, error) = match told {
                    Ok(documents) => {
                        let rows = documents.iter().map(|document| document.rows.len()).sum::<usize>();
                        if let Some(given) = given {
                            given.push(Given { store: declared, documents });
                        }
                        (i64::try_from(rows).unwrap_or(i64::MAX), None)
                    }
                    Err(error) => {
                        *given = None;
                        (0, Some(code_of(&error)))
                    }
                };
                self.keep(wave, declared.name, [(request.id, rows)].into_iter(), error).await?;
            }
        }
        Ok(collected)
    }

    async fn make_export(
        &self,
        request: &Request,
        given: Vec<Given>,
        log: Option<Checkpoint>,
    ) -> Result<Export, SubjectError> {
        let (at, request, sheet) = (self.now(), request.clone(), &self.0.needs.sheet);
        let recipients = self.shield().recipients(&request.tenant, &sheet.recipients).await?;
        let peers = sheet.recipients.peers.clone();
        let sheet = sheet.text(&request, &given, self.stores(), &recipients);
        let make = move || {
            let (id, regime, kind) = (request.id.to_string(), request.regime, request.kind);
            export::make(
                &About { request: id, regime, kind, at, log: log.as_ref(), sheet: &sheet, peers: &peers },
                &given,
            )
        };
        // Compressing takes its time, and others wait for this thread.
        let made = tokio::task::spawn_blocking(make).await.map_err(std::io::Error::other)?;
        Ok(made?)
    }

    async fn keep_export(
        &self,
        wave: &Wave<'_>,
        request: &Request,
        person: &Subject,
        export: &Export,
    ) -> Result<(), SubjectError> {
        let until = self.now().plus(KEPT_MS);
        let seal = |(number, body): (usize, &[u8])| Part {
            body: person.seal(BODY, &place(request, number), body),
            sha256: export.manifest.clone(),
            until,
        };
        let parts: Vec<_> = export.zip.chunks(PART_BYTES_MAX).enumerate().map(seal).collect();
        let mut tx = self.store().begin().await?;
        work::keep_export(&mut tx, request, &parts).await?;
        let event = self.entry(&wave.caller, "export", request, Some(person));
        let event_type = "subject_request.export".to_owned();
        let data = format!("sha256:{}", export.manifest);
        crate::jobs::publish(&mut tx, &AuditEvent { event_type, data, ..event })?;
        Ok(tx.commit().await?)
    }

    /// The ZIP of a request, if it is kept. That it is handed out stands in the log; a deletion that waits for it goes on a
    /// day after the first time.
    pub(crate) async fn download(&self, caller: &Caller, id: SubjectRequestId) -> Result<Vec<u8>, SubjectError> {
        let request = self.request(&caller.principal.tenant, id).await?;
        let parts = work::export(self.store(), &request, self.now()).await?;
        if parts.is_empty() {
            return Err(ShieldError::NotFound("export").into());
        }
        let person = self.person(&request).await?.ok_or(SubjectError::Erased)?;
        let mut zip = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            zip.extend(person.open(BODY, &place(&request, number), &part.body)?);
        }
        let mut tx = self.store().begin().await?;
        copies::fetched(&mut tx, &request, self.now()).await?;
        self.tell(&mut tx, caller, "download", &request, Some(&person), "")?;
        tx.commit().await?;
        Ok(zip)
    }
}

fn place(request: &Request, part: usize) -> String {
    format!("{}/{part}", request.id)
}
