//! The jump itself: FIT images made by `mkimage`, in slots, started by the script of `generic-uboot-ab` with its own `bootm`.
//!
//! ```text
//!   slot      label ── FIT ┬ kernel   says its name and the words that it was given, then resets
//!                          ├ ramdisk  some bytes
//!                          └ fdt      a device tree with nothing in it but the name of the machine
//! ```
//!
//! What has a wrong hash is not started: that boot is spent and ends in a reset, and the next one goes on along the list. Nothing
//! of the script is stubbed here. As in [`slots`](mod@super::slots), this U-Boot has one environment, so cells and labels have no flag.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use boards_api::board::Role;
use boards_api::uboot_slots::{FIT_AT, LABELS_AT};
use formats::bootenv::label;

use super::disk::{Bench, Medium, run};
use super::session::{Fault, Session, planted};
use super::slots::{SLOTS, SUBJECT};
use super::{HEAD, copy, spent, wish};
use crate::cases::{World, revision};
use crate::jobs::{Findings, Job};
use crate::report::{Control, Row};

/// The parts of an image, by what their bytes begin with.
const PARTS: [&str; 3] = ["kernel", "ramdisk", "fdt"];

/// A kernel for a machine with a PL011 at 0x0900_0000 and PSCI, behind the 64 bytes that every one for arm64 begins with.
const CODE: [u32; 27] = [
    0xaa00_03e1, //    mov  x1, x0                 the device tree
    0xd2a1_2002, //    mov  x2, #0x09000000        the UART
    0x1000_0327, //    adr  x7, name
    0x3840_14e3, // 1: ldrb w3, [x7], #1           says its name
    0x3400_0063, //    cbz  w3, 2f
    0xb900_0043, //    str  w3, [x2]
    0x17ff_fffd, //    b    1b
    0x528d_ec65, // 2: mov  w5, "cons"             finds the words in the tree: a value begins at a multiple of 4
    0x72ae_6dc5, //
    0x528d_8de6, //    mov  w6, "ole="
    0x72a7_aca6, //
    0xb840_4423, // 3: ldr  w3, [x1], #4
    0xb940_0024, //    ldr  w4, [x1]
    0x6b05_007f, //    cmp  w3, w5
    0x7a46_0080, //    ccmp w4, w6, #0, eq
    0x54ff_ff81, //    b.ne 3b
    0xd100_1021, //    sub  x1, x1, #4
    0x3840_1423, // 4: ldrb w3, [x1], #1           says them
    0x3400_0063, //    cbz  w3, 5f
    0xb900_0043, //    str  w3, [x2]
    0x17ff_fffd, //    b    4b
    0x5280_0143, // 5: mov  w3, #'\n'
    0xb900_0043, //    str  w3, [x2]
    0x5280_0120, //    mov  w0, SYSTEM_RESET
    0x72b0_8000, //
    0xd400_0002, //    hvc  #0
    0x1400_0000, // 6: b    6b
];

/// A case: which part of which slot's image is damaged, and how often each entry of the list was tried before.
struct Case {
    name: &'static str,
    damaged: [Option<&'static str>; 2],
    trial: u8,
    boots: u8,
    /// What each boot from here on starts; nothing for one that is spent.
    starts: &'static [Option<(&'static str, &'static str)>],
}

const WRONG: &[(&str, Fault)] = &[(
    "starts images without a look at their hashes",
    ("setenv cairn_start bootm", "setenv verify n; setenv cairn_start bootm"),
)];

const A: Option<(&str, &str)> = Some(("slot-a", "cairn.role=previous cairn.slot=a"));
const B: Option<(&str, &str)> = Some(("slot-b", "cairn.role=default cairn.slot=b"));
const LAST: Option<(&str, &str)> = Some(("recovery", "cairn.role=recovery"));

const CASES: &[Case] = &[
    Case { name: "a sound image", damaged: [None; 2], trial: 0, boots: 0, starts: &[B] },
    Case {
        name: "a kernel with a wrong hash",
        damaged: [None, Some("kernel")],
        trial: 0,
        boots: 1,
        starts: &[None, None, A],
    },
    Case {
        name: "an initramfs with a wrong hash",
        damaged: [None, Some("ramdisk")],
        trial: 0,
        boots: 2,
        starts: &[None, A],
    },
    Case {
        name: "a device tree with a wrong hash",
        damaged: [None, Some("fdt")],
        trial: 0,
        boots: 2,
        starts: &[None, A],
    },
    Case { name: "no image behind a label", damaged: [None, Some("all")], trial: 0, boots: 2, starts: &[None, A] },
    Case { name: "a trial with a wrong hash", damaged: [Some("kernel"), None], trial: 1, boots: 0, starts: &[None, B] },
    Case {
        name: "no slot with a sound image",
        damaged: [Some("ramdisk"), Some("kernel")],
        trial: 0,
        boots: 8,
        starts: &[None, LAST],
    },
];

/// Every case, and the planted script.
pub(crate) fn jobs() -> Vec<Job> {
    let session = || {
        let mut scripts = vec![SUBJECT.script.concat()];
        for (_, fault) in WRONG {
            scripts.push(planted(&SUBJECT.script.concat(), &[*fault])?);
        }
        let bench = Bench::make(&SUBJECT, &[].into(), World::SOUND, &scripts, None)?;
        let images = [image("slot-a")?, image("slot-b")?];
        bench.put(Role::Recovery, 0, &image("recovery")?)?;
        let mut session = Session::begin(bench.plan(SUBJECT.kind, Medium::Sound)?, SUBJECT.find, "", bench)?;
        let found = differences(&mut session, 0, &images, CASES)?;
        let boots = CASES.iter().map(|case| case.starts.len()).sum();
        let rows = vec![Row { name: "images that bootm starts", cases: CASES.len(), boots, differences: found }];
        let mut controls = Vec::new();
        for (index, (name, _)) in WRONG.iter().enumerate() {
            let found = differences(&mut session, index + 1, &images, CASES.get(1..2).unwrap_or_default())?;
            controls.push(Control { name, differences: found.len() });
        }
        session.end()?;
        Ok(Findings { rows, controls, ..Findings::default() })
    };
    vec![Job::new(SUBJECT.name, "images", CASES.len(), session)]
}

fn differences(session: &mut Session, script: usize, images: &[Vec<u8>; 2], cases: &[Case]) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    for case in cases {
        let bench = session.bench();
        let wanted = wish(8, case.trial);
        bench.put_wanted(&[copy(&wanted), copy(&wanted)].concat())?;
        bench.put(Role::Spent, 0, &spent(8, case.boots))?;
        let first = if case.trial > 0 { "locals/next" } else { "locals/was" };
        let slots = SLOTS.into_iter().zip([first, "locals/now"]).zip(images.iter().zip(case.damaged));
        for ((role, holds), (image, damaged)) in slots {
            let sector = label::encode(&[revision(holds)], HEAD)?;
            LABELS_AT.into_iter().try_for_each(|at| bench.put(role, at, &sector))?;
            bench.put(role, FIT_AT, &spoilt(image, damaged)?)?;
        }
        for (number, starts) in case.starts.iter().enumerate() {
            let said = session.run(script)?;
            let seen = said.lines().find_map(|line| line.split_once("this is ")).map(|(_, seen)| seen.trim());
            let right = match (starts, seen) {
                (Some((place, words)), Some(seen)) => {
                    seen.split_once(": ").is_some_and(|(its, given)| its == *place && given.ends_with(words))
                }
                (None, None) => said.contains("cannot be started"),
                _ => false,
            };
            if !right {
                differences.push(format!("{}, boot {number}: should start {starts:?}, and does {seen:?}", case.name));
            }
        }
    }
    Ok(differences)
}

/// The image with one byte of a part changed, or with all of them gone.
fn spoilt(image: &[u8], part: Option<&str>) -> Result<Vec<u8>> {
    let mut bytes = image.to_vec();
    match part {
        None => {}
        Some("all") => bytes.fill(0),
        Some(part) => {
            let mark = marked(part);
            let at = bytes.windows(mark.len()).position(|window| window == mark.as_bytes());
            let at = at.with_context(|| format!("no {part} in the image"))? + mark.len();
            *bytes.get_mut(at).context("a part without an end")? ^= 1;
        }
    }
    Ok(bytes)
}

/// What is in each part, behind which a byte may be changed without a change of what it does.
fn marked(part: &str) -> String {
    format!("here is the {part} ")
}

/// A FIT image whose kernel says that it is `name`.
fn image(name: &str) -> Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let at = |file: &str| dir.path().join(file);
    fs::write(at("kernel"), kernel(name))?;
    fs::write(at("ramdisk"), marked("ramdisk").repeat(100))?;
    let tree = format!(
        "/dts-v1/; / {{ #address-cells = <2>; #size-cells = <2>; compatible = \"linux,dummy-virt\"; note = \"{}.\"; chosen {{ }}; }};",
        marked("fdt")
    );
    fs::write(at("tree.dts"), tree)?;
    run(Command::new("dtc").args(["-q", "-O", "dtb", "-o"]).arg(at("fdt")).arg(at("tree.dts")))?;
    let part = |part: &str, kind: &str, more: &str| {
        format!(
            "{part} {{ description = \"{part}\"; data = /incbin/(\"{part}\"); type = \"{kind}\"; arch = \"arm64\"; \
             compression = \"none\"; {more} hash-1 {{ algo = \"sha256\"; }}; }};"
        )
    };
    let images = [
        part("kernel", "kernel", "os = \"linux\"; load = <0x48000000>; entry = <0x48000000>;"),
        part("ramdisk", "ramdisk", "os = \"linux\";"),
        part("fdt", "flat_dt", ""),
    ];
    let parts = PARTS.map(|part| format!("{part} = \"{part}\";")).concat();
    let source = format!(
        "/dts-v1/; / {{ description = \"{name}\"; #address-cells = <1>; images {{ {} }}; \
         configurations {{ default = \"conf\"; conf {{ {parts} }}; }}; }};",
        images.concat()
    );
    fs::write(at("image.its"), source)?;
    run(Command::new("mkimage").current_dir(dir.path()).args(["-f", "image.its", "image.fit"]))?;
    let bytes = fs::read(at("image.fit"))?;
    ensure!(bytes.len() < 64 << 10, "an image of {} bytes", bytes.len());
    Ok(bytes)
}

/// Where this kernel and everything behind it lies, from the start of the memory that it is loaded to: anywhere.
fn kernel(name: &str) -> Vec<u8> {
    let behind = format!("\nthis is {name}: \0{}.", marked("kernel"));
    let mut kernel = vec![0; 64];
    let mut put = |at: usize, bytes: &[u8]| {
        kernel.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    };
    put(0, &0x1400_0010_u32.to_le_bytes());
    put(16, &0x10000_u64.to_le_bytes());
    put(24, &0xa_u64.to_le_bytes());
    put(56, b"ARM\x64");
    kernel.extend(CODE.iter().flat_map(|word| word.to_le_bytes()));
    kernel.extend(behind.as_bytes());
    kernel
}
