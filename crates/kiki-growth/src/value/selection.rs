//! Customers by what they are worth, a page at a time: first those that the model knows, in the order of their ids' bytes, then
//! whom only orders since then know, in the order of their handles. Both orders stay, so nobody is missed or comes twice when
//! orders come between pages; whom the first order makes known between two pages may or may not be there.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use kiki_models::ltv::{HistoryError, Terms};
use kiki_store::personal::{Subject, SubjectId};
use kiki_types::TenantId;
use kiki_types::id::ModelId;

use super::aside::Asker;
use super::error::ValueError;
use super::live::caught_up;
use super::model::{About, Known, Parameters, Prediction, SavedModel, Scope};
use super::repo;
use super::service::{CHUNK, Value};

/// Customers of one page at the most.
pub(super) const PAGE_MAX: usize = 1_000;
/// Customers of a page of who names no size.
pub(super) const PAGE_DEFAULT: usize = 500;
/// Customers that one page looks at, at the most. A page may therefore be empty and not the last.
const LOOKED_AT_MAX: usize = 20_000;

/// Which customers are wanted. Bounds are inclusive; absent ones bound nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Selection {
    pub(super) value: (Option<f64>, Option<f64>),
    pub(super) probability_alive: (Option<f64>, Option<f64>),
    pub(super) terms: Terms,
}

/// Customers of one page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Page {
    pub(super) model: SavedModel,
    pub(super) customers: Vec<Prediction>,
    /// Where the next page begins; `None` after the last.
    pub(super) next: Option<PageToken>,
}

/// How far a walk through all customers has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Past the model's customers up to this position.
    Model(i64),
    /// Past all of the model's, and past whom only orders know up to this handle.
    Orders(Option<SubjectId>),
}

impl Place {
    /// Before everybody.
    pub(super) const START: Self = Self::Model(-1);
}

/// Some customers, each with the place past them.
pub(super) struct Stretch {
    pub(super) customers: Vec<(Place, Known)>,
    /// The place past all of them; `None` at the end of the walk.
    pub(super) next: Option<Place>,
}

/// Where a page begins: past a place, in a model. The model stays the same from page to page, also when another one is saved
/// meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageToken {
    pub(super) model: ModelId,
    pub(super) after: Place,
}

impl Value {
    /// The customers who are wanted, at most `size` of them.
    pub(super) async fn select(
        &self,
        tenant: &TenantId,
        wanted: &Selection,
        size: usize,
        from: Option<PageToken>,
    ) -> Result<Page, ValueError> {
        let size = size.clamp(1, PAGE_MAX);
        let (model, mut after) = match from {
            None => (self.current(tenant).await?, Place::START),
            Some(token) => (self.model_of_page(tenant, token.model).await?, token.after),
        };
        let observed = repo::live::observed_until(&self.needs.store, tenant).await?;
        let mut customers = Vec::new();
        for _ in 0..LOOKED_AT_MAX / CHUNK {
            let Stretch { customers: looked_at, next } = self.stretch(tenant, &model, (after, observed)).await?;
            let months = Scope { terms: wanted.terms, intervals: false }.months() * looked_at.len() as f64;
            let (parameters, wanted, room) = (model.parameters, *wanted, size - customers.len());
            let of = move |asker: &Asker| parameters.select_some((after, looked_at), &wanted, room, asker);
            let (selected, stopped_at) = self.aside(months, of).await??;
            customers.extend(selected);
            let Some(place) = stopped_at.or(next) else {
                // Where the model's customers were forgotten meanwhile, what looks like the end is none.
                let model = self.model_of_page(tenant, model.id).await?;
                return Ok(Page { model, customers, next: None });
            };
            after = place;
            if stopped_at.is_some() {
                break;
            }
        }
        let next = Some(PageToken { model: model.id, after });
        Ok(Page { model, customers, next })
    }

    async fn model_of_page(&self, tenant: &TenantId, id: ModelId) -> Result<SavedModel, ValueError> {
        let gone = || ValueError::invalid("page_token", "is of a model that is not kept any more; begin anew");
        let model = repo::model(&self.needs.store, tenant, id).await?.ok_or_else(gone)?;
        match self.still_knows_customers(tenant, &model).await {
            Ok(()) => Ok(model),
            Err(ValueError::CustomersGone(_)) => Err(gone()),
            Err(error) => Err(error),
        }
    }

    /// The next customers after a place, as they are after the orders that came since the model's last day and up to
    /// `observed`, if any came. Who restricted what is done with their data, or objected to being profiled, is left out.
    pub(super) async fn stretch(
        &self,
        tenant: &TenantId,
        model: &SavedModel,
        (after, observed): (Place, Option<i32>),
    ) -> Result<Stretch, ValueError> {
        let (store, subjects) = (&self.needs.store, &self.needs.subjects);
        match (after, observed) {
            (Place::Model(position), _) => {
                let known = repo::customers_after(store, subjects, tenant, model.id, position, CHUNK).await?;
                let next = match known.last() {
                    Some((last, ..)) if known.len() == CHUNK => Some(Place::Model(*last)),
                    _ => observed.map(|_| Place::Orders(None)),
                };
                Ok(Stretch { customers: self.since(tenant, model, observed, known).await?, next })
            }
            (Place::Orders(handle), Some(observed)) => {
                let ordered = repo::live::who_ordered(store, tenant, handle, CHUNK).await?;
                let next = ordered.last().filter(|_| ordered.len() == CHUNK).map(|last| Place::Orders(Some(*last)));
                let unknown = repo::live::unknown_to(store, subjects, tenant, model.id, &ordered).await?;
                Ok(Stretch { customers: self.by_orders(tenant, model, observed, &unknown).await?, next })
            }
            (Place::Orders(_), None) => Ok(Stretch { customers: Vec::new(), next: None }),
        }
    }

    /// Customers of the model and what they ordered since.
    async fn since(
        &self,
        tenant: &TenantId,
        model: &SavedModel,
        observed: Option<i32>,
        customers: Vec<(i64, Subject, Known)>,
    ) -> Result<Vec<(Place, Known)>, ValueError> {
        let until = model.until_day()?;
        let subjects: Vec<Subject> = customers.iter().map(|(_, subject, _)| subject.clone()).collect();
        let orders = match observed {
            Some(_) => repo::live::of(&self.needs.store, tenant, &subjects).await?,
            None => HashMap::new(),
        };
        let caught_up = |(position, subject, mut known): (i64, Subject, Known)| {
            if let Some(observed) = observed {
                let since = orders.get(&subject.id).map_or(&[][..], Vec::as_slice);
                known.summary = caught_up(Some(known.summary), until, since, observed).unwrap_or(known.summary);
            }
            (Place::Model(position), known)
        };
        Ok(customers.into_iter().map(caught_up).collect())
    }

    /// Whom their orders alone tell; who has none left that counts is nobody.
    async fn by_orders(
        &self,
        tenant: &TenantId,
        model: &SavedModel,
        observed: i32,
        subjects: &[Subject],
    ) -> Result<Vec<(Place, Known)>, ValueError> {
        let until = model.until_day()?;
        let orders = repo::live::of(&self.needs.store, tenant, subjects).await?;
        let known = subjects.iter().filter_map(|subject| {
            let summary = caught_up(None, until, orders.get(&subject.id)?, observed)?;
            Some((Place::Orders(Some(subject.id)), Known { id: Arc::from(subject.name()), summary }))
        });
        Ok(known.collect())
    }
}

impl Parameters {
    /// Of customers who come after a place those who are wanted, and where it stopped: past somebody, with `room` of them, or
    /// `None` past all.
    fn select_some(
        &self,
        (mut after, customers): (Place, Vec<(Place, Known)>),
        wanted: &Selection,
        room: usize,
        asker: &Asker,
    ) -> Result<(Vec<Prediction>, Option<Place>), HistoryError> {
        let mut selected = Vec::new();
        for (place, customer) in &customers {
            if selected.len() == room || asker.is_gone() {
                return Ok((selected, Some(after)));
            }
            selected.extend(self.select(customer, wanted)?);
            after = *place;
        }
        Ok((selected, None))
    }

    /// What `customer` is worth, if they are wanted.
    fn select(&self, customer: &Known, wanted: &Selection) -> Result<Option<Prediction>, HistoryError> {
        let history = customer.summary.history()?;
        // Much cheaper than the value, and most selections ask for it.
        if !within(self.purchases.model().probability_alive(&history), wanted.probability_alive) {
            return Ok(None);
        }
        let about = About {
            customer_id: customer.id.to_string(),
            history,
            monetary: customer.summary.monetary(),
            population: false,
        };
        let prediction = self.predict(about, &wanted.terms);
        Ok(within(prediction.value, wanted.value).then_some(prediction))
    }
}

fn within(number: f64, (least, most): (Option<f64>, Option<f64>)) -> bool {
    least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most)
}

/// Before the handle of a place among whom only orders know.
const ORDERS: &str = "o";

impl FromStr for PageToken {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let place = |text: &str| match text.strip_prefix(ORDERS) {
            None => text.parse().ok().map(Place::Model),
            Some("") => Some(Place::Orders(None)),
            Some(handle) => handle.parse().ok().map(|handle| Place::Orders(Some(handle))),
        };
        let parts = text.split_once('.').and_then(|(model, after)| Some((model.parse().ok()?, place(after)?)));
        let (model, after) = parts.ok_or_else(|| ValueError::invalid("page_token", "is not from an answer"))?;
        Ok(Self { model, after })
    }
}

impl std::fmt::Display for PageToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.after {
            Place::Model(position) => write!(f, "{}.{position}", self.model),
            Place::Orders(None) => write!(f, "{}.{ORDERS}", self.model),
            Place::Orders(Some(handle)) => write!(f, "{}.{ORDERS}{handle}", self.model),
        }
    }
}
