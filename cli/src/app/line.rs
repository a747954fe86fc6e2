//! What is started: ENTRYPOINT and CMD of an image as one line of a configuration.
//!
//! The first word stands bare, the others in quotes. A line has no escapes: a word with double quotes in it stands in
//! single ones, and one with both cannot be written at all.

use formats::lxc::Command;

use crate::error::{Error, Result};
use crate::image::manifest::Config;

/// The words of ENTRYPOINT and CMD; `/sbin/init` where there is neither.
pub(super) fn words(config: &Config) -> Result<Vec<String>> {
    let wrong = |why: String| Error::user(format!("the image's configuration: {why}"));
    let mut words = config.list("Entrypoint").map_err(wrong)?;
    // An ENTRYPOINT that is a text and not a list is a line of its own, which CMD has nothing to do with.
    let is_line = config.config.get("Entrypoint").is_some_and(|it| it.as_str().is_some());
    if let (true, [line]) = (is_line, words.as_slice()) {
        let parsed = Command::parse(line).ok_or_else(|| wrong(format!("the entry point {line:?} has open quotes")))?;
        return Ok(parsed.words().to_vec());
    }
    words.extend(config.list("Cmd").map_err(wrong)?);
    if words.is_empty() { Ok(vec!["/sbin/init".into()]) } else { Ok(words) }
}

/// The words as existing tools write them.
pub(super) fn quoted(words: &[String]) -> Result<String> {
    let mut line = String::new();
    for (index, word) in words.iter().enumerate() {
        let bare =
            index == 0 && !word.is_empty() && !word.contains(|c: char| c.is_ascii_whitespace() || "\"'".contains(c));
        let quote = match (bare, word.contains('"'), word.contains('\'')) {
            (true, ..) => "",
            (_, false, _) => "\"",
            (_, true, false) => "'",
            (_, true, true) => return Err(unwritable(word)),
        };
        line.push_str(if index == 0 { "" } else { " " });
        line.push_str(quote);
        line.push_str(word);
        line.push_str(quote);
    }
    Ok(line)
}

/// A word that a configuration cannot hold.
pub(super) fn unwritable(word: &str) -> Error {
    let short: String = word.chars().take(60).collect();
    Error::user(format!("the command of the image cannot stand in one line of a configuration: {short:?}"))
        .hint("put it into a script in the image, and name the script as ENTRYPOINT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Limits;

    fn line(config: &str) -> Result<String> {
        let text = format!(r#"{{"rootfs":{{"diff_ids":[]}},"config":{config}}}"#);
        quoted(&words(&Config::parse(text.as_bytes(), Limits::DEFAULT).unwrap())?)
    }

    #[test]
    fn entry_point_and_command_are_words_with_blanks_between() {
        for (config, wanted) in [
            ("{}", "/sbin/init"),
            (r#"{"Cmd":["sh"]}"#, "sh"),
            (r#"{"Cmd":["a","b c"]}"#, r#"a "b c""#),
            (r#"{"Entrypoint":["/e"],"Cmd":["nginx","-g","daemon off;"]}"#, r#"/e "nginx" "-g" "daemon off;""#),
            (r#"{"Entrypoint":["/e","x"],"Cmd":null}"#, r#"/e "x""#),
            (r#"{"Entrypoint":"/bin/sh -c x","Cmd":["y"]}"#, r#"/bin/sh "-c" "x""#),
            (r#"{"Cmd":["sh","-c","echo \"hi\""]}"#, r#"sh "-c" 'echo "hi"'"#),
        ] {
            assert_eq!(line(config).unwrap(), wanted, "{config}");
        }
        assert!(line(r#"{"Cmd":["sh","'\""]}"#).unwrap_err().message.contains("one line"));
    }
}
