//! `readiness` of a `run.json`: a program that the device runs in the container to find out whether it is ready.
//!
//! ```text
//!   "readiness": {"exec": ["/bin/check", "--quick"], "interval": 30, "timeout": 30, "retries": 3,
//!                 "start_period": 0, "start_interval": 5}
//! ```
//!
//! Whole seconds. All but `exec` may be left out, and is then as container engines have it for their health checks. Everything
//! is bounded: whoever wrote the manifest has PID 1 start a process each time.

use alloc::string::String;
use alloc::vec::Vec;

use crate::document::{Item, Read, Warning, Wrong};

/// The most words of the program, with its name.
pub const WORDS_MAX: usize = 64;

/// The most bytes of all words together.
pub const BYTES_MAX: usize = 4096;

/// The longest of each time, in seconds: a day.
pub const TIME_MAX: u32 = 24 * 3600;

/// The most attempts that are waited for.
pub const RETRIES_MAX: u32 = 1000;

/// How a container is asked whether it is ready. Times are in seconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Readiness {
    /// The program and its arguments. Code 0 means ready.
    pub exec: Vec<String>,
    /// Between two attempts.
    pub interval: u32,
    /// How long one may take.
    pub timeout: u32,
    /// How many in a row have to fail until the container is held not to become ready.
    pub retries: u32,
    /// How long none counts that fails.
    pub start_period: u32,
    /// Between two attempts as long as none counts.
    pub start_interval: u32,
}

impl Readiness {
    /// This program, and all else as it is where nothing is said.
    #[must_use]
    pub fn new(exec: Vec<String>) -> Self {
        Self { exec, interval: 30, timeout: 30, retries: 3, start_period: 0, start_interval: 5 }
    }

    pub(crate) fn read(item: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Self> {
        let members = item.members()?;
        let known = ["exec", "interval", "timeout", "retries", "start_period", "start_interval"];
        members.only(&known, warnings);
        let usual = Self::new(members.need("exec").and_then(|item| words(&item))?);
        let positive =
            |member, limit, usual| Ok(members.read(member, |item| at_least_one(item, limit))?.unwrap_or(usual));
        Ok(Self {
            interval: positive("interval", TIME_MAX, usual.interval)?,
            timeout: positive("timeout", TIME_MAX, usual.timeout)?,
            retries: positive("retries", RETRIES_MAX, usual.retries)?,
            start_period: members.read("start_period", |item| item.number(TIME_MAX))?.unwrap_or(usual.start_period),
            start_interval: positive("start_interval", TIME_MAX, usual.start_interval)?,
            exec: usual.exec,
        })
    }
}

fn at_least_one(item: &Item<'_, '_>, limit: u32) -> Read<u32> {
    match item.number(limit)? {
        0 => Err(item.error(Wrong::Cannot("must be at least 1"))),
        number => Ok(number),
    }
}

fn words(item: &Item<'_, '_>) -> Read<Vec<String>> {
    let words = item.texts()?;
    if words.len() > WORDS_MAX {
        return Err(item.error(Wrong::TooMany { limit: WORDS_MAX }));
    }
    if words.first().is_none_or(String::is_empty) {
        return Err(item.error(Wrong::Cannot("must begin with the name of a program")));
    }
    let bytes = words.iter().fold(0_usize, |sum, word| sum.saturating_add(word.len()));
    if bytes > BYTES_MAX { Err(item.error(Wrong::TooLong { limit: BYTES_MAX })) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;

    fn read(text: &str) -> Result<(Readiness, Vec<String>), String> {
        let (value, mut warnings) = (document::parse("web/run.json", text).unwrap(), Vec::new());
        let read = Readiness::read(&Item::root("web/run.json", &value), &mut warnings);
        let warnings = warnings.iter().map(ToString::to_string).collect();
        read.map(|readiness| (readiness, warnings)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_is_as_health_checks_have_it() {
        let usual = Readiness {
            exec: vec!["check".into()],
            interval: 30,
            timeout: 30,
            retries: 3,
            start_period: 0,
            start_interval: 5,
        };
        assert_eq!(read(r#"{"exec":["check"]}"#), Ok((usual, vec![])));
        let (said, warnings) = read(
            r#"{"exec":["sh","-c",""],"interval":1,"timeout":2,"retries":4,"start_period":5,"start_interval":6,"user":7}"#,
        )
        .unwrap();
        assert_eq!(said.exec, ["sh", "-c", ""]);
        let times = (said.interval, said.timeout, said.retries, said.start_period, said.start_interval);
        assert_eq!(times, (1, 2, 4, 5, 6));
        assert_eq!(warnings, ["web/run.json: user: is not known and has no effect"]);
    }

    #[test]
    fn what_would_never_end_or_never_begin_is_refused_with_its_place() {
        for (members, why) in [
            (r#""interval":0"#, "interval: must be at least 1"),
            (r#""timeout":0"#, "timeout: must be at least 1"),
            (r#""retries":0"#, "retries: must be at least 1"),
            (r#""start_interval":0"#, "start_interval: must be at least 1"),
            (r#""interval":86401"#, "interval: must be at most 86400"),
            (r#""start_period":86401"#, "start_period: must be at most 86400"),
            (r#""retries":1001"#, "retries: must be at most 1000"),
            (r#""timeout":1.5"#, "timeout: must be a whole number"),
            (r#""timeout":"1s""#, "timeout: must be a whole number"),
        ] {
            let error = read(&format!(r#"{{"exec":["check"],{members}}}"#)).unwrap_err();
            assert!(error.contains(why), "{members}: {error}");
        }
        assert!(read(r#"{"exec":["check"],"start_period":0,"interval":86400,"retries":1000}"#).is_ok());
    }

    #[test]
    fn a_program_has_a_name_and_bounds() {
        let exec = |words: &str| read(&format!(r#"{{"exec":{words}}}"#)).map(|(readiness, _)| readiness.exec.len());
        for (words, why) in [
            ("[]", "exec: must begin with the name of a program"),
            (r#"["","x"]"#, "exec: must begin with the name of a program"),
            (r#""check""#, "exec: must be an array"),
            (r#"["a",7]"#, "exec[1]: must be a string"),
            (r#"["a\u0000"]"#, "exec[0]: "),
        ] {
            let error = exec(words).unwrap_err();
            assert!(error.contains(why), "{words}: {error}");
        }
        assert!(read("{}").unwrap_err().contains("exec: is missing"));
        let list = |count: usize, word: &str| format!("[{}]", vec![format!("{word:?}"); count].join(","));
        assert_eq!(exec(&list(WORDS_MAX, "x")), Ok(WORDS_MAX));
        assert!(exec(&list(WORDS_MAX + 1, "x")).unwrap_err().contains("more than 64"));
        assert_eq!(exec(&list(4, &"x".repeat(BYTES_MAX / 4))), Ok(4));
        assert!(exec(&list(5, &"x".repeat(BYTES_MAX / 4))).unwrap_err().contains("more than 4096 bytes"));
    }
}
