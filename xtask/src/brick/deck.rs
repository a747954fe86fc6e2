//! The updates that a device is offered: what each of them changes in the state that it runs, as a script with `pvr`.
//!
//! | good | bad |
//! |---|---|
//! | an app, in place | an app that dies, in place |
//! | another base, kernel, initramfs by a reboot | a base with an app that dies |
//! | an app and a base | no initramfs, half of one, no kernel |
//! | | a PID 1 that exits, one that hangs (where the machine has a watchdog) |

use std::path::Path;

use machine::ordeal::{Dice, Update};

/// An update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) update: Update,
    /// What a person reads.
    pub(super) name: &'static str,
    change: &'static str,
    /// The base system that it takes, where that is not made for every board.
    needs: Option<&'static str>,
}

const fn card(update: Update, name: &'static str, change: &'static str) -> Card {
    Card { update, name, change, needs: None }
}

const CARDS: [Card; 12] = [
    card(Update::Good, "another app", "an_app app 'beats \"app $NUMBER\"'\n"),
    card(Update::Good, "another base", "a_base\n"),
    card(Update::Good, "another kernel", "rm -r bsp && cp -r \"$BUNDLES/kernel/bsp\" bsp\na_base\n"),
    card(Update::Good, "another initramfs", "cp \"$BUNDLES/initramfs/bsp/cairn\" bsp/cairn\na_base\n"),
    card(Update::Good, "an app and a base", "an_app app 'beats \"app $NUMBER\"'\na_base\n"),
    // Never ready, so that its end is no race with a commit, however slow the machine is.
    card(Update::Bad, "an app that dies", "an_app broken 'echo exit 1' --status-goal READY\n"),
    card(Update::Bad, "a base with an app that dies", "an_app broken 'echo exit 1' --status-goal READY\na_base\n"),
    card(Update::Bad, "no initramfs", "echo 'no initramfs' > bsp/cairn\na_base\n"),
    card(
        Update::Bad,
        "half an initramfs",
        "head -c $(($(stat -c %s bsp/cairn) / 2)) bsp/cairn > bsp/half\nmv bsp/half bsp/cairn\na_base\n",
    ),
    card(Update::Bad, "no kernel", "echo 'no kernel' > bsp/kernel.img\na_base\n"),
    card(Update::Bad, "a PID 1 that exits", "rm -r bsp && cp -r \"$BUNDLES/exits/bsp\" bsp\na_base\n"),
    Card {
        needs: Some("hangs"),
        ..card(Update::Bad, "a PID 1 that hangs", "rm -r bsp && cp -r \"$BUNDLES/hangs/bsp\" bsp\na_base\n")
    },
];

/// What every script can say, and the way to the state that the device runs: paired once, cloned once, then a copy.
const BEFORE: &str = r#"an_app() {
    name=$1 says=$2; shift 2
    if [ -d "$name" ]; then eval "$says" > "_config/$name/app"; else eval "$says" | app "$name" "$@"; fi
}
a_base() { echo "base $NUMBER" > bsp/note; }
until fetch "http://$ENDPOINT/cgi-bin/.pvrremote" > /dev/null 2>&1; do sleep 0.5; done
if [ ! -e paired ]; then
    pair
    touch paired
fi
if [ ! -e 0 ]; then
    rm -rf cloned
    pvr clone "http://$ENDPOINT/cgi-bin" cloned
    mv cloned 0
fi
rm -rf "$NUMBER"
cp -a --reflink=auto "$FROM" "$NUMBER"
cd "$NUMBER"
"#;

const AFTER: &str = "pvr add .
pvr commit -m \"$NAME\"
";

/// Hands over what was made.
pub(super) const POST: &str = "pvr post -m \"$NAME\"
";

impl Card {
    /// Makes it. Its variables are those of stories, and `NUMBER`, `FROM` and `NAME`.
    pub(super) fn script(self) -> String {
        format!("{BEFORE}{}{AFTER}", self.change)
    }
}

/// The updates of a run.
pub(super) struct Deck {
    cards: Vec<Card>,
    dice: Dice,
}

impl Deck {
    /// Those of which everything is there, in the order that chance gives them.
    pub(super) fn new(bundles: &Path, dice: Dice) -> Self {
        let is_there = |card: &Card| card.needs.is_none_or(|name| bundles.join(name).is_dir());
        Self { cards: CARDS.into_iter().filter(is_there).collect(), dice }
    }

    /// The next one of this kind.
    pub(super) fn draw(&mut self, update: Update) -> Option<Card> {
        let of_kind: Vec<_> = self.cards.iter().filter(|card| card.update == update).collect();
        let number = self.dice.roll(of_kind.len() as u64);
        of_kind.get(usize::try_from(number).ok()?).map(|card| **card)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn every_script_is_one_for_a_shell() {
        for card in CARDS {
            let parsed = Command::new("sh").args(["-n", "-c", &card.script()]).output().unwrap();
            assert!(parsed.status.success(), "{}: {}", card.name, String::from_utf8_lossy(&parsed.stderr));
        }
    }

    #[test]
    fn every_update_comes_up_and_none_whose_base_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut deck = Deck::new(dir.path(), Dice::new(1));
        let mut drawn: Vec<_> = (0..500)
            .map(|number| deck.draw(if number % 2 == 0 { Update::Good } else { Update::Bad }).unwrap().name)
            .collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), CARDS.len() - 1);
        assert!(!drawn.contains(&"a PID 1 that hangs"));
    }
}
