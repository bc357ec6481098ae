//! What customers are worth together: those who are named, or those who first bought within some days.
//!
//! The work is bounded, and so are the customers that are held for it: few such questions are answered at once, others wait.

use std::collections::HashSet;
use std::sync::Arc;

use kiki_models::ltv::{CohortEstimate, History, Summary, Terms};
use kiki_types::TenantId;

use super::aside::Asker;
use super::error::ValueError;
use super::model::{BATCH_MAX, Parameters, SavedModel, Scope, Who, customer};
use super::orders::day_number;
use super::repo;
use super::selection::Place;
use super::service::{CHUNK, Value};

/// Cohorts that one process puts together at once.
pub(super) const AT_ONCE: usize = 2;
/// Customers that are looked at for who first bought when.
const LOOKED_AT_MAX: usize = 250_000;
/// Customers times months: some seconds on one processor.
const CUSTOMER_MONTHS_MAX: f64 = 5_000_000.0;
/// How often all of them are predicted, for the slopes.
const TIMES: f64 = 9.0;

/// Who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// Whoever is named; each counts once.
    Named(Vec<String>),
    /// All who are known and whose first purchase was on one of these days; both bounds are inclusive, absent ones bound
    /// nothing.
    FirstBought { from: Option<i32>, until: Option<i32> },
}

impl Members {
    /// Those of `ids`.
    pub(super) fn named(ids: Vec<String>) -> Result<Self, ValueError> {
        if ids.len() > BATCH_MAX {
            return Err(ValueError::invalid("customer_ids", "must be at most 10000"));
        }
        let checked = ids.into_iter().enumerate().map(|(index, id)| match customer(id) {
            Ok(Who::Customer(id)) => Ok(id),
            _ => Err(at(index, ValueError::invalid("", "must be 1 to 256 bytes without control characters"))),
        });
        checked.collect::<Result<_, _>>().map(Self::Named)
    }

    /// Those who first bought between two days, such as `2025-03-01` and `2025-03-31`.
    pub(super) fn first_bought(from: Option<&str>, until: Option<&str>) -> Result<Self, ValueError> {
        let day = |field: &str, text: Option<&str>| {
            let wrong = || ValueError::invalid(field, "is not a date such as 2025-03-01");
            text.map(|text| text.parse().map(day_number).map_err(|_| wrong())).transpose()
        };
        let (from, until) = (day("first_purchase.from", from)?, day("first_purchase.until", until)?);
        if from.zip(until).is_some_and(|(from, until)| from > until) {
            return Err(ValueError::invalid("first_purchase.until", "must not be before from"));
        }
        Ok(Self::FirstBought { from, until })
    }
}

/// The error of a customer of `customer_ids`.
fn at(index: usize, error: ValueError) -> ValueError {
    let field = format!("customer_ids[{index}]");
    match error {
        ValueError::UnknownCustomer { customer, .. } => ValueError::UnknownCustomer { customer, field },
        ValueError::Invalid { detail, .. } => ValueError::Invalid { field, detail },
        other => other,
    }
}

impl Value {
    /// What `members` are worth together.
    pub(super) async fn cohort(
        &self,
        tenant: &TenantId,
        members: Members,
        terms: Terms,
    ) -> Result<(Arc<SavedModel>, CohortEstimate), ValueError> {
        let Ok(_place) = self.cohorts.acquire().await else { return Err(ValueError::Ending) };
        let (model, customers) = match members {
            Members::Named(ids) => self.named(tenant, &ids).await?,
            Members::FirstBought { from, until } => {
                let model = self.current(tenant).await?;
                let customers = self.first_bought(tenant, &model, (from, until)).await?;
                (Arc::new(model), customers)
            }
        };
        let months = customers.len() as f64 * Scope { terms, intervals: false }.months();
        if months > CUSTOMER_MONTHS_MAX {
            let why = format_args!("is too long for {} customers at once", customers.len());
            return Err(ValueError::invalid("horizon_weeks", why));
        }
        let (parameters, covariances) = (model.parameters, model.covariances.clone());
        let estimate = move |_: &Asker| {
            let Parameters { purchases, gamma_gamma } = parameters;
            let of_spend = (&gamma_gamma, &covariances.gamma_gamma);
            purchases.cohort(&covariances.purchases, of_spend, &customers, &terms)
        };
        Ok((model, self.aside(TIMES * months, estimate).await?))
    }

    async fn named(
        &self,
        tenant: &TenantId,
        ids: &[String],
    ) -> Result<(Arc<SavedModel>, Vec<(History, f64)>), ValueError> {
        let mut once = HashSet::with_capacity(ids.len());
        let ids = ids.iter().map(String::as_str).enumerate().filter(|(_, id)| once.insert(*id));
        let (places, ids): (Vec<usize>, Vec<&str>) = ids.unzip();
        let (model, known) = self.known(tenant, &ids).await?;
        let one = |(place, id): (usize, &str)| {
            let unknown = || ValueError::UnknownCustomer { customer: id.to_owned(), field: String::new() };
            input(known.get(id).ok_or_else(|| at(place, unknown()))?)
        };
        let customers = places.into_iter().zip(ids).map(one).collect::<Result<_, ValueError>>()?;
        Ok((model, customers))
    }

    async fn first_bought(
        &self,
        tenant: &TenantId,
        model: &SavedModel,
        (from, until): (Option<i32>, Option<i32>),
    ) -> Result<Vec<(History, f64)>, ValueError> {
        let observed = repo::live::observed_until(&self.needs.store, tenant).await?;
        let last = observed.unwrap_or(i32::MIN).max(model.until_day()?);
        let (mut customers, mut after) = (Vec::new(), Place::START);
        for _ in 0..LOOKED_AT_MAX / CHUNK {
            let stretch = self.stretch(tenant, model, (after, observed)).await?;
            for (_, customer) in &stretch.customers {
                let first = last.saturating_sub_unsigned(customer.summary.age_days);
                if from.is_none_or(|from| first >= from) && until.is_none_or(|until| first <= until) {
                    customers.push(input(&customer.summary)?);
                }
            }
            match stretch.next {
                Some(next) => after = next,
                None => return Ok(customers),
            }
        }
        let why =
            format_args!("takes at most {LOOKED_AT_MAX} known customers; kiki value fit --json tells all cohorts");
        Err(ValueError::invalid("first_purchase", why))
    }
}

/// What the models know of a customer.
fn input(summary: &Summary) -> Result<(History, f64), ValueError> {
    Ok((summary.history()?, summary.monetary()))
}
