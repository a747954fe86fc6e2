//! What modules are loaded for whom, in which order, and what is told of it.

use std::ffi::CString;
use std::path::Path;
use std::sync::{Arc, Mutex};

use formats::drivers_json::{Aliases, Board};
use formats::metadata::Metadata;

use super::*;

/// A kernel in memory: what is there, and what was done, in order.
#[derive(Clone, Default, Debug)]
struct Fake(Arc<Mutex<(BTreeSet<String>, Vec<String>)>>);

impl Kernel for Fake {
    fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap().0.contains(name)
    }

    fn insert(&mut self, file: &Path, parameters: &CString, _: bool) -> Result<(), Errno> {
        let mut kernel = self.0.lock().unwrap();
        let name = formats::modules::name_of(file.to_str().unwrap());
        if name == "broken" {
            return Err(Errno::NODEV);
        }
        kernel.1.push(format!("+{name} {}", parameters.to_str().unwrap()).trim_end().to_owned());
        kernel.0.insert(name);
        Ok(())
    }

    fn remove(&mut self, name: &CString) -> Result<(), Errno> {
        let mut kernel = self.0.lock().unwrap();
        let name = name.to_str().unwrap();
        if name == "busy" {
            return Err(Errno::AGAIN);
        }
        kernel.1.push(format!("-{name}"));
        kernel.0.remove(name);
        Ok(())
    }
}

struct World {
    _dir: tempfile::TempDir,
    kernel: Fake,
    drivers: Drivers<Fake>,
    aliases: Aliases,
    remarks: Remarks,
}

fn world(there: &[&str]) -> World {
    let dir = tempfile::tempdir().unwrap();
    let modules = "core.ko:\nwifi.ko: core.ko\nbt.ko: core.ko\nbroken.ko: core.ko\nbusy.ko:\nled.ko:\n";
    std::fs::write(dir.path().join("modules.dep"), modules).unwrap();
    let kernel = Fake::default();
    kernel.0.lock().unwrap().0.extend(there.iter().map(|name| (*name).to_owned()));
    let text = r#"{"all":{"wifi":["wifi country=${user-meta:country} debug=1","led"],"bt":["bt"],"bad":["led","broken"],
        "set":["wifi band=${device-meta:band}"],"busy":["busy"],"built":[]},"ovl:cam":{"cam":["cam"]}}"#;
    World {
        drivers: Drivers::new(
            Modprobe::new(dir.path().to_owned(), String::new(), kernel.clone()),
            Box::new(|of, key| (of == Metadata::Device && key == "band").then(|| "5GHz".to_owned())),
        ),
        aliases: Aliases::parse(text, &mut Vec::new()).unwrap(),
        kernel,
        _dir: dir,
        remarks: Remarks::new(),
    }
}

impl World {
    fn driver(&self, name: &str, wish: Wish) -> Driver {
        let entries = self.aliases.on(&Board::default(), name).ok_or_else(|| "not this board".to_owned());
        Driver { name: name.to_owned(), wish, entries }
    }

    fn settle(&mut self, container: &str, drivers: &[(&str, Wish)]) -> Result<(), String> {
        let drivers: Vec<_> = drivers.iter().map(|(name, wish)| self.driver(name, *wish)).collect();
        self.drivers.settle(container, &drivers, &mut self.remarks)
    }

    fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.kernel.0.lock().unwrap().1)
    }
}

#[test]
fn a_driver_goes_in_reverse_and_with_the_last_container_that_holds_it() {
    let mut world = world(&[]);
    world.settle("a", &[("wifi", Wish::Required)]).unwrap();
    assert_eq!(world.done(), ["+core", "+wifi debug=1", "+led"]);
    world.settle("b", &[("wifi", Wish::Optional)]).unwrap();
    world.drivers.release("a", &mut world.remarks);
    world.drivers.release("a", &mut world.remarks);
    assert_eq!(world.done(), Vec::<String>::new());
    assert!(world.drivers.is_loaded("wifi"));
    world.drivers.release("b", &mut world.remarks);
    assert_eq!(world.done(), ["-led", "-wifi", "-core"]);
    assert!(!world.drivers.is_loaded("wifi"));
}

#[test]
fn an_option_without_its_metadata_is_left_out_and_told() {
    let mut world = world(&[]);
    world.settle("a", &[("wifi", Wish::Required)]).unwrap();
    let [remark] = &world.remarks[..] else { panic!("{:?}", world.remarks) };
    assert!(remark.starts_with("driver wifi: module wifi: option country=${user-meta:country}: "), "{remark}");
}

#[test]
fn an_option_has_the_value_of_its_metadata() {
    let mut world = world(&[]);
    world.settle("a", &[("set", Wish::Required)]).unwrap();
    assert_eq!(world.done(), ["+core", "+wifi band=5GHz"]);
    assert!(world.remarks.is_empty(), "{:?}", world.remarks);
}

#[test]
fn a_module_that_another_driver_needs_or_that_was_there_before_stays() {
    let mut world = world(&["led"]);
    world.settle("a", &[("wifi", Wish::Required)]).unwrap();
    world.settle("b", &[("bt", Wish::Required)]).unwrap();
    assert_eq!(world.done(), ["+core", "+wifi debug=1", "+bt"]);
    world.drivers.release("a", &mut world.remarks);
    assert_eq!(world.done(), ["-wifi"]);
    world.drivers.release("b", &mut world.remarks);
    assert_eq!(world.done(), ["-bt", "-core"]);
}

#[test]
fn what_is_required_and_fails_is_one_sentence_and_leaves_nothing() {
    let mut world = world(&[]);
    let why = world.settle("a", &[("bad", Wish::Required)]).unwrap_err();
    assert!(
        why.starts_with("driver bad: module broken: the kernel does not take ") && why.ends_with("is not there"),
        "{why}"
    );
    assert_eq!(world.done(), ["+led", "+core", "-core", "-led"]);
    assert!(!world.drivers.is_loaded("bad"));
    let why = world.settle("a", &[("cam", Wish::Required)]).unwrap_err();
    assert_eq!(why, "driver cam: not this board");
}

#[test]
fn what_is_optional_and_fails_is_told_and_what_is_manual_waits_to_be_asked_for() {
    let mut world = world(&[]);
    world.settle("a", &[("bad", Wish::Optional), ("bt", Wish::Manual), ("busy", Wish::Optional)]).unwrap();
    assert!(world.remarks[0].contains("driver bad: module broken"), "{:?}", world.remarks);
    assert!(world.drivers.is_loaded("busy") && !world.drivers.is_loaded("bt"));
    let bt = world.driver("bt", Wish::Manual);
    world.drivers.load("a", &bt, &mut world.remarks).unwrap();
    // Started anew, it keeps what it holds, and lets go of what it does not declare any more.
    world.done();
    world.settle("a", &[("bt", Wish::Manual)]).unwrap();
    assert!(world.drivers.is_loaded("bt") && !world.drivers.is_loaded("busy"));
    assert_eq!(world.remarks.last().map(String::as_str), Some("module busy stays loaded: it is in use"));
    world.drivers.unload("a", "bt", &mut world.remarks);
    assert_eq!(world.done(), ["-bt", "-core"]);
}

#[test]
fn a_module_that_stayed_is_still_ours() {
    let mut world = world(&[]);
    world.settle("a", &[("busy", Wish::Required)]).unwrap();
    world.drivers.release("a", &mut world.remarks);
    world.settle("a", &[("busy", Wish::Required)]).unwrap();
    assert_eq!(world.done(), ["+busy"]);
    assert!(world.drivers.ours.contains("busy"));
}

#[test]
fn only_who_holds_a_driver_gives_it_up() {
    let mut world = world(&[]);
    world.settle("a", &[("bt", Wish::Required), ("built", Wish::Required)]).unwrap();
    world.drivers.unload("b", "bt", &mut world.remarks);
    assert!(world.drivers.is_loaded("bt") && world.drivers.is_loaded("built"));
}
