//! Assemblies of whole states, with the configurations that tools write.

use std::collections::BTreeMap;

use container::cgroup::Limit;
use container::launch::{CgroupMode, Namespaces, Output, ProcMode, Resource, Rlimit, Source, SysMode};
use statemachine::container::RestartPolicy;
use statemachine::transition::{self, Decision, decide};

use super::*;

mod drivers;
mod exports;
mod filters;
mod hooks;
mod networks;
mod nodes;
mod remounts;
mod services;
mod users;
mod wires;

const ID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a template writes for the container NAME with an image that says nothing.
fn template(name: &str) -> String {
    format!(
        "lxc.tty.max = 8\n\
         lxc.pty.max = 1024\n\
         lxc.cgroup.devices.allow = a\n\
         lxc.rootfs.path = overlayfs:/volumes/{name}/root.squashfs:/volumes/{name}/lxc-overlay/upper\n\
         lxc.init.cmd = /sbin/init\n\
         lxc.namespace.keep = user  net  ipc\n\
         lxc.mount.auto = proc  sys:rw  cgroup\n\
         lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,rw,create=file 0 0\n\
         lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0\n"
    )
}

/// A state under construction.
struct State {
    entries: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

impl State {
    fn new() -> Self {
        let spec = ("#spec".to_owned(), "\"pantavisor-service-system@1\"".to_owned());
        Self { entries: BTreeMap::from([spec]), files: BTreeMap::new() }
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.entries.insert(key.to_owned(), value.to_owned());
        self
    }

    fn object(self, key: &str) -> Self {
        self.with(key, &format!("{ID:?}"))
    }

    /// A container as tools make it, with further members of its manifest, and its configuration.
    fn container(mut self, name: &str, members: &str, config: &str) -> Self {
        let key = format!("{name}/lxc.container.conf");
        self.files.insert(key.clone(), config.to_owned());
        let storage = r#""storage":{"lxc-overlay":{"persistence":"boot"},"docker--data":{"persistence":"permanent"}}"#;
        let own = r#""type":"lxc","config":"lxc.container.conf","root-volume":"root.squashfs","volumes":[]"#;
        let manifest = format!(r#"{{"name":"{name}",{own},{storage}{members}}}"#);
        self.object(&format!("{name}/root.squashfs")).object(&key).with(&format!("{name}/run.json"), &manifest)
    }

    fn revision(&self) -> Revision {
        let entries: Vec<_> = self.entries.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
        Revision::parse(format!("{{{}}}", entries.join(",")).as_bytes()).unwrap()
    }

    fn assemble_with(&self, settings: &Settings) -> Result<Assembly, AssemblyError> {
        Assembly::of(&self.revision(), settings, |key| self.files.get(key).map(|text| text.clone().into_bytes()))
    }

    fn assemble(&self) -> Assembly {
        self.assemble_with(&Settings::default()).unwrap()
    }
}

/// The program of a container whose configuration is the template and further lines.
fn program(members: &str, lines: &str) -> Result<Program, String> {
    let state = State::new().container("web", members, &(template("web") + lines));
    let assembly = state.assemble_with(&Settings::default()).map_err(|error| error.to_string())?;
    Ok(assembly.get("web").unwrap().program.clone().unwrap())
}

fn refused(members: &str, lines: &str) -> String {
    program(members, lines).unwrap_err()
}

#[test]
fn a_container_of_a_template_is_assembled_as_its_lines_say() {
    let state = State::new().container("web", r#","group":"app","automodfw":"no""#, &template("web"));
    let assembly = state.object("_config/web/etc/x").assemble();
    let web = assembly.get("web").unwrap();
    assert_eq!((web.group.as_str(), web.manager, web.overlay), ("app", false, true));
    let names: Vec<_> = web.volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["root.squashfs", "lxc-overlay", "docker--data"]);
    let program = web.program.as_ref().unwrap();
    let launch = &program.launch;
    assert_eq!(launch.root.layers, ["/volumes/web/root.squashfs"]);
    assert_eq!(launch.root.writable.as_ref().unwrap().work, "/volumes/web/lxc-overlay/work");
    assert_eq!(program.dirs, ["/volumes/web/lxc-overlay/upper", "/volumes/web/lxc-overlay/work"]);
    assert_eq!(launch.namespaces, Namespaces { net: false, ipc: false, ..Namespaces::OWN });
    assert_eq!(launch.hostname.as_deref(), Some("web"));
    let kernel = (launch.proc, launch.sys, launch.cgroup);
    assert_eq!(kernel, (Some(ProcMode::Mixed), Some(SysMode::Writable), Some(CgroupMode::Writable)));
    assert!(program.divides, "what it writes there are not its limits");
    assert_eq!(launch.dev.unwrap().ptys, 1024);
    let targets: Vec<_> = launch.mounts.iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(targets, ["etc/resolv.conf", "run"]);
    assert_eq!(launch.process.argv, ["/sbin/init"]);
    assert_eq!((&program.devices, launch.process.output), (&DeviceAccess::All, Output::Terminal));
    assert!(launch.masked.contains(&"/proc/kcore".to_owned()) && !launch.masked.contains(&"/sys/firmware".to_owned()));
    assert!(launch.process.env.contains(&("container".into(), "pv-app".into())));
}

#[test]
fn an_init_has_a_terminal_as_its_console_and_no_other_program_has() {
    let output = |lines: &str| program("", lines).unwrap().launch.process.output;
    assert_eq!(output("lxc.init.cmd = /lib/systemd/systemd --unit=x\n"), Output::Terminal);
    assert_eq!(output("lxc.init.cmd = /init web\n"), Output::Log);
    assert_eq!(output("lxc.init.cmd = /sbin/init\nlxc.autodev = 0\n"), Output::Log);
    assert_eq!(output("lxc.init.cmd = /sbin/init\nlxc.console.path = none\n"), Output::Discard);
}

#[test]
fn the_same_revision_has_the_same_assembly() {
    let state = State::new().container("b", "", &template("b")).container("a", "", &template("a"));
    assert_eq!(state.assemble(), state.assemble());
}

#[test]
fn containers_come_in_the_order_of_their_groups() {
    let state = State::new()
        .container("a", r#","group":"app""#, &template("a"))
        .container("b", r#","group":"root""#, &template("b"))
        .container("c", r#","group":"platform""#, &template("c"));
    let members = state.assemble().members();
    assert_eq!(members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["b", "c", "a"]);
    assert!(members.is_sorted_by_key(|member| member.group));
}

#[test]
fn the_policy_of_a_container_is_its_group_s_in_the_machine_s_words() {
    let members = r#","group":"app","status_goal":"READY""#;
    let policy = State::new().container("web", members, &template("web")).assemble().members()[0].policy;
    assert_eq!((policy.goal, policy.restart, policy.grace), (Goal::Ready, RestartPolicy::Container, STOP_GRACE));
    assert_eq!((policy.timeout, policy.recovery.stable_timeout), (Span::seconds(30), Span::seconds(30)));
    assert_eq!((policy.recovery.policy, policy.recovery.max_retries), (RecoveryPolicy::OnFailure, 5));
    assert_eq!((policy.recovery.backoff_factor, policy.recovery.backoff_policy), (Factor(2000), Backoff::Never));
}

#[test]
fn a_group_without_a_timeout_has_that_of_the_device() {
    let device = r#"{"groups":[{"name":"only"}]}"#;
    let state = State::new().container("web", "", &template("web")).with("device.json", device);
    let settings = Settings { group_timeout: Span::seconds(7), ..Settings::default() };
    assert_eq!(state.assemble_with(&settings).unwrap().members()[0].policy.timeout, Span::seconds(7));
}

#[test]
fn a_container_that_is_only_mounted_has_nothing_to_start() {
    let assembly = State::new()
        .object("data/x.squashfs")
        .with("data/run.json", r#"{"name":"data","group":"data","root-volume":"x.squashfs"}"#)
        .assemble();
    let data = assembly.get("data").unwrap();
    assert_eq!((data.program.as_ref(), data.volumes.len(), data.member.policy.goal), (None, 1, Goal::Mounted));
}

#[test]
fn every_line_finds_its_place_in_the_launch() {
    let launch = program(
        r#","automodfw":"no","env":{"B":"manifest"}"#,
        "lxc.init.cmd = /ep.sh \"nginx\"\"-g\"\"daemon off;\"\nlxc.init.cwd = /srv\nlxc.init.uid = 33\nlxc.init.gid = 34\n\
         lxc.environment = PATH=/bin\nlxc.environment = A=1\nlxc.environment = B=config\nlxc.console.path = none\n\
         lxc.autodev = 0\nlxc.mount.auto = proc:rw sys:ro cgroup:ro\nlxc.cap.keep = net_admin chown\n\
         lxc.no_new_privs = 1\nlxc.uts.name = host\nlxc.pty.max = 3\n",
    )
    .unwrap()
    .launch;
    let process = &launch.process;
    assert_eq!(process.argv, ["/ep.sh", "nginx", "-g", "daemon off;"]);
    assert_eq!((process.cwd.as_str(), process.uid, process.gid, process.no_new_privs), ("/srv", 33, 34, true));
    let get = |name: &str| process.env.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    assert_eq!([get("PATH"), get("A"), get("B")], [Some("/bin"), Some("1"), Some("manifest")]);
    assert_eq!(process.env.iter().filter(|(name, _)| name == "B").count(), 1);
    assert_eq!(process.output, Output::Discard);
    assert_eq!((process.capabilities.bounding, process.capabilities.ambient), (1 << 12 | 1, 1 << 12 | 1));
    assert_eq!((launch.dev, launch.root.devices, launch.hostname.as_deref()), (None, true, Some("host")));
    assert_eq!((launch.proc, launch.sys), (Some(ProcMode::Writable), Some(SysMode::ReadOnly)));
    assert_eq!(launch.cgroup, Some(CgroupMode::ReadOnly));
    assert!(!program("", "lxc.mount.auto = cgroup:ro\n").unwrap().divides);
    assert!(launch.masked.iter().chain(&launch.read_only).all(|path| path.starts_with("/sys")), "{launch:?}");
}

#[test]
fn limits_and_settings_of_the_kernel_find_their_place_and_the_last_of_each_counts() {
    let program = program(
        "",
        "lxc.prlimit.nofile = 1:2\nlxc.prlimit.nofile = 3\nlxc.prlimit.core = unlimited\nlxc.init.groups = 4,27\n\
         lxc.namespace.keep = user\nlxc.sysctl.net.ipv4.ip_forward = 0\nlxc.sysctl.net.ipv4.ip_forward = 1\n\
         lxc.sysctl.fs.mqueue.msg_max = 20\nlxc.proc.oom_score_adj = 7\nlxc.signal.halt = SIGINT\n\
         lxc.autodev.tmpfs.size = 9000\n",
    )
    .unwrap();
    let (launch, process) = (&program.launch, &program.launch.process);
    let limits = [
        Rlimit { resource: Resource::OpenFiles, soft: Some(3), hard: Some(3) },
        Rlimit { resource: Resource::Core, soft: None, hard: None },
    ];
    assert_eq!((process.limits.as_slice(), process.groups.as_slice()), (limits.as_slice(), [4, 27].as_slice()));
    let sysctls = [("net/ipv4/ip_forward".into(), "1".into()), ("fs/mqueue/msg_max".into(), "20".into())];
    assert_eq!((launch.sysctls.as_slice(), process.oom_score_adj), (sysctls.as_slice(), 7));
    assert_eq!((program.halt, launch.dev.unwrap().size), (Some(2), 9000));
}

#[test]
fn a_setting_of_the_kernel_that_is_the_device_s_is_refused() {
    for name in ["vm.overcommit_memory", "kernel.hostname", "kernel.core_pattern", "net.core.somaxconn", "kernel.sem"] {
        // The template shares network and queues with the device.
        let error = refused("", &format!("lxc.sysctl.{name} = 1\n"));
        assert!(error.contains(&format!("{name} is a setting of the whole device")), "{error}");
    }
}

#[test]
fn namespaces_are_those_that_are_kept_or_all_but_those_that_are_cloned() {
    let clone =
        template("web").replace("lxc.namespace.keep = user  net  ipc", "lxc.namespace.clone = pid mnt uts cgroup");
    let state = State::new().container("web", "", &clone).assemble();
    let namespaces = state.get("web").unwrap().program.as_ref().unwrap().launch.namespaces;
    assert_eq!(namespaces, Namespaces { net: false, ipc: false, ..Namespaces::OWN });
    assert!(refused("", "lxc.namespace.clone = pid\n").contains("exclude each other"));
    assert!(refused("", "lxc.namespace.keep = user mnt\n").contains("mounts are always"));
    let users = State::new().container("web", "", &clone.replace("uts", "user"));
    let error = users.assemble_with(&Settings::default()).unwrap_err().to_string();
    assert!(error.contains("users of its own need lxc.idmap"), "{error}");
}

#[test]
fn a_line_without_effect_is_told_of_with_its_file() {
    let mut state = State::new().container("web", "", &(template("web") + "lxc.cap.keep = none\nlxc.include = more\n"));
    state.files.insert("web/more".into(), "lxc.start.auto = 1\nlxc.log.file = /x\n".into());
    let warnings = state.object("web/more").assemble().warnings;
    let expected = [
        "web/more: lxc.start.auto = 1: has no effect: the groups of the revision say when it starts",
        "web/more: lxc.log.file = /x: has no effect: nothing would write it",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn a_root_that_is_one_volume_is_read_only_and_never_storage() {
    let root = |path: &str| {
        let config = format!("lxc.rootfs.path = {path}\n");
        let state = State::new().container("web", "", &config);
        state.assemble_with(&Settings::default()).map_err(|error| error.to_string())
    };
    let assembly = root("dir:/volumes/web/root.squashfs").unwrap();
    let launch = &assembly.get("web").unwrap().program.as_ref().unwrap().launch;
    assert_eq!(
        (launch.root.layers.as_slice(), &launch.root.writable),
        (["/volumes/web/root.squashfs".into()].as_slice(), &None)
    );
    assert!(root("/volumes/web/docker--data").unwrap_err().contains("cannot be written here"));
    assert!(root("/").unwrap_err().contains("a layer is a volume"));
}

#[test]
fn capabilities_are_those_that_are_left_or_kept() {
    let bounding = |lines: &str| program("", lines).unwrap().launch.process.capabilities.bounding;
    assert_eq!(bounding(""), u64::MAX);
    assert_eq!(bounding("lxc.cap.drop = sys_admin\nlxc.cap.drop = chown\n"), !(1 << 21 | 1));
    assert_eq!(bounding("lxc.cap.keep = none\n"), 0);
    let error = refused("", "lxc.cap.keep = chown\nlxc.cap.drop = kill\n");
    assert!(error.contains("web/lxc.container.conf: lxc.cap.keep and lxc.cap.drop exclude"), "{error}");
}

#[test]
fn a_container_that_keeps_every_capability_is_told_of() {
    let warnings = |lines: &str| State::new().container("web", "", &(template("web") + lines)).assemble().warnings;
    assert!(warnings("").iter().any(|warning| warning.contains("keeps every capability")));
    assert_eq!(warnings("lxc.cap.keep = chown\n"), [""; 0]);
}

#[test]
fn the_network_is_shared_only_where_the_configuration_says_so() {
    let own = |lines: &str| program("", lines).unwrap().launch.namespaces.net;
    assert!(!own(""));
    assert!(own("lxc.namespace.keep = user ipc\n"));
    assert!(!own("lxc.namespace.keep = user ipc\nlxc.net.0.type = none\n"));
    assert!(own("lxc.namespace.keep = user ipc\nlxc.net.0.type = empty\nlxc.net.0.flags = up\n"));
    let silent = template("web").replace("lxc.namespace.keep = user  net  ipc\n", "");
    let assembly = State::new().container("web", "", &silent).assemble();
    assert_eq!(assembly.containers[0].program.as_ref().unwrap().launch.namespaces, Namespaces::OWN);
}

#[test]
fn limits_go_to_the_group_whatever_generation_they_are_written_for() {
    let lines = "lxc.cgroup.memory.limit_in_bytes = 10M\nlxc.cgroup2.pids.max = 64\nlxc.cgroup2.memory.max = max\n\
                 lxc.cgroup.cpu.shares = 512\n";
    let settings: Vec<_> = program("", lines).unwrap().settings.into_iter().map(|one| one.setting).collect();
    assert_eq!(settings, [Limit::Tasks(Some(64)), Limit::CpuShares(512)].map(Setting::Limit));
    assert!(
        refused("", "lxc.cgroup.pids.max = many\n")
            .contains("line 10: lxc.cgroup.pids.max: \"many\" is not a number of")
    );
}

#[test]
fn device_rules_are_kept_in_their_order() {
    let lines = "lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:3 rwm\n";
    let DeviceAccess::Rules(rules) = program("", lines).unwrap().devices else { panic!("no rules") };
    let rules: Vec<_> = rules.iter().map(|(allow, rule)| (*allow, rule.to_string())).collect();
    assert_eq!(rules, [(false, "a".into()), (true, "c 1:3 rwm".into())]);
}

#[test]
fn volumes_of_other_containers_are_layers_and_sources_and_make_a_dependency() {
    let config = template("web")
        .replace("overlayfs:/volumes/web/", "overlayfs:/volumes/web/root.squashfs:/volumes/base/")
        + "lxc.mount.entry = /volumes/db/docker--data/sub srv none bind,ro,create=dir 0 0\n";
    let state = State::new().container("base", "", &template("base")).container("db", "", &template("db")).container(
        "web",
        r#","automodfw":"no""#,
        &config,
    );
    let assembly = state.assemble();
    let web = assembly.get("web").unwrap();
    assert_eq!(web.uses.iter().map(String::as_str).collect::<Vec<_>>(), ["base", "db"]);
    // What tools tell beforehand.
    let exports = |name: &str| assembly.get(name).map(|one| one.manifest.exports.as_slice());
    assert_eq!(web.uses, lxc::neighbours("web", &lxc::Config::parse(config.as_bytes()).unwrap(), exports));
    let launch = &web.program.as_ref().unwrap().launch;
    assert_eq!(launch.root.layers, ["/volumes/web/root.squashfs", "/volumes/base/root.squashfs"]);
    let source = &launch.mounts.last().unwrap().source;
    assert!(
        matches!(source, Source::Within { dir, path, .. } if dir == "/volumes/db/docker--data" && path == "sub"),
        "{source:?}"
    );
}

#[test]
fn an_overlay_of_its_own_storage_has_its_directories_made() {
    let entry = "lxc.mount.entry = /volumes/web/x srv overlay lowerdir=/volumes/web/root.squashfs/srv,\
                 upperdir=/volumes/web/docker--data/upper,workdir=/volumes/web/docker--data/work,create=dir 0 0\n";
    let dirs = program("", entry).unwrap().dirs;
    assert_eq!(&dirs[..2], ["/volumes/web/docker--data/upper", "/volumes/web/docker--data/work"]);
    let foreign = entry.replace("docker--data", "nothing");
    assert!(refused("", &foreign).contains("/volumes/web/nothing/upper"));
}

#[test]
fn what_cannot_be_followed_is_refused_with_its_place() {
    for (members, lines, why) in [
        (
            "",
            "lxc.hook.mount = /lib/x.sh\n",
            "web/lxc.container.conf: line 10: lxc.hook.mount: no program of the device",
        ),
        ("", "lxc.net.0.type = veth\n", "line 10: lxc.net.0.link: is missing; name the bridge"),
        ("", "lxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.0.3.7/24\n", "line 10: lxc.net.0.type: is missing"),
        (
            "",
            "lxc.net.0.type = phys\nlxc.net.0.link = a\nlxc.net.0.vlan.id = 7\n",
            "line 12: lxc.net.0.vlan.id: is for",
        ),
        ("", "lxc.net.0.type = phys\nlxc.net.0.link = a\n", "a network of its own by lxc.net and one that"),
        ("", "lxc.unknown = 1\n", "web/lxc.container.conf: line 10: lxc.unknown: there is no such key"),
        ("", "lxc.mount.entry = /volumes/no/x y none bind 0 0\n", "lxc.mount.entry: /volumes/no/x is no volume"),
        ("", "lxc.mount.entry = /exports/a/b y none bind 0 0\n", "/exports/a/b: no other container exports it"),
        ("", "lxc.mount.entry = /a y none bind,size=1 0 0\n", "\"size=1\" is no option of this kind of mount"),
        ("", "lxc.mount.entry = a y none bind 0 0\n", "\"a\" must lead from the root"),
        ("", "lxc.rootfs.path = overlayfs:/:/volumes/web/lxc-overlay/upper\n", "/: a layer is a volume"),
        (
            "",
            "lxc.rootfs.path = overlayfs:/volumes/web/root.squashfs:/volumes/web/lxc-overlay\n",
            "must lie within storage",
        ),
        ("", "lxc.rootfs.path = overlayfs:/volumes/web/root.squashfs:/storage/x/upper\n", "must lie within storage"),
        (
            "",
            "lxc.rootfs.path = overlayfs:/volumes/web/root.squashfs:/volumes/web/lxc-overlay/work\n",
            "must lie within",
        ),
        ("", "lxc.namespace.keep = user net\nlxc.net.0.type = empty\n", "exclude each other"),
        ("", "lxc.namespace.keep = user uts\nlxc.uts.name = x\n", "exclude each other"),
        ("", "lxc.namespace.keep = user cgroup\n", "a writable cgroup tree needs a cgroup namespace"),
        (
            r#","drivers":{"required":["wifi"]}"#,
            "",
            "web/run.json: drivers.required: wifi: bsp/drivers.json does not have it",
        ),
        (r#","network":{"ip":"10.0.3.2"}"#, "", "web/run.json: network"),
        (r#","remount":{"default":[{"/(a|b)":"nosuid"}]}"#, "", "web/run.json: remount: \"/(a|b)\": '(' is not read"),
    ] {
        let error = refused(members, lines);
        assert!(error.contains(why), "{lines}{members}: {error}");
    }
}

#[test]
fn a_volume_that_cannot_be_mounted_is_refused_with_its_place() {
    let volumes = |members: &str, more: &str| {
        let manifest = format!(r#"{{"name":"a","group":"data",{members}}}"#);
        let state = State::new().object("a/x.ext3").object("a/s/x.squashfs").object("a/x.squashfs");
        let state = state.with("a/_dm/x.squashfs.json", "{}").with("a/run.json", &manifest);
        let state = if more.is_empty() { state } else { state.with("disks.json", more) };
        state
            .assemble_with(&Settings::default())
            .map(|assembly| assembly.containers[0].volumes.clone())
            .map_err(|error| error.to_string())
    };
    let crypt = r#"[{"name":"d","type":"dm-crypt-versatile","path":"a,1,b","default":"yes"}]"#;
    for (members, disks, why) in [
        (r#""root-volume":"dm:x.squashfs""#, "", "a/run.json: root-volume: this version cannot check images"),
        (r#""volumes":["x.ext3"]"#, "", "a/run.json: volumes: images of type \"ext3\""),
        (
            r#""volumes":["s/x.squashfs"],"storage":{"s":{"persistence":"boot"}}"#,
            "",
            "storage.s: s would cover another",
        ),
        (
            r#""storage":{"s":{"persistence":"permanent","disk":"d"}}"#,
            crypt,
            "storage.s: disks of type dm-crypt-versatile",
        ),
        (r#""storage":{"s":{"persistence":"permanent"}}"#, crypt, "storage.s: disks of type dm-crypt-versatile"),
        (
            r#""storage":{"s":{"persistence":"revision","disk":"d"}}"#,
            r#"[{"name":"d","type":"volume-disk","provision":"zram"}]"#,
            "storage.s: disks of type volume-disk",
        ),
    ] {
        let error = volumes(members, disks).unwrap_err();
        assert!(error.contains(why), "{members}: {error}");
    }
    let volume = r#"[{"name":"d","aliases":["e"],"type":"volume-disk"}]"#;
    for persistence in ["permanent", "revision", "boot"] {
        let storage = format!(r#""storage":{{"s":{{"persistence":"{persistence}","disk":"e"}}}}"#);
        let found = volumes(&storage, volume).unwrap();
        assert!(matches!(&found[0].what, What::Storage { disk: Some(disk), .. } if disk == "d"), "{found:?}");
    }
    // What lives in memory does not go to a disk that nobody named.
    assert!(volumes(r#""storage":{"s":{"persistence":"boot"}}"#, crypt).is_ok());
}

#[test]
fn an_optional_mount_without_a_source_is_no_error() {
    let lines = "lxc.mount.entry = /exports/a/b y none bind,optional 0 0\n\
                 lxc.mount.entry = /volumes/x/web z none bind,rw,create=dir,optional,noexec 0 0\n";
    let mounts = program(r#","automodfw":"no""#, lines).unwrap().launch.mounts;
    assert_eq!(mounts.iter().map(|mount| mount.target.as_str()).collect::<Vec<_>>(), ["etc/resolv.conf", "run", "z"]);
}

#[test]
fn firmware_and_modules_appear_unless_declined() {
    let targets = |members: &str| -> Vec<String> {
        let state = State::new().container("web", members, &template("web"));
        let assembly = state.assemble_with(&Settings { kernel: Some("6.1".into()), ..Settings::default() }).unwrap();
        assembly.containers[0]
            .program
            .as_ref()
            .unwrap()
            .launch
            .mounts
            .iter()
            .skip(2)
            .map(|one| one.target.clone())
            .collect()
    };
    assert_eq!(targets(""), ["lib/firmware", "lib/modules/6.1"]);
    assert_eq!(targets(r#","automodfw":"no""#), [""; 0]);
}

#[test]
fn without_a_root_of_its_own_the_image_is_the_root_and_read_only() {
    let assembly = State::new().container("web", "", "lxc.init.cmd = /x\n").assemble();
    let root = &assembly.containers[0].program.as_ref().unwrap().launch.root;
    assert_eq!((root.layers.as_slice(), &root.writable), (&["/volumes/web/root.squashfs".to_owned()][..], &None));
}

#[test]
fn a_manager_is_whom_the_revision_or_the_device_makes_one() {
    let manager = |members: &str, absent_roles| {
        let state = State::new().container("web", members, &template("web"));
        state.assemble_with(&Settings { absent_roles, ..Settings::default() }).unwrap().containers[0].manager
    };
    assert!(manager(r#","roles":["mgmt"]"#, AbsentRoles::ReadinessOnly));
    assert!(!manager("", AbsentRoles::ReadinessOnly));
    assert!(manager("", AbsentRoles::Mgmt));
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let state = State::new().container("web", "", &template("web"));
    let error = Assembly::of(&state.revision(), &Settings::default(), |_| None).unwrap_err();
    assert_eq!(error, lxc::FilesError::Unreadable("web/lxc.container.conf".into()).into());
}

#[test]
fn rows_are_sorted_and_know_their_owners() {
    let app = r#","group":"app""#;
    let assembly = State::new()
        .container("web", app, &template("web"))
        .object("_config/web/x")
        .object("bsp/kernel.img")
        .assemble();
    let rows = assembly.rows();
    assert!(rows.is_sorted_by_key(|row| row.path));
    let owner = |path: &str| rows.iter().find(|row| row.path == path).unwrap().owner;
    assert_eq!(owner("_config/web/x"), transition::Owner::Container("web"));
    assert_eq!(owner("bsp/kernel.img"), transition::Owner::Base);
    assert!(!rows.iter().any(|row| row.path == "#spec"));
}

#[test]
fn a_change_in_place_takes_along_who_uses_what_changed() {
    let app = r#","group":"app""#;
    let config = template("web") + "lxc.mount.entry = /volumes/db/docker--data srv none bind 0 0\n";
    let state = |content: &str| {
        State::new()
            .container("db", app, &template("db"))
            .container("web", app, &config)
            .container("other", app, &template("other"))
            .with("db/x.json", content)
    };
    let (old, new) = (state("1").assemble(), state("2").assemble());
    let (before, after) = (old.rows(), new.rows());
    let Decision::InPlace(change) = decide(&before, &after) else { panic!("a reboot") };
    let switch = switch(change, &old, &new);
    let started: Vec<_> = switch.start.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(
        (switch.stop.as_slice(), started.as_slice()),
        (&["db".to_owned(), "web".to_owned()][..], &["db", "web"][..])
    );
}

#[test]
fn a_container_that_changes_its_default_group_is_started_anew() {
    let state = || State::new().container("b", "", &template("b")).container("c", "", &template("c"));
    let device =
        r#"{"groups":[{"name":"one","restart_policy":"container"},{"name":"two","restart_policy":"container"}]}"#;
    let old = state().with("device.json", device).assemble();
    let mut new = old.clone();
    // As when a container came that took its place: the same files, another group.
    new.containers[0].member.group = 0;
    let (before, after) = (old.rows(), new.rows());
    let Decision::InPlace(change) = decide(&before, &after) else { panic!("a reboot") };
    assert_eq!(switch(change, &old, &old), Switch::default());
    assert_eq!(switch(change, &old, &new).stop, ["b"]);
}
