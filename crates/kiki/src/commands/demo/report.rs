//! What the demo prints in the end.

use std::path::Path;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use kiki_audit::Verified;
use kiki_growth::value::FitReport;

use super::people::{PROBABILITY_ALIVE_MAX, Population};
use super::steps::{Campaign, Single};

/// All that came of a run.
pub(super) struct Outcome {
    pub(super) fitted: FitReport,
    pub(super) consented: usize,
    pub(super) population: Population,
    pub(super) campaign: Campaign,
    pub(super) singles: Vec<Single>,
}

/// The table.
pub(super) fn table(outcome: &Outcome, verified: &Verified) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let Outcome { fitted, consented, population, campaign, singles } = outcome;
    let mut row = |what: String, count: String, remark: String| {
        table.add_row([what, count, remark]);
    };
    let log_likelihood = fitted.purchases.log_likelihood();
    row("orders".into(), grouped(fitted.orders), "CDNOW sample, January 1997 to June 1998".into());
    row(
        "customers".into(),
        grouped(population.customers),
        format!("BG/NBD fitted to {}, log-likelihood {log_likelihood:.1}", fitted.calibrate_until),
    );
    row("consented".into(), grouped(*consented as u64), "to marketing".into());
    let alive = format!("probability alive at most {PROBABILITY_ALIVE_MAX}");
    row("at risk".into(), grouped(population.at_risk), alive);
    row(
        "value at stake".into(),
        format!("${}", grouped(dollars(population.at_stake))),
        "predicted for them over a year".into(),
    );
    let count = |state: &str| campaign.messages.get(state).copied().unwrap_or_default();
    let sent = count("captured");
    let again = sent - campaign.sent_first;
    let rerun = format!(
        "{} by the first run, {again} by the rerun; {} in the mailbox, nobody twice",
        campaign.sent_first,
        grouped(campaign.delivered)
    );
    row("sent".into(), grouped(sent), rerun);
    let gave_back = "not taken by the provider in the first run; the money was given back";
    row("failed".into(), grouped(campaign.failed_first), gave_back.into());
    row("refused".into(), grouped(count("refused")), "some for several reasons".into());
    for (reason, refusals) in &campaign.reasons {
        let why = match reason.as_str() {
            "consent" => "the customer did not agree",
            "burst" => "more than may be spent in a minute",
            "send_unavailable" => "the provider did not take it; the money was given back",
            _ if campaign.budget_id.as_ref() == Some(reason) => "the campaign's budget is spent",
            _ => "",
        };
        let name = if campaign.budget_id.as_ref() == Some(reason) { "budget" } else { reason };
        row(format!("  {name}"), grouped(*refusals), why.into());
    }
    for single in singles {
        row("refused, a message".into(), single.refused_by.clone(), single.what.into());
    }
    row("spent".into(), format!("${}", campaign.spent), format!("of ${}", campaign.budget));
    let checkpoint = verified.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    row(
        "log verified".into(),
        grouped(verified.entries),
        format!("entries, every decision recomputed; signed checkpoint at {checkpoint}"),
    );
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// What to try next.
pub(super) fn look_further(data: &Path) -> String {
    let data = data.display();
    format!(
        "Kept in {data}. Try:\n  head {data}/audit/shield_audit_gdpr.csv\n  kiki audit verify --data {data}\n  \
         kiki demo --serve"
    )
}

/// A prediction in whole dollars.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a prediction is not negative and far below 2^53"
)]
fn dollars(prediction: f64) -> u64 {
    prediction.round() as u64
}

/// `2357` as `2,357`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
