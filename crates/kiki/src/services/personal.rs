//! The stores of personal data of this process's database and data folder.

use std::sync::Arc;

use kiki_growth::personal::PersonalData;
use kiki_growth::{engage, value};
use kiki_proto::privacy::v1::personal_data_service_server::PersonalDataServiceServer;
use kiki_store::Store;
use kiki_store::personal::held::{AboutNobody, IDEMPOTENCY, OUTBOX, People};
use kiki_store::personal::{PersonalStore, Stores, Subjects};

use super::mail::{MailboxStore, SandboxMail};
use crate::process::Process;

/// The service that others ask about people here.
pub(super) fn service(process: &Process) -> PersonalDataServiceServer<PersonalData> {
    let (store, subjects) = (process.store.clone(), process.subjects.clone());
    kiki_growth::personal::service(PersonalData { store, subjects, stores: process.stores.clone() })
}

/// All of them but those of shield, which knows its own.
///
/// # Errors
/// Two have one name.
pub(crate) fn stores(store: &Store, subjects: &Subjects, mail: &SandboxMail) -> anyhow::Result<Stores> {
    let people = People { store: store.clone(), subjects: subjects.clone() };
    let stores: Vec<Arc<dyn PersonalStore>> = vec![
        Arc::new(engage::personal::Messages(store.clone())),
        Arc::new(AboutNobody(&engage::personal::CAMPAIGNS)),
        Arc::new(value::personal::Purchases(store.clone())),
        Arc::new(MailboxStore(mail.clone())),
        Arc::new(people),
        Arc::new(AboutNobody(&IDEMPOTENCY)),
        Arc::new(AboutNobody(&OUTBOX)),
    ];
    Ok(Stores::new(stores)?)
}
