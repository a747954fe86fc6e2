//! Whole devices on this host, with a fixture in the place of cairn. Needs root, loop devices, cgroup v2 and mke2fs.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod world;

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use board_host::PROGRAM;
use serde_json::{Value, json};

use crate::world::World;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn pid_1_finds_what_an_initramfs_holds_and_nothing_of_the_host() {
    let mut world = World::made(&[("default", "obey")]);
    world.start(&[]);
    let seen = world.wait_for("fixture", 1);
    let words = ["/cairn", "init", "cairn.board=host", "cairn.role=default", "cairn.trace=3"];
    assert_eq!((&seen["boot"], &seen["pid"], &seen["words"]), (&json!(1), &json!(1), &json!(words)));
    assert_eq!(seen["root"], json!(["cairn", "dev", "etc", "proc", "run", "storage", "sys", "tmp"]));
    assert_eq!(seen["trust"], json!(["0-key.pem"]));
    assert_eq!(seen["conf"], "board=host\nsignatures=strict\nline=lamp\n");
    assert_eq!(seen["cgroup"], "0::/");
    // Two cells of a sector, and two regions of erased flash.
    let boot = ["wanted 512 false", "spent 512 false", "journal.a 16384 true", "journal.b 16384 true"];
    assert_eq!(seen["boot_files"], json!(boot));

    let status: Value = serde_json::from_slice(&world.tool("status", &["--json"]).stdout).unwrap();
    assert_eq!((&status["running"], &status["revision"], &status["boot"]), (&json!(true), &json!("0"), &json!(1)));
    assert!(fs::exists(status["cgroup"].as_str().unwrap()).unwrap());
    let said = world.tool("exec", &["--", "say", "hello", "world"]);
    assert_eq!((text(&said.stdout), said.status.code()), ("pid 2 says hello world\n".to_owned(), Some(7)));

    assert!(world.tool("stop", &[]).status.success());
    assert!(world.ended());
    assert_eq!(world.all("end", "how"), ["poweroff"]);
    assert_eq!(world.leftovers(), [""; 0]);
    assert_eq!(fs::read_to_string(world.device().join("console.log")).unwrap(), "pid 1 as default\n");
}

#[test]
fn three_trial_boots_that_fail_are_followed_by_the_default() {
    let mut world = World::made(&[("default", "arm"), ("trial", "die")]);
    world.start(&[]);
    world.wait_for("boot", 5);
    let boots = world.all("boot", "role");
    assert_eq!(boots[..5], ["default", "trial", "trial", "trial", "default"]);
    let spent = world.all("boot", "spent");
    let note = |nonce: u32, boots: u8| json!({"nonce": nonce, "boots": boots});
    assert_eq!(spent[..5], [note(1, 1), note(2, 1), note(2, 2), note(2, 3), note(2, 4)]);
    world.wait_for("fixture", 5);
    // A reboot by order is no mark, a death is one.
    assert_eq!(world.marks()[..5], [false, false, true, true, true]);
}

#[test]
fn a_boot_after_an_ordered_reboot_hears_of_no_mark() {
    let mut world = World::made(&[("default", "reboot")]);
    world.start(&[]);
    world.wait_for("fixture", 2);
    assert_eq!(world.all("end", "how")[0], "reboot");
    assert_eq!(world.marks()[..2], [false, false]);
}

#[test]
fn a_killed_pid_1_leaves_a_mark_and_a_power_cut_leaves_none() {
    let mut world = World::made(&[("default", "obey")]);
    world.start(&[]);
    world.wait_for("fixture", 1);
    assert!(world.tool("kill", &[]).status.success());
    world.wait_for("fixture", 2);
    assert!(world.tool("kill", &["--power-cut"]).status.success());
    world.wait_for("fixture", 3);
    assert_eq!(world.marks(), [false, true, false]);
    assert_eq!(world.all("end", "how"), ["killed", "power-cut"]);
    assert!(world.tool("stop", &[]).status.success());
    assert!(world.ended());
    let status: Value = serde_json::from_slice(&world.tool("status", &["--json"]).stdout).unwrap();
    assert_eq!(status["last_end"], json!({"boot": 3, "how": "poweroff", "mark": false}));
}

#[test]
fn a_pid_1_that_exits_leaves_a_mark_that_outlives_the_stand_in() {
    let world = World::made(&[("default", "exit")]);
    assert!(!world.run(&["--once"]).status.success());
    assert!(!world.run(&["--once"]).status.success());
    assert_eq!(world.all("end", "how"), ["exit", "exit"]);
    assert_eq!(world.all("boot", "boot"), [1, 2]);
    assert_eq!(world.marks(), [false, true]);
}

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let mut world = World::made(&[("default", "keep")]);
    world.start(&[]);
    world.wait_for("fixture", 1);
    // Until the file has its second content, which only the cache knows.
    let inside = || {
        let status: Value = serde_json::from_slice(&world.tool("status", &["--json"]).stdout).unwrap();
        fs::read_to_string(format!("/proc/{}/root/storage/kept", status["pid1"])).unwrap_or_default()
    };
    let start = Instant::now();
    while inside() != "not synced" {
        assert!(start.elapsed() < Duration::from_secs(20), "the fixture does not write");
    }
    assert!(world.tool("kill", &["--power-cut"]).status.success());
    let kept = world.wait_for("fixture", 2)["kept"].clone();
    // Emptied by the second write, or as it was synced; never what was in the cache alone.
    assert!(kept == "synced" || kept == "", "{kept}");
}

#[test]
fn a_device_that_does_not_listen_is_killed_with_all_that_it_has_started() {
    let mut world = World::made(&[("default", "deaf")]);
    world.start(&["--grace", "1"]);
    world.wait_for("fixture", 1);
    assert!(world.tool("stop", &[]).status.success());
    assert!(world.ended());
    assert_eq!(world.all("end", "how"), ["stopped"]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn the_moment_of_a_jump_is_told_and_lies_within_the_boot() {
    let mut world = World::made(&[("default", "obey")]);
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap()
    };
    let before = now();
    world.start(&[]);
    let jumped = world.wait_for("up", 1)["jumped"].as_u64().unwrap();
    assert!((before..now()).contains(&jumped), "{jumped}");
}

#[test]
fn a_stand_in_that_is_killed_takes_its_device_along_and_the_next_one_sweeps() {
    let mut world = World::made(&[("default", "obey")]);
    world.start(&[]);
    let pid1 = world.wait_for("up", 1)["pid1"].clone();
    world.wait_for("fixture", 1);
    let status: Value = serde_json::from_slice(&world.tool("status", &["--json"]).stdout).unwrap();
    let stand_in = status["stand_in"].to_string();
    assert!(std::process::Command::new("kill").args(["-9", &stand_in]).status().unwrap().success());
    assert!(!world.ended());
    let start = Instant::now();
    while fs::exists(format!("/proc/{pid1}")).unwrap() {
        assert!(start.elapsed() < Duration::from_secs(20), "PID 1 outlives its stand-in");
    }
    world.start(&[]);
    world.wait_for("fixture", 2);
    assert_eq!(world.marks(), [false, false]);
    assert!(world.tool("stop", &[]).status.success());
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_device_runs_once_at_a_time() {
    let mut world = World::made(&[("default", "obey")]);
    world.start(&[]);
    world.wait_for("fixture", 1);
    let second = world.run(&[]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("is running already (pid "), "{}", text(&second.stderr));
    assert_eq!(world.all("up", "boot"), [1]);
}

#[test]
fn a_revision_without_a_program_is_a_spent_boot_and_never_a_prompt() {
    let world = World::new(&[("default", "arm")]);
    fs::remove_file(world.storage().join("trails/1").join(PROGRAM)).unwrap();
    assert!(world.create().status.success());
    assert!(world.run(&["--once"]).status.success());
    let spent = world.run(&["--once"]);
    assert_eq!(spent.status.code(), Some(1));
    assert_eq!(world.all("end", "how"), ["reboot", "not-started"]);
    assert_eq!(world.all("boot", "spent")[1], json!({"nonce": 2, "boots": 1}));
}

#[test]
fn a_trail_that_only_the_journal_knows_is_not_found_by_the_firmware() {
    // Somebody's `sync` may come in between and bring it home.
    let hidden = (0..5).any(|_| {
        let mut world = World::new(&[("default", "stage"), ("trial", "obey")]);
        fs::remove_dir_all(world.storage().join("trails/1")).unwrap();
        assert!(world.create().status.success());
        world.start(&[]);
        let console = world.device().join("console.log");
        let start = Instant::now();
        while !fs::read_to_string(&console).unwrap_or_default().contains("staged") {
            assert!(start.elapsed() < Duration::from_secs(20), "the fixture does not stage");
        }
        assert!(world.tool("kill", &["--power-cut"]).status.success());
        let why = world.wait_for("end", 1);
        assert_eq!(why["how"], "power-cut");
        world.wait_for("boot", 2);
        assert_eq!(world.all("boot", "role")[1], "trial");
        let start = Instant::now();
        while world.all("up", "boot").len() < 2 && world.all("end", "how").len() < 2 {
            assert!(start.elapsed() < Duration::from_secs(20), "nothing comes of the trial");
        }
        world.all("end", "how").get(1).is_some_and(|how| how == "not-started")
    });
    assert!(hidden, "the firmware reads what is not on the disk");
}

#[test]
fn a_dynamic_program_is_refused_when_a_device_is_made_and_spends_a_boot_later() {
    let world = World::new(&[("default", "arm")]);
    let program = |revision: &str| world.storage().join("trails").join(revision).join(PROGRAM);
    fs::copy(world.dynamic(), program("0")).unwrap();
    let refused = world.create();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("linked dynamically"), "{}", text(&refused.stderr));
    assert!(!world.device().exists());

    fs::rename(program("0"), program("1")).unwrap();
    fs::copy(world::fixture("+crt-static"), program("0")).unwrap();
    assert!(world.create().status.success());
    assert!(world.run(&["--once"]).status.success());
    assert!(text(&world.run(&["--once"]).stderr).contains("linked dynamically"));
    assert_eq!(world.all("end", "how"), ["reboot", "not-started"]);
}

#[test]
fn a_list_that_is_used_up_needs_a_recovery_program() {
    let world = World::made(&[("default", "reboot"), ("factory", "reboot"), ("recovery", "obey")]);
    let asked = world.run(&[]);
    // Default three times; the factory is the same revision, under its first name.
    let mut roles = vec!["default"; 6];
    roles.push("recovery");
    assert_eq!(world.all("boot", "role"), roles);
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked.stderr).contains("--recovery"), "{}", text(&asked.stderr));
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_published_port_leads_into_the_device_and_is_refused_while_it_is_off() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut world = World::made(&[("default", "serve")]);
    world.start(&["--publish", &format!("{}:80", free.port())]);
    let ask = || {
        let mut answer = String::new();
        let stream = TcpStream::connect(free);
        stream.and_then(|mut stream| stream.read_to_string(&mut answer)).map(|_| answer).unwrap_or_default()
    };
    for boot in 1..=2 {
        world.wait_for("fixture", boot);
        let start = Instant::now();
        while ask() != "hello from inside" {
            assert!(start.elapsed() < Duration::from_secs(20), "nobody answers in boot {boot}");
        }
        if boot == 1 {
            assert!(world.tool("kill", &["--power-cut"]).status.success());
        }
    }
    // A caller that holds on does not hold the device.
    let _held = TcpStream::connect(free).unwrap();
    assert!(world.tool("stop", &[]).status.success());
    assert!(TcpStream::connect(free).is_err());
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_device_has_the_memory_that_it_is_given() {
    let mut world = World::made(&[("default", "obey")]);
    world.start(&["--memory", "64M"]);
    world.wait_for("fixture", 1);
    let status: Value = serde_json::from_slice(&world.tool("status", &["--json"]).stdout).unwrap();
    let table = fs::read_to_string(format!("/proc/{}/cgroup", status["pid1"]));
    let table = table.unwrap_or_else(|error| panic!("{error}: {status}, {:#?}", world.events()));
    let v1 = table.lines().find_map(|line| line.split_once(":memory:"));
    let limit = match v1 {
        Some((_, path)) => fs::read_to_string(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")),
        None => fs::read_to_string(format!("{}/memory.max", status["cgroup"].as_str().unwrap())),
    };
    assert_eq!(limit.unwrap().trim(), (64 << 20).to_string());
}
