//! What keeps a container in, and how each is taken away: a line of the configuration that `pvr app add` writes, or what
//! the engine does without being asked.

use container::launch::Source;
use formats::lxc::Capability;
use init::assembly::Program;

/// One thing that stands in the way of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Guard {
    /// The filter of system calls.
    Filter,
    /// It lacks these capabilities, in the words of configurations.
    Lacks(&'static str),
    /// It has a namespace of its own of this kind.
    Own(&'static str),
    /// `/proc` is masked and read-only in parts.
    Proc,
    /// `/sys` is read-only, and masked in parts.
    Sys,
    /// No program gains rights.
    NoNewPrivs,
    /// A line that this attempt's configuration has.
    Line(&'static str),
    /// Rules say which devices work.
    Rules,
    /// Its cgroups are there to be read.
    CgroupsToRead,
    /// A line that no configuration has unless somebody signs for it.
    Unsigned(&'static str),
    /// Nodes of devices do not work but in `/dev`. No line takes it away.
    NoNodes,
    /// A link in a volume ends in that volume. No line takes it away.
    Beneath,
    /// Its limits lie in a group above the one that it sees. No line takes it away.
    LimitsAbove,
    /// The stage: it moves the device's root away and closes what it inherits. A mere chroot does neither.
    Stage,
}

/// A configuration under change.
#[derive(Clone, Debug)]
pub(crate) struct Config(Vec<String>);

impl Guard {
    /// As a table has it.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Filter => "lxc.seccomp.profile".into(),
            Self::Lacks(list) => format!("lxc.cap.keep without {list}"),
            Self::Own(kind) => format!("{kind} namespace"),
            Self::Proc => "proc:mixed".into(),
            Self::Sys => "sys:ro".into(),
            Self::NoNewPrivs => "lxc.no_new_privs".into(),
            Self::Line(line) => line.into(),
            Self::Rules => "lxc.cgroup.devices".into(),
            Self::CgroupsToRead => "cgroup:ro".into(),
            Self::Unsigned(line) => format!("no line: {line}"),
            Self::NoNodes => "engine: nodev".into(),
            Self::Beneath => "engine: links end in their volume".into(),
            Self::LimitsAbove => "engine: limits above its group".into(),
            Self::Stage => "engine: stage".into(),
        }
    }

    /// Takes it out of a configuration. What no line says is left for [`open`](Self::open).
    pub(crate) fn remove(self, config: &mut Config, fill: impl Fn(&str) -> String) -> Result<(), String> {
        match self {
            Self::Filter => config.drop("lxc.seccomp.profile"),
            Self::Lacks(list) => config.append("lxc.cap.keep", list),
            Self::Own(kind) => config.append("lxc.namespace.keep", kind),
            Self::Proc => config.replace("proc:mixed", "proc:rw"),
            Self::Sys => config.replace("sys:ro", "sys:rw"),
            Self::NoNewPrivs => config.drop("lxc.no_new_privs"),
            Self::Line(line) => {
                // What says that a line may be passed over says nothing without it.
                config.0.retain(|other| !(other.starts_with("cairn.optional") && other.contains(line)));
                config.drop(line)
            }
            Self::Rules => config.drop_all("lxc.cgroup.devices"),
            Self::CgroupsToRead => config.replace("cgroup:ro", "cgroup:rw"),
            Self::Unsigned(line) => {
                config.add(&fill(line));
                Ok(())
            }
            Self::NoNodes | Self::Beneath | Self::LimitsAbove | Self::Stage => Ok(()),
        }
    }

    /// Takes out what the engine would do by itself.
    pub(crate) fn open(self, program: &mut Program) {
        match self {
            Self::NoNodes => program.launch.root.devices = true,
            Self::LimitsAbove => program.divides = false,
            Self::Beneath => {
                for mount in &mut program.launch.mounts {
                    if let Source::Within { dir, path, recursive, create } = &mount.source
                        && !path.is_empty()
                    {
                        let path = format!("{dir}/{path}");
                        mount.source = Source::Device { path, recursive: *recursive, create: *create };
                    }
                }
            }
            _ => {}
        }
    }

    /// Capabilities that are granted when it is removed.
    pub(crate) fn grants(self) -> u64 {
        let Self::Lacks(list) = self else { return 0 };
        list.split(' ').filter_map(Capability::parse).fold(0, |all, one| all | 1 << one.number())
    }
}

impl Config {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.lines().map(str::to_owned).collect())
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|line| format!("{line}\n")).collect()
    }

    pub(crate) fn add(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }

    fn find(&mut self, what: &str) -> Result<&mut String, String> {
        let missing = || format!("no line of the configuration has {what:?}: has the template changed?");
        self.0.iter_mut().find(|line| line.contains(what)).ok_or_else(missing)
    }

    /// Removes the line with these words.
    pub(crate) fn drop(&mut self, what: &str) -> Result<(), String> {
        let line = self.find(what)?.clone();
        self.0.retain(|other| *other != line);
        Ok(())
    }

    /// Removes every line with these words.
    fn drop_all(&mut self, what: &str) -> Result<(), String> {
        self.find(what)?;
        self.0.retain(|line| !line.contains(what));
        Ok(())
    }

    fn append(&mut self, key: &str, words: &str) -> Result<(), String> {
        let line = self.find(key)?;
        *line = if line.ends_with("= none") { line.replace("none", words) } else { format!("{line} {words}") };
        Ok(())
    }

    pub(crate) fn replace(&mut self, from: &str, to: &str) -> Result<(), String> {
        let line = self.find(from)?;
        *line = line.replace(from, to);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_the_template_does_not_have_cannot_be_removed() {
        let mut config = Config::new("lxc.namespace.keep = user net\nlxc.cap.keep = none\n");
        assert!(Guard::Filter.remove(&mut config, str::to_owned).is_err());
        Guard::Lacks("mknod").remove(&mut config, str::to_owned).unwrap();
        Guard::Own("pid").remove(&mut config, str::to_owned).unwrap();
        assert_eq!(config.text(), "lxc.namespace.keep = user net pid\nlxc.cap.keep = mknod\n");
        assert_eq!(Guard::Lacks("chown mknod").grants(), 1 | 1 << 27);
    }
}
