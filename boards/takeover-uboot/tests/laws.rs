//! The laws of every board, with a file that U-Boot was seen to read.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use board_laws::golden::Golden;
use statemachine::boot::{Trial, Wanted};
use statemachine::ids::RevisionId;

board_laws::board_laws!(board_takeover_uboot::TakeoverUboot, golden: &[Golden {
    name: "uboot.txt, read by U-Boot 2023.01 with env import -b",
    cell: include_bytes!("../../../tests/formats/golden/takeover-uboot.txt"),
    wanted,
    note: None,
}]);

fn wanted() -> Wanted {
    let id = |name: &str| RevisionId::parse(name).unwrap();
    let trial = Some(Trial { revision: id("13"), max: 1, issued: 0 });
    let (default, previous) = (id("locals/a-day_at.the-desk"), Some(id("12")));
    Wanted { nonce: u32::MAX, default, previous, factory: Some(RevisionId::factory()), trial }
}
