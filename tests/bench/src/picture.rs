//! A picture of the medians: one bar each, in SVG, with the machine and the date below.

use std::fmt::Write as _;

use crate::figures::Report;

const WIDTH: f64 = 640.0;
const BAR: f64 = 22.0;
const GAP: f64 = 10.0;
const LABEL: f64 = 130.0;
const NUMBER: f64 = 90.0;

/// The picture of a report that was made on this day.
pub(crate) fn draw(report: &Report, day: &str) -> String {
    let longest = report.medians.iter().map(|one| one.microseconds).fold(1.0, f64::max);
    let rows = report.medians.iter().fold(0.0, |rows, _| rows + 1.0);
    let height = 40.0 + rows * (BAR + GAP) + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"24\" font-size=\"15\">A container that runs true, from start to gone (median)</text>\n"
    );
    let mut top = 40.0;
    for one in &report.medians {
        let length = (WIDTH - LABEL - NUMBER) * one.microseconds / longest;
        let (middle, end) = (top + BAR * 0.7, LABEL + length + 6.0);
        let colour = if one.name.starts_with("cairn") { "#2a6f4e" } else { "#9aa5ad" };
        // A `String` takes everything.
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{middle:.1}\">{}</text>\
             <rect x=\"{LABEL}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
             <text x=\"{end:.1}\" y=\"{middle:.1}\">{:.1} ms</text>",
            one.name,
            one.microseconds / 1000.0
        );
        top += BAR + GAP;
    }
    let _ = writeln!(
        svg,
        "<text x=\"10\" y=\"{:.1}\" font-size=\"11\" fill=\"#555\">{}, {}</text>\n</svg>",
        top + 14.0,
        report.machine().replace('&', "&amp;").replace('<', "&lt;"),
        day.trim()
    );
    svg
}
