//! Groups, goals and policies: in which order containers start, how far each must get, and what happens when one dies.
//!
//! A container inherits what it does not say from its group. `auto_recovery` is inherited as a whole or not at all, and
//! a container that says `"policy": "no"` means it.
//!
//! API: [`Group`], [`default_groups`], [`Goal`], [`RestartPolicy`], [`AutoRecovery`], [`Backoff`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::document::{Doubt, Item, Members, Read, SECONDS_MAX, Warning, Wrong, shown};
use crate::words::words;

/// The most groups of a revision; starting is one step per group.
pub const GROUPS_MAX: usize = 64;

words! {
    /// The status that a container must reach before its group counts as started.
    pub enum Goal {
        /// Its volumes are mounted; nothing is started.
        Mounted = "MOUNTED",
        /// Its first process runs.
        Started = "STARTED",
        /// It has said that it is ready.
        Ready = "READY",
    }
}

words! {
    /// What a change of a container means for the device.
    pub enum RestartPolicy {
        /// The device reboots.
        System = "system",
        /// The container alone is restarted.
        Container = "container",
    }
}

words! {
    /// When a container that ended is started again.
    pub enum RecoveryPolicy {
        /// Never.
        No = "no",
        /// However it ended.
        Always = "always",
        /// When it ended with an error.
        OnFailure = "on-failure",
        /// However it ended, unless a person stopped it.
        UnlessStopped = "unless-stopped",
    }
}

/// What to do when the retries are used up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Backoff {
    /// Reboot the device.
    Reboot,
    /// Leave the container stopped.
    Never,
    /// Wait so many seconds and begin again.
    Wait(u32),
}

/// How a container comes back after it ended. Times are in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AutoRecovery {
    /// When.
    pub policy: RecoveryPolicy,
    /// How often; 0 is without limit.
    pub max_retries: u32,
    /// The wait before the first retry.
    pub retry_delay: u32,
    /// Each further wait is longer by this factor, in thousandths; at least 1000, where waits stay equal.
    pub backoff_factor: u32,
    /// After so long a run the count begins again; 0 is never.
    pub reset_window: u32,
    /// How long the goal must hold before the container counts as stable.
    pub stable_timeout: u32,
    /// What to do when the retries are used up, if it is said: see [`after_all`](Self::after_all).
    pub backoff: Option<Backoff>,
}

/// The largest factor: ten thousandfold longer waits are a typing error.
const FACTOR_MAX: u32 = 10_000_000;

impl AutoRecovery {
    /// No recovery: what applies when neither container nor group says anything.
    pub const NONE: Self = Self {
        policy: RecoveryPolicy::No,
        max_retries: 0,
        retry_delay: 0,
        backoff_factor: 1000,
        reset_window: 0,
        stable_timeout: 0,
        backoff: None,
    };

    /// What to do when the retries of a container are used up. Older runtimes reboot the device for whatever says nothing; here
    /// a container that the device can do without costs nobody else anything unless its revision says so.
    #[must_use]
    pub fn after_all(&self, restart: RestartPolicy) -> Backoff {
        self.backoff.unwrap_or(match restart {
            RestartPolicy::System => Backoff::Reboot,
            RestartPolicy::Container => Backoff::Never,
        })
    }

    pub(crate) fn read(item: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Self> {
        let members = item.members()?;
        members.only(
            &[
                "policy",
                "max_retries",
                "retry_delay",
                "backoff_factor",
                "reset_window",
                "stable_timeout",
                "backoff_policy",
            ],
            warnings,
        );
        let none = Self::NONE;
        let policy = match members.get("policy") {
            Some(item) => item.word_or(RecoveryPolicy::No, "\"no\"", warnings)?,
            None => none.policy,
        };
        let number = |member: &str| members.read(member, |item| item.number(u32::MAX)).map(Option::unwrap_or_default);
        let seconds = |member: &str| members.read(member, Item::seconds).map(Option::unwrap_or_default);
        Ok(Self {
            policy,
            max_retries: number("max_retries")?,
            retry_delay: seconds("retry_delay")?,
            backoff_factor: members.read("backoff_factor", factor)?.unwrap_or(none.backoff_factor),
            reset_window: seconds("reset_window")?,
            stable_timeout: seconds("stable_timeout")?,
            backoff: members.read("backoff_policy", Backoff::read)?,
        })
    }
}

/// A number in thousandths; whatever is not above one has no effect.
fn factor(item: &Item<'_, '_>) -> Read<u32> {
    let wrong = || item.error(Wrong::Type { wanted: "a number that is not negative", found: item.value.kind_name() });
    let thousandths = item.value.as_thousandths().ok_or_else(wrong)?;
    match u32::try_from(thousandths) {
        Ok(factor) if factor <= FACTOR_MAX => Ok(factor.max(1000)),
        _ => Err(item.error(Wrong::TooLarge { limit: u64::from(FACTOR_MAX / 1000) })),
    }
}

impl Backoff {
    /// Reads `reboot`, `never`, or a duration: `30s`, `30`, `10min`, `1h`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "reboot" => Some(Self::Reboot),
            "never" => Some(Self::Never),
            duration => seconds(duration).map(Self::Wait),
        }
    }

    fn read(item: &Item<'_, '_>) -> Read<Self> {
        if item.value.as_u64().is_some() {
            return item.seconds().map(Self::Wait);
        }
        let text = item.text()?;
        Self::parse(text).ok_or_else(|| {
            item.error(Wrong::Form { found: shown(text), wanted: "reboot, never or a duration like 30s, 10min or 1h" })
        })
    }
}

/// A duration in seconds: digits and `s`, `min`, `h` or nothing, which is seconds; at most a year.
#[must_use]
pub fn seconds(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let scale = match unit {
        "" | "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(scale).filter(|seconds| *seconds <= SECONDS_MAX)
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reboot => f.write_str("reboot"),
            Self::Never => f.write_str("never"),
            Self::Wait(seconds) => write!(f, "{seconds}s"),
        }
    }
}

/// Containers that start together, after those of the groups before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What its containers must reach, unless they say otherwise.
    pub status_goal: Goal,
    /// What a change of its containers means, unless they say otherwise.
    pub restart_policy: RestartPolicy,
    /// Seconds that a container may take to its goal; `None` is what the device is configured for.
    pub timeout: Option<u32>,
    /// How its containers come back, unless they say otherwise.
    pub auto_recovery: AutoRecovery,
}

/// The groups of a revision that names none: `data`, `root`, `platform`, `app`.
#[must_use]
pub fn default_groups() -> Vec<Group> {
    let group = |name: &str, status_goal| Group {
        name: name.into(),
        status_goal,
        restart_policy: RestartPolicy::System,
        timeout: Some(30),
        auto_recovery: AutoRecovery::NONE,
    };
    Vec::from([
        group("data", Goal::Mounted),
        group("root", Goal::Started),
        group("platform", Goal::Started),
        Group {
            restart_policy: RestartPolicy::Container,
            auto_recovery: AutoRecovery {
                policy: RecoveryPolicy::OnFailure,
                max_retries: 5,
                retry_delay: 5,
                backoff_factor: 2000,
                stable_timeout: 30,
                ..AutoRecovery::NONE
            },
            ..group("app", Goal::Started)
        },
    ])
}

/// Reads an array of groups; their order is the order of starting.
pub(crate) fn read_groups(list: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Vec<Group>> {
    let items = list.items()?;
    if items.is_empty() {
        return Err(list.error(Wrong::Empty));
    }
    if items.len() > GROUPS_MAX {
        return Err(list.error(Wrong::TooMany { limit: GROUPS_MAX }));
    }
    let mut groups: Vec<Group> = Vec::with_capacity(items.len());
    for item in items {
        let group = read_group(&item.members()?, warnings)?;
        if groups.iter().any(|other| other.name == group.name) {
            return Err(item.error(Wrong::Taken(group.name)));
        }
        groups.push(group);
    }
    Ok(groups)
}

fn read_group(members: &Members<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Group> {
    members.only(&["name", "description", "status_goal", "restart_policy", "timeout", "auto_recovery"], warnings);
    let name = members.need("name")?;
    crate::path::component(name.text()?).map_err(|why| name.error(Wrong::Path(why)))?;
    let auto_recovery = members.get("auto_recovery").map(|item| AutoRecovery::read(&item, warnings)).transpose()?;
    if let Some(zero) = members.get("timeout").filter(|item| item.value.as_u64() == Some(0)) {
        warnings.push(zero.warning(Doubt::NoEffect("a goal cannot be reached in no time; the default applies")));
    }
    Ok(Group {
        name: name.text()?.into(),
        status_goal: members.read("status_goal", Item::word)?.unwrap_or(Goal::Started),
        restart_policy: members.read("restart_policy", Item::word)?.unwrap_or(RestartPolicy::Container),
        timeout: members.read("timeout", Item::seconds)?.filter(|seconds| *seconds > 0),
        auto_recovery: auto_recovery.unwrap_or(AutoRecovery::NONE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;
    use alloc::string::ToString;

    fn groups(text: &str) -> Result<(Vec<Group>, Vec<Warning>), String> {
        let value = document::parse("groups.json", text).map_err(|error| error.to_string())?;
        let mut warnings = Vec::new();
        let groups =
            read_groups(&Item::root("groups.json", &value), &mut warnings).map_err(|error| error.to_string())?;
        Ok((groups, warnings))
    }

    #[test]
    fn durations_are_seconds_unless_they_say_otherwise() {
        for (text, expected) in
            [("30s", Some(30)), ("30", Some(30)), ("10min", Some(600)), ("1h", Some(3600)), ("0", Some(0))]
        {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for text in ["", "s", "1d", "-1", "1.5h", "10 min", "99999999999", "4294967295h", "1H", "١s"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_group_says_only_its_name_and_gets_the_defaults() {
        let (groups, warnings) = groups(r#"[{"name":"x"}]"#).unwrap();
        assert_eq!(
            groups,
            [Group {
                name: "x".into(),
                status_goal: Goal::Started,
                restart_policy: RestartPolicy::Container,
                timeout: None,
                auto_recovery: AutoRecovery::NONE
            }]
        );
        assert_eq!(warnings, []);
    }

    #[test]
    fn the_default_groups_are_what_their_document_would_say() {
        let text = r#"[
            {"name":"data","restart_policy":"system","status_goal":"MOUNTED","timeout":30},
            {"name":"root","restart_policy":"system","status_goal":"STARTED","timeout":30},
            {"name":"platform","restart_policy":"system","status_goal":"STARTED","timeout":30},
            {"name":"app","restart_policy":"container","status_goal":"STARTED","timeout":30,"auto_recovery":
              {"policy":"on-failure","max_retries":5,"retry_delay":5,"backoff_factor":2.0,"stable_timeout":30}}]"#;
        assert_eq!(groups(text).unwrap().0, default_groups());
    }

    #[test]
    fn only_who_says_so_has_the_device_rebooted_for_a_container_that_it_can_do_without() {
        let of = |text: &str, restart| {
            let text = alloc::format!(r#"[{{"name":"a","auto_recovery":{{"policy":"always"{text}}}}}]"#);
            groups(&text).unwrap().0[0].auto_recovery.after_all(restart)
        };
        let (app, system) = (RestartPolicy::Container, RestartPolicy::System);
        assert_eq!((of("", app), of("", system)), (Backoff::Never, Backoff::Reboot));
        for (text, backoff) in
            [("\"reboot\"", Backoff::Reboot), ("\"never\"", Backoff::Never), ("30", Backoff::Wait(30))]
        {
            let said = alloc::format!(r#","backoff_policy":{text}"#);
            assert_eq!((of(&said, app), of(&said, system)), (backoff, backoff));
        }
    }

    #[test]
    fn a_group_that_cannot_be_meant_is_refused() {
        for (text, why) in [
            (r#"[]"#, "at least one"),
            (r#"[{"name":"a"},{"name":"a"}]"#, "taken"),
            (r#"[{}]"#, "groups.json: [0].name: is missing"),
            (r#"[{"name":"a","status_goal":"started"}]"#, "none of MOUNTED, STARTED, READY"),
            (r#"[{"name":"a","restart_policy":"never"}]"#, "none of system, container"),
            (r#"[{"name":"a","timeout":-1}]"#, "whole number"),
            (r#"[{"name":"../a"}]"#, "`..`"),
            (r#"[{"name":"a","auto_recovery":{"backoff_policy":"sometimes"}}]"#, "duration"),
            (r#"[{"name":"a","auto_recovery":{"max_retries":"5"}}]"#, "whole number"),
            (r#"{}"#, "must be an array, is an object"),
        ] {
            let error = groups(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn an_unknown_recovery_policy_means_no_and_is_told() {
        let (groups, warnings) = groups(r#"[{"name":"a","auto_recovery":{"policy":"maybe"},"colour":1}]"#).unwrap();
        assert_eq!(groups[0].auto_recovery.policy, RecoveryPolicy::No);
        let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "groups.json: [0].colour: is not known and has no effect",
                "groups.json: [0].auto_recovery.policy: \"maybe\" is not known; \"no\" is used"
            ]
        );
    }

    #[test]
    fn a_factor_of_one_or_less_leaves_waits_equal() {
        let factor = |text: &str| {
            let text = alloc::format!(r#"[{{"name":"a","auto_recovery":{{"backoff_factor":{text}}}}}]"#);
            groups(&text).map(|(groups, _)| groups[0].auto_recovery.backoff_factor)
        };
        assert_eq!(factor("0.5"), Ok(1000));
        assert_eq!(factor("1.5"), Ok(1500));
        assert!(factor("1e9").is_err());
        assert!(factor("-2").is_err());
    }
}
