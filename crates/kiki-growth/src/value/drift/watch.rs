//! The watch: looks at the model in force of every tenant whose orders come in live, once a day and when a further week is whole.
//!
//! Several processes may watch the same database. Each look is kept in the place of the one that it began from, so of two at once
//! one counts, and a change is told once: with its entry in the log, in the transaction that keeps the look.

use std::time::Duration;

use kiki_kit::shutdown::Shutdown;
use kiki_models::ltv::Verdict;
use kiki_types::Principal;

use super::{DAYS_OF_WEEK, Drift, Measure, VERDICTS, Window, name};
use crate::value::audit::{self, Entry};
use crate::value::error::ValueError;
use crate::value::model::SavedModel;
use crate::value::repo;
use crate::value::repo::drift::{Feed, Look, feeds_after, put_look, verdicts};
use crate::value::service::Value;

/// How often tenants are gone through.
const PAUSE: Duration = Duration::from_secs(600);
/// A model is looked at again after so long.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Tenants that are read at once, and gone through at the most.
const PAGE: usize = 100;
const TENANTS_MAX: usize = 1_000_000;
/// Whoever looks, in the log.
const WATCHER: &str = "kiki-value";

/// Watches until `shutdown` begins.
pub async fn watch(value: Value, shutdown: Shutdown) {
    while !shutdown.is_draining() {
        if let Err(error) = value.look_at_all(&shutdown).await {
            tracing::warn!(%error, "models are not watched; tried again");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.draining() => {}
        }
    }
}

impl Value {
    /// Looks at every model that is due.
    pub(in crate::value) async fn look_at_all(&self, shutdown: &Shutdown) -> Result<(), ValueError> {
        let store = &self.needs.store;
        let mut after = None;
        for _ in 0..TENANTS_MAX / PAGE {
            let feeds = feeds_after(store, after.as_ref(), PAGE).await?;
            for feed in &feeds {
                if shutdown.is_draining() {
                    return Ok(());
                }
                if let Err(error) = self.look_at(feed).await {
                    tracing::warn!(%error, tenant = %feed.tenant, "a model is not watched; tried again");
                }
            }
            after = feeds.last().map(|feed| feed.tenant.clone());
            if feeds.len() < PAGE {
                break;
            }
        }
        let found = verdicts(store).await?;
        for verdict in VERDICTS {
            let models = found.iter().find(|(of, _)| *of == verdict).map_or(0, |(_, models)| *models);
            metrics::gauge!("kiki_value_models_watched", "verdict" => name(verdict)).set(models);
        }
        Ok(())
    }

    async fn look_at(&self, feed: &Feed) -> Result<(), ValueError> {
        let (store, tenant) = (&self.needs.store, &feed.tenant);
        let Some(model) = repo::current(store, tenant).await? else { return Ok(()) };
        let window = Window::new(model.until_day()?, Some(feed.until_day), self.today());
        let now = self.needs.clock.now();
        let is_due = feed.last.is_none_or(|last| {
            last.model != model.id
                || now >= last.looked_at.plus(DAY_MS)
                || window.last_day() >= last.until_day.saturating_add_unsigned(DAYS_OF_WEEK)
        });
        if !is_due || (model.customers > 0 && !repo::versions::has_customers(store, tenant, model.id).await?) {
            return Ok(());
        }
        let (model, window, drift) = self.drift(tenant, model).await?;
        // Also on a clock that was set back, a look is another than the one before it.
        let looked_at = feed.last.map_or(now, |last| now.max(last.looked_at.plus(1)));
        let look = Look { model: model.id, looked_at, until_day: window.last_day(), verdict: drift.verdict };
        if self.keep(feed, look, &model, &drift).await? {
            metrics::counter!("kiki_value_drift_looks_total", "verdict" => name(drift.verdict)).increment(1);
        }
        Ok(())
    }

    /// Whether it was kept.
    async fn keep(&self, feed: &Feed, look: Look, model: &SavedModel, drift: &Drift) -> Result<bool, ValueError> {
        let needs = &*self.needs;
        let mut tx = needs.store.begin().await?;
        if !put_look(&mut tx, &feed.tenant, feed.last, look).await? {
            return Ok(false);
        }
        let before = feed.last.filter(|last| last.model == model.id).map(|last| last.verdict);
        let (was, is) = (before == Some(Verdict::Drifting), drift.verdict == Verdict::Drifting);
        if was != is {
            let watcher = Principal::service(feed.tenant.clone(), WATCHER);
            let entry = Entry {
                event_type: "value.model.drift",
                action: "drift",
                resource: format!("value/model/{}", model.id),
                reason: reason(drift),
            };
            audit::write(&mut tx, &needs.pseudonym, &watcher, (needs.ids.uuid(), look.looked_at), entry)?;
        }
        tx.commit().await?;
        if was != is {
            tracing::warn!(tenant = %feed.tenant, model = %model.id, verdict = name(drift.verdict), "drift of a model");
        }
        Ok(true)
    }
}

/// What the log and webhooks are told.
fn reason(drift: &Drift) -> String {
    let measures = [
        ("purchases", &drift.purchases),
        ("spend per purchase", &drift.spend_per_purchase),
        ("purchases of newcomers", &drift.newcomers),
    ];
    let drifting = measures.into_iter().filter(|(_, measure)| measure.verdict == Verdict::Drifting);
    let told = drifting.map(|(what, Measure { actual, expected, .. })| {
        format!("{what} at {:.0} % of what was expected", 100.0 * actual / expected)
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() {
        name(drift.verdict).to_owned()
    } else {
        format!("{}: {}", name(drift.verdict), told.join(", "))
    }
}
