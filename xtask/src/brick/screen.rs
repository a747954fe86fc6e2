//! What somebody sees: a line for everything that happens, and below the last one, on a terminal, the table as it stands.

use std::time::Instant;

use machine::ordeal::Tally;

use crate::term::{Out, bold, dim};

pub(super) struct Screen {
    out: Out,
    start: Instant,
    /// Whether there is a table below the lines.
    is_live: bool,
    /// What is pressed to end it, for a person.
    hint: &'static str,
    /// The table on the terminal.
    shown: String,
}

impl Screen {
    pub(super) fn new(out: Out, hint: &'static str) -> Self {
        Self { out, start: Instant::now(), is_live: out.is_terminal(), hint, shown: String::new() }
    }

    /// Where it is.
    pub(super) fn out(&self) -> Out {
        self.out
    }

    /// Something has happened.
    pub(super) fn line(&mut self, text: &str) {
        let table = std::mem::take(&mut self.shown);
        self.wipe(&table);
        let time = format!("{:>7.1} s", self.start.elapsed().as_secs_f64());
        self.out.line(format!("{}  {text}", dim(self.out, &time)));
        self.draw(table);
    }

    /// The table as it stands.
    pub(super) fn table(&mut self, tally: &Tally) {
        if self.is_live {
            let table =
                format!("\n{tally}\n{} {}\n{}\n", bold(self.out, "now:"), tally.place(), dim(self.out, self.hint));
            if table != self.shown {
                let before = std::mem::take(&mut self.shown);
                self.wipe(&before);
                self.draw(table);
            }
        }
    }

    /// The table at the end.
    pub(super) fn last(&mut self, tally: &Tally) {
        let table = std::mem::take(&mut self.shown);
        self.wipe(&table);
        self.out.line(format!("\n{tally}"));
    }

    fn draw(&mut self, table: String) {
        self.out.bytes(table.as_bytes());
        self.shown = table;
    }

    fn wipe(&self, table: &str) {
        let lines = table.matches('\n').count();
        if lines > 0 {
            // Up by its lines, and away with everything below.
            self.out.bytes(format!("\x1b[{lines}A\x1b[J").as_bytes());
        }
    }
}
