//! Devices for tests: made with the real tool, run by it, with a fixture in the place of cairn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use board_host::{Codec, PROGRAM};
use boards_api::env::Codec as _;
use serde_json::Value;
use statemachine::boot::{Trial, Wanted};
use statemachine::ids::RevisionId;
use tempfile::TempDir;

const TOOL: &str = env!("CARGO_BIN_EXE_cairn-host");

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The fixture, built if it is not there or older than its source.
pub(crate) fn fixture(linkage: &str) -> PathBuf {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    let scratch = SCRATCH.get_or_init(|| {
        let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pid1");
        fs::create_dir_all(&scratch).unwrap();
        for linkage in ["+crt-static", "-crt-static"] {
            let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/pid1.rs");
            let age = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
            if age(&scratch.join(linkage)).is_some_and(|made| age(&source).is_none_or(|written| written < made)) {
                continue;
            }
            // A directory of its own: the compiler calls its intermediate files after the program.
            let own = scratch.join(std::process::id().to_string());
            fs::create_dir_all(&own).unwrap();
            let building = own.join(linkage);
            let mut command = Command::new(rustc);
            command.args([
                "--edition",
                "2024",
                "-O",
                "-C",
                "strip=symbols",
                "-C",
                &format!("target-feature={linkage}"),
            ]);
            let made = command.arg("-o").arg(&building).arg(source).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            // Another run of these tests may be using the one that is there.
            fs::rename(building, scratch.join(linkage)).unwrap();
            let _ = fs::remove_dir_all(own);
        }
        scratch
    });
    scratch.join(linkage)
}

pub(crate) fn root_only() {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    assert!(is_root, "these tests make mounts, namespaces and cgroups: run them as root");
}

/// A device and what it is made of; stopped with it.
pub(crate) struct World {
    scratch: TempDir,
    running: Option<Child>,
}

impl World {
    /// What a device will be made of: the fixture in every revision, and an order for each role.
    pub(crate) fn new(orders: &[(&str, &str)]) -> Self {
        root_only();
        let scratch = tempfile::Builder::new().prefix("cairn-host-").tempdir().unwrap();
        let world = Self { scratch, running: None };
        let storage = world.storage();
        fs::create_dir_all(storage.join("objects")).unwrap();
        fs::create_dir_all(storage.join("orders")).unwrap();
        for revision in ["0", "1"] {
            let program = storage.join("trails").join(revision).join(PROGRAM);
            fs::create_dir_all(program.parent().unwrap()).unwrap();
            fs::copy(fixture("+crt-static"), program).unwrap();
        }
        for (role, order) in orders {
            fs::write(storage.join("orders").join(role), order).unwrap();
        }
        let trial = Trial { revision: RevisionId::parse("1").unwrap(), max: 3, issued: 0 };
        let zero = RevisionId::factory();
        let wanted =
            Wanted { nonce: 2, default: zero.clone(), previous: None, factory: Some(zero), trial: Some(trial) };
        let mut cell = [0; 512];
        Codec::encode_wanted(&wanted, &mut cell).unwrap();
        fs::write(storage.join("orders/wanted"), cell).unwrap();
        fs::write(world.path("key.pem"), "-----BEGIN PUBLIC KEY-----\n").unwrap();
        world
    }

    /// A device that is created.
    pub(crate) fn made(orders: &[(&str, &str)]) -> Self {
        let world = Self::new(orders);
        let made = world.create();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        world
    }

    pub(crate) fn dynamic(&self) -> PathBuf {
        fixture("-crt-static")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn storage(&self) -> PathBuf {
        self.path("storage")
    }

    pub(crate) fn device(&self) -> PathBuf {
        self.path("device")
    }

    pub(crate) fn create(&self) -> Output {
        let mut command = Command::new(TOOL);
        command.arg("create").arg(self.device()).args(["--line", "lamp", "--size", "32M", "--storage"]);
        command.arg(self.storage()).arg("--trust").arg(self.path("key.pem")).output().unwrap()
    }

    pub(crate) fn tool(&self, command: &str, arguments: &[&str]) -> Output {
        Command::new(TOOL).arg(command).arg(self.device()).args(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(TOOL);
        command.arg("run").arg(self.device()).arg("--events").arg(self.path("events")).args(arguments);
        command.stderr(Stdio::piped());
        command
    }

    /// Runs the device to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the device until it is told to end.
    pub(crate) fn start(&mut self, arguments: &[&str]) {
        self.running = Some(self.command(arguments).stderr(Stdio::null()).spawn().unwrap());
    }

    /// Whether the stand-in ended well; waits for it.
    pub(crate) fn ended(&mut self) -> bool {
        self.running.take().unwrap().wait().unwrap().success()
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("events")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until as many events of this name are there, and returns the last.
    pub(crate) fn wait_for(&self, event: &str, count: usize) -> Value {
        let start = Instant::now();
        loop {
            let events = self.events();
            let mut seen = events.iter().filter(|seen| seen["event"] == event);
            if let Some(found) = seen.nth(count - 1) {
                return found.clone();
            }
            assert!(start.elapsed() < PATIENCE, "no {event} number {count}: {events:#?}");
            sleep(Duration::from_millis(10));
        }
    }

    /// One member of each event of this name.
    pub(crate) fn all(&self, event: &str, member: &str) -> Vec<Value> {
        self.events().iter().filter(|seen| seen["event"] == event).map(|seen| seen[member].clone()).collect()
    }

    /// What was ever said to the boots that came up.
    pub(crate) fn marks(&self) -> Vec<bool> {
        let words = self.all("fixture", "words");
        words.iter().map(|words| words.as_array().unwrap().contains(&"cairn.mark".into())).collect()
    }

    /// What is left of the device on this host.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        let image = self.device().join("storage.img");
        let path = self.path("").to_string_lossy().trim_end_matches('/').to_owned();
        for device in fs::read_dir("/sys/block").unwrap().flatten() {
            let backing = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            if Path::new(backing.trim_end()) == image {
                left.push(format!("loop device {:?}", device.file_name()));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(&path)).map(|line| format!("mount {line}")));
        left.extend(groups(Path::new("/sys/fs/cgroup"), &self.instance()));
        if self.device().join("state").exists() {
            left.push("state".to_owned());
        }
        left
    }

    /// The name of the device's group, which `status` tells while it runs; its end is told apart by the path.
    fn instance(&self) -> String {
        let hash = self
            .device()
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
        format!("cairn-host-device-{:08x}", hash >> 32)
    }
}

/// Groups of this name in any tree.
fn groups(tree: &Path, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(tree).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy() == name {
                found.push(format!("cgroup {}", entry.path().display()));
            }
            found.extend(groups(&entry.path(), name));
        }
    }
    found
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // A test that failed half-way must not leave a device behind.
            let _ = self.tool("stop", &[]);
            let _ = running.kill();
            let _ = running.wait();
        }
    }
}
