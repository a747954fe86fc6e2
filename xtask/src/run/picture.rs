//! A picture of figures beside what the reference system takes, in SVG: each figure has a scale of its own, and a line
//! where its goal is. The machine and the date stand below.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::figures::Figure;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 100.0;
const BAR: f64 = 16.0;
const ROW: f64 = 58.0;

/// On what it is measured.
pub(super) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let (name, kernel) =
        (model.map_or("an unnamed processor", |(_, name)| name.trim()), read("/proc/sys/kernel/osrelease"));
    format!("{processors} x {name}, Linux {}", kernel.trim())
}

/// Today.
pub(super) fn day() -> Result<String> {
    let output = Command::new("date").args(["-u", "+%F"]).output().context("cannot run date")?;
    ensure!(output.status.success(), "date does not say what day it is");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The picture.
pub(super) fn draw(title: &str, figures: &[Figure], below: &str) -> String {
    let rows = figures.iter().fold(0.0, |rows, _| rows + 1.0);
    let height = 50.0 + rows * ROW + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"26\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    let mut top = 46.0;
    for Figure { goal, cairn } in figures {
        let most = [*cairn, goal.recorded.unwrap_or(0.0), goal.most].into_iter().fold(f64::MIN_POSITIVE, f64::max);
        let length = |value: f64| (WIDTH - LEFT - RIGHT) * value / most;
        // A `String` takes everything.
        let _ = writeln!(svg, "<text x=\"10\" y=\"{:.1}\">{}</text>", top + 20.0, escaped(goal.figure));
        bar(&mut svg, top, length(*cairn), "#2a6f4e", &format!("cairn {cairn:.1} {}", goal.unit));
        if let Some(recorded) = goal.recorded {
            bar(&mut svg, top + BAR + 2.0, length(recorded), "#9aa5ad", &format!("{recorded:.0} {}", goal.unit));
        }
        let at = LEFT + length(goal.most);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#b3261e\" stroke-dasharray=\"3 2\"/>",
            top - 3.0,
            top + 2.0 * BAR + 5.0
        );
        top += ROW;
    }
    let _ = writeln!(
        svg,
        "<text x=\"10\" y=\"{:.1}\" font-size=\"11\" fill=\"#555\">grey: recorded of the reference system; red: the goal. \
         {}</text>\n</svg>",
        top + 12.0,
        escaped(below)
    );
    svg
}

fn bar(svg: &mut String, top: f64, length: f64, colour: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\">{}</text>",
        LEFT + length + 5.0,
        top + BAR * 0.75,
        escaped(text)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
