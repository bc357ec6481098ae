use kiki_models::ltv::Terms;

use super::*;
use crate::value::kind::ModelKind;
use crate::value::orders::OrderOptions;
use crate::value::{FitOptions, TimeUnit, fit_orders};

const SAMPLE: &[u8] = include_bytes!("../../../../../examples/cdnow/CDNOW_sample.txt");

fn options() -> FitOptions {
    FitOptions {
        orders: OrderOptions::default(),
        calibrate_until: "1997-09-30".parse().unwrap(),
        currency: Currency::USD,
        time_unit: TimeUnit::Week,
        model: ModelKind::BgNbd,
        hold_out: true,
    }
}

fn shown() -> (FitReport, String) {
    let mut report = fit_orders(SAMPLE, &options(), &mut |_| ()).unwrap();
    report.cohorts = Some(Cohorts::of(&report, &Terms::new(52.0, 0.01).unwrap()).unwrap());
    let html = page(&report, report.hold_out.as_ref().unwrap());
    (report, html)
}

#[test]
fn the_page_stands_by_itself_and_tells_every_plot_in_words_and_figures() {
    let (report, html) = shown();
    for from_elsewhere in ["<script", "http:", "https:", "url(", "src=", "@import", "NaN", "inf"] {
        assert!(!html.contains(from_elsewhere), "{from_elsewhere}");
    }
    let count = |part: &str| html.matches(part).count();
    assert_eq!(count("<svg "), 5);
    assert_eq!(count("role=\"img\" aria-labelledby=\""), 5);
    assert_eq!((count("<title id="), count("<desc id=")), (5, 5));
    assert_eq!(count("<details>"), 5, "a table below each plot");
    assert!(html.contains("prefers-color-scheme:dark"));
    assert!(html.contains(&report.data_sha256));
    let hold_out = report.hold_out.unwrap();
    let rows = hold_out.tracking.len() * 2 + hold_out.by_frequency.len() + hold_out.by_value.len();
    let rows = rows + hold_out.calibration.by_repeats.len();
    let of_methods = hold_out.purchases.len() + hold_out.spend.len();
    assert_eq!(count("<tr><th scope=\"row\">"), rows + of_methods + 4 + 3 + 4);
    assert!(html.contains("<tr><th scope=\"row\">1997-02</th><td>857</td>"), "a row for each month");
}

#[test]
fn every_tag_that_opens_closes() {
    let (_, html) = shown();
    let mut open = Vec::new();
    for part in html.split('<').skip(1) {
        let name: String = part.chars().take_while(|&letter| letter.is_ascii_alphanumeric() || letter == '/').collect();
        let tag = part.split('>').next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop().as_deref(), Some(name)),
            None if tag.ends_with('/') || ["meta", ""].contains(&name.as_str()) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn neither_the_page_nor_the_json_names_a_customer() {
    let rows = String::from_utf8_lossy(SAMPLE).lines().fold(String::from("customer,date,amount\n"), |rows, line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{rows}person-{},{},{}\n", words[1], words[2], words[4])
    });
    let report = fit_orders(rows.as_bytes(), &options(), &mut |_| ()).unwrap();
    assert!(report.summaries[0].0.starts_with("person-"));
    for text in [page(&report, report.hold_out.as_ref().unwrap()), serde_json::to_string(&report).unwrap()] {
        assert!(!text.contains("person-"));
    }
}
