//! A program that somebody starts in a container that runs: what is asked for, and how it ended.
//!
//! ```text
//!   with the packet, without a terminal   input, output, errors, end    pipes
//!                    with a terminal      socket, end                   a UNIX socket, and a pipe
//!                    detached             nothing: there is no input, and the outputs go to the log of the container
//!
//!   on `end`, one line:   exit 7   or   signal 9   or   failed 127 cannot execute /bin/x: No such file or directory
//! ```
//!
//! The caller keeps the other ends. What the program reads and writes goes through them and through no other process; the
//! end of `end` itself tells PID 1 that the caller is gone.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// The most bytes of all words together.
pub const WORDS_BYTES_MAX: usize = 32 * 1024;

/// The most arguments, and the most variables.
pub const WORDS_MAX: usize = 256;

/// The longest word.
pub const WORD_MAX: usize = 4095;

/// The longest line that tells an end.
pub const END_MAX: usize = 512;

/// The most descriptors that come with a call.
pub const DESCRIPTORS_MAX: usize = 4;

/// What is to be started.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Program {
    /// In which container.
    pub container: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables beside those of the container, each `NAME=VALUE`.
    pub env: Vec<String>,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// Whether nobody waits for it.
    pub detached: bool,
}

impl Program {
    /// How many descriptors come with the call.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        match (self.detached, self.terminal) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => DESCRIPTORS_MAX,
        }
    }

    /// What is wrong with the words, if something is.
    ///
    /// # Errors
    /// For the caller.
    pub fn check(&self) -> Result<(), &'static str> {
        let words = || self.argv.iter().chain(&self.env);
        let bytes = words().fold(0_usize, |sum, word| sum.saturating_add(word.len()));
        if self.argv.first().is_none_or(String::is_empty) {
            return Err("the name of a program is missing");
        }
        if self.argv.len() > WORDS_MAX || self.env.len() > WORDS_MAX || bytes > WORDS_BYTES_MAX {
            return Err("a program has at most 256 arguments and 256 variables, of 32 KiB together");
        }
        if words().any(|word| word.len() > WORD_MAX || word.contains('\0')) {
            return Err("an argument or a variable has at most 4095 bytes, and no NUL");
        }
        if self.env.iter().any(|one| one.find('=').is_none_or(|at| at == 0)) {
            return Err("a variable is NAME=VALUE");
        }
        if self.detached && self.terminal {
            return Err("a program that nobody waits for has no terminal");
        }
        Ok(())
    }
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// With this code.
    Exited(u8),
    /// By this signal.
    Signalled(u8),
    /// It never began.
    Failed {
        /// 127: there is no such program. 126: it cannot be executed, or nothing can be in there.
        code: u8,
        /// For people.
        why: String,
    },
}

impl End {
    /// Reads the line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n').filter(|_| line.len() <= END_MAX)?;
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            text.parse().ok().filter(|_| plain)
        };
        match line.split_once(' ')? {
            ("exit", code) => Some(Self::Exited(number(code)?)),
            ("signal", signal) => Some(Self::Signalled(number(signal)?)),
            ("failed", rest) => {
                let (code, why) = rest.split_once(' ')?;
                let why = (!why.is_empty() && !why.contains(char::is_control)).then(|| why.into())?;
                Some(Self::Failed { code: number(code)?, why })
            }
            _ => None,
        }
    }

    /// The line, in any case within [`END_MAX`].
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = alloc::format!("{self}");
        // Of a reason, what fits.
        let end = (0..END_MAX.min(line.len().saturating_add(1))).rev().find(|end| line.is_char_boundary(*end));
        line.truncate(end.unwrap_or(0));
        line.push('\n');
        line
    }

    /// The exit code that a shell would give it.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Exited(code) | Self::Failed { code, .. } => *code,
            Self::Signalled(signal) => signal.saturating_add(128),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit {code}"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
            Self::Failed { code, why } => {
                write!(f, "failed {code} ")?;
                // One line, whatever is in it.
                why.chars().try_for_each(|c| fmt::Write::write_char(f, if c.is_control() { '?' } else { c }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn program(argv: &[&str], env: &[&str]) -> Program {
        let words = |list: &[&str]| list.iter().map(|word| String::from(*word)).collect();
        Program { container: "web".into(), argv: words(argv), env: words(env), terminal: false, detached: false }
    }

    #[test]
    fn an_end_is_one_line_and_reads_back_as_itself() {
        let failed = |why: &str| End::Failed { code: 127, why: why.into() };
        for end in [End::Exited(0), End::Exited(255), End::Signalled(9), failed("cannot execute x")] {
            assert_eq!(End::parse(&end.line()), Some(end));
        }
        assert_eq!(failed("a\nb").line(), "failed 127 a?b\n");
        let long = failed(&"ä".repeat(END_MAX)).line();
        assert!(long.len() <= END_MAX && End::parse(&long).is_some());
        assert_eq!((End::Signalled(2).code(), failed("x").code()), (130, 127));
    }

    #[test]
    fn what_is_no_end_is_not_taken_for_one() {
        for line in
            ["", "exit\n", "exit 1", "exit 256\n", "exit +1\n", "exit 01\n", "failed 1\n", "failed 1 \n", "end 1\n"]
        {
            assert_eq!(End::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn words_are_within_their_bounds() {
        assert_eq!(program(&["ls", ""], &["A=", "B=c=d"]).check(), Ok(()));
        for bad in [program(&[], &[]), program(&[""], &[]), program(&["a\0"], &[]), program(&["a"], &["=b"])] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert!(program(&vec!["x"; WORDS_MAX + 1], &[]).check().is_err());
        let alone = Program { detached: true, ..program(&["ls"], &[]) };
        assert_eq!((alone.check(), alone.descriptors()), (Ok(()), 0));
        assert!(Program { terminal: true, ..alone }.check().is_err());
        assert!(program(&[&"x".repeat(WORD_MAX + 1)], &[]).check().is_err());
        assert!(program(&["x".repeat(WORD_MAX).as_str(); 9], &[]).check().is_err());
    }
}
