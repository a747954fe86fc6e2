//! A bar on standard error with rate and time left: on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::write::Step;

/// Shows a bar for each step.
pub(super) struct Progress {
    bytes: u64,
    bar: Option<(Step, ProgressBar)>,
}

impl Progress {
    /// So many bytes go through each step.
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, bar: None }
    }

    /// So many more are done.
    pub(super) fn advance(&mut self, step: Step, bytes: u64) {
        match &self.bar {
            Some((at, bar)) if *at == step => bar.inc(bytes),
            _ => {
                self.end();
                let bar = self.begin(step);
                bar.inc(bytes);
                self.bar = Some((step, bar));
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn begin(&self, step: Step) -> ProgressBar {
        // Hidden by itself where standard error is no terminal.
        let bar = ProgressBar::with_draw_target(Some(self.bytes), ProgressDrawTarget::stderr());
        let name = match step {
            Step::Writing => "writing",
            Step::Verifying => "reading back",
        };
        let template = "{msg:12} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.with_style(style).with_message(name)
    }
}
