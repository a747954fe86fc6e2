//! A bar on standard error while many bytes are read: on a terminal only, and only where it takes long enough to see.

use std::cell::RefCell;

use cli::watch::Watch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::term::note;

/// Less than this is over before anybody has read it: half a second on a slow card.
const WORTH_SHOWING: u64 = 16 * 1024 * 1024;

/// The same on a slow network, where what is done is called so.
const WORTH_SHOWING_FAR: (&[&str], u64) = (&["fetching", "sending"], 512 * 1024);

/// Shows a bar. Hidden if standard error is no terminal.
#[derive(Default)]
pub(crate) struct Bar(RefCell<Option<ProgressBar>>);

impl Watch for Bar {
    fn begin(&self, what: &'static str, bytes: u64) {
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
        let (far, least) = WORTH_SHOWING_FAR;
        if bytes < if far.contains(&what) { least } else { WORTH_SHOWING } {
            return;
        }
        let Ok(style) = ProgressStyle::with_template(template) else { return };
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        self.0.replace(Some(bar.with_style(style).with_message(what)));
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.0.borrow() {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        match &*self.0.borrow() {
            Some(bar) => bar.suspend(|| note(line)),
            None => note(line),
        }
    }
}
