//! The first command of a container, split into words.
//!
//! Blanks separate words. A word that *begins* with a quote ends at the next one like it, and whatever follows that
//! begins a new word, blank or not: `"nginx""-g"` are two words. That is what makes commands work which tools join
//! without blanks. There is no escape, so a word with a blank and both kinds of quotes cannot be written.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A command: the program and its arguments. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command(Vec<String>);

impl Command {
    /// Takes the words of a command; `None` if there are none, or one of them cannot be written.
    #[must_use]
    pub fn new(words: Vec<String>) -> Option<Self> {
        let fine = |word: &String| !word.contains(char::is_control) && quote_for(word).is_some();
        (!words.is_empty() && words.iter().all(fine)).then_some(Self(words))
    }

    /// Splits a line; `None` if it is empty or a quote is not closed.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = Vec::new();
        let mut rest = line.trim_ascii_start();
        while let Some(first) = rest.chars().next() {
            let (word, after) = match first {
                '"' | '\'' => rest.get(1..)?.split_once(first)?,
                _ => rest.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((rest, "")),
            };
            words.push(word.into());
            rest = after.trim_ascii_start();
        }
        Self::new(words)
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

/// How a word is written: bare (the empty text), or between these quotes; `None` if it cannot be.
fn quote_for(word: &str) -> Option<&'static str> {
    let bare = !word.is_empty() && !word.starts_with(['"', '\'']) && !word.contains(|c: char| c.is_ascii_whitespace());
    match (bare, word.contains('"'), word.contains('\'')) {
        (true, _, _) => Some(""),
        (false, false, _) => Some("\""),
        (false, true, false) => Some("'"),
        (false, true, true) => None,
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let quote = quote_for(word).unwrap_or_default();
            write!(f, "{}{quote}{word}{quote}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// First programs that run a whole system. An init that only looks after one program (`/init`, tini) is none of them.
const INITS: [&str; 8] = [
    "/sbin/init",
    "/bin/init",
    "/usr/sbin/init",
    "/usr/bin/init",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/sbin/openrc-init",
    "/usr/sbin/openrc-init",
];

/// Whether a first program runs a whole system: it has a terminal as its console.
#[must_use]
pub fn is_init(program: &str) -> bool {
    INITS.contains(&program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lxc::Config;
    use alloc::format;
    use alloc::string::ToString;

    fn words(line: &str) -> Option<Vec<String>> {
        Command::parse(line).map(|command| command.words().to_vec())
    }

    #[test]
    fn a_closing_quote_ends_a_word_with_or_without_a_blank() {
        assert_eq!(words(r#"/ep.sh "nginx""-g""daemon off;""#).unwrap(), ["/ep.sh", "nginx", "-g", "daemon off;"]);
        assert_eq!(words(r#"  /a  'b c'  --d="e  f'g "#).unwrap(), ["/a", "b c", "--d=\"e", "f'g"]);
    }

    #[test]
    fn an_open_quote_or_no_word_at_all_is_refused() {
        for line in ["", "   ", "\"a", "a 'b", "'"] {
            assert_eq!(words(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_command_reads_back_from_a_configuration_whatever_its_words_are() {
        for list in [
            &["/init"][..],
            &["a b"],
            &["a", "b c"],
            &["a\u{a0}b"],
            &["", "x"],
            &["it's", "a \"b\" c"],
            &["\"q\""],
            &["'", "x y"],
        ] {
            let command = Command::new(list.iter().map(ToString::to_string).collect()).unwrap();
            let text = format!("{}\n", crate::lxc::Item::InitCmd(command.clone()));
            let config = Config::parse(text.as_bytes()).unwrap();
            assert_eq!(config.lines[0].item, crate::lxc::Item::InitCmd(command), "{text}");
        }
        assert_eq!(Command::new(Vec::from(["a \" ' b".to_string()])), None);
        assert_eq!(Command::new(Vec::new()), None);
    }
}
