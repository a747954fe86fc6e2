//! A picture of figures beside those of others, in SVG: each figure has a scale of its own, ours first, then whoever it was
//! compared with, and a line where each goal is. The machine and the date stand below.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::figures::{Figure, RECORDED};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 180.0;
const BAR: f64 = 16.0;
/// From one bar to the next, and from one figure to the next.
const STEP: f64 = BAR + 2.0;
const GAP: f64 = 20.0;

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

/// The picture. Figures of one name are one, beside several others.
pub(super) fn draw(title: &str, figures: &[Figure], below: &str) -> String {
    let (mut svg, mut top) = (String::new(), 46.0);
    for same in figures.chunk_by(|one, next| one.name == next.name) {
        top += group(&mut svg, top, same) + GAP;
    }
    let height = top + 24.0;
    let recorded = figures.iter().filter_map(|figure| figure.peer).any(|peer| peer.name == RECORDED);
    let recorded = if recorded { "recorded: of the reference system, on another day; " } else { "" };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"26\" font-size=\"15\">{}</text>\n{svg}\
         <text x=\"10\" y=\"{:.1}\" font-size=\"11\" fill=\"#555\">{recorded}red: the goal</text>\n\
         <text x=\"10\" y=\"{:.1}\" font-size=\"11\" fill=\"#555\">{}</text>\n</svg>\n",
        escaped(title),
        top,
        top + 15.0,
        escaped(below)
    )
}

/// Ours and whoever it is compared with. How high that is.
fn group(svg: &mut String, top: f64, same: &[Figure]) -> f64 {
    let Some(first) = same.first() else { return 0.0 };
    let peers = || same.iter().filter_map(|figure| figure.peer);
    let goals = || same.iter().filter_map(Figure::most);
    let values = peers().map(|peer| peer.value).chain(goals()).chain([first.cairn]);
    // What was not measured has no length.
    let longest = values.filter(|value| value.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    let length = |value: f64| if value.is_finite() { (WIDTH - LEFT - RIGHT) * value / longest } else { 0.0 };
    // A `String` takes everything.
    let _ = writeln!(svg, "<text x=\"10\" y=\"{:.1}\">{}</text>", top + BAR * 0.8, escaped(first.name));
    let mut at = top;
    let mut add = |name: &str, value: f64, colour: &str| {
        bar(svg, at, length(value), colour, &format!("{name} {value:.1} {}", first.unit));
        at += STEP;
    };
    add("cairn", first.cairn, "#2a6f4e");
    peers().for_each(|peer| add(peer.name, peer.value, "#9aa5ad"));
    let height = at - top;
    for most in goals() {
        let at = LEFT + length(most);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#b3261e\" stroke-dasharray=\"3 2\"/>",
            top - 3.0,
            top + height + 1.0
        );
    }
    height
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
