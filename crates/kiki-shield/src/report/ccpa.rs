//! The yearly metrics of requests under the CCPA (11 CCR § 7102(a)).

use kiki_store::{Store, StoreError};
use kiki_types::{TenantId, UnixMillis};
use serde_json::{Value, json};

use super::document::{Document, Table};
use super::repo::{self, Answered, Period};

/// The rights that the metrics are about, and the kinds of requests that make use of each.
const RIGHTS: [(&str, &[&str]); 4] = [
    ("delete", &["DELETION"]),
    ("correct", &["RECTIFICATION"]),
    ("know", &["ACCESS", "PORTABILITY"]),
    ("opt_out_of_sale_or_sharing", &["OPT_OUT"]),
];

pub(super) struct Found {
    answered: Vec<Answered>,
    /// Signals of browsers that their users do not want their data to be sold or shared.
    signals: i64,
}

impl Found {
    pub(super) async fn read(store: &Store, tenant: &TenantId, period: Period) -> Result<Self, StoreError> {
        let bars = repo::signals(store, tenant, period).await?;
        let is_signal = |([act, source], _): &&([String; 2], i64)| act == "bar" && source == "gpc";
        let signals = bars.iter().filter(is_signal).map(|(_, count)| count).sum();
        Ok(Self { answered: repo::answered(store, tenant, period).await?, signals })
    }
}

pub(super) fn document(found: &Found) -> Document {
    let mut rows: Vec<_> = RIGHTS.iter().map(|(right, kinds)| row(right, kinds, &found.answered)).collect();
    let uncovered = "limit_use_of_sensitive_information";
    rows.push(std::iter::once(json!(uncovered)).chain((1..COLUMNS.len()).map(|_| json!("not covered"))).collect());
    Document {
        name: "ccpa",
        title: "Metrics of requests under the CCPA",
        basis: "11 CCR § 7102(a): requests received, complied with and denied in a calendar year",
        tenant: TenantId::default_tenant(),
        made_at: UnixMillis(0),
        period: None,
        log: None,
        settings: Vec::new(),
        tables: vec![
            Table { name: "metrics", title: "Requests by right", columns: COLUMNS, rows },
            Table {
                name: "signals",
                title: "Opt-out preference signals",
                columns: &["signal", "count"],
                rows: vec![vec![json!("Global Privacy Control"), json!(found.signals)]],
            },
        ],
    }
}

const COLUMNS: &[&str] = &[
    "right",
    "received",
    "complied_in_whole",
    "complied_in_part",
    "nothing_held",
    "denied_not_verifiable",
    "denied_not_a_consumer",
    "denied_exempt",
    "denied_other",
    "open",
    "days_mean",
    "days_median",
];

fn row(right: &str, kinds: &[&str], answered: &[Answered]) -> Vec<Value> {
    let mine: Vec<_> = answered.iter().filter(|one| kinds.contains(&one.kind.as_str())).collect();
    let count =
        |is: &dyn Fn(&Answered) -> bool| -> i64 { mine.iter().filter(|one| is(one)).map(|one| one.count).sum() };
    let complied = |outcome: &'static str| count(&|one| one.state == "completed" && one.outcome == outcome);
    let denied = |ground: &'static str| count(&|one| one.state == "refused" && one.ground == ground);
    let named = ["identity_not_proven", "not_a_consumer", "exempt"];
    let other = count(&|one| one.state == "refused" && !named.contains(&one.ground.as_str()));
    let is_over = |one: &Answered| matches!(one.state.as_str(), "completed" | "refused");
    let mut spans: Vec<(i64, i64)> = mine.iter().filter(|one| is_over(one)).map(|one| (one.days, one.count)).collect();
    spans.sort_unstable();
    vec![
        json!(right),
        json!(count(&|_| true)),
        json!(complied("whole")),
        json!(complied("part")),
        json!(complied("nothing_held")),
        json!(denied(named[0])),
        json!(denied(named[1])),
        json!(denied(named[2])),
        json!(other),
        json!(count(&|one| !is_over(one))),
        mean(&spans),
        median(&spans),
    ]
}

/// The mean of values with how often each is there, to a tenth; null of nothing.
fn mean(spans: &[(i64, i64)]) -> Value {
    let (sum, count) = spans.iter().fold((0, 0), |(sum, all), (days, count)| (sum + days * count, all + count));
    if count == 0 { Value::Null } else { tenths((sum * 20 + count) / (count * 2)) }
}

/// The median of values in order, with how often each is there; null of nothing.
fn median(spans: &[(i64, i64)]) -> Value {
    let count: i64 = spans.iter().map(|(_, count)| count).sum();
    let at = |place: i64| {
        let mut before = 0;
        let found = spans.iter().find(|(_, count)| {
            before += count;
            before > place
        });
        found.map_or(0, |(days, _)| *days)
    };
    if count == 0 { Value::Null } else { tenths((at((count - 1) / 2) + at(count / 2)) * 5) }
}

#[expect(clippy::cast_precision_loss, reason = "days of requests are far below 2^52")]
fn tenths(tenths: i64) -> Value {
    json!(tenths as f64 / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(kind: &str, state: &str, word: &str, days: i64, count: i64) -> Answered {
        let (outcome, ground) = if state == "refused" { ("", word) } else { (word, "") };
        let text = str::to_owned;
        Answered { kind: text(kind), state: text(state), outcome: text(outcome), ground: text(ground), days, count }
    }

    #[test]
    fn each_request_is_counted_in_one_place_of_its_right() {
        let found = [
            answered("ACCESS", "completed", "whole", 3, 2),
            answered("PORTABILITY", "completed", "part", 10, 1),
            answered("ACCESS", "refused", "identity_not_proven", 45, 1),
            answered("ACCESS", "refused", "excessive", 1, 1),
            answered("ACCESS", "in_progress", "", 0, 4),
            answered("DELETION", "completed", "whole", 7, 9),
        ];
        let row = row("know", &["ACCESS", "PORTABILITY"], &found);
        let numbers: Vec<_> = row[1..10].iter().map(|value| value.as_i64().unwrap()).collect();
        assert_eq!(numbers, [9, 2, 1, 0, 1, 0, 0, 1, 4]);
        assert_eq!(numbers[1..].iter().sum::<i64>(), numbers[0]);
        // 1, 3, 3, 10, 45: what is open has no days yet.
        assert_eq!((&row[10], &row[11]), (&json!(12.4), &json!(3.0)));
    }

    #[test]
    fn means_and_medians_are_those_of_the_single_values() {
        assert_eq!((mean(&[]), median(&[])), (Value::Null, Value::Null));
        assert_eq!((mean(&[(5, 1)]), median(&[(5, 1)])), (json!(5.0), json!(5.0)));
        assert_eq!(median(&[(1, 1), (4, 1)]), json!(2.5));
        assert_eq!(median(&[(1, 3), (9, 3)]), json!(5.0));
        assert_eq!((median(&[(1, 4), (9, 3)]), mean(&[(1, 2), (2, 1)])), (json!(1.0), json!(1.3)));
    }
}
