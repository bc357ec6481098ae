//! The page of figures, as Markdown.

use super::rows::{Row, Spread};

/// The whole of `docs/benchmarks.md`.
pub(crate) fn page(table: &str, date: &str, machine: &str) -> String {
    format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench`; what is edited here is lost at the next run. Figures say something about one\n\
         machine on one day; ratios between two things measured in turns in the same run travel further.\n\n\
         - date: {date}\n\
         - machine: {machine}\n\n\
         A ratio is the figure of the left column divided by the figure of what it stands against: median over the rounds, with\n\
         the smallest and the largest. A row without one is criterion's median with its 95 % confidence interval.\n\n\
         {table}"
    )
}

/// One line a row.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from("| what | size | figure | against | ratio | spread |\n|---|---|---:|---|---:|---:|\n");
    for Row { what, size, figure, unit, spread } in rows {
        let (against, ratio, spread) = match spread {
            Spread::Ratio { against, median, min, max } => {
                (against.as_str(), number(*median), format!("{}–{}", number(*min), number(*max)))
            }
            Spread::Interval { low, high } => ("", String::new(), format!("{}–{} {unit}", number(*low), number(*high))),
            Spread::None => ("", String::new(), String::new()),
        };
        let cells = [what, size, &format!("{} {unit}", number(*figure)), against, &ratio, &spread];
        text.push_str(&format!("| {} |\n", cells.map(|cell| cell.trim().replace('|', "\\|")).join(" | ")));
    }
    text
}

/// Three significant digits, or all digits of the whole part, in groups of three.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len() - at;
        if at > 0 && left.is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or_else(|| grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

/// The value of a field in the text of `/proc/cpuinfo` or `/proc/meminfo`.
pub(crate) fn field(text: &str, name: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Row, Spread, field, number, table};

    #[test]
    fn numbers_keep_three_digits_and_group_large_ones() {
        let shown = [0.01234, 1.2345, 12.345, 123.45, 1_234.5, 81_000.0, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.012", "1.23", "12.3", "123", "1,234", "81,000", "1,234,567"]);
    }

    #[test]
    fn a_row_shows_its_ratio_or_its_interval() {
        let row =
            |what: &str, spread| Row { what: what.into(), size: "2".into(), figure: 1.5, unit: "µs".into(), spread };
        let ratio = Spread::Ratio { against: "b".into(), median: 1.2, min: 1.0, max: 1.5 };
        let rows = [row("a|c", ratio), row("d", Spread::Interval { low: 1.0, high: 2.0 }), row("e", Spread::None)];
        let lines: Vec<String> = table(&rows).lines().skip(2).map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "| a\\|c | 2 | 1.50 µs | b | 1.20 | 1.00–1.50 |",
                "| d | 2 | 1.50 µs |  |  | 1.00–2.00 µs |",
                "| e | 2 | 1.50 µs |  |  |  |",
            ]
        );
    }

    #[test]
    fn a_field_is_the_first_of_its_name() {
        assert_eq!(field("x\t: 1\nmodel name\t: Some CPU\nmodel name\t: Other", "model name").unwrap(), "Some CPU");
        assert_eq!(field("", "model name"), None);
    }
}
