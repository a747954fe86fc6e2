//! Drivers: what a container declares, found in what the base system says.

use formats::drivers_json::Board;

use super::*;

const ALIASES: &str = r##"{"#spec":"driver-aliases@1","all":{"tunnel":["tun"]},
    "dtb:board-a.dtb":{"wifi":["brcmfmac debug=1"]},"ovl:cam":{"cam":["ov5647"]}}"##;

fn state(drivers: &str) -> State {
    State::new().with("bsp/drivers.json", ALIASES).container(
        "web",
        &format!(r#","drivers":{drivers}"#),
        &template("web"),
    )
}

/// What is assembled of a container that declares these: each driver with its wish and its modules, or why there are none.
fn declared(state: &State, board: Board) -> Vec<(String, Wish, Result<Vec<String>, String>)> {
    let assembly = state.assemble_with(&Settings { board, ..Settings::default() }).unwrap();
    let of = |driver: &Driver| {
        let modules = driver.entries.clone().map(|entries| entries.into_iter().map(|entry| entry.module).collect());
        (driver.name.clone(), driver.wish, modules)
    };
    assembly.get("web").unwrap().drivers.iter().map(of).collect()
}

#[test]
fn a_driver_is_what_the_base_system_says_for_this_board() {
    let state = state(r#"{"optional":["cam"],"manual":["tunnel"],"required":["wifi"]}"#);
    let board = Board { dtb: Some("board-a".into()), overlays: vec!["cam.dtbo".into()], ..Board::default() };
    let found = declared(&state, board);
    assert_eq!(
        found,
        [
            ("wifi".into(), Wish::Required, Ok(vec!["brcmfmac".into()])),
            ("cam".into(), Wish::Optional, Ok(vec!["ov5647".into()])),
            ("tunnel".into(), Wish::Manual, Ok(vec!["tun".into()])),
        ]
    );
    // A boot of a firmware that tells something else is no reason to refuse what has run before.
    let why = declared(&state, Board::default()).remove(0).2.unwrap_err();
    assert_eq!(why, "bsp/drivers.json has it under dtb:board-a.dtb only, which is not this board");
}

#[test]
fn the_device_tree_is_the_one_of_the_revision_where_the_firmware_does_not_tell() {
    let base = r#"{"linux":"k","initrd":"i","fdt":"board-a.dtb"}"#;
    let files = ["bsp/k", "bsp/i", "bsp/board-a.dtb"];
    let with_base =
        |state: State| files.iter().fold(state.with("bsp/run.json", base), |state, file| state.object(file));
    let state = with_base(state(r#"{"required":["wifi"]}"#));
    assert_eq!(declared(&state, Board::default())[0].2, Ok(vec!["brcmfmac".into()]));
    let other = Board { dtb: Some("board-b.dtb".into()), ..Board::default() };
    assert!(declared(&state, other)[0].2.is_err());
}

#[test]
fn a_driver_that_nothing_knows_is_refused_if_it_is_required_and_told_otherwise() {
    let error = state(r#"{"required":["tunnel","gps"]}"#).assemble_with(&Settings::default()).unwrap_err().to_string();
    assert_eq!(
        error,
        "web/run.json: drivers.required: gps: bsp/drivers.json does not have it; add it there, or make it optional"
    );
    let assembly = state(r#"{"required":["tunnel"],"optional":["gps","tunnel"],"manual":["nfc"]}"#).assemble();
    let told: Vec<_> = assembly.warnings.iter().filter(|warning| warning.contains("drivers.")).collect();
    assert_eq!(
        told,
        [
            "web/run.json: drivers.optional: gps: bsp/drivers.json does not have it, so it cannot be loaded",
            "web/run.json: drivers.optional: tunnel: is named twice; the stronger wish counts",
            "web/run.json: drivers.manual: nfc: bsp/drivers.json does not have it, so it cannot be loaded",
        ]
    );
    let broken = State::new().with("bsp/drivers.json", r#"{"all":[]}"#).container("web", "", &template("web"));
    let error = broken.assemble_with(&Settings::default()).unwrap_err().to_string();
    assert_eq!(error, "bsp/drivers.json: all: must be an object, is an array");
}
