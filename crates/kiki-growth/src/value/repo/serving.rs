//! What predictions are made of, in one statement: the model in force, how far orders go, and of each person what the model
//! knew and what they ordered since. So an answer is of one state of the database, whoever promotes, records or erases
//! meanwhile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::OnceLock;

use kiki_models::ltv::{Purchase, Summary};
use kiki_store::personal::{Subject, SubjectId};
use kiki_store::{Columns as _, Store, StoreError};
use kiki_types::TenantId;
use kiki_types::id::ModelId;

use super::live;
use super::{ROWS_PER_STATEMENT, ROWS_READ_MAX, halves, numbered, opened, rows_bound, unreadable};

/// Numbers of people that statements are made for: powers of two, and as many as one may have. Few texts are prepared.
const SIZES: usize = ROWS_PER_STATEMENT.ilog2() as usize + 3;

/// Whose customers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Those of the model in force.
    InForce,
    /// Those of this one.
    Of(ModelId),
}

/// What was read.
#[derive(Debug)]
pub(in crate::value) struct Reading {
    /// The model that was wanted.
    pub(in crate::value) model: ModelId,
    /// How far the orders go that came; `None` where none ever did.
    pub(in crate::value) observed_until: Option<i32>,
    people: HashMap<SubjectId, Sealed>,
}

/// What was read of a person, sealed under their key.
#[derive(Debug, Default)]
struct Sealed {
    known: Option<Vec<u8>>,
    /// With their keys.
    orders: Vec<(String, Vec<u8>)>,
}

impl Reading {
    /// What the model knew of `subject`, and their orders that count, in the order of their days. Nothing of whom it was not
    /// asked about.
    pub(in crate::value) fn of(&self, subject: &Subject) -> Result<(Option<Summary>, Vec<Purchase>), StoreError> {
        let Some(Sealed { known, orders }) = self.people.get(&subject.id) else { return Ok((None, Vec::new())) };
        let known = known.as_ref().map(|sealed| opened(subject, self.model, sealed)).transpose()?;
        let mut purchases = Vec::with_capacity(orders.len());
        for (key, sealed) in orders {
            let ordered = live::opened(subject, key, sealed)?;
            purchases.extend(ordered.counts.then_some(ordered.purchase));
        }
        purchases.sort_unstable();
        Ok((known, purchases))
    }
}

/// What is there of `people` and of the model in force: nothing of whoever restricted what is done with their data, or objected
/// to being profiled, or is gone. `None` without a model. Of more than [`ROWS_PER_STATEMENT`] the others are read after the
/// first, all of one model.
pub(in crate::value) async fn read(
    store: &Store,
    tenant: &TenantId,
    people: &[SubjectId],
) -> Result<Option<Reading>, StoreError> {
    read_at_once(store, tenant, people, ROWS_READ_MAX).await
}

/// The same, fewer than `rows_max` rows at once.
pub(super) async fn read_at_once(
    store: &Store,
    tenant: &TenantId,
    people: &[SubjectId],
    rows_max: usize,
) -> Result<Option<Reading>, StoreError> {
    // The first is the last.
    let mut parts: Vec<&[SubjectId]> = people.chunks(ROWS_PER_STATEMENT).rev().collect();
    if parts.is_empty() {
        parts.push(people);
    }
    let mut reading: Option<Reading> = None;
    while let Some(people) = parts.pop() {
        let wanted = reading.as_ref().map_or(Wanted::InForce, |reading| Wanted::Of(reading.model));
        match (read_some(store, tenant, wanted, people, rows_max).await?, &mut reading) {
            (Found::TooMuch, _) => {
                let (one, other) = halves(people)?;
                parts.extend([other, one]);
            }
            (Found::NoModel, None) => return Ok(None),
            (Found::NoModel, Some(_)) => {}
            (Found::Read(first), None) => reading = Some(first),
            (Found::Read(more), Some(reading)) => reading.people.extend(more.people),
        }
    }
    Ok(reading)
}

/// What a statement found.
enum Found {
    Read(Reading),
    NoModel,
    /// More rows than are read at once.
    TooMuch,
}

async fn read_some(
    store: &Store,
    tenant: &TenantId,
    wanted: Wanted,
    people: &[SubjectId],
    rows_max: usize,
) -> Result<Found, StoreError> {
    let (text, places) = statement(wanted, people.len());
    let mut query = sqlx::query(text).bind(tenant.as_str());
    query = match wanted {
        Wanted::InForce => query.bind(0_i64),
        Wanted::Of(model) => query.bind(model.to_string()),
    };
    // Who comes twice is found once.
    for person in people.iter().chain(people.last().into_iter().cycle()).take(places) {
        query = query.bind(person.to_string());
    }
    let rows = query.bind(rows_bound(rows_max)).fetch_all(store.pool()).await?;
    let Some(first) = rows.first() else { return Ok(Found::NoModel) };
    // Without people there is one row.
    if rows.len() >= rows_max && !people.is_empty() {
        return Ok(Found::TooMuch);
    }
    let until = first.int_opt("until_day")?.map(i32::try_from).transpose();
    let until = until.map_err(|error| unreadable("until_day", &error))?;
    let mut found = HashMap::<SubjectId, Sealed>::with_capacity(people.len());
    for row in &rows {
        let Some(subject) = row.parsed_opt("subject")? else { break };
        let of = match found.entry(subject) {
            Entry::Occupied(of) => of.into_mut(),
            Entry::Vacant(new) => new.insert(Sealed { known: row.bytes_opt("known")?, orders: Vec::new() }),
        };
        if let Some(key) = row.text_opt("order_key")? {
            of.orders.push((key, row.bytes_opt("ordered")?.unwrap_or_default()));
        }
    }
    Ok(Found::Read(Reading { model: first.parsed("model")?, observed_until: until, people: found }))
}

/// The statement for so many people, and how many places it has for them.
fn statement(wanted: Wanted, people: usize) -> (&'static str, usize) {
    static TEXTS: [[OnceLock<String>; SIZES]; 2] = [const { [const { OnceLock::new() }; SIZES] }; 2];
    let places = if people == 0 { 0 } else { people.next_power_of_two().min(ROWS_PER_STATEMENT) };
    let size = places.checked_next_power_of_two().filter(|_| places > 0).map_or(0, |power| power.ilog2() as usize + 1);
    let text = TEXTS[usize::from(wanted == Wanted::InForce)][size].get_or_init(|| text_of(wanted, places));
    (text, places)
}

/// A row at least, if there is the model, and one for each person and each of their orders.
fn text_of(wanted: Wanted, places: usize) -> String {
    let which = match wanted {
        Wanted::InForce => "promoted_at > $2 ORDER BY promoted_at DESC LIMIT 1",
        Wanted::Of(_) => "id = $2",
    };
    let who = if places == 0 { "1 = 0".to_owned() } else { format!("s.id IN {}", numbered(3, places)) };
    format!(
        "SELECT m.id AS model, f.until_day AS until_day, s.id AS subject, c.sealed AS known, o.order_key AS order_key, \
         o.sealed AS ordered FROM (SELECT id FROM value_models WHERE tenant = $1 AND {which}) m \
         LEFT JOIN value_feed f ON f.tenant = $1 \
         LEFT JOIN subject s ON s.tenant = $1 AND s.restricted = 0 AND s.objected = 0 AND {who} \
         LEFT JOIN value_customer c ON c.tenant = s.tenant AND c.model = m.id AND c.subject = s.id \
         LEFT JOIN value_order o ON o.tenant = s.tenant AND o.subject = s.id LIMIT ${}",
        places + 3
    )
}
