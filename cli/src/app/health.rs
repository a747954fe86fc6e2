//! The health check of an image, as the readiness of a container.
//!
//! ```text
//!   "Healthcheck": {"Test": ["CMD", "curl", "-f", "http://localhost/"], "Interval": 30000000000, "Retries": 3}
//!                          ["CMD-SHELL", "LINE"]   by the image's SHELL, else /bin/sh -c
//!                          ["NONE"], [], or none   there is no check
//!   times in nanoseconds, 0 is what is usual        rounded up to seconds
//! ```
//!
//! A device asks until the container is ready and never again, so this is the part of a health check that decides about updates.
//! Whoever has one has the goal READY, unless a person has said another.

use formats::group::Goal;
use formats::json::Json;
use formats::readiness::{BYTES_MAX, RETRIES_MAX, Readiness, TIME_MAX, WORDS_MAX};

use super::Template;
use super::facts::Facts;
use super::recipe::Recipe;
use super::template::{env, more_env};
use super::user;
use crate::error::{Error, Result};
use crate::image::manifest::{Config, Reason};

/// The argument that leaves it out.
pub(super) const DISABLE: &str = "PV_HEALTHCHECK_DISABLE";

/// What is read of an image.
type Read<T> = std::result::Result<T, Reason>;

/// How long a device waits for a goal where `device.json` does not say, in seconds.
const PATIENCE: u32 = 30;

/// How a container that is started is asked whether it is ready. What a person should hear about is added to the warnings.
pub(super) fn wanted(recipe: &Recipe, facts: &Facts<'_>, warnings: &mut Vec<String>) -> Result<Option<Readiness>> {
    let goal = recipe.args.text("PV_STATUS_GOAL");
    if recipe.args.yes(DISABLE) || goal.is_some_and(|goal| goal != Goal::Ready.as_str()) {
        return Ok(None);
    }
    if recipe.template == Template::BuiltinLxcDocker {
        if matches!(readiness(&facts.config), Ok(Some(_))) {
            let template = recipe.template.as_str();
            warnings.push(format!("the image has a health check, which the template {template} leaves out"));
        }
        return Ok(None);
    }
    let found = readiness(&facts.config).map_err(|why| {
        Error::user(format!("the image's health check cannot be used: {why}"))
            .hint("--no-healthcheck leaves it out; the container then says itself when it is ready, or need not be")
    })?;
    let Some(asks) = found else { return Ok(None) };
    let program = asks.exec.first().map(String::as_str).unwrap_or_default();
    if user::program(facts, program, &[env(facts)?, more_env(recipe)?].concat()).is_none() {
        warnings.push(format!("{program:?}, which its health check runs, is nowhere along the PATH of the image"));
    }
    if asks.start_period > PATIENCE {
        let seconds = asks.start_period;
        warnings.push(format!(
            "it may take {seconds} seconds to become healthy, and a device waits {PATIENCE}, unless its group in device.json \
             has a longer `timeout`"
        ));
    }
    Ok(Some(asks))
}

/// How an image's health check asks whether it is ready.
///
/// # Errors
/// It is none, or more than a device takes.
fn readiness(config: &Config) -> Read<Option<Readiness>> {
    let check = match config.config.get("Healthcheck") {
        None | Some(Json::Null) => return Ok(None),
        Some(check @ Json::Object(_)) => check,
        Some(_) => return Err("it is no object".into()),
    };
    let Some(exec) = program(check.get("Test"), config)? else { return Ok(None) };
    let bytes: usize = exec.iter().map(String::len).sum();
    if exec.len() > WORDS_MAX || bytes > BYTES_MAX {
        return Err(format!("a device takes at most {WORDS_MAX} words, of {BYTES_MAX} bytes together"));
    }
    let usual = Readiness::new(exec);
    Ok(Some(Readiness {
        interval: seconds(check, "Interval")?.unwrap_or(usual.interval),
        timeout: seconds(check, "Timeout")?.unwrap_or(usual.timeout),
        retries: number(check, "Retries")?.map_or(Ok(usual.retries), |retries| {
            u32::try_from(retries)
                .ok()
                .filter(|retries| *retries <= RETRIES_MAX)
                .ok_or_else(|| format!("`Retries` is more than {RETRIES_MAX}"))
        })?,
        start_period: seconds(check, "StartPeriod")?.unwrap_or(usual.start_period),
        start_interval: seconds(check, "StartInterval")?.unwrap_or(usual.start_interval),
        exec: usual.exec,
    }))
}

/// The member of `run.json`.
pub(super) fn member(readiness: &Readiness) -> Json {
    let Readiness { exec, interval, timeout, retries, start_period, start_interval } = readiness;
    Json::object()
        .with("exec", exec.clone())
        .with("interval", u64::from(*interval))
        .with("timeout", u64::from(*timeout))
        .with("retries", u64::from(*retries))
        .with("start_period", u64::from(*start_period))
        .with("start_interval", u64::from(*start_interval))
}

/// What is run; `None`: nothing is.
fn program(test: Option<&Json>, config: &Config) -> Read<Option<Vec<String>>> {
    let words = match test {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Array(list)) => list.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>(),
        Some(_) => None,
    };
    let mut words = words.ok_or("`Test` is no list of strings")?;
    let kind = if words.is_empty() { "NONE".into() } else { words.remove(0) };
    let shell = match kind.as_str() {
        "NONE" => return Ok(None),
        "CMD" => Vec::new(),
        "CMD-SHELL" => config.list("Shell")?,
        _ => return Err(format!("`Test` begins with {kind:?}, and not with CMD, CMD-SHELL or NONE")),
    };
    if words.first().is_none_or(String::is_empty) || words.iter().any(|word| word.contains('\0')) {
        return Err(format!("`Test` has no program after {kind}"));
    }
    let shell = match (kind.as_str(), shell.is_empty()) {
        ("CMD-SHELL", true) => vec!["/bin/sh".into(), "-c".into()],
        _ => shell,
    };
    Ok(Some([shell, words].concat()))
}

/// A time, if there is one that counts.
fn seconds(check: &Json, member: &str) -> Read<Option<u32>> {
    let Some(nanoseconds) = number(check, member)? else { return Ok(None) };
    let seconds = u32::try_from(nanoseconds.div_ceil(1_000_000_000)).ok().filter(|seconds| *seconds <= TIME_MAX);
    seconds.map(Some).ok_or_else(|| format!("`{member}` is more than a day"))
}

fn number(check: &Json, member: &str) -> Read<Option<u64>> {
    match check.get(member) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Number(number)) => match number.as_str().parse::<u64>() {
            Ok(0) => Ok(None),
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("`{member}` is {} and no whole number", number.as_str())),
        },
        Some(_) => Err(format!("`{member}` is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Limits;

    fn of(config: &str) -> Read<Option<Readiness>> {
        let text = format!(r#"{{"rootfs":{{"diff_ids":[]}},"config":{config}}}"#);
        readiness(&Config::parse(text.as_bytes(), Limits::DEFAULT).unwrap())
    }

    fn check(members: &str) -> Read<Option<Readiness>> {
        of(&format!(r#"{{"Healthcheck":{{{members}}}}}"#))
    }

    #[test]
    fn a_check_is_a_program_with_times_in_seconds_that_are_rounded_up() {
        let found = check(
            r#""Test":["CMD","curl","-f"],"Interval":1500000000,"Timeout":1,"StartPeriod":60000000000,
               "StartInterval":1000000000,"Retries":5"#,
        );
        let exec = vec!["curl".into(), "-f".into()];
        let expected = Readiness { exec, interval: 2, timeout: 1, retries: 5, start_period: 60, start_interval: 1 };
        assert_eq!(found, Ok(Some(expected)));
        let usual = Readiness::new(vec!["x".into()]);
        let zeros = r#""Interval":0,"Timeout":0,"StartPeriod":0,"StartInterval":0,"Retries":0"#;
        assert_eq!(check(&format!(r#""Test":["CMD","x"],{zeros}"#)), Ok(Some(usual.clone())));
        assert_eq!(check(r#""Test":["CMD","x"],"Retries":null"#), Ok(Some(usual)));
    }

    #[test]
    fn a_line_is_for_the_shell_of_the_image() {
        let exec = |config: &str| of(config).map(|found| found.map(|readiness| readiness.exec));
        let line = r#""Healthcheck":{"Test":["CMD-SHELL","test -e /up || exit 1"]}"#;
        let words = |list: &[&str]| Ok(Some(list.iter().map(ToString::to_string).collect::<Vec<_>>()));
        assert_eq!(exec(&format!("{{{line}}}")), words(&["/bin/sh", "-c", "test -e /up || exit 1"]));
        let own = format!(r#"{{{line},"Shell":["/bin/bash","-eo","pipefail","-c"]}}"#);
        assert_eq!(exec(&own), words(&["/bin/bash", "-eo", "pipefail", "-c", "test -e /up || exit 1"]));
        let plain = r#"{"Healthcheck":{"Test":["CMD","x"]},"Shell":["/bin/bash","-c"]}"#;
        assert_eq!(exec(plain), words(&["x"]), "a program needs no shell");
    }

    #[test]
    fn without_a_check_there_is_none() {
        for config in ["{}", r#"{"Healthcheck":null}"#, r#"{"Healthcheck":{}}"#] {
            assert_eq!(of(config), Ok(None), "{config}");
        }
        for members in [r#""Test":["NONE"]"#, r#""Test":[]"#, r#""Test":null,"Interval":7"#] {
            assert_eq!(check(members), Ok(None), "{members}");
        }
    }

    #[test]
    fn what_is_no_check_or_too_much_of_one_is_named() {
        for (members, why) in [
            (r#""Test":"curl""#, "`Test` is no list of strings"),
            (r#""Test":["CMD",7]"#, "`Test` is no list of strings"),
            (r#""Test":["curl"]"#, "begins with \"curl\""),
            (r#""Test":["CMD"]"#, "no program after CMD"),
            (r#""Test":["CMD",""]"#, "no program after CMD"),
            (r#""Test":["CMD-SHELL"]"#, "no program after CMD-SHELL"),
            (r#""Test":["CMD","x"],"Interval":-1"#, "`Interval` is -1"),
            (r#""Test":["CMD","x"],"Timeout":"1s""#, "`Timeout` is no number"),
            (r#""Test":["CMD","x"],"StartPeriod":86400000000001"#, "`StartPeriod` is more than a day"),
            (r#""Test":["CMD","x"],"Retries":1001"#, "`Retries` is more than 1000"),
        ] {
            let error = check(members).unwrap_err();
            assert!(error.contains(why), "{members}: {error}");
        }
        assert!(of(r#"{"Healthcheck":[]}"#).is_err());
        let long = format!(r#""Test":["CMD-SHELL","{}"]"#, "x".repeat(BYTES_MAX));
        assert!(check(&long).unwrap_err().contains("at most 64 words, of 4096 bytes"));
    }

    #[test]
    fn what_is_written_is_what_a_device_reads() {
        let name = formats::path::ContainerName::parse("web").unwrap();
        for seconds in [1, 30, TIME_MAX] {
            let written = Readiness {
                interval: seconds,
                timeout: seconds,
                retries: seconds.min(RETRIES_MAX),
                start_period: seconds,
                start_interval: seconds,
                exec: vec!["sh".into(), "\"ö\n".into()],
            };
            let text = Json::object().with("name", "web").with("readiness", member(&written)).compact();
            let mut warnings = Vec::new();
            let read = formats::run_json::Manifest::parse(&name, &text, &mut warnings).unwrap();
            assert_eq!((read.readiness, warnings.len()), (Some(written), 0));
        }
    }
}
