//! The laws of every board, with a block that GRUB was seen to read.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use board_laws::golden::Golden;
use statemachine::boot::{Trial, Wanted};
use statemachine::ids::RevisionId;

board_laws::board_laws!(board_takeover_grub::TakeoverGrub, golden: &[Golden {
    name: "grubenv, read by GRUB 2.06 with grub-editenv list",
    cell: include_bytes!("../../../tests/formats/golden/takeover.grubenv"),
    wanted,
    note: None,
}]);

fn wanted() -> Wanted {
    let id = |name: &str| RevisionId::parse(name).unwrap();
    let trial = Some(Trial { revision: id("13"), max: 1, issued: 0 });
    let (default, previous) = (id("locals/a-day_at.the-desk"), Some(id("12")));
    Wanted { nonce: u32::MAX, default, previous, factory: Some(RevisionId::factory()), trial }
}
