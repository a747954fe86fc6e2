//! The laws of the codec, without a kernel.

use super::*;

fn launch() -> Launch {
    Launch {
        hostname: Some("web".into()),
        namespaces: Namespaces::OWN,
        users: Some(Users {
            uids: vec![Range { inside: 0, outside: 1_000_000, count: 65536 }],
            gids: vec![Range { inside: 0, outside: 1_000_000, count: 1000 }],
        }),
        cgroups: vec!["/sys/fs/cgroup/memory/cairn/web".into()],
        root: Root {
            layers: vec!["/volumes/web/root.squashfs".into()],
            writable: Some(Writable { upper: "/u".into(), work: "/w".into() }),
            devices: false,
        },
        dev: Some(Dev { ptys: 64, shm: 1 << 20, size: 1 << 19 }),
        nodes: None,
        proc: Some(ProcMode::Mixed),
        sys: Some(SysMode::ReadOnly),
        cgroup: Some(CgroupMode::Writable),
        mounts: vec![Mount::from_fstab("tmpfs", "/run", "tmpfs", ["nodev", "size=1m"]).unwrap()],
        showcase: Some("/run/exports".into()),
        exports: vec![Export { path: "run/web".into(), spot: "web/run%2fweb".into() }],
        masked: TARGETS_MASKED.iter().map(ToString::to_string).collect(),
        read_only: TARGETS_READ_ONLY.iter().map(ToString::to_string).collect(),
        hardened: vec![],
        sysctls: vec![("net/ipv4/ip_forward".into(), "1".into())],
        process: Process {
            hooks: vec![],
            argv: vec!["/sbin/init".into()],
            env: vec![("PATH".into(), "/bin".into())],
            cwd: "/".into(),
            uid: 0,
            gid: 0,
            groups: vec![],
            capabilities: Capabilities { bounding: 0b11, ambient: 0b01 },
            no_new_privs: true,
            limits: vec![Rlimit { resource: Resource::OpenFiles, soft: Some(1024), hard: None }],
            seccomp: Some(vec![0; 16]),
            oom_score_adj: 0,
            output: Output::Log,
        },
    }
}

#[test]
fn a_launch_reads_back_as_itself() {
    let bytes = launch().encode().unwrap();
    assert_eq!(Launch::decode(&bytes), Ok(launch()));
}

#[test]
fn a_launch_that_is_cut_short_or_followed_by_anything_is_refused() {
    let mut bytes = launch().encode().unwrap();
    for end in 0..bytes.len() {
        assert!(Launch::decode(&bytes[..end]).is_err(), "{end}");
    }
    bytes.push(0);
    assert_eq!(Launch::decode(&bytes), Err(LaunchError::Bytes));
    assert_eq!(Launch::decode(&vec![0; LAUNCH_MAX + 1]), Err(LaunchError::Size(LAUNCH_MAX + 1)));
}

#[test]
fn no_byte_of_a_launch_can_make_it_hold_what_encoding_refuses() {
    let bytes = launch().encode().unwrap();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            if let Ok(launch) = Launch::decode(&bytes) {
                assert!(launch.encode().is_ok(), "byte {at}");
            }
        }
    }
}

#[test]
fn a_launch_that_would_touch_the_device_is_refused() {
    type Change = fn(&mut Launch);
    let changes: &[(Change, LaunchError)] = &[
        (|launch| launch.namespaces.uts = false, LaunchError::Hostname),
        (|launch| launch.namespaces.cgroup = false, LaunchError::Cgroup),
        (|launch| launch.root.layers.clear(), LaunchError::Count("layers")),
        (|launch| launch.root.layers = vec!["/l".into(); LAYERS_MAX + 1], LaunchError::Count("layers")),
        (|launch| launch.root.layers = vec!["l".into()], LaunchError::Path("l".into())),
        (|launch| launch.masked = vec!["/a/../b".into()], LaunchError::Path("a/../b".into())),
        (|launch| launch.mounts[0].target = "..".into(), LaunchError::Path("..".into())),
        (|launch| launch.mounts[0].target = String::new(), LaunchError::Path(String::new())),
        (|launch| launch.mounts = vec![launch.mounts[0].clone(); LIST_MAX + 1], LaunchError::Count("mounts")),
        (|launch| launch.sysctls[0].0 = "net/../kernel/x".into(), LaunchError::Path("net/../kernel/x".into())),
        (|launch| launch.showcase = None, LaunchError::Showcase),
        (|launch| launch.exports[0].path = "..".into(), LaunchError::Path("..".into())),
        (|launch| launch.exports[0].spot = "web".into(), LaunchError::Path("web".into())),
        (|launch| launch.exports[0].spot = "web/../x".into(), LaunchError::Path("web/../x".into())),
        (|launch| launch.exports[0].spot = format!("web/{:253}", ""), LaunchError::Text("spot")),
        (|launch| launch.process.argv.clear(), LaunchError::Count("arguments")),
        (|launch| launch.process.argv.push("a\0b".into()), LaunchError::Text("argument")),
        (|launch| launch.process.env.push(("A=B".into(), String::new())), LaunchError::Variable("A=B".into())),
        (|launch| launch.process.cwd = "srv".into(), LaunchError::Path("srv".into())),
        (|launch| launch.process.capabilities.ambient = 0b100, LaunchError::Ambient),
        (|launch| launch.process.uid = 65536, LaunchError::Users("users")),
        (|launch| launch.process.groups.push(1000), LaunchError::Users("groups")),
        (|launch| launch.users.as_mut().unwrap().gids.clear(), LaunchError::Users("groups")),
        (|launch| launch.process.seccomp = Some(vec![0; 7]), LaunchError::Filter),
        (|launch| launch.process.seccomp = Some(vec![]), LaunchError::Filter),
    ];
    for (change, error) in changes {
        let mut launch = launch();
        change(&mut launch);
        assert_eq!(launch.encode().as_ref(), Err(error));
    }
}

#[test]
fn an_entry_of_fstab_becomes_a_mount() {
    let mount = Mount::from_fstab("/dev/", "dev", "none", ["rbind", "ro", "create=dir", "optional", "rslave"]).unwrap();
    assert_eq!(mount.source, Source::Device { path: "/dev/".into(), recursive: true, create: false });
    assert!(mount.attributes.read_only && mount.optional);
    assert_eq!((mount.create, mount.attributes.propagation), (Some(Create::Dir), Propagation::Slave));
    let mount = Mount::from_fstab("tmpfs", "/run/", "tmpfs", ["rw", "nodev", "size=5%"]).unwrap();
    let options = vec!["size=5%".to_owned()];
    assert_eq!(mount.source, Source::Filesystem { fstype: "tmpfs".into(), source: "tmpfs".into(), options });
    assert_eq!((mount.target.as_str(), mount.attributes.nodev), ("run", true));
}

#[test]
fn an_option_that_would_have_no_effect_is_an_error() {
    let bind = |options: &[&str]| Mount::from_fstab("/a", "b", "none", options.iter().copied());
    assert_eq!(bind(&["bind", "nosymfolow"]), Err(MountError::Option("nosymfolow".into())));
    assert_eq!(bind(&["bind", "rshared"]), Err(MountError::Option("rshared".into())));
    assert_eq!(bind(&["rw"]), Err(MountError::NoBind));
    assert!(Mount::from_fstab("t", "b", "tmpfs", ["relative"]).is_err());
}
