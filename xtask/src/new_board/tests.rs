//! A name is one that every place of it can hold; a board is made once, and over nothing that is there.

use super::*;

fn name(name: &str) -> Name {
    parse(name).unwrap()
}

#[test]
fn a_name_gives_a_package_a_crate_and_a_type() {
    let two = name("acme-board_2");
    assert_eq!(
        (two.package(), two.krate(), two.as_type()),
        ("acme-board-2".into(), "acme_board_2".into(), "AcmeBoard2".into())
    );
}

#[test]
fn a_name_that_is_no_name_is_refused() {
    for wrong in ["", "-", "Acme", "2acme", "acme-", "a--b", "a/b", "../a", "a b", "ä", "api", "laws", &"a".repeat(33)]
    {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_board_that_is_there_or_has_no_model_is_refused() {
    let refused = |name: &str, like: &str| make(&parse(name).unwrap(), like, None).err().unwrap().to_string();
    assert!(refused("rpi-tryboot", "rpi-tryboot").starts_with("there is a board rpi-tryboot already"));
    assert!(refused("acme", "none").contains("there are: generic-uboot-ab, host, "));
    assert!(refused("acme", "host").starts_with("host is this machine"));
    assert!(refused("layout", "qemu-arm64-uboot").contains("would be the type Layout"));
}

#[test]
fn what_exists_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let error = make_elsewhere("acme", "qemu-arm64-uboot", dir.path()).err().unwrap();
    assert!(error.to_string().ends_with("exists already"));
    assert_eq!(tree::files(dir.path()).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn every_board_can_be_the_model_of_another_and_nothing_of_its_names_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (boards, _) = boards::ours().unwrap();
    for like in boards.iter().filter(|board| board.name != "host") {
        let made = make_elsewhere("acme", &like.name, &dir.path().join(&like.name)).unwrap();
        let board = Board::read(&made.dir.join("board")).unwrap().unwrap();
        assert_eq!((board.name.as_str(), board.of_type.as_str()), ("acme", "Acme"));
        assert_eq!(board.over(), None);
        for path in tree::files(&made.dir.join("board")).unwrap() {
            let text = read(&path).unwrap();
            let text = text.replace(&format!("It began as {}", like.name), "").replace(&format!("`{}`", like.name), "");
            assert!(!text.contains(&like.name) && words(&text).all(|word| word != like.of_type), "{}", path.display());
        }
    }
}

#[test]
fn the_workspace_gets_a_member_behind_that_of_the_model() {
    let manifest = "members = [\n    \"boards/like\",\n]\ndefault-members = [\n    \"boards/like\",\n]\n\
                    board-like = { package = \"cairn-board-like\", path = \"boards/like\" }\n";
    let text = listed(manifest, &name("acme"), "like", "cairn-board-like").unwrap();
    assert_eq!(text.matches("    \"boards/like\",\n    \"boards/acme\",\n").count(), 2);
    assert!(text.ends_with("board-acme = { package = \"cairn-board-acme\", path = \"boards/acme\" }\n"));
    assert!(listed("members = []\n", &name("acme"), "like", "cairn-board-like").is_err());
}

#[test]
fn a_word_is_replaced_and_what_it_is_a_part_of_is_not() {
    assert_eq!(replace_word("Old OldEnv <Old>::f(&MyOld, Old)", "Old", "New"), "New OldEnv <New>::f(&MyOld, New)");
}
