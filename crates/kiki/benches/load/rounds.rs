//! Figures by rounds, and where they are written.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

/// Our figure of each round, and its ratio to the peer's.
#[derive(Default)]
pub(crate) struct Rounds {
    ours: Vec<f64>,
    ratios: Vec<f64>,
}

impl Rounds {
    pub(crate) fn add(&mut self, ours: f64, peer: f64) {
        self.ours.push(ours);
        self.ratios.push(ours / peer);
        self.ours.sort_by(f64::total_cmp);
        self.ratios.sort_by(f64::total_cmp);
    }

    /// The median.
    pub(crate) fn figure(&self) -> f64 {
        self.ours[self.ours.len() / 2]
    }

    /// Tells `what`, `against` whom, in which unit and of which size, if there were rounds.
    pub(crate) fn record(&self, [what, against, unit, size]: [&str; 4]) {
        let (Some(least), Some(most)) = (self.ratios.first(), self.ratios.last()) else { return };
        record(&json!({
            "what": what, "against": against, "figure": self.figure(), "unit": unit, "size": size,
            "ratio_median": self.ratios[self.ratios.len() / 2], "ratio_min": least, "ratio_max": most,
        }));
    }
}

/// The value of `sorted` below which that share of them is.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length is a place")]
    let place = (sorted.len() as f64 * share) as usize;
    sorted[place.min(sorted.len() - 1)]
}

fn record(row: &Value) {
    println!("{row}");
    if let Some(folder) = std::env::var_os("KIKI_BENCH_DIR") {
        let path = Path::new(&folder).join(concat!(env!("CARGO_CRATE_NAME"), ".jsonl"));
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{row}").unwrap();
    }
}
