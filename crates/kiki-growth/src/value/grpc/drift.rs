//! Drift as messages.

use kiki_models::ltv::Verdict;
use kiki_proto::value::v1 as proto;

use crate::value::drift::{Drift, Measure};
use crate::value::holdout::Group;
use crate::value::model::SavedModel;

pub(super) fn response(model: &SavedModel, drift: Drift) -> proto::GetDriftResponse {
    proto::GetDriftResponse {
        model: model.id.to_string(),
        model_version: model.version,
        currency: model.currency.as_str().to_owned(),
        verdict: verdict(drift.verdict),
        from: drift.from.unwrap_or_default(),
        until: drift.until.unwrap_or_default(),
        weeks: i32::try_from(drift.weeks).unwrap_or(i32::MAX),
        purchases: Some(measure(drift.purchases)),
        spend_per_purchase: Some(measure(drift.spend_per_purchase)),
        newcomers: Some(measure(drift.newcomers)),
        newcomers_per_week: drift.newcomers_per_week,
        by_frequency: drift.by_frequency.into_iter().map(group).collect(),
    }
}

fn measure(measure: Measure) -> proto::DriftMeasure {
    let Measure { customers, actual, expected, low, high, z, .. } = measure;
    let customers = count(customers);
    proto::DriftMeasure { verdict: verdict(measure.verdict), customers, actual, expected, low, high, z }
}

fn group(Group { group, customers, actual, expected }: Group) -> proto::DriftGroup {
    proto::DriftGroup { group, customers: count(customers), actual, expected }
}

fn verdict(verdict: Verdict) -> i32 {
    let told = match verdict {
        Verdict::TooEarly => proto::DriftVerdict::TooEarly,
        Verdict::Steady => proto::DriftVerdict::Steady,
        Verdict::Drifting => proto::DriftVerdict::Drifting,
    };
    told.into()
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
