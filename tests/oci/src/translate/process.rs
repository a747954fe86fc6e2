//! `process`, the names of the host, and hooks.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use formats::lxc::{Command, Item};
use serde_json::Value;

use super::Translated;
use crate::document::Document;
use crate::spec::{Capabilities, Hook, Rlimit, User};

/// What every container has.
const UMASK: u32 = 0o022;

pub(super) fn translate(document: &mut Document, all: &mut Translated) -> Result<()> {
    let terminal = document.take::<bool>("/process/terminal")?.unwrap_or_default();
    ensure!(!terminal, "/process/terminal: no key of LXC gives the first process one; its console is its log");
    // Without a terminal it says nothing, and is to be ignored.
    document.take::<Value>("/process/consoleSize")?;
    let args: Vec<String> = document.take("/process/args")?.unwrap_or_default();
    ensure!(!args.is_empty(), "/process/args: a container has a program");
    all.item(&Item::InitCmd(command(args, "/process/args")?));
    if let Some(cwd) = document.take::<String>("/process/cwd")? {
        all.say("lxc.init.cwd", cwd);
    }
    for pair in document.take::<Vec<String>>("/process/env")?.unwrap_or_default() {
        let (name, value) =
            pair.split_once('=').with_context(|| format!("/process/env: {pair:?} is not NAME=VALUE"))?;
        all.item(&Item::Environment { name: name.to_owned(), value: value.to_owned() });
    }
    let user: User = document.take("/process/user")?.context("/process/user: a process has one")?;
    ensure!(user.umask.is_none_or(|umask| umask == UMASK), "/process/user/umask: no key of LXC says this");
    all.say("lxc.init.uid", user.uid);
    all.say("lxc.init.gid", user.gid);
    if !user.additional_gids.is_empty() {
        let groups: Vec<_> = user.additional_gids.iter().map(u32::to_string).collect();
        all.say("lxc.init.groups", groups.join(","));
    }
    capabilities(document.take("/process/capabilities")?.unwrap_or_default(), user.uid, all)?;
    limits(&document.take::<Vec<Rlimit>>("/process/rlimits")?.unwrap_or_default(), all)?;
    if document.take::<bool>("/process/noNewPrivileges")? == Some(true) {
        all.say("lxc.no_new_privs", 1);
    }
    if let Some(score) = document.take::<i32>("/process/oomScoreAdj")? {
        all.say("lxc.proc.oom_score_adj", score);
    }
    for (member, key) in [("apparmorProfile", "lxc.apparmor.profile"), ("selinuxLabel", "lxc.selinux.context")] {
        if let Some(profile) = document.take::<String>(&format!("/process/{member}"))? {
            all.say(key, profile);
        }
    }
    if let Some(name) = document.take::<String>("/hostname")? {
        all.say("lxc.uts.name", name);
    }
    if let Some(name) = document.take::<String>("/domainname")? {
        all.say("lxc.sysctl.kernel.domainname", name);
    }
    hooks(document, all)
}

fn command(words: Vec<String>, place: &str) -> Result<Command> {
    Command::new(words).with_context(|| format!("{place}: words that no line of a configuration can hold"))
}

/// A configuration has one list: what any program in the container can have. Root has all of it, and another user either
/// all or nothing.
fn capabilities(sets: Capabilities, uid: u32, all: &mut Translated) -> Result<()> {
    let set = |set: &[String]| -> BTreeSet<String> {
        set.iter().map(|one| one.trim_start_matches("CAP_").to_ascii_lowercase()).collect()
    };
    let (bounding, inheritable, ambient) = (set(&sets.bounding), set(&sets.inheritable), set(&sets.ambient));
    let (effective, permitted) = (set(&sets.effective), set(&sets.permitted));
    let why = "/process/capabilities: no key of LXC says sets that differ";
    ensure!(inheritable == ambient, why);
    let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
    if uid == 0 {
        ensure!(effective == bounding && permitted == bounding && ambient.is_empty(), why);
    } else if ambient.is_empty() {
        // What is dropped, so that nothing is handed on.
        let others = formats::lxc::Capability::WORDS.iter().filter(|word| !bounding.contains(**word));
        let others: Vec<&str> = others.copied().collect();
        ensure!(!others.is_empty(), why);
        all.say("lxc.cap.drop", others.join(" "));
        return Ok(());
    } else {
        ensure!(ambient == bounding && effective == bounding && permitted == bounding, why);
    }
    all.say("lxc.cap.keep", if bounding.is_empty() { "none".to_owned() } else { list(&bounding) });
    Ok(())
}

fn limits(limits: &[Rlimit], all: &mut Translated) -> Result<()> {
    let mut seen = BTreeSet::new();
    for limit in limits {
        let name = limit.kind.trim_start_matches("RLIMIT_").to_ascii_lowercase();
        let shown = |value: u64| if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
        all.say(&format!("lxc.prlimit.{name}"), format!("{}:{}", shown(limit.soft), shown(limit.hard)));
        ensure!(seen.insert(name), "/process/rlimits: {} is there twice", limit.kind);
    }
    Ok(())
}

fn hooks(document: &mut Document, all: &mut Translated) -> Result<()> {
    for (member, key) in [
        ("prestart", "lxc.hook.pre-start"),
        ("createRuntime", "lxc.hook.pre-start"),
        ("createContainer", "lxc.hook.pre-mount"),
        ("poststart", "lxc.hook.start-host"),
        ("poststop", "lxc.hook.post-stop"),
    ] {
        for hook in document.take::<Vec<Hook>>(&format!("/hooks/{member}"))?.unwrap_or_default() {
            all.say(key, hook.path.display());
        }
    }
    for hook in document.take::<Vec<Hook>>("/hooks/startContainer")?.unwrap_or_default() {
        let program = hook.path.to_str().context("/hooks/startContainer: a path that is no text")?.to_owned();
        let named = hook.args.first().is_none_or(|first| *first == program);
        if !named || hook.timeout.is_some() || !hook.env.is_empty() {
            bail!("/hooks/startContainer: no key of LXC gives a hook a name, a time or variables of its own");
        }
        let words = if hook.args.is_empty() { vec![program] } else { hook.args };
        all.item(&Item::HookStart(command(words, "/hooks/startContainer")?));
    }
    Ok(())
}
