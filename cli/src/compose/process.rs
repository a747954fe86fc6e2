//! The first process of a service: what is started, as whom, with which variables, and how it comes back.

use formats::json::Json;

use super::at::At;
use super::interpolate::Unset;
use super::load;
use super::plan::Container;
use super::report::Level;
use super::units::{seconds, time, words};
use super::world::{Service, World};
use super::yaml::Kind;

/// Seconds after which a run counts as good, as for Docker: the count of restarts begins anew, and an update is taken.
const STABLE: u64 = 10;

pub(crate) fn process(service: &Service<'_>, world: &mut World<'_>, container: &mut Container) {
    let command = service.get("command").and_then(|at| list(&at, world));
    let entrypoint = service.get("entrypoint").and_then(|at| list(&at, world));
    if let Some(entrypoint) = entrypoint {
        container.config.set("Entrypoint", json(entrypoint));
        // Another entry point has nothing to do with the arguments that the image has for its own.
        container.config.set("Cmd", json(command.unwrap_or_default()));
    } else if let Some(command) = command {
        container.config.set("Cmd", json(command));
    }
    for (key, member) in [("user", "User"), ("working_dir", "WorkingDir"), ("stop_signal", "StopSignal")] {
        if let Some(text) = service.get(key).and_then(|at| at.text(&mut world.report)) {
            container.config.set(member, text);
        }
    }
    if let Some(at) = service.get("platform")
        && let Some(text) = at.text(&mut world.report)
    {
        container.platform = Some(text.to_owned());
    }
    if let Some(at) = service.get("healthcheck") {
        healthcheck(&at, world, container);
    }
    variables(service, world, container);
    restart(service, world, container);
}

fn json(list: Vec<String>) -> Vec<Json> {
    list.into_iter().map(Json::from).collect()
}

/// A list of words, or one text that is split as a shell does.
fn list(at: &At<'_>, world: &mut World<'_>) -> Option<Vec<String>> {
    if let Some(text) = at.node.text() {
        let words = words(text);
        if words.is_none() {
            at.wrong(&mut world.report, "a quote has no end");
        }
        return words;
    }
    let items = at.items(&mut world.report);
    Some(items.iter().filter_map(|item| item.text(&mut world.report).map(str::to_owned)).collect())
}

fn healthcheck(at: &At<'_>, world: &mut World<'_>, container: &mut Container) {
    let report = &mut world.report;
    at.only(&["test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"], report);
    if at.flag_of("disable", report) == Some(true) {
        container.config.set("Healthcheck", Json::object().with("Test", json(vec!["NONE".into()])));
        return;
    }
    let Some(test) = at.get("test").filter(|test| !test.is_null()) else {
        at.say(report, Level::NotMapped, "times without a `test` would change those of the image: write its test here");
        return;
    };
    let words: Vec<String> = match test.node.text() {
        Some(line) => vec!["CMD-SHELL".into(), line.into()],
        None => test.items(report).iter().filter_map(|item| item.text(report).map(str::to_owned)).collect(),
    };
    let fine = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["NONE"] => true,
        ["CMD", first, ..] => !first.is_empty(),
        ["CMD-SHELL", line] => !line.is_empty(),
        _ => false,
    };
    if !fine {
        test.wrong(report, "write [\"CMD\", program, …], [\"CMD-SHELL\", line], [\"NONE\"], or a line for a shell");
        return;
    }
    let mut check = Json::object().with("Test", json(words));
    for (key, member) in [
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"),
    ] {
        let Some(text) = at.text_of(key, report) else { continue };
        match time(text).and_then(|time| u64::try_from(time.as_nanos()).ok()) {
            Some(nanos) => check.set(member, nanos),
            None => at.wrong(report, format!("{key}: {text:?} is no time like 1m30s")),
        }
    }
    if let Some(retries) = at.get("retries").filter(|retries| !retries.is_null()) {
        match retries.number(report).and_then(|count| u64::try_from(count).ok()) {
            Some(count) => check.set("Retries", count),
            None => retries.wrong(report, "how often is a number from 1"),
        }
    }
    container.config.set("Healthcheck", check);
}

fn variables(service: &Service<'_>, world: &mut World<'_>, container: &mut Container) {
    if let Some(at) = service.get("env_file") {
        for item in at.one_or_more(&mut world.report) {
            env_file(&item, world, container);
        }
    }
    let Some(at) = service.get("environment") else { return };
    for (name, value, at) in at.pairs(&mut world.report) {
        let value = match value {
            Some(value) => value.to_owned(),
            None => {
                let Some(value) = world.variable(&name) else {
                    let why = "it is to come from the environment of this machine, and is not set here";
                    at.say(&mut world.report, Level::NotMapped, why);
                    continue;
                };
                value
            }
        };
        variable(&name, value, &at, world, container);
    }
}

fn env_file(item: &At<'_>, world: &mut World<'_>, container: &mut Container) {
    let (file, required) = match item.node.kind {
        Kind::Map(_) => {
            item.only(&["path", "required", "format"], &mut world.report);
            let required = item.flag_of("required", &mut world.report).unwrap_or(true);
            (item.text_of("path", &mut world.report), required)
        }
        _ => (item.text(&mut world.report), true),
    };
    let Some(file) = file else { return };
    let path = world.path(item, file);
    if !required && !path.exists() {
        return;
    }
    let mut unset: Vec<Unset> = Vec::new();
    let found = load::variables(&path, &|name| world.variable(name), &mut unset);
    match found {
        Ok(found) => {
            for (name, value) in found {
                let Some(value) = value.or_else(|| world.variable(&name)) else { continue };
                let at = At::new(item.node, item.place, format!("{}.{name}", item.path));
                variable(&name, value, &at, world, container);
            }
        }
        Err(error) => item.wrong(&mut world.report, error.message),
    }
    for unset in unset {
        item.say(&mut world.report, Level::NotMapped, format!("{}: {} is not set, and empty", unset.place, unset.name));
    }
}

fn variable(name: &str, value: String, at: &At<'_>, world: &mut World<'_>, container: &mut Container) {
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return at.wrong(&mut world.report, "a variable needs a name without blanks");
    }
    if value.contains(char::is_control) {
        let why = "a value of several lines, or with control characters, has no place in a configuration: \
                   put it into a file, with `configs`";
        return at.wrong(&mut world.report, why);
    }
    if is_secret(name, &value) {
        let why = "the value stands in the signed state as it is, and whoever has that reads it: have the program read it \
                   from a file that each device is given (docs/metadata.md), or see to it that nobody else gets the state";
        at.say(&mut world.report, Level::Secret, why);
    }
    container.env.retain(|(other, _)| other != name);
    container.env.push((name.to_owned(), value));
}

/// Whether a variable looks as if its value were nobody else's business.
pub(crate) fn is_secret(name: &str, value: &str) -> bool {
    const WORDS: [&str; 11] = [
        "PASSWORD",
        "PASSWD",
        "PASS",
        "PASSPHRASE",
        "PWD",
        "TOKEN",
        "SECRET",
        "SECRETS",
        "KEY",
        "CREDENTIAL",
        "CREDENTIALS",
    ];
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let named = words.iter().any(|word| WORDS.contains(word) || word.ends_with("PASSWORD") || word.ends_with("SECRET"));
    // A name of a file, and what everybody may know.
    let harmless = words.iter().any(|word| ["FILE", "PATH", "DIR", "PUBLIC", "NAME", "ID"].contains(word))
        || upper == "PWD"
        || matches!(value, "" | "true" | "false" | "yes" | "no" | "0" | "1");
    named && !harmless || has_password(value)
}

/// `scheme://user:password@host`
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
}

fn restart(service: &Service<'_>, world: &mut World<'_>, container: &mut Container) {
    let coming_back = |policy: &str| {
        Json::object()
            .with("policy", policy)
            .with("retry_delay", 1_u64)
            .with("backoff_factor", 2_u64)
            .with("reset_window", STABLE)
            .with("stable_timeout", STABLE)
    };
    if let Some(at) = service.get("restart")
        && let Some(text) = at.text(&mut world.report)
    {
        let (policy, count) = text.split_once(':').map_or((text, None), |(policy, count)| (policy, Some(count)));
        container.recovery = match (policy, count.map(str::parse::<u32>)) {
            // A word that YAML takes for `false`.
            ("no" | "false", None) => Some(Json::object().with("policy", "no")),
            ("always" | "unless-stopped" | "on-failure", None) => Some(coming_back(policy)),
            ("on-failure", Some(Ok(count))) => {
                Some(coming_back(policy).with("max_retries", u64::from(count)).with("backoff_policy", "never"))
            }
            _ => {
                at.wrong(&mut world.report, "write no, always, on-failure, on-failure:COUNT or unless-stopped");
                None
            }
        };
    }
    let Some(at) = service.get("deploy").and_then(|deploy| deploy.get("restart_policy")) else { return };
    let report = &mut world.report;
    at.only(&["condition", "delay", "max_attempts", "window"], report);
    let policy = match at.text_of("condition", report).unwrap_or("any") {
        "none" => {
            container.recovery = Some(Json::object().with("policy", "no"));
            return;
        }
        "on-failure" => "on-failure",
        "any" => "always",
        _ => return at.wrong(report, "condition: write none, on-failure or any"),
    };
    let mut recovery = coming_back(policy);
    for (key, member) in [("delay", "retry_delay"), ("window", "reset_window")] {
        let Some(text) = at.text_of(key, report) else { continue };
        match seconds(text) {
            Some(seconds) => recovery.set(member, seconds),
            None => at.wrong(report, format!("{key}: {text:?} is no time like 1m30s")),
        }
    }
    if let Some(count) = at.get("max_attempts").filter(|count| !count.is_null()) {
        match count.number(report).and_then(|count| u32::try_from(count).ok()) {
            Some(count) => recovery.set("max_retries", u64::from(count)),
            None => count.wrong(report, "how often is a number"),
        }
    }
    container.recovery = Some(recovery);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_name_or_by_a_password_in_an_address() {
        for (name, value) in [
            ("POSTGRES_PASSWORD", "x"),
            ("api-token", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("DB_PWD", "x"),
            ("mysqlpassword", "x"),
            ("DATABASE_URL", "postgres://me:x@db/shop"),
        ] {
            assert!(is_secret(name, value), "{name}");
        }
        for (name, value) in [
            ("POSTGRES_PASSWORD_FILE", "/run/secrets/x"),
            ("KEYBOARD", "de"),
            ("PUBLIC_KEY", "x"),
            ("ALLOW_EMPTY_PASSWORD", "yes"),
            ("PASSWORD", ""),
            ("URL", "http://db:80/a@b"),
            ("URL", "postgres://me@db/shop"),
            ("PWD", "/srv"),
        ] {
            assert!(!is_secret(name, value), "{name}");
        }
    }
}
