//! Rows of figures, read from criterion's estimates and from the JSON lines of our own benchmarks.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// How much of it, such as `100,000 customers`; may be empty.
    pub(crate) size: String,
    pub(crate) figure: f64,
    pub(crate) unit: String,
    pub(crate) spread: Spread,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Spread {
    /// The figure beside that of something else: the ratio's median, smallest and largest over the rounds.
    Ratio { against: String, median: f64, min: f64, max: f64 },
    /// Alone: the interval that criterion is 95 % sure of, in the unit of the figure.
    Interval { low: f64, high: f64 },
    /// Alone, measured once.
    None,
}

/// All rows, sorted by what they say. `criterion` and `lines` may be absent.
pub(crate) fn collect(criterion: &Path, lines: &Path) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for file in files(criterion, &|path| path.ends_with("new/estimates.json")) {
        let names = json(&file.with_file_name("benchmark.json"))?;
        let row = of_criterion(&names, &json(&file)?);
        rows.push(row.ok_or_else(|| format!("{}: not an estimate of criterion", file.display()))?);
    }
    for file in files(lines, &|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        for (number, line) in (1..).zip(text.lines()) {
            let row = of_line(line).map_err(|mistake| format!("{}:{number}: {mistake}", file.display()))?;
            rows.push(row);
        }
    }
    rows.sort_by_cached_key(|row| (row.what.clone(), leading_number(&row.size), row.size.clone()));
    Ok(rows)
}

/// So that 32 connections come before 256; a size that begins with no number comes first.
fn leading_number(size: &str) -> Option<u64> {
    let digits: String = size.chars().filter(|&c| c != ',').take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Files at any depth, in the order of their paths.
fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let of = |path: PathBuf| {
        if path.is_dir() { files(&path, wanted) } else { Vec::from_iter(wanted(&path).then_some(path)) }
    };
    paths.into_iter().flat_map(of).collect()
}

fn json(path: &Path) -> Result<Value, String> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Criterion names a benchmark by group, function and value, and measures nanoseconds.
fn of_criterion(names: &Value, estimates: &Value) -> Option<Row> {
    let parts = ["group_id", "function_id"].map(|key| names[key].as_str());
    let median = &estimates["median"];
    let bound = |key: &str| median["confidence_interval"][key].as_f64();
    let figure = median["point_estimate"].as_f64()?;
    let (scale, unit) = unit_of(figure);
    Some(Row {
        what: parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
        size: names["value_str"].as_str().unwrap_or_default().to_owned(),
        figure: figure / scale,
        unit: unit.to_owned(),
        spread: Spread::Interval { low: bound("lower_bound")? / scale, high: bound("upper_bound")? / scale },
    })
}

fn unit_of(nanoseconds: f64) -> (f64, &'static str) {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    units.into_iter().find(|(scale, _)| nanoseconds >= *scale).unwrap_or((1.0, "ns"))
}

fn of_line(line: &str) -> Result<Row, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = |key: &str| match &value[key] {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("field {key}: a text was expected, not {other}")),
    };
    let number = |key: &str| match value[key].as_f64() {
        Some(number) => Ok(number),
        None => Err(format!("field {key}: a number was expected, not {}", value[key])),
    };
    let (what, against) = (text("what")?, text("against")?);
    if what.is_empty() {
        return Err("field what: a text was expected, but there is none".to_owned());
    }
    let spread = if against.is_empty() {
        Spread::None
    } else {
        let (median, min, max) = (number("ratio_median")?, number("ratio_min")?, number("ratio_max")?);
        Spread::Ratio { against, median, min, max }
    };
    Ok(Row { what, size: text("size")?, figure: number("figure")?, unit: text("unit")?, spread })
}

#[cfg(test)]
mod tests {
    use super::{Spread, collect, of_line};
    use std::fs;

    #[test]
    fn criterions_median_and_the_lines_of_others_come_together() {
        let folder = tempfile::tempdir().unwrap();
        let (criterion, lines) = (folder.path().join("criterion"), folder.path().join("lines"));
        for part in ["g/f/1000/new", "g/f/1000/base", "g/report"] {
            fs::create_dir_all(criterion.join(part)).unwrap();
        }
        fs::create_dir_all(&lines).unwrap();
        let names = r#"{"group_id":"governor","function_id":"decide","value_str":"1000","full_id":"x"}"#;
        let estimate = r#"{"median":{"point_estimate":1500.0,
            "confidence_interval":{"confidence_level":0.95,"lower_bound":1400.0,"upper_bound":1700.0}}}"#;
        for part in ["new", "base"] {
            fs::write(criterion.join("g/f/1000").join(part).join("benchmark.json"), names).unwrap();
            fs::write(criterion.join("g/f/1000").join(part).join("estimates.json"), estimate).unwrap();
        }
        let line = r#"{"what":"echo","against":"axum","ratio_median":1.2,"ratio_min":1.1,"ratio_max":1.4,
            "figure":81000,"unit":"requests/s","size":"64 clients"}"#;
        fs::write(lines.join("http.jsonl"), line.replace('\n', " ")).unwrap();

        let rows = collect(&criterion, &lines).unwrap();
        assert_eq!(rows.len(), 2, "the baseline of an earlier run is no figure of this one: {rows:?}");
        assert_eq!((rows[0].what.as_str(), rows[0].size.as_str()), ("echo", "64 clients"));
        assert_eq!(rows[0].spread, Spread::Ratio { against: "axum".into(), median: 1.2, min: 1.1, max: 1.4 });
        assert_eq!((rows[1].what.as_str(), rows[1].size.as_str()), ("governor, decide", "1000"));
        assert_eq!((format!("{:.3}", rows[1].figure).as_str(), rows[1].unit.as_str()), ("1.500", "µs"));
        assert_eq!(rows[1].spread, Spread::Interval { low: 1.4, high: 1.7 });
    }

    #[test]
    fn a_row_without_its_fields_is_refused_by_name() {
        assert!(of_line("{").is_err());
        assert!(of_line(r#"{"figure":1}"#).unwrap_err().contains("what"));
        assert!(of_line(r#"{"what":"a","figure":"fast"}"#).unwrap_err().contains("figure"));
        let without_ratio = r#"{"what":"a","figure":1,"against":"b","ratio_median":1}"#;
        assert!(of_line(without_ratio).unwrap_err().contains("ratio_min"));
    }

    #[test]
    fn sizes_are_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let line = |size: &str| format!("{{\"what\":\"w\",\"figure\":1,\"size\":\"{size}\"}}\n");
        let text: String = ["256 clients", "32 clients", "1,000 clients"].map(line).concat();
        fs::write(folder.path().join("a.jsonl"), text).unwrap();
        let rows = collect(&folder.path().join("none"), folder.path()).unwrap();
        let sizes: Vec<&str> = rows.iter().map(|row| row.size.as_str()).collect();
        assert_eq!(sizes, ["32 clients", "256 clients", "1,000 clients"]);
    }

    #[test]
    fn without_any_run_there_are_no_rows() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(collect(&folder.path().join("a"), &folder.path().join("b")), Ok(Vec::new()));
    }
}
