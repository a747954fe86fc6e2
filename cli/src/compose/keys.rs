//! Every key of the Compose Specification, and what becomes of it here: the table of docs/compose.md.

use super::report::Level;

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It becomes this.
    Mapped(&'static str),
    /// It is reported, at this level, with this reason.
    Reported(Level, &'static str),
}

/// A key and its fate.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// Its fate.
    pub fate: Fate,
}

const fn mapped(name: &'static str, to: &'static str) -> Key {
    Key { name, fate: Fate::Mapped(to) }
}

const fn idle(name: &'static str, why: &'static str) -> Key {
    Key { name, fate: Fate::Reported(Level::Idle, why) }
}

const fn lost(name: &'static str, why: &'static str) -> Key {
    Key { name, fate: Fate::Reported(Level::NotMapped, why) }
}

const fn refused(name: &'static str, why: &'static str) -> Key {
    Key { name, fate: Fate::Reported(Level::Error, why) }
}

const LIMITS: &str = "the kernel has no such limit with cgroups v2; remove it";
const WINDOWS: &str = "it is for Windows; remove it";

/// The keys of a file.
pub const TOP: &[Key] = &[
    mapped("configs", "files in `_config/NAME` of the services that use them"),
    mapped("include", "read, with its own `.env` and paths"),
    refused("models", "nothing here runs models; make a service of it"),
    mapped(
        "name",
        "the name of the pool of the default network, and what the containers remember of where they are from",
    ),
    mapped(
        "networks",
        "pools of `device.json`, bridges with `nat`; those that are there already are taken as they are",
    ),
    mapped(
        "secrets",
        "files in `_config/NAME` of the services that use them; told, because they are signed and sent in plain text",
    ),
    mapped("services", "a container each"),
    idle("version", "Compose does not read it either"),
    mapped("volumes", "permanent storage of the container that uses it first; others mount it from there"),
];

/// The keys of a service.
pub const SERVICE: &[Key] = &[
    idle("annotations", "nothing reads them on a device"),
    idle("attach", "every container has its own log"),
    lost("blkio_config", "disks differ from device to device; add lxc.cgroup2.io.* lines for one"),
    mapped("build", "nothing: the image is fetched; without `image` it is an error, because nothing is built here"),
    mapped("cap_add", "`--cap`, what is beyond the confined template with `--allow caps`"),
    mapped("cap_drop", "fewer lines of `lxc.cap.keep`"),
    idle("cgroup", "every container has a group of its own"),
    idle("cgroup_parent", "every container has a group of its own"),
    mapped("command", "CMD, over the image's"),
    mapped("configs", "files in `_config/NAME`"),
    mapped("container_name", "a further name in `/etc/hosts` of others; the container is called as its service"),
    refused("cpu_count", WINDOWS),
    refused("cpu_percent", WINDOWS),
    mapped("cpu_period", "with `cpu_quota`: `lxc.cgroup2.cpu.max`"),
    mapped("cpu_quota", "`lxc.cgroup2.cpu.max`"),
    lost("cpu_rt_period", LIMITS),
    lost("cpu_rt_runtime", LIMITS),
    mapped("cpu_shares", "`lxc.cgroup2.cpu.weight`, from 2 … 262144 to 1 … 10000"),
    mapped("cpus", "`lxc.cgroup2.cpu.max`"),
    mapped("cpuset", "`lxc.cgroup2.cpuset.cpus`"),
    refused("credential_spec", WINDOWS),
    mapped("depends_on", "`--after`; `service_healthy` needs a health check there, of the file or of the image"),
    mapped(
        "deploy",
        "`resources` and `restart_policy` as the keys of the service; `replicas` 0 leaves the service out",
    ),
    idle("develop", "it is for building"),
    lost("device_cgroup_rules", "a rule without a node; name nodes with `devices`"),
    mapped("devices", "`--device`, with `--allow devices`"),
    lost("dns", "a container has the resolver of the device; lay a `resolv.conf` over it with `configs`"),
    lost("dns_opt", "as `dns`"),
    lost("dns_search", "as `dns`"),
    lost("domainname", "a container has a host name only; write it into `hostname`"),
    lost("driver_opts", "pools have no drivers"),
    mapped("entrypoint", "ENTRYPOINT, over the image's, whose CMD is dropped then"),
    mapped("env_file", "read now, as variables of the container"),
    mapped("environment", "variables of the container, over the image's; those of a secret are told"),
    idle("expose", "containers of a pool reach every port of each other"),
    mapped("extends", "read: a service laid over another"),
    refused("external_links", "a link to what is not in the file; name the container as it is called on the device"),
    lost("extra_hosts", "/etc/hosts is made from the pools; use addresses, or give them by a variable"),
    refused("gpus", "name its nodes with `devices`"),
    mapped("group_add", "`lxc.init.groups`, by number"),
    mapped(
        "healthcheck",
        "the image's health check: `readiness` of run.json and the goal READY; it is asked until the container is ready",
    ),
    mapped("hostname", "its host name, by which others of the pool find it too"),
    mapped("image", "`--from`"),
    lost("init", "nothing is put before the program; use an image whose program waits for its children"),
    mapped("ipc", "`private` and `shareable` change nothing; anything else is an error: queues and memory are its own"),
    idle("isolation", WINDOWS),
    idle("label_file", "nothing reads labels on a device"),
    idle("labels", "nothing reads them on a device"),
    mapped("links", "`--after`, and the further name of the other"),
    idle("logging", "every container has a log on the device, whose size the device bounds"),
    mapped("mac_address", "`--mac`"),
    mapped("mem_limit", "`lxc.cgroup2.memory.max`"),
    mapped("mem_reservation", "`lxc.cgroup2.memory.low`"),
    lost("mem_swappiness", LIMITS),
    mapped("memswap_limit", "`lxc.cgroup2.memory.swap.max`: what is left of it beyond `mem_limit`"),
    refused("models", "nothing here runs models; make a service of it"),
    mapped("network_mode", "`host` with `--allow network`; `none`; `bridge` is the default network"),
    mapped("networks", "`--pool`, `--ip`, `--mac`; several as `interfaces` of run.json; one alias as further name"),
    lost("oom_kill_disable", LIMITS),
    mapped("oom_score_adj", "`lxc.proc.oom_score_adj`"),
    mapped("pid", "an error but for its own: processes of the device and of others are not seen"),
    mapped("pids_limit", "`--tasks`"),
    mapped("platform", "`--platform` for this image, unless the command line says one"),
    mapped("ports", "`--publish`; a port without a device's is an error"),
    refused("post_start", "let the program, or its ENTRYPOINT, do it"),
    refused("pre_stop", "let the program do it when its stop signal comes"),
    mapped("privileged", "`--allow privileged`: every capability, and all of `/dev`"),
    mapped("profiles", "the service is left out unless one of them is named with `--profile`"),
    refused("provider", "nothing runs programs of this machine; make a service of it"),
    idle("pull_policy", "an image is looked up when it is imported, and only then"),
    lost("read_only", "the root stays writable; what is written there is gone with the next boot"),
    mapped("restart", "`auto_recovery`, with one second before the first restart, then twice as long, as Docker does"),
    idle("runtime", "there is one"),
    mapped("scale", "0 leaves the service out; more than 1 is an error: copy the service under other names"),
    mapped("secrets", "files, seen at `/run/secrets/NAME`"),
    mapped("security_opt", "`no-new-privileges` is always so; an own or no filter of system calls is an error"),
    lost("shm_size", "/dev/shm is as large as the kernel makes it: half of the memory"),
    lost("stdin_open", "there is no input but that of `pvcontrol exec`"),
    lost("stop_grace_period", "the time to end is a setting of the device"),
    mapped("stop_signal", "STOPSIGNAL, over the image's"),
    lost("storage_opt", "the root has no size of its own"),
    mapped("sysctls", "`lxc.sysctl.*`"),
    mapped("tmpfs", "a `tmpfs` mount, 64 MiB unless a size is said"),
    idle("tty", "output goes to the log; `pvcontrol exec` gives a terminal"),
    mapped("ulimits", "`lxc.prlimit.*`"),
    refused("use_api_socket", "there is no Docker on a device"),
    mapped("user", "USER, over the image's"),
    lost("userns_mode", "make it with `--users own`"),
    mapped("uts", "an error if `host`: the host name is its own"),
    mapped(
        "volumes",
        "named: storage. Files of the project: `_config/NAME`. Paths of the device: `--mount`, with `--allow mounts`",
    ),
    refused("volumes_from", "name the volumes in both services"),
    mapped("working_dir", "WORKDIR, over the image's"),
];

/// The row of a key.
#[must_use]
pub fn find(keys: &[Key], name: &str) -> Option<Key> {
    keys.iter().find(|key| key.name == name).copied()
}

/// The tables as they stand in docs/compose.md.
#[must_use]
pub fn tables() -> String {
    let mut text = String::new();
    for (title, keys) in [("Key of the file", TOP), ("Key of a service", SERVICE)] {
        text.push_str(&format!("\n| {title} | | |\n|---|---|---|\n"));
        for Key { name, fate } in keys {
            let (word, why) = match fate {
                Fate::Mapped(to) => ("becomes", *to),
                Fate::Reported(level, why) => (level.words(), *why),
            };
            text.push_str(&format!("| `{name}` | {word} | {why} |\n"));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_once_and_in_order() {
        for keys in [TOP, SERVICE] {
            let names: Vec<_> = keys.iter().map(|key| key.name).collect();
            assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        }
        assert!(tables().lines().filter(|line| line.starts_with("| `")).all(|line| line.matches('|').count() == 4));
    }

    #[test]
    fn the_document_has_the_tables_of_the_code() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compose.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let begin = "<!-- from the code: cli/src/compose/keys.rs -->\n";
        let (before, rest) = text.split_once(begin).unwrap();
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        let wanted = format!("{before}{begin}{}<!-- end -->{after}", tables());
        // As the snapshots of other tests are brought up to date.
        if std::env::var_os("SNAPSHOTS").is_some_and(|word| word == "overwrite") {
            std::fs::write(&path, &wanted).unwrap();
        }
        assert!(
            text == wanted,
            "docs/compose.md: `SNAPSHOTS=overwrite cargo test -p cairn-cli document_has` writes it"
        );
    }
}
