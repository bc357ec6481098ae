//! Lines over one axis as SVG that stands by itself: a title and a description for who hears it, classes for the colours of the
//! page around it.

use std::fmt::Write as _;

/// A plot of lines.
pub(super) struct Plot<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What it shows, in a sentence.
    pub(super) description: &'a str,
    pub(super) across: &'a str,
    pub(super) up: &'a str,
    /// Names of the places on the x axis, instead of numbers.
    pub(super) places: Option<Vec<String>>,
    /// What happened, and what was expected, at the same places.
    pub(super) points: Vec<Point>,
    /// Where the calibration ends.
    pub(super) boundary: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: f64,
    pub(super) actual: f64,
    pub(super) expected: f64,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 52.0;
/// Ticks of an axis, about.
const TICKS: f64 = 6.0;
/// Beyond so many points lines have no dots.
const DOTS_MAX: usize = 40;

/// Where numbers lie on the paper.
struct Scale {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let span = self.most - self.least;
        let part = if span > 0.0 { (value - self.least) / span } else { 0.5 };
        self.from + part * (self.to - self.from)
    }

    /// Round numbers within the scale.
    fn ticks(&self) -> Vec<f64> {
        let raw = ((self.most - self.least) / TICKS).max(f64::MIN_POSITIVE);
        let power = 10_f64.powf(raw.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|&step| step >= raw).unwrap_or(raw);
        let first = (self.least / step).ceil();
        let ticks = (0..=20).map(|tick| (first + f64::from(tick)) * step);
        ticks.take_while(|&tick| tick <= self.most + step * 1e-9).collect()
    }
}

impl Plot<'_> {
    /// The SVG; nothing without points.
    pub(super) fn svg(&self) -> String {
        let Self { id, .. } = self;
        let (across, up) = self.scales();
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-title {id}-description\">\
             <title id=\"{id}-title\">{}</title><desc id=\"{id}-description\">{}</desc>",
            escape(self.title),
            escape(self.description)
        );
        self.axes(&mut svg, &across, &up);
        if let Some(boundary) = self.boundary {
            let x = across.at(boundary);
            let (top, bottom) = (TOP, HEIGHT - BOTTOM);
            _ = write!(
                svg,
                "<line class=\"boundary\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <text class=\"small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">calibration</text>",
                x - 6.0,
                TOP + 12.0
            );
        }
        self.line(&mut svg, "actual", &|point| (across.at(point.at), up.at(point.actual)));
        self.line(&mut svg, "expected", &|point| (across.at(point.at), up.at(point.expected)));
        svg.push_str("</svg>");
        svg
    }

    /// A line of this class through where `place` puts the points.
    fn line(&self, svg: &mut String, class: &str, place: &dyn Fn(&Point) -> (f64, f64)) {
        let line: Vec<String> = self.points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        _ = write!(svg, "<polyline class=\"line {class}\" points=\"{}\"/>", line.join(" "));
        if self.points.len() <= DOTS_MAX {
            for (x, y) in self.points.iter().map(place) {
                _ = write!(svg, "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>");
            }
        }
    }

    fn scales(&self) -> (Scale, Scale) {
        let at = |of: fn(f64, f64) -> f64, start: f64| self.points.iter().map(|point| point.at).fold(start, of);
        let most = self.points.iter().map(|point| point.actual.max(point.expected)).fold(0.0, f64::max);
        let across = Scale {
            least: at(f64::min, f64::INFINITY).min(1.0),
            most: at(f64::max, 0.0),
            from: LEFT,
            to: WIDTH - RIGHT,
        };
        let most = if most > 0.0 { most * 1.05 } else { 1.0 };
        (across, Scale { least: 0.0, most, from: HEIGHT - BOTTOM, to: TOP })
    }

    fn axes(&self, svg: &mut String, across: &Scale, up: &Scale) {
        let (left, right, bottom) = (LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in up.ticks() {
            let y = up.at(tick);
            _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + 4.0,
                number(tick)
            );
        }
        let named: Vec<(f64, String)> = match &self.places {
            Some(names) => self.points.iter().zip(names).map(|(point, name)| (point.at, escape(name))).collect(),
            None => across.ticks().into_iter().map(|tick| (tick, number(tick))).collect(),
        };
        for (at, name) in named {
            let (x, y) = (across.at(at), bottom + 18.0);
            _ = write!(svg, "<text class=\"small\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{name}</text>");
        }
        let (middle, low) = (left.midpoint(right), HEIGHT - 10.0);
        let (side, half) = (16.0, TOP.midpoint(bottom));
        _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <text x=\"{middle:.1}\" y=\"{low}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate({side} {half:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(self.across),
            escape(self.up)
        );
    }
}

/// A number as a person reads it: whole numbers with commas, others with three digits at the most behind the point.
pub(super) fn number(value: f64) -> String {
    let places = if value.abs() >= 100.0 || value.fract() == 0.0 {
        0
    } else if value.abs() >= 1.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.places$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let fraction = fraction.map(|fraction| format!(".{fraction}")).unwrap_or_default();
    format!("{sign}{grouped}{fraction}")
}

/// Text within HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_scale() {
        let ticks = |least, most| Scale { least, most, from: 0.0, to: 1.0 }.ticks();
        assert_eq!(ticks(0.0, 78.0), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(ticks(1.0, 9.0), [2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(0.0, 0.0), [0.0]);
    }

    #[test]
    fn numbers_are_written_for_people() {
        let written = [0.0, 0.25, 12.345, -1_234.5, 1_000_000.0].map(number);
        assert_eq!(written, ["0", "0.250", "12.35", "-1,234", "1,000,000"]);
    }

    #[test]
    fn no_text_becomes_markup() {
        let points = vec![Point { at: 1.0, actual: 0.0, expected: 0.0 }];
        let (id, across, up) = ("p", "<b>", "\"");
        let plot = Plot { id, title: "a<b", description: "&", across, up, places: None, points, boundary: None };
        let svg = plot.svg();
        assert!(svg.contains("a&lt;b") && svg.contains(">&amp;<") && !svg.contains("<b>"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
