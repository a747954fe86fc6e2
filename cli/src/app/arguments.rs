//! The arguments of templates: `args` of `src.json`, each with its form and with what the templates make of it.
//!
//! | form | in `args` |
//! |---|---|
//! | text | a text or a number |
//! | yes | anything but nothing is yes, as existing tools have it; what can only mean no is refused |
//! | list | a list of texts; a text alone is a list of one |
//! | commas | the same, or one text with commas between |
//! | JSON | whatever `run.json` takes |
//!
//! An argument that is not in [`ARGUMENTS`] is refused by `confined`, because it may be the one that confines the container.
//! The other template keeps and passes over it, and a person is told.

use formats::json::Json;

use super::Template;
use crate::error::{Error, Result};

/// What an argument looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A text or a number.
    Text,
    /// Said or not.
    Yes,
    /// Several texts.
    List,
    /// Several texts, which may stand in one with commas between.
    Commas,
    /// What a device reads.
    Json,
}

impl Form {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Yes => "yes",
            Self::List => "list",
            Self::Commas => "commas",
            Self::Json => "JSON",
        }
    }
}

/// What a template does with an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// It has a meaning.
    Taken,
    /// It has none, for this reason.
    Refused(&'static str),
}

use Use::{Refused, Taken};

/// One argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Its form.
    pub form: Form,
    /// What it makes.
    pub makes: &'static str,
    /// What `confined` does with it.
    pub confined: Use,
    /// What `builtin-lxc-docker` does with it.
    pub builtin: Use,
}

const fn both(name: &'static str, form: Form, makes: &'static str) -> Argument {
    Argument { name, form, makes, confined: Taken, builtin: Taken }
}

const fn builtin(name: &'static str, form: Form, makes: &'static str, why: &'static str) -> Argument {
    Argument { name, form, makes, confined: Refused(why), builtin: Taken }
}

const fn confined(name: &'static str, form: Form, makes: &'static str, why: &'static str) -> Argument {
    Argument { name, form, makes, confined: Taken, builtin: Refused(why) }
}

const DEVICES: &str = "nodes are granted one by one: --device";
const LIMITS: &str = "limits are PV_CONFINED_LIMITS, in the words of cgroups v2";
const POOL: &str = "networks are pools of the device: --pool";
const KERNEL: &str = "what a confined container sees of /proc, /sys and its cgroup is fixed";
const ALL: &str = "a container of this template has all devices and capabilities";

/// All arguments, in the order of what they make.
pub const ARGUMENTS: &[Argument] = &[
    both("LXC_TTY_MAX", Form::Text, "`lxc.tty.max`, else 8"),
    both("LXC_PTY_MAX", Form::Text, "`lxc.pty.max`, else 1024"),
    both("PV_DEBUG_MODE", Form::Yes, "`lxc.log.file`"),
    builtin("PVR_LXC_CGROUP_DEVICES_WHITE", Form::List, "`lxc.cgroup.devices.allow`: these and no others", DEVICES),
    builtin("PVR_LXC_CGROUP_V1", Form::List, "`lxc.cgroup.…`, each `FILE = VALUE`", LIMITS),
    confined("PV_CONFINED_LIMITS", Form::List, "`lxc.cgroup2.…`, each `FILE = VALUE`", "limits are PVR_LXC_CGROUP_V1"),
    confined("PV_CONFINED_DEVICES", Form::List, "device nodes: `--device`", ALL),
    confined("PV_CONFINED_CAPS", Form::List, "capabilities: `--cap`", ALL),
    confined("PV_CONFINED_MOUNTS", Form::List, "files of the device: `--mount`", ALL),
    confined(
        "PV_CONFINED_TASKS",
        Form::Text,
        "`lxc.cgroup2.pids.max`: `--tasks`",
        "a container of this template has as many processes as the device can",
    ),
    confined(
        "PV_USERS",
        Form::Text,
        "`lxc.idmap`: `--users`",
        "the template shares the users of the device, as existing tools do",
    ),
    both("PV_LXC_EXTRA_ENV", Form::List, "`lxc.environment`, each `NAME=VALUE`: `--env`"),
    builtin(
        "PV_LXC_NAMESPACE_KEEP",
        Form::Text,
        "`lxc.namespace.keep`, as it stands",
        "what is shared is fixed; a network is --pool",
    ),
    both("PV_LXC_DISABLE_CONSOLE", Form::Yes, "`lxc.console.path = none`"),
    builtin("LXC_MOUNT_AUTO_PROC", Form::Text, "`lxc.mount.auto`, else `proc`", KERNEL),
    builtin("LXC_MOUNT_AUTO_SYS", Form::Text, "`lxc.mount.auto`, else `sys:rw`", KERNEL),
    builtin("LXC_MOUNT_AUTO_GROUP", Form::Text, "`lxc.mount.auto`, else `cgroup`", KERNEL),
    builtin("PV_DISABLE_AUTODEV", Form::Yes, "`lxc.autodev = 0`", "its device nodes are those of a /dev of its own"),
    both("PV_SECURITY_FULLDEV", Form::Yes, "all of `/dev`: `--grant full-dev`"),
    both("PV_SECURITY_WITH_HOST", Form::Yes, "all files at `/host`: `--grant host`"),
    both("PV_SECURITY_WITH_HOSTPROC", Form::Yes, "`/host/proc`: `--grant host-proc`"),
    both("PV_SECURITY_WITH_STORAGE", Form::Yes, "`/storage`: `--grant storage`"),
    both("PV_RESOLV_CONF_DISABLE", Form::Yes, "no `/etc/resolv.conf` of the device"),
    both("PV_RESOLV_CONF_PATH", Form::Text, "where that appears, else `etc/resolv.conf`"),
    both("PV_RUN_TMPFS_DISABLE", Form::Yes, "no `/run` in memory"),
    both("PV_RUN_TMPFS_PATH", Form::Text, "where that appears, else `run`"),
    both("PV_LXC_CAP_DROP", Form::List, "`lxc.cap.drop`; what `confined` keeps is less by these"),
    builtin("PV_LXC_CAP_KEEP", Form::List, "`lxc.cap.keep`", "capabilities are granted one by one: --cap"),
    builtin("PV_LXC_NETWORK_TYPE", Form::Text, "`lxc.net.0.type`: host, veth, phys, empty or none", POOL),
    builtin("PV_LXC_NETWORK_LINK", Form::Text, "`lxc.net.0.link` of `phys`", POOL),
    builtin("PV_LXC_NETWORK_IPV4_ADDRESS", Form::Text, "`lxc.net.0.ipv4.address` of `veth`", POOL),
    builtin("PV_LXC_NETWORK_IPV4_GATEWAY", Form::Text, "`lxc.net.0.ipv4.gateway` of `veth`, else `auto`", POOL),
    both("PV_LXC_EXTRA_CONF", Form::Text, "lines, as they stand"),
    both("PV_FILEIMPORTS", Form::Commas, "a file that another container exports, each `SOURCE:TARGET`"),
    both("PV_IMPORT_CONFIGVOLUMES", Form::Commas, "its directory in a volume of configuration, each `VOLUME:TARGET`"),
    both("PV_VOLUME_MOUNTS", Form::Commas, "an image of its own, mounted: each `FILE:TARGET`"),
    both("PV_VOLUME_IMPORTS", Form::List, "a volume of another container, each `CONTAINER:[PART@]PATH:TARGET[:ro]`"),
    both("PV_EXTRA_VOLUMES", Form::Commas, "`volumes`: further images"),
    both("PV_CONDITIONS", Form::Json, "`conditions`: `--after`"),
    both("PV_DRIVERS_MANUAL", Form::List, "`drivers.manual`"),
    both("PV_DRIVERS_REQUIRED", Form::List, "`drivers.required`"),
    both("PV_DRIVERS_OPTIONAL", Form::List, "`drivers.optional`"),
    both("PV_GROUP", Form::Text, "`group`: `--group`"),
    both("PV_RUNLEVEL", Form::Text, "`runlevel`, an older word for a group"),
    both("PV_RESTART_POLICY", Form::Text, "`restart_policy`: `--restart-policy`"),
    both("PV_STATUS_GOAL", Form::Text, "`status_goal`: `--status-goal`"),
    both(super::health::DISABLE, Form::Yes, "no `readiness` of the image's health check: `--no-healthcheck`"),
    both("PV_AUTOMODFW", Form::Text, "`automodfw`"),
    both("PV_REMOUNT", Form::Json, "`remount`"),
    both("PV_SERVICES_REQUIRED", Form::Json, "`services.required`"),
    both("PV_SERVICES_OPTIONAL", Form::Json, "`services.optional`"),
    both("PV_AUTO_RECOVERY", Form::Json, "`auto_recovery`"),
    both("PV_NETWORK_POOL", Form::Text, "`network.pool`: `--pool`"),
    both("PV_NETWORK_HOSTNAME", Form::Text, "`network.hostname`: `--hostname`"),
    both("PV_NETWORK_IP", Form::Text, "`network.ip`: `--ip`"),
    both("PV_NETWORK_MAC", Form::Text, "`network.mac`: `--mac`"),
    both("PV_NETWORK_PORTS", Form::List, "`ports`: `--publish`"),
    confined(
        "PV_NETWORK_BESIDE",
        Form::List,
        "`network.interfaces`: further pools, each `POOL[,ip=ADDRESS][,mac=ADDRESS]`",
        "existing tools know one pool: PV_NETWORK_POOL",
    ),
    confined("PV_NETWORK_NONE", Form::Yes, "`lxc.net.0.type = empty`: no network", "PV_LXC_NETWORK_TYPE says it"),
    both("PV_ROLES", Form::List, "`roles`"),
    both("pv_build_origin", Form::Json, "nothing: a remark of build systems"),
];

/// The arguments of a container, which were checked.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Arguments(Json);

impl Arguments {
    /// Checks `args`. What a person should hear about is added to the warnings.
    pub(super) fn read(args: Json, template: Template, warnings: &mut Vec<String>) -> Result<Self> {
        let Json::Object(members) = &args else {
            return Err(Error::user("`args` is no JSON object").hint("write {\"NAME\": VALUE, …}"));
        };
        for (name, value) in members {
            let Some(argument) = ARGUMENTS.iter().find(|argument| argument.name == name) else {
                unknown(name, template, warnings)?;
                continue;
            };
            if let Refused(why) = argument.used_by(template)
                && !is_nothing(value)
            {
                return Err(Error::user(format!("{name}: the template {} does not take it", template.as_str()))
                    .hint(format!("{why}; or `--template {}`", template.other().as_str())));
            }
            argument.check(value)?;
        }
        Ok(Self(args))
    }

    fn value(&self, name: &str) -> Option<&Json> {
        debug_assert!(ARGUMENTS.iter().any(|argument| argument.name == name), "{name} is not in the table");
        self.0.get(name).filter(|value| !is_nothing(value))
    }

    /// A text or a number.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.value(name).and_then(word)
    }

    /// Whether it is said.
    pub(super) fn yes(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Several texts.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Json::Array(list)) => list.iter().filter_map(word).collect(),
            Some(one) => word(one).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Several texts, which may stand in one with commas between.
    pub(super) fn commas(&self, name: &str) -> Vec<String> {
        let parts = |text: String| text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
        self.list(name).into_iter().flat_map(parts).filter(|part| !part.is_empty()).collect()
    }

    /// As it stands.
    pub(super) fn json(&self, name: &str) -> Option<&Json> {
        self.value(name)
    }
}

impl Argument {
    /// What a template does with it.
    #[must_use]
    pub fn used_by(&self, template: Template) -> Use {
        match template {
            Template::Confined => self.confined,
            Template::BuiltinLxcDocker => self.builtin,
        }
    }

    fn check(&self, value: &Json) -> Result<()> {
        if is_nothing(value) {
            return Ok(());
        }
        let wrong = |wanted: &str| {
            Err(Error::user(format!("the argument {} is {} and not {wanted}", self.name, value.compact()))
                .hint("--arg NAME=TEXT says a text, --arg-json NAME=JSON anything"))
        };
        match self.form {
            Form::Text if word(value).is_none() => wrong("a text"),
            Form::List | Form::Commas => match value {
                Json::Array(list) if list.iter().all(|one| word(one).is_some()) => Ok(()),
                one if word(one).is_some() => Ok(()),
                _ => wrong("a list of texts"),
            },
            Form::Yes => match word(value).as_deref() {
                Some("no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "0") => {
                    Err(Error::user(format!("the argument {} is {}", self.name, value.compact())).hint(
                        "existing tools take every word for yes, this one too: say yes, or leave the argument out",
                    ))
                }
                Some(_) => Ok(()),
                None if *value == Json::Bool(true) => Ok(()),
                None => wrong("yes"),
            },
            Form::Text | Form::Json => Ok(()),
        }
    }
}

fn unknown(name: &str, template: Template, warnings: &mut Vec<String>) -> Result<()> {
    match template {
        Template::Confined => {
            Err(Error::user(format!("the argument {name:?} is not known")).hint("docs/pvr.md lists them all"))
        }
        Template::BuiltinLxcDocker => {
            warnings.push(format!("the argument {name:?} is not known; it is kept, and means nothing here"));
            Ok(())
        }
    }
}

/// What says nothing: existing tools cannot tell it from an argument that is not there.
fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::String(text) => text.is_empty(),
        Json::Array(list) => list.is_empty(),
        Json::Object(members) => members.is_empty(),
        Json::Bool(true) | Json::Number(_) => false,
    }
}

fn word(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

/// The rows of the table in the documentation.
#[must_use]
pub fn table() -> String {
    let cell = |used: Use| match used {
        Taken => "yes".to_owned(),
        Refused(why) => format!("no: {why}"),
    };
    let mut text = String::from(
        "| argument | form | what it makes | `confined` | `builtin-lxc-docker` |\n|---|---|---|---|---|\n",
    );
    for Argument { name, form, makes, confined, builtin } in ARGUMENTS {
        let (confined, builtin) = (cell(*confined), cell(*builtin));
        text += &format!("| `{name}` | {} | {makes} | {confined} | {builtin} |\n", form.as_str());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::json::{self, Limits};

    #[test]
    fn the_documentation_has_the_table_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pvr.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, rest) = text.split_once("<!-- as in the code: arguments -->\n").unwrap();
        let (written, _) = rest.split_once("<!-- end -->").unwrap();
        assert!(written == table(), "put this between the marks of docs/pvr.md:\n{}", table());
    }

    #[test]
    fn an_argument_is_in_the_table_once_and_one_of_the_templates_takes_it() {
        for (at, one) in ARGUMENTS.iter().enumerate() {
            assert!(!ARGUMENTS[..at].iter().any(|other| other.name == one.name), "{}", one.name);
            assert!(one.confined == Taken || one.builtin == Taken, "{}", one.name);
        }
    }

    #[test]
    fn forms_are_read_as_existing_tools_read_them() {
        let args = json::parse(
            br#"{"PV_GROUP":7,"PV_DEBUG_MODE":"","PV_EXTRA_VOLUMES":"a, b,","PV_LXC_EXTRA_ENV":"A=1","PV_CONDITIONS":{},"PV_SECURITY_WITH_HOST":true}"#,
            Limits::DOCUMENT,
        );
        let args = Arguments::read(args.unwrap().to_json(), Template::Confined, &mut Vec::new()).unwrap();
        assert_eq!(args.text("PV_GROUP").as_deref(), Some("7"));
        assert!(!args.yes("PV_DEBUG_MODE") && args.yes("PV_SECURITY_WITH_HOST"));
        assert_eq!(args.commas("PV_EXTRA_VOLUMES"), ["a", "b"]);
        assert_eq!((args.list("PV_LXC_EXTRA_ENV"), args.json("PV_CONDITIONS")), (vec!["A=1".to_owned()], None));
    }
}
