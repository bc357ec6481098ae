//! The hold-out report as one page: no script, nothing from elsewhere, in the colours that the reader's system asks for. Every
//! plot has a title, a description and its figures as a table below it; all of them are in the JSON too.

mod plot;

use std::fmt::Write as _;

use kiki_models::ltv::{CohortEstimate, Estimate};
use kiki_types::Currency;

use super::by_month::Cohorts;
use super::fit::FitReport;
use super::holdout::{Accuracy, Group, HoldOut, Repeats};
use plot::{Plot, Point, escape, number};

/// The page of a fit and its hold-out.
#[must_use]
pub fn page(report: &FitReport, hold_out: &HoldOut) -> String {
    let model = report.purchases.purchases().kind().title();
    let (from, to) = &hold_out.days;
    let title = format!("{model}: hold-out from {from} to {to}");
    let mut body = format!("<h1>{}</h1>", escape(&title));
    _ = write!(body, "<p>{}</p>", escape(&sentence(report, hold_out, model)));
    body.push_str(&parameters(report));
    body.push_str(&accuracy("Purchases", "of each customer", &hold_out.purchases));
    body.push_str(&accuracy("Spend", &format!("of each customer, in {}", report.currency), &hold_out.spend));
    body.push_str(&calibration(hold_out));
    body.push_str(&tracking(report, hold_out));
    body.push_str(&groups(
        &Plot {
            id: "frequency",
            title: "Purchases by earlier purchases",
            description: "Mean purchases of a customer in the hold-out, by repeat purchases in the calibration.",
            across: "Repeat purchases in the calibration",
            up: "Purchases a customer",
            places: None,
            points: Vec::new(),
            boundary: None,
        },
        &hold_out.by_frequency,
    ));
    body.push_str(&groups(
        &Plot {
            id: "value",
            title: "Spend by expected spend",
            description: "Mean spend of a customer in the hold-out, by groups of equal size of what was expected, most first.",
            across: "Group by expected spend, most first",
            up: &format!("{} a customer", report.currency),
            places: None,
            points: Vec::new(),
            boundary: None,
        },
        &hold_out.by_value,
    ));
    body.push_str(&report.cohorts.as_ref().map_or_else(String::new, |cohorts| by_month(cohorts, report.currency)));
    _ = write!(body, "<p class=\"small\">Order log with SHA-256 <code>{}</code>.</p>", escape(&report.data_sha256));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>{}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        escape(&title)
    )
}

fn sentence(report: &FitReport, hold_out: &HoldOut, model: &str) -> String {
    let all = hold_out.purchases.first();
    let told = all.map_or_else(String::new, |all| {
        let off = if all.actual > 0.0 { 100.0 * (all.expected / all.actual - 1.0) } else { 0.0 };
        format!(
            " It expected {} purchases; {} were made ({off:+.1} %).",
            number(all.expected.round()),
            number(all.actual)
        )
    });
    format!(
        "{model} was fitted to {} customers and their {} repeat purchases up to {}, and compared with the {} weeks after.{told}",
        number(report.customers as f64),
        number(report.repeat_purchases as f64),
        report.calibrate_until,
        number(hold_out.weeks),
    )
}

fn parameters(report: &FitReport) -> String {
    let rows = report.estimates.iter().map(|one| {
        let estimate = one.estimate;
        let numbers = [estimate.value, estimate.standard_error, estimate.low, estimate.high];
        (one.name.to_owned(), numbers.map(|value| format!("{value:.4}")).to_vec())
    });
    let heads = ["Parameter", "Value", "Standard error", "95 % from", "to"];
    let caption = "Parameters, times in weeks";
    format!("<h2>Model</h2>{}", table(caption, &heads, rows.collect()))
}

fn accuracy(what: &str, whose: &str, methods: &[Accuracy]) -> String {
    let name = |method: &str| match method {
        "model" => "Model",
        "own_rate" => "Own rate goes on",
        "last_period" => "Last period again",
        _ => "All alike",
    };
    let part = |part: Option<f64>| part.map_or_else(|| "-".to_owned(), |part| format!("{part:.3}"));
    let row = |one: &Accuracy| {
        let total = number(one.expected.round());
        let errors = [total, format!("{:.3}", one.mae), format!("{:.3}", one.rmse)];
        (name(one.method).to_owned(), [errors.to_vec(), vec![part(one.correlation), part(one.gini)]].concat())
    };
    let happened = methods.first().map_or(0.0, |one| one.actual);
    let caption = format!("{what} {whose}: {} in all", number(happened.round()));
    let heads = ["Told by", "In all", "MAE", "RMSE", "Correlation", "Gini"];
    format!("<h2>{what}</h2>{}", table(&caption, &heads, methods.iter().map(row).collect()))
}

/// What the model was fitted to, beside what it expects of it.
fn calibration(hold_out: &HoldOut) -> String {
    let groups = &hold_out.calibration.by_repeats;
    let names: Vec<String> = groups.iter().map(|one| one.group.clone()).collect();
    let point = |(at, one): (i32, &Repeats)| Point { at: at.into(), actual: one.actual as f64, expected: one.expected };
    let plot = Plot {
        id: "repeats",
        title: "Customers by repeat purchases",
        description: "Customers with each number of repeat purchases in the calibration, as there are and as the model expects.",
        across: "Repeat purchases in the calibration",
        up: "Customers",
        places: Some(names.clone()),
        points: (1..).zip(groups).map(point).collect(),
        boundary: None,
    };
    let told = hold_out.calibration.spend_correlation.map_or_else(String::new, |correlation| {
        format!(
            "<p>Number and mean value of a customer's repeat purchases correlate by {correlation:.3}; Gamma-Gamma takes them for \
             independent.</p>"
        )
    });
    figure(&plot, "Repeat purchases", &names) + &told
}

/// What customers are worth by the month of their first purchase.
fn by_month(cohorts: &Cohorts, currency: Currency) -> String {
    let with_interval = |estimate: &Estimate| {
        let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|value| number(value.round()));
        format!("{value} ({low} to {high})")
    };
    let row = |name: &str, one: &CohortEstimate| {
        let estimates = [&one.alive, &one.expected_purchases, &one.value].map(with_interval);
        (name.to_owned(), [vec![number(one.customers as f64)], estimates.to_vec()].concat())
    };
    let months = cohorts.months.iter().map(|one| row(&one.month, &one.estimate));
    let caption = format!(
        "The {} weeks after the last day that counted, with 95 % intervals; value in {currency}, discounted by {} a month",
        number(cohorts.horizon_weeks),
        cohorts.monthly_discount,
    );
    let heads = ["First purchase", "Customers", "Still there", "Purchases", "Value"];
    let rows = months.chain([row("All", &cohorts.all)]).collect();
    format!("<h2>Customers by the month of their first purchase</h2>{}", table(&caption, &heads, rows))
}

fn tracking(report: &FitReport, hold_out: &HoldOut) -> String {
    let unit = report.time_unit;
    let steps = &hold_out.tracking;
    let boundary = steps.iter().rev().find(|step| step.calibration).map(|step| f64::from(step.step));
    let points = |of: fn(&super::holdout::Step) -> (f64, f64)| -> Vec<Point> {
        let point = |step| {
            let (actual, expected) = of(step);
            Point { at: f64::from(step.step), actual, expected }
        };
        steps.iter().map(point).collect()
    };
    let across = format!("{}s from the first day on", capital(&unit.to_string()));
    let cumulative = Plot {
        id: "cumulative",
        title: "Repeat purchases, cumulative",
        description: "Repeat purchases of all customers by the end of each step, made and expected.",
        across: &across,
        up: "Repeat purchases",
        places: None,
        points: points(|step| (step.cumulative_actual as f64, step.cumulative_expected)),
        boundary,
    };
    let each = Plot {
        id: "each",
        title: &format!("Repeat purchases, each {unit}"),
        description: "Repeat purchases of all customers within each step, made and expected.",
        across: &across,
        up: "Repeat purchases",
        places: None,
        points: points(|step| (step.actual as f64, step.expected)),
        boundary,
    };
    let dates: Vec<String> = steps.iter().map(|step| step.until.clone()).collect();
    [cumulative, each].iter().map(|plot| figure(plot, "Until", &dates)).collect()
}

fn groups(plot: &Plot<'_>, groups: &[Group]) -> String {
    let names: Vec<String> = groups.iter().map(|group| group.group.clone()).collect();
    let point = |(at, group): (i32, &Group)| Point { at: at.into(), actual: group.actual, expected: group.expected };
    let points = (1..).zip(groups).map(point).collect();
    figure(&Plot { points, places: Some(names.clone()), ..*plot }, "Group", &names)
}

/// A plot, and its figures below it.
fn figure(plot: &Plot<'_>, head: &str, names: &[String]) -> String {
    let rows = names.iter().zip(&plot.points);
    let rows = rows.map(|(name, point)| (name.clone(), vec![number(point.actual), number(point.expected)]));
    format!(
        "<h2>{}</h2><figure>{}<figcaption>{} <span class=\"key actual\">made</span> \
         <span class=\"key expected\">expected</span></figcaption></figure>\
         <details><summary>Figures</summary>{}</details>",
        escape(plot.title),
        plot.svg(),
        escape(plot.description),
        table(plot.title, &[head, "Made", "Expected"], rows.collect())
    )
}

fn table(caption: &str, heads: &[&str], rows: Vec<(String, Vec<String>)>) -> String {
    let mut html = format!("<div class=\"wide\"><table><caption>{}</caption><thead><tr>", escape(caption));
    for head in heads {
        _ = write!(html, "<th scope=\"col\">{}</th>", escape(head));
    }
    html.push_str("</tr></thead><tbody>");
    for (name, cells) in rows {
        _ = write!(html, "<tr><th scope=\"row\">{}</th>", escape(&name));
        cells.iter().for_each(|cell| _ = write!(html, "<td>{}</td>", escape(cell)));
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

const STYLE: &str = "\
:root{--paper:#fff;--ink:#1b1f24;--quiet:#57606a;--grid:#d8dee4;--actual:#0b5cad;--expected:#b3400b}\
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e8eaed;--quiet:#a3abb5;--grid:#333a42;--actual:#6cb6ff;--expected:#ffa657}}\
body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;margin:0}\
main{max-width:760px;margin:0 auto;padding:24px 16px}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
figure{margin:0}figure,.wide{overflow-x:auto}svg{width:100%;min-width:560px;height:auto}svg text{fill:var(--ink);font-size:13px}\
.small,svg text.small{fill:var(--quiet);color:var(--quiet);font-size:12px}\
.grid{stroke:var(--grid)}.axis,.boundary{stroke:var(--quiet)}.boundary{stroke-dasharray:2 4}\
.line{fill:none;stroke-width:2}.line.actual{stroke:var(--actual)}\
.line.expected{stroke:var(--expected);stroke-dasharray:7 4}\
.dot.actual{fill:var(--actual)}.dot.expected{fill:var(--paper);stroke:var(--expected);stroke-width:2}\
.key{padding-left:30px;margin-left:12px;background:no-repeat left center/24px 2px}\
.key.actual{background-image:linear-gradient(var(--actual),var(--actual))}\
.key.expected{background-image:repeating-linear-gradient(90deg,var(--expected) 0 7px,transparent 7px 11px)}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}caption{text-align:left;color:var(--quiet)}\
th,td{padding:4px 8px;border-bottom:1px solid var(--grid);text-align:right}th:first-child{text-align:left}\
summary{cursor:pointer;color:var(--quiet)}code{overflow-wrap:anywhere}";

#[cfg(test)]
mod tests;
