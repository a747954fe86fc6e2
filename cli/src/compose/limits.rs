//! What a service may take of the device, and what of it is granted: resources, devices, capabilities.

use formats::lxc::Capability;

use super::at::At;
use super::plan::Container;
use super::report::Level;
use super::units::{bytes, thousandths};
use super::world::{Service, World};
use crate::app::{Device, KEPT, Tasks, Wide};

/// Microseconds that a share of the processors is counted in.
const PERIOD: u64 = 100_000;

pub(crate) fn limits(service: &Service<'_>, world: &mut World<'_>, container: &mut Container) {
    let deploy = service.get("deploy");
    let resources = deploy.as_ref().and_then(|deploy| deploy.get("resources"));
    let limits = resources.as_ref().and_then(|resources| resources.get("limits"));
    let kept = resources.as_ref().and_then(|resources| resources.get("reservations"));
    if let Some(resources) = &resources {
        resources.only(&["limits", "reservations"], &mut world.report);
    }
    if let Some(limits) = &limits {
        limits.only(&["cpus", "memory", "pids"], &mut world.report);
    }
    if let Some(kept) = &kept {
        kept.only(&["cpus", "memory", "devices", "generic_resources"], &mut world.report);
        let none = "a device gives no share of its processors away for good; `cpu_shares` weighs them";
        kept.report_keys(Level::NotMapped, &[("cpus", none)], &mut world.report);
        let error =
            [("devices", "name its nodes with `devices` of the service"), ("generic_resources", "there are none")];
        kept.report_keys(Level::Error, &error, &mut world.report);
    }
    memory(service, limits.as_ref(), kept.as_ref(), world, container);
    let own = service.get("cpus");
    if let Some(at) = below(limits.as_ref(), "cpus").or(own) {
        match at.node.text().and_then(thousandths) {
            Some(0) => {}
            Some(share) => {
                world.line(container, &at, format!("lxc.cgroup2.cpu.max = {} {PERIOD}", share * PERIOD / 1000))
            }
            None => at.wrong(&mut world.report, "a number of processors, like 0.5"),
        }
    }
    let period = service.get("cpu_period").and_then(|at| at.number(&mut world.report));
    if let Some(at) = service.get("cpu_quota")
        && let Some(quota) = at.number(&mut world.report).filter(|quota| *quota > 0)
    {
        let period = period.map_or_else(|| PERIOD.to_string(), |period| period.to_string());
        world.line(container, &at, format!("lxc.cgroup2.cpu.max = {quota} {period}"));
    }
    if let Some(at) = service.get("cpu_shares")
        && let Some(shares) = at.number(&mut world.report).filter(|shares| *shares > 0)
    {
        // As runc: 2 to 262144 shares become a weight of 1 to 10000.
        let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
        world.line(container, &at, format!("lxc.cgroup2.cpu.weight = {weight}"));
    }
    if let Some(at) = service.get("cpuset")
        && let Some(text) = at.text(&mut world.report)
    {
        world.line(container, &at, format!("lxc.cgroup2.cpuset.cpus = {text}"));
    }
    if let Some(at) = service.get("oom_score_adj")
        && let Some(score) = at.number(&mut world.report)
    {
        world.line(container, &at, format!("lxc.proc.oom_score_adj = {score}"));
    }
    let pids = limits.as_ref().and_then(|limits| limits.get("pids"));
    if let Some(at) = service.get("pids_limit").or(pids)
        && let Some(count) = at.number(&mut world.report)
    {
        container.tasks = match u32::try_from(count) {
            Ok(0) | Err(_) => Some(Tasks::All),
            Ok(count) => Some(Tasks::AtMost(count)),
        };
    }
    if let Some(at) = service.get("ulimits") {
        ulimits(&at, world, container);
    }
    if let Some(at) = service.get("sysctls") {
        for (name, value, at) in at.pairs(&mut world.report) {
            world.line(container, &at, format!("lxc.sysctl.{name} = {}", value.unwrap_or_default()));
        }
    }
    if let Some(at) = service.get("group_add") {
        let items = at.items(&mut world.report);
        let numbers: Vec<_> = items.iter().filter_map(|item| item.number(&mut world.report)).collect();
        if !numbers.is_empty() && numbers.len() == items.len() {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            world.line(container, &at, format!("lxc.init.groups = {}", numbers.join(",")));
        }
    }
}

fn below<'a>(at: Option<&At<'a>>, key: &str) -> Option<At<'a>> {
    at?.get(key).filter(|at| !at.is_null())
}

fn memory(
    service: &Service<'_>,
    limits: Option<&At<'_>>,
    kept: Option<&At<'_>>,
    world: &mut World<'_>,
    container: &mut Container,
) {
    let size = |at: &At<'_>, world: &mut World<'_>| {
        let size = at.node.text().and_then(bytes);
        if size.is_none() {
            at.wrong(&mut world.report, "a size like 512m");
        }
        size.filter(|size| *size > 0)
    };
    let mut all = None;
    for (key, part, file) in [("mem_limit", limits, "memory.max"), ("mem_reservation", kept, "memory.low")] {
        let own = service.get(key);
        let Some(at) = below(part, "memory").or(own) else { continue };
        let Some(size) = size(&at, world) else { continue };
        if key == "mem_limit" {
            all = Some(size);
        }
        world.line(container, &at, format!("lxc.cgroup2.{file} = {size}"));
    }
    let Some(at) = service.get("memswap_limit") else { return };
    let Some(size) = (if at.node.text() == Some("-1") { None } else { size(&at, world) }) else { return };
    match all {
        Some(memory) if memory <= size => {
            world.line(container, &at, format!("lxc.cgroup2.memory.swap.max = {}", size - memory));
        }
        _ => at.wrong(&mut world.report, "it is memory and swap together: it needs a `mem_limit` that is not more"),
    }
}

fn ulimits(at: &At<'_>, world: &mut World<'_>, container: &mut Container) {
    for (name, at) in at.entries(&mut world.report) {
        let word = |text: &str| if text == "-1" { "unlimited".to_owned() } else { text.to_owned() };
        let value = match at.node.text() {
            Some(text) => Some(word(text)),
            None => {
                at.only(&["soft", "hard"], &mut world.report);
                let soft = at.text_of("soft", &mut world.report).map(word);
                let hard = at.text_of("hard", &mut world.report).map(word);
                soft.zip(hard).map(|(soft, hard)| format!("{soft}:{hard}"))
            }
        };
        match value {
            Some(value) => world.line(container, &at, format!("lxc.prlimit.{name} = {value}")),
            None => at.wrong(&mut world.report, "write a number, or `soft` and `hard`"),
        }
    }
}

pub(crate) fn rights(service: &Service<'_>, world: &mut World<'_>, container: &mut Container) {
    if let Some(at) = service.get("privileged")
        && at.flag(&mut world.report) == Some(true)
    {
        let what = "every capability and all of /dev: what it needs of them can be named with `cap_add` and `devices`";
        if world.right(service.name, "privileged", &at, what) {
            container.grants.wide.push(Wide::FullDev);
            container.grants.capabilities = all();
        }
    }
    let dropped = service.get("cap_drop").map(|at| capabilities(&at, world)).unwrap_or_default();
    let mut dropped: Vec<_> = dropped.into_iter().flat_map(|(_, list)| list).collect();
    // The others it has only if they are granted.
    dropped.retain(|one| KEPT.contains(one) || *one == Capability::SysBoot);
    let host = service.get("network_mode").is_some_and(|mode| mode.node.text() == Some("host"));
    let added = service.get("cap_add").map(|at| capabilities(&at, world)).unwrap_or_default();
    for (item, list) in added {
        let usual = |one: &Capability| KEPT.contains(one) && !(host && *one == Capability::NetRaw);
        let (usual, beyond): (Vec<_>, Vec<_>) = list.into_iter().partition(usual);
        // Dropped with all others, and then wanted.
        dropped.retain(|one| !usual.contains(one));
        let names: Vec<String> = beyond.iter().map(ToString::to_string).collect();
        let what = format!("the capability {}", names.join(", "));
        if !beyond.is_empty() && world.right(service.name, "caps", &item, &what) {
            dropped.retain(|one| !beyond.contains(one));
            container.grants.capabilities.extend(beyond);
        }
    }
    container.dropped = dropped;
    if let Some(at) = service.get("devices") {
        for item in at.items(&mut world.report) {
            device(service, &item, world, container);
        }
    }
    if let Some(at) = service.get("security_opt") {
        for item in at.items(&mut world.report) {
            let Some(text) = item.text(&mut world.report) else { continue };
            match text.replace('=', ":").as_str() {
                "no-new-privileges" | "no-new-privileges:true" => {
                    item.say(&mut world.report, Level::Idle, "no program in a container gains rights in any case");
                }
                "no-new-privileges:false" => {
                    item.say(&mut world.report, Level::NotMapped, "no program in a container gains rights (sudo, su)");
                }
                other if other.starts_with("apparmor") || other.starts_with("label") => {
                    item.say(
                        &mut world.report,
                        Level::Idle,
                        "devices have neither AppArmor nor SELinux for containers",
                    );
                }
                other if other.starts_with("seccomp") => {
                    let why = "the filter of system calls is that of the template: grant what it needs with `cap_add`, or \
                               compile one with `pvr app seccomp` after the import";
                    item.wrong(&mut world.report, why);
                }
                _ => item.wrong(&mut world.report, "is no option that is known"),
            }
        }
    }
    for (key, fine, why) in [
        ("pid", &[][..], "a container sees its own processes and nobody else's"),
        (
            "ipc",
            &["private", "shareable", "none"][..],
            "queues and shared memory are a container's own; share a volume or a port",
        ),
        ("uts", &[][..], "the host name is a container's own"),
    ] {
        if let Some(at) = service.get(key)
            && let Some(text) = at.text(&mut world.report)
        {
            if fine.contains(&text) {
                at.say(&mut world.report, Level::Idle, why);
            } else {
                at.wrong(&mut world.report, why);
            }
        }
    }
}

fn all() -> Vec<Capability> {
    Capability::WORDS.iter().filter_map(|word| Capability::parse(word)).collect()
}

fn capabilities<'a>(at: &At<'a>, world: &mut World<'_>) -> Vec<(At<'a>, Vec<Capability>)> {
    let mut found = Vec::new();
    for item in at.items(&mut world.report) {
        let Some(text) = item.text(&mut world.report) else { continue };
        let word = text.to_ascii_lowercase();
        let word = word.strip_prefix("cap_").unwrap_or(&word);
        match (word, Capability::parse(word)) {
            ("all", _) => found.push((item, all())),
            (_, Some(one)) => found.push((item, vec![one])),
            (_, None) => item.wrong(&mut world.report, format!("{text:?} is no capability like NET_ADMIN")),
        }
    }
    found
}

fn device(service: &Service<'_>, item: &At<'_>, world: &mut World<'_>, container: &mut Container) {
    let (source, target, access) = match item.node.text() {
        Some(text) => {
            let mut parts = text.split(':');
            let source = parts.next().unwrap_or_default();
            let target = parts.next().unwrap_or(source);
            (source.to_owned(), target.to_owned(), parts.next().unwrap_or("rwm").to_owned())
        }
        None => {
            item.only(&["source", "target", "permissions"], &mut world.report);
            let Some(source) = item.text_of("source", &mut world.report) else {
                return item.wrong(&mut world.report, "`source` is missing");
            };
            let target = item.text_of("target", &mut world.report).unwrap_or(source);
            let access = item.text_of("permissions", &mut world.report).unwrap_or("rwm");
            (source.to_owned(), target.to_owned(), access.to_owned())
        }
    };
    if !source.starts_with('/') {
        return item.wrong(&mut world.report, "devices by a name of CDI are not known here: name the node");
    }
    if source != target {
        return item.wrong(&mut world.report, "a node has the same name in the container and on the device here");
    }
    let device = match Device::parse(&source) {
        Ok(device) => device,
        Err(error) => {
            let why = format!(
                "{error}; grant it after the import: `pvr app add --force` with `--device '{source}=c MAJOR:MINOR rw'`"
            );
            return item.wrong(&mut world.report, why);
        }
    };
    if !access.contains('w') {
        item.say(&mut world.report, Level::Differs, "the node can be written, too");
    }
    if world.right(service.name, "devices", item, &format!("the device node {source}")) {
        container.grants.devices.push(device);
    }
}
