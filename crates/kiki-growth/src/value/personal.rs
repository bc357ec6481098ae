//! What value holds about people, for whoever answers their requests: what they bought, and what follows from it.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiki_models::ltv::Purchase;
use kiki_store::personal::{
    Class, Cutoffs, Declared, Document, Expired, Form, PersonalStore, Rectified, Subject, SubjectId, Table,
};
use kiki_store::{Store, StoreError};
use kiki_types::money::format_micros;
use kiki_types::{Money, TenantId};
use serde_json::{Map, Value, json};

use super::model::{About, Known, SavedModel, terms};
use super::orders::date_of;
use super::repo::{live, personal};

const PURCHASES: Declared = Declared {
    name: "purchases",
    service: "value",
    tables: &[
        Table {
            name: "value_customer",
            owner: Some("subject"),
            holds: &[("subject", Form::Handle), ("sealed", Form::Sealed)],
            categories: &["purchases", "predicted value"],
            class: Class::Customers,
        },
        Table {
            name: "value_order",
            owner: Some("subject"),
            holds: &[("subject", Form::Handle), ("order_key", Form::Pseudonym), ("sealed", Form::Sealed)],
            categories: &["purchases"],
            class: Class::Customers,
        },
        Table {
            name: "value_training",
            owner: None,
            holds: &[("problem", Form::Business)],
            categories: &[],
            class: Class::Customers,
        },
        Table {
            name: "value_feed",
            owner: None,
            holds: &[("until_day", Form::Business)],
            categories: &[],
            class: Class::Never,
        },
        Table {
            name: "value_drift",
            owner: None,
            holds: &[("verdict", Form::Business)],
            categories: &[],
            class: Class::Never,
        },
        Table {
            name: "value_models",
            owner: None,
            holds: &[("parameters", Form::Business), ("figures", Form::Business), ("revenue", Form::Business)],
            categories: &[],
            class: Class::Customers,
        },
    ],
    files: &[],
};

/// What customers bought, as each saved model knows it, and what they ordered since. Predictions and selections ask each time
/// whether the person restricted or objected: there is nothing to mark here.
#[derive(Clone, Debug)]
pub struct Purchases(pub Store);

impl PersonalStore for Purchases {
    fn declared(&self) -> &'static Declared {
        &PURCHASES
    }

    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        async move {
            let known = personal::of(&self.0, who).await?;
            let ordered = live::of(&self.0, &who.tenant, std::slice::from_ref(who)).await?;
            let ordered = ordered.into_values().flatten().filter_map(order);
            let document = |name: &str, provided, rows| Document { name: name.to_owned(), provided, rows };
            let documents = [
                document("purchases", true, known.iter().filter_map(purchases).collect()),
                document("orders", true, ordered.collect()),
                document("predictions", false, known.iter().filter_map(prediction).collect()),
            ];
            Ok(documents.into_iter().filter(|document| !document.rows.is_empty()).collect())
        }
        .boxed()
    }

    fn erase<'a>(&'a self, tenant: &'a TenantId, who: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        personal::erase(&self.0, tenant, who).boxed()
    }

    /// Purchases are read from the order log of the business, and change with it.
    fn rectify<'a>(
        &'a self,
        who: &'a Subject,
        _: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<Rectified, StoreError>> {
        async move {
            let known = personal::of(&self.0, who).await?;
            let ordered = live::of(&self.0, &who.tenant, std::slice::from_ref(who)).await?;
            Ok(if known.is_empty() && ordered.is_empty() { Rectified::NotHeld } else { Rectified::Derived })
        }
        .boxed()
    }

    fn expire<'a>(
        &'a self,
        tenant: &'a TenantId,
        cutoffs: &'a Cutoffs,
        limit: u32,
        dry: bool,
    ) -> BoxFuture<'a, Result<Expired, StoreError>> {
        personal::expire(&self.0, tenant, cutoffs.customers, limit, dry).boxed()
    }
}

fn purchases((model, known): &(SavedModel, Known)) -> Option<Map<String, Value>> {
    let summary = &known.summary;
    let spent = i64::try_from(summary.repeat_micros).ok().map(|micros| Money::new(micros, model.currency));
    object(json!({
        "model_id": model.id,
        "until": model.calibrate_until,
        "repeat_purchases": summary.frequency,
        "days_between_first_and_last": summary.recency_days,
        "days_since_first": summary.age_days,
        "spent_on_repeat_purchases": spent,
    }))
}

/// An order that came after a model was fitted. Its worth is in the currency of all.
fn order(order: Purchase) -> Option<Map<String, Value>> {
    let day = date_of(order.day).map(|date| date.to_string());
    object(json!({ "day": day, "amount": format_micros(order.micros.into()) }))
}

/// What the model says of them for the usual horizon.
fn prediction((model, known): &(SavedModel, Known)) -> Option<Map<String, Value>> {
    let history = known.summary.history().ok()?;
    let terms = terms(None, None).ok()?;
    let (customer_id, monetary) = (known.id.to_string(), known.summary.monetary());
    let about = About { customer_id, history, monetary, population: false };
    let prediction = model.parameters.predict(about, &terms);
    object(json!({
        "model_id": model.id,
        "horizon_weeks": terms.horizon_weeks(),
        "expected_purchases": prediction.expected_purchases,
        "probability_alive": prediction.probability_alive,
        "value": prediction.value,
        "currency": model.currency.as_str(),
    }))
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(row) => Some(row),
        _ => None,
    }
}
