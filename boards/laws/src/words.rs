//! What the firmware says at boot, and what it is told at a reboot.

use std::collections::BTreeSet;

use boards_api::Board;
use boards_api::board::{Booted, BootedAs};
use boards_api::slots::{Places, Slot};
use statemachine::boot::TrialKind;

use crate::Verdict;

const ROLES: [(&str, BootedAs); 6] = [
    ("trial", BootedAs::Trial),
    ("default", BootedAs::Default),
    ("previous", BootedAs::Previous),
    ("factory", BootedAs::Factory),
    ("first-slot", BootedAs::FirstSlot),
    ("recovery", BootedAs::Recovery),
];

/// Near the words, and none of them.
const STRANGE: &[&str] =
    &["", "tryme", "Trial", "trial,", "defaults", "defaul", "first_slot", "firstslot", "none", "0", "${role}"];

/// The words that a script can put behind `key`: literals, and the values of variables that it names.
fn said(script: &str, key: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for (at, _) in script.match_indices(key) {
        // A quotation mark before a name belongs to the words before it: `"… cairn.role="${role}`.
        let rest = script[at + key.len()..].trim_start_matches(['"', '\'']);
        let end = rest.find(|sign: char| sign.is_whitespace() || "\"';".contains(sign)).unwrap_or(rest.len());
        values(script, &rest[..end], &mut BTreeSet::new(), &mut words);
    }
    words
}

/// What `word` can be, if it is a variable: U-Boot's `setenv NAME V`, GRUB's `set NAME=V`, and `for NAME in V V; do` of both.
fn values(script: &str, word: &str, seen: &mut BTreeSet<String>, words: &mut BTreeSet<String>) {
    let word = word.trim_matches(['"', '\'']);
    let Some(name) = word.strip_prefix('$') else {
        if !word.is_empty() {
            words.insert(word.to_owned());
        }
        return;
    };
    let name = name.trim_matches(['{', '}']);
    if !seen.insert(name.to_owned()) {
        return;
    }
    let lines = script.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    for command in lines.flat_map(|line| line.split([';', '&', '|'])) {
        let mut parts = command.split_ascii_whitespace().skip_while(|part| ["then", "else", "do", "if"].contains(part));
        match (parts.next(), parts.next()) {
            (Some("setenv"), Some(variable)) if variable == name => {
                parts.for_each(|value| values(script, value, seen, words));
            }
            (Some("set"), Some(assignment)) => {
                if let Some((variable, value)) = assignment.split_once('=')
                    && variable == name
                {
                    values(script, value, seen, words);
                }
            }
            (Some("for"), Some(variable)) if variable == name => {
                parts.filter(|part| *part != "in").for_each(|value| values(script, value, seen, words));
            }
            _ => {}
        }
    }
}

/// All that the device tree can say: every combination of two properties with small numbers.
fn said_by_device_tree<B: Board>() -> BTreeSet<&'static str> {
    let mut asked = BTreeSet::new();
    let first = B::said(&mut |property| {
        asked.insert(property.to_owned());
        Some(1)
    });
    let values: Vec<Option<u32>> = [None, Some(u32::MAX)].into_iter().chain((0..=16).map(Some)).collect();
    let mut words = BTreeSet::from_iter(first);
    let combinations = values.len().pow(u32::try_from(asked.len()).unwrap_or(2).min(3));
    for combination in 0..combinations {
        let said = B::said(&mut |property| {
            // A property that is asked for only now and then counts as the last one.
            let index = asked.iter().position(|name| name == property).unwrap_or(0);
            values[combination / values.len().pow(u32::try_from(index).unwrap_or(0)) % values.len()]
        });
        words.extend(said);
    }
    words
}

/// Every role that the firmware can say, on every slot; no other word, no other slot.
///
/// # Errors
/// The law is broken.
pub fn every_word_of_the_firmware_is_understood_and_no_other<B: Board>() -> Verdict {
    let script = B::SCRIPT.concat();
    let mut roles = said(&script, "cairn.role=");
    let tree = said_by_device_tree::<B>();
    roles.extend(
        tree.iter().filter_map(|words| words.split("cairn.role=").nth(1)?.split(' ').next().map(str::to_owned)),
    );
    if B::SCRIPT.is_empty() && tree.is_empty() {
        // The firmware is a program; it may say any of them.
        roles.extend(ROLES.map(|(word, _)| word.to_owned()));
    }
    let slots: &[&str] = match B::PLACES {
        Places::Trails => &[],
        Places::Slots(names) => names,
    };
    for word in &roles {
        let Some((_, role)) = ROLES.iter().find(|(known, _)| known == word) else {
            return Err(format!("the firmware can say cairn.role={word}, which is no role"));
        };
        let expected = Some(Booted { slot: None, role: *role });
        read::<B>(&format!("quiet cairn.role={word} panic=5"), expected)?;
        read::<B>(&format!("cairn.role=tryme cairn.role={word}"), expected)?;
        for (index, name) in slots.iter().enumerate() {
            let slot = u8::try_from(index).ok().map(Slot);
            let last = format!("cairn.slot={} cairn.role={word} cairn.slot={name}", slots[0]);
            read::<B>(&last, Some(Booted { slot, role: *role }))?;
        }
        read::<B>(&format!("cairn.role={word} cairn.slot=nowhere"), None)?;
        for strange in STRANGE {
            read::<B>(&format!("cairn.role={word} cairn.role={strange}"), None)?;
        }
    }
    for words in tree {
        if B::booted(words).is_none() {
            return Err(format!("the device tree says {words:?}, and booted() does not understand it"));
        }
    }
    for nothing in ["", "quiet", "cairn.role", "xcairn.role=default", "role=default"] {
        read::<B>(nothing, None)?;
    }
    Ok(())
}

fn read<B: Board>(words: &str, expected: Option<Booted>) -> Verdict {
    match B::booted(words) {
        read if read == expected => Ok(()),
        read => Err(format!("{words:?} is read as {read:?} instead of {expected:?}")),
    }
}

/// The script of a firmware that counts can end in every entry of the list of `pick`.
///
/// # Errors
/// The law is broken.
pub fn a_script_says_every_role_of_its_list<B: Board>() -> Verdict {
    if B::TRIAL != TrialKind::Counted || B::SCRIPT.is_empty() {
        return Ok(());
    }
    let said = said(&B::SCRIPT.concat(), "cairn.role=");
    let slots = B::PLACES != Places::Trails;
    let missing: Vec<_> = ROLES
        .iter()
        .filter(|(word, role)| !said.contains(*word) && (slots || *role != BootedAs::FirstSlot))
        .map(|(word, _)| *word)
        .collect();
    match missing[..] {
        [] => Ok(()),
        _ => Err(format!("its script never says cairn.role= with {missing:?}; it says {said:?}")),
    }
}

/// `reboot(2)` has an argument for a trial exactly there.
///
/// # Errors
/// The law is broken.
pub fn only_a_one_shot_firmware_is_told_of_a_trial<B: Board>() -> Verdict {
    match (B::TRIAL, B::reboot_arg(true), B::reboot_arg(false)) {
        (_, _, Some(argument)) => Err(format!("a reboot that is no trial has the argument {argument:?}")),
        (TrialKind::OneShot, None, _) => Err("its firmware tries when asked, and is never asked".into()),
        (TrialKind::Counted | TrialKind::Toggling, Some(argument), _) => {
            Err(format!("its firmware needs no word about a trial, and gets {argument:?}"))
        }
        _ => Ok(()),
    }
}
