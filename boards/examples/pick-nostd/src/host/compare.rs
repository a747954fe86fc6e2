//! Bytes of a log to lines, with the texts that stand in the program's file, and what differs between two lists of lines.

use std::fmt;

use anyhow::{Context as _, Result, bail};
use defmt_decoder::DecodeError;

/// The texts of a program.
pub(super) struct Table(defmt_decoder::Table);

impl Table {
    pub(super) fn parse(program: &[u8]) -> Result<Self> {
        let table = defmt_decoder::Table::parse(program)?;
        table.map(Self).context("the program has no section .defmt, so its log means nothing")
    }

    /// The lines of a log, without the quotes that defmt puts around names: no name has one. Bytes at its end that are no whole frame are no line.
    ///
    /// # Errors
    /// A frame that means nothing.
    pub(super) fn decode(&self, log: &[u8]) -> Result<Vec<String>> {
        let mut decoder = self.0.new_stream_decoder();
        let mut lines = Vec::new();
        // The decoder moves what it keeps with each frame: a little at a time is quick.
        for bytes in log.chunks(4096) {
            decoder.received(bytes);
            loop {
                match decoder.decode() {
                    Ok(frame) => lines.push(frame.display_message().to_string().replace('"', "")),
                    Err(DecodeError::UnexpectedEof) => break,
                    Err(DecodeError::Malformed) => bail!("the frame after line {} means nothing", lines.len()),
                }
            }
        }
        Ok(lines)
    }
}

/// A cell with two answers, or with one where the other should be.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Difference {
    pub(super) number: usize,
    expected: Option<String>,
    logged: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [expected, logged] = [&self.expected, &self.logged].map(|line| line.as_deref().unwrap_or("nothing"));
        write!(f, "  cell {}\n    here:  {expected}\n    there: {logged}", self.number)
    }
}

/// Line by line; what one list has and the other has not is a difference too.
pub(super) fn differences(expected: &[String], logged: &[String]) -> Vec<Difference> {
    let numbers = 0..expected.len().max(logged.len());
    let pairs = numbers.map(|number| (number, expected.get(number), logged.get(number)));
    let differ = pairs.filter(|(_, expected, logged)| expected != logged);
    differ
        .map(|(number, expected, logged)| Difference { number, expected: expected.cloned(), logged: logged.cloned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn numbers(expected: &[&str], logged: &[&str]) -> Vec<usize> {
        differences(&lines(expected), &lines(logged)).into_iter().map(|difference| difference.number).collect()
    }

    #[test]
    fn a_line_that_is_another_is_missing_or_too_many_is_found() {
        assert_eq!(numbers(&["a", "b"], &["a", "b"]), [0; 0]);
        assert_eq!(numbers(&["a", "b", "c"], &["a", "x", "c"]), [1]);
        assert_eq!(numbers(&["a", "b"], &["a"]), [1]);
        assert_eq!(numbers(&["a"], &["a", "the program panicked"]), [1]);
        assert_eq!(numbers(&["a", "b"], &[]), [0, 1]);
    }

    #[test]
    fn a_difference_says_what_is_here_and_what_is_there() {
        let found = differences(&lines(&["a"]), &[]);
        assert_eq!(found.first().unwrap().to_string(), "  cell 0\n    here:  a\n    there: nothing");
    }

    #[test]
    fn a_program_without_texts_is_refused() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(Table::parse(&own).is_err());
        assert!(Table::parse(b"").is_err());
    }
}
