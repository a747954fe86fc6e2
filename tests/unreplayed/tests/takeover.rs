//! A device as the reference system leaves it, taken over: on a real ext4, with firmware that reads by GRUB's own reader.
//!
//! ```text
//!   storage of the reference   pv_rev=5 pv_try=6, and 6 is a Cairn      no journal of ours, a uboot.txt of 64 KiB
//!   loader ── words ──▶ boards::open ──▶ Driver ── orders ──▶ here      until it asks for a reboot, or rests
//!      ▲──────────────── power goes, always: nothing is unmounted ─────────┘
//! ```
//!
//! The loader does what the script of the reference does. It is the only one that knows `pv_trying`, which U-Boot keeps on a
//! partition of its own and GRUB in `grubenv`. At each boot it sees the image, and never the mounted file system.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops where it fails")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use board_takeover_grub::TakeoverGrub;
use board_takeover_uboot::TakeoverUboot;
use boards_api::media::Files as _;
use boards_api::takeover::{Env, FOREIGN_MAX, Text as _, UbootTxt, refit};
use boards_api::{Board as _, BootEnv as _};
use formats::compatible::Fit;
use formats::object::ObjectId;
use formats::verify::Mode;
use init::boards::{self, AnyBoard, Questions, Storage};
use init::driver::{Driver, Hands};
use init::holdings::Holdings;
use init::recovery::Addressing;
use init::settings::Settings;
use media::directory::Directory;
use statemachine::boot::{Trial, Wanted};
use statemachine::container::Span;
use statemachine::ids::RevisionId;
use statemachine::journal::Transition;
use statemachine::limits::Limits;
use statemachine::update::{Effect, Event, Evicts, Machine, Phase, Plan, Running, State};
use unreplayed::{Image, Recipe};

const BOARDS: &[AnyBoard] = &[AnyBoard::of::<TakeoverUboot>(), AnyBoard::of::<TakeoverGrub>()];

/// Which bootloader a device has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loader {
    Uboot,
    Grub,
}

impl Loader {
    fn board(self) -> &'static str {
        match self {
            Self::Uboot => "takeover-uboot",
            Self::Grub => "takeover-grub",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Uboot => "boot/uboot.txt",
            Self::Grub => "boot/grubenv",
        }
    }
}

/// A device: what it stores, and what a U-Boot has noted beside it.
struct Device {
    name: String,
    loader: Loader,
    image: Image,
    /// `pv.env`.
    noted: Option<String>,
    cuts: usize,
}

fn id(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The state of a revision whose kernel and initramfs say its name, and its objects.
fn state(name: &str) -> (String, Vec<(ObjectId, Vec<u8>)>) {
    let objects = ["kernel", "initrd"].map(|what| format!("{what} of {name}\n").into_bytes());
    let objects = objects.map(|bytes| (ObjectId::of(&bytes), bytes));
    let state = format!(
        r##"{{"#spec":"pantavisor-service-system@1","bsp/kernel.img":"{}","bsp/pantavisor":"{}","bsp/run.json":{{"initrd":"pantavisor","linux":"kernel.img"}}}}"##,
        objects[0].0, objects[1].0
    );
    (state, objects.into())
}

/// What the reference writes of a revision: objects, links to them, the links that boot, and its reports.
fn staged_by_the_reference(storage: &Path, name: &str, progress: &str) {
    let (state, objects) = state(name);
    let trail = storage.join("trails").join(name);
    put(&trail.join(".pvr/json"), state.as_bytes());
    put(&trail.join(".pvr/config"), br#"{"ObjectsDir":"/storage/objects"}"#);
    put(&trail.join(".pv/progress"), progress.as_bytes());
    fs::create_dir_all(trail.join("bsp")).unwrap();
    put(&trail.join("bsp/run.json"), br#"{"initrd":"pantavisor","linux":"kernel.img"}"#);
    for ((object, bytes), (file, boots)) in
        objects.iter().zip([("bsp/kernel.img", ".pv/pv-kernel.img"), ("bsp/pantavisor", ".pv/pv-initrd.img")])
    {
        let held = storage.join("objects").join(object.to_string());
        put(&held, bytes);
        fs::hard_link(&held, trail.join(file)).unwrap();
        fs::hard_link(&held, trail.join(boots)).unwrap();
    }
}

impl Device {
    /// A device of the reference that runs 5, was updated from 4, and has been asked to try 6.
    fn of_the_reference(name: &str, loader: Loader) -> Self {
        let image = Image::mounted(name, Recipe::default()).unwrap();
        let storage = image.directory();
        for (name, progress) in [("0", "DONE"), ("4", "DONE"), ("5", "DONE"), ("6", "INPROGRESS")] {
            staged_by_the_reference(storage, name, &format!(r#"{{"status":"{progress}","progress":0}}"#));
        }
        put(&storage.join("trails/5/.pv/done"), b"");
        symlink("5", storage.join("trails/current")).unwrap();
        put(&storage.join("config/pantahub.config"), b"PH_CREDS_ID=1\n");
        put(&storage.join("disks/perm/app/data/count"), b"7");
        put(&storage.join("logs/5/pantavisor/pantavisor.log"), b"a line\n");
        let device = Self { name: name.to_owned(), loader, noted: None, cuts: 0, image };
        device.write("pv_rev=5", "pv_try=6");
        Directory::open(device.image.directory()).unwrap().checkpoint().unwrap();
        device
    }

    fn storage(&self) -> PathBuf {
        self.image.directory().to_owned()
    }

    /// The boot file as the reference writes it.
    fn write(&self, rev: &str, tried: &str) {
        let file = match self.loader {
            Loader::Uboot => {
                let mut file = format!("fdtfile=a.dtb\0{rev}\0{tried}\0").into_bytes();
                file.resize(64 << 10, 0);
                file
            }
            Loader::Grub => {
                let mut file = format!("# GRUB Environment Block\n{rev}\n{tried}\n").into_bytes();
                file.resize(1024, b'#');
                file
            }
        };
        put(&self.storage().join(self.loader.file()), &file);
    }

    /// What the bootloader reads of its variables.
    fn vars(&self) -> BTreeMap<String, String> {
        let file = self.image.unreplayed(self.loader.file()).unwrap();
        let list: Vec<_> = match self.loader {
            Loader::Uboot => file.split(|byte| *byte == 0).take_while(|entry| !entry.is_empty()).collect(),
            Loader::Grub => file.split(|byte| *byte == b'\n').collect(),
        };
        let entry = |entry: &&[u8]| {
            let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        list.iter().filter_map(entry).collect()
    }

    /// `pv_rev`, `pv_try`: what the reference's script goes by.
    fn asks(&self) -> (String, String) {
        let vars = self.vars();
        (vars["pv_rev"].clone(), vars.get("pv_try").cloned().unwrap_or_default())
    }

    /// Notes what is tried, or nothing, as the bootloader does.
    fn note(&mut self, tried: Option<&str>) {
        self.noted = tried.map(str::to_owned);
        if self.loader == Loader::Uboot {
            return;
        }
        // GRUB overwrites the blocks that the file has, below the file system.
        let before = self.image.unreplayed(self.loader.file()).unwrap();
        let beside = self.image.image().with_file_name("noted");
        fs::write(&beside, &before).unwrap();
        let mut edit = Command::new("grub-editenv");
        edit.arg(&beside);
        match tried {
            Some(tried) => edit.args(["set", &format!("pv_trying={tried}")]),
            None => edit.args(["unset", "pv_trying"]),
        };
        assert!(edit.status().unwrap().success());
        let image = fs::read(self.image.image()).unwrap();
        let at: Vec<_> = image.chunks(1024).enumerate().filter(|(_, block)| *block == before).collect();
        assert_eq!(at.len(), 1, "the block is on the disk once");
        let disk = fs::File::options().write(true).open(self.image.image()).unwrap();
        disk.write_all_at(&fs::read(&beside).unwrap(), at[0].0 as u64 * 1024).unwrap();
    }

    /// The script: which revision is started, and what its kernel is told.
    fn script(&mut self) -> (String, String) {
        let (rev, tried) = self.asks();
        let noted = match self.loader {
            Loader::Uboot => self.noted.clone(),
            Loader::Grub => self.vars().get("pv_trying").cloned(),
        };
        let starts = if tried.is_empty() {
            rev
        } else if noted.as_ref() == Some(&tried) {
            self.note(None);
            rev
        } else {
            self.note(Some(&tried));
            tried.clone()
        };
        for file in ["kernel", "initrd"] {
            let bytes = self.image.unreplayed(&format!("trails/{starts}/.pv/pv-{file}.img")).unwrap();
            assert_eq!(String::from_utf8(bytes).unwrap(), format!("{file} of {starts}\n"));
        }
        let words = format!("console=ttyS0 panic=3 pv_try={tried} pv_rev={starts} panic=2 pv_quickboot");
        (starts, words)
    }

    /// Power goes, and comes back: what the disk holds, after a replay by Linux.
    fn cut(&mut self) {
        self.cuts += 1;
        let name = format!("{}-{}", self.name, self.cuts);
        self.image = self.image.after_a_cut(&name).unwrap();
    }

    /// Firmware and one boot of Cairn, which is offered `offer` at rest, and whose goals are missed if `good` is not set. What it
    /// was started as, and where it has ended; then power goes.
    fn boot(&mut self, offer: Option<&str>, good: bool) -> (String, Machine) {
        // The firmware sees what a cut has left, before anybody replays it.
        let (starts, words) = self.script();
        self.cut();
        let machine = self.cairn(&words, offer, good);
        (starts, machine)
    }

    fn cairn(&self, words: &str, offer: Option<&str>, good: bool) -> Machine {
        let storage = self.storage();
        let settings = settings(self.loader.board(), words);
        let holdings = Holdings::open(&storage, settings.clone()).unwrap();
        let questions = Questions {
            holds: &|id| holdings.trails.load(id).is_ok(),
            verifies: &|id| holdings.candidate(id).is_ok(),
            marked: false,
        };
        let place = Storage { directory: &storage, device: None };
        let opened = boards::open(BOARDS, &settings, place, &questions).unwrap_or_else(|why| panic!("{why}"));
        let Running::Revision(running) = &opened.boot.running else { panic!("recovery") };
        holdings.candidate(running).unwrap();
        let (mut flash, mut driver) = (opened.flash, Driver::new(Limits::FIELD));
        let mut hands = Queue::default();
        let mut offer = offer.map(|name| {
            let what = statemachine::journal::Known { revision: id(name), digest: Some(digest(name)) };
            Event::Proposed { plan: Plan { what, by: Transition::Reboot }, retry: false }
        });
        let mut next = Some(Event::Booted(opened.boot.clone()));
        for _ in 0..100 {
            let Some(event) = next.take() else { return driver.machine().clone() };
            driver.take(event, &mut flash, &mut hands);
            while let (None, Some(order)) = (&next, hands.0.pop_front()) {
                next = match order {
                    Effect::Reboot { .. } => return driver.machine().clone(),
                    Effect::Fetch(_) => Some(Event::Fetched),
                    Effect::Verify(_) => Some(Event::Verified),
                    Effect::Stage(id) => {
                        let (state, objects) = state(id.as_str());
                        for (id, bytes) in &objects {
                            holdings.objects.put(*id, &mut bytes.as_slice(), 1 << 20).unwrap();
                        }
                        holdings.receive(&id, state.as_bytes(), None).unwrap();
                        Some(Event::Staged(Evicts::default()))
                    }
                    Effect::Place(_) => Some(Event::Placed),
                    Effect::Watch => Some(if good { Event::GoalsMet } else { Event::GoalMissed }),
                    Effect::Soak => Some(Event::Soaked),
                    _ => None,
                };
            }
            if next.is_none() && matches!(driver.machine().state(), State::Idle) {
                next = offer.take();
            }
        }
        panic!("it never comes to rest: {:?}", driver.machine().state());
    }

    /// Every file of the storage.
    fn files(&self) -> BTreeSet<PathBuf> {
        fn walk(dir: &Path, found: &mut BTreeSet<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), found);
                } else {
                    found.insert(entry.path());
                }
            }
        }
        let (root, mut found) = (self.storage(), BTreeSet::new());
        walk(&root, &mut found);
        found.iter().map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect()
    }
}

#[derive(Default)]
struct Queue(VecDeque<Effect>);

impl Hands for Queue {
    fn carry_out(&mut self, order: Effect, _: &Machine) {
        self.0.push_back(order);
    }

    fn took(&mut self, _: &Event, _: &Machine) {}

    fn failed(&mut self, order: &Effect, error: &dyn core::fmt::Display) {
        panic!("{order:?}: {error}");
    }
}

fn digest(name: &str) -> statemachine::ids::Digest {
    statemachine::ids::Digest(*ObjectId::of(state(name).0.as_bytes()).as_bytes())
}

fn settings(board: &str, words: &str) -> Settings {
    Settings {
        board: formats::drivers_json::Board::default(),
        drivers_early: false,
        remount_policy: None,
        fit: Fit::parse(&format!("{board}/demo")).unwrap(),
        signatures: Mode::Disabled,
        commit_delay: Duration::ZERO,
        endpoint: "127.0.0.1:1".parse().unwrap(),
        recovery: Addressing::Off,
        storage: None,
        storage_wait: Duration::ZERO,
        stop_timeout: Span::seconds(5),
        hook_time: Duration::from_secs(30),
        bootloader: None,
        watchdog: None,
        trace: None,
        limits: Limits::FIELD,
        words: words.to_owned(),
        remarks: Vec::new(),
    }
}

fn asks(rev: &str, tried: &str) -> (String, String) {
    (rev.to_owned(), tried.to_owned())
}

#[test]
fn a_device_of_the_reference_is_taken_over_by_an_update_and_then_takes_updates() {
    for loader in [Loader::Uboot, Loader::Grub] {
        let mut device = Device::of_the_reference(&format!("takeover-{loader:?}"), loader);
        let before = device.files();
        // The reference has armed 6. Its first boot is the trial, with no journal and a file in another form.
        let (starts, machine) = device.boot(None, true);
        assert_eq!((starts.as_str(), machine.phase()), ("6", Some(Phase::Committed)), "{loader:?}");
        assert_eq!(device.asks(), asks("6", ""), "{loader:?}: what the script goes by");
        let lost: Vec<_> = before.difference(&device.files()).cloned().collect();
        assert_eq!(lost, [] as [PathBuf; 0], "{loader:?}: nothing is swept before it is known what counts");
        assert!(!machine.may_sweep(), "{loader:?}: nor later in this boot");

        // A good update: tried at the next boot, then the default.
        let (starts, _) = device.boot(Some("7"), true);
        assert_eq!((starts.as_str(), device.asks()), ("6", asks("6", "7")), "{loader:?}");
        let (starts, machine) = device.boot(None, true);
        assert_eq!((starts.as_str(), machine.phase()), ("7", Some(Phase::Committed)), "{loader:?}");
        assert_eq!(device.asks(), asks("7", ""), "{loader:?}");

        // A bad one: tried, given up, and never tried again, however often the device boots.
        let (starts, _) = device.boot(Some("8"), true);
        assert_eq!((starts.as_str(), device.asks()), ("7", asks("7", "8")), "{loader:?}");
        let (starts, _) = device.boot(None, false);
        assert_eq!(starts, "8", "{loader:?}");
        let (starts, machine) = device.boot(None, true);
        assert_eq!((starts.as_str(), machine.phase()), ("7", Some(Phase::RolledBack)), "{loader:?}");
        assert_eq!(device.asks(), asks("7", ""), "{loader:?}");
        assert_eq!(device.boot(None, true).0, "7", "{loader:?}");
        if loader == Loader::Uboot {
            assert_eq!(device.vars()["fdtfile"], "a.dtb", "what belongs to others stays");
        }
    }
}

#[test]
fn a_takeover_that_fails_leaves_the_device_to_the_reference() {
    for loader in [Loader::Uboot, Loader::Grub] {
        // It dies before it has decided anything; or its containers do not come up.
        for dies in [true, false] {
            let mut device = Device::of_the_reference(&format!("failed-{loader:?}-{dies}"), loader);
            if dies {
                let (starts, _) = device.script();
                assert_eq!(starts, "6");
                device.cut();
            } else {
                assert_eq!(device.boot(None, false).0, "6");
            }
            let (starts, words) = device.script();
            assert_eq!(starts, "5", "{loader:?}: {words}");
            let (rev, _) = device.asks();
            assert_eq!(rev, "5", "{loader:?}");
        }
    }
}

#[test]
fn a_device_whose_default_is_a_cairn_already_keeps_it_as_its_default() {
    let mut device = Device::of_the_reference("default", Loader::Uboot);
    device.write("pv_rev=6", "pv_try=");
    Directory::open(device.image.directory()).unwrap().checkpoint().unwrap();
    let (starts, machine) = device.boot(None, true);
    assert_eq!((starts.as_str(), machine.running()), ("6", &Running::Revision(id("6"))));
    assert_eq!(machine.journal().header.default.revision, id("6"));
    assert_eq!(device.asks(), asks("6", ""));
}

/// As the reference replaces its file, synced: emptied, written, and the directory after it.
fn rewritten(image: &Image, bytes: &[u8]) {
    let file = fs::File::create(image.directory().join("uboot.txt")).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_all().unwrap();
    fs::File::open(image.directory()).unwrap().sync_all().unwrap();
}

#[test]
fn what_the_reference_writes_is_not_seen_without_a_barrier_and_what_a_cell_stores_is_seen_at_once() {
    let image = Image::mounted("seen", Recipe::default()).unwrap();
    let mut boot = Directory::open(image.directory()).unwrap();
    let txt = |rev: usize| {
        let mut file = format!("pv_rev={rev}\0pv_try=\0").into_bytes();
        file.resize(FOREIGN_MAX, 0);
        file
    };
    rewritten(&image, &txt(0));
    boot.checkpoint().unwrap();
    // Somebody else's `sync` may come in between, so it is asked more than once.
    let unseen = (1..6).find(|rev| {
        rewritten(&image, &txt(*rev));
        image.unreplayed("uboot.txt").unwrap() != txt(*rev)
    });
    let rev = unseen.expect("this kernel brings a rewritten file home without a barrier, so this proves nothing");
    boot.checkpoint().unwrap();
    assert_eq!(image.unreplayed("uboot.txt").unwrap(), txt(rev), "the barrier brings it home");

    let shared = TakeoverUboot::SHARES.unwrap();
    assert_eq!(refit(&mut boot, &shared, &mut vec![0; FOREIGN_MAX]), Ok(true));
    assert_eq!(image.unreplayed("uboot.txt").unwrap(), txt(rev)[..shared.length]);
    assert_eq!(refit(&mut boot, &shared, &mut vec![0; FOREIGN_MAX]), Ok(false));
    let mut env = Env::<_, UbootTxt>::new(boot);
    for nonce in 1..9 {
        let trial = Some(Trial { revision: id(&format!("locals/next-{nonce}")), max: 1, issued: 0 });
        let wanted = Wanted { nonce, default: id("5"), previous: None, factory: Some(id("0")), trial };
        env.store(&wanted).unwrap();
        let seen = image.unreplayed("uboot.txt").unwrap();
        assert_eq!(UbootTxt::read(&seen).unwrap().0, wanted);
    }
}
