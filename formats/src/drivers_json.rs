//! `bsp/drivers.json`: which modules of the kernel stand behind the names that containers ask for.
//!
//! ```text
//!   { "#spec": "driver-aliases@1",
//!     "all":               { "wifi": ["cfg80211 regdom=${user-meta:country}", "brcmfmac"] },   on every board
//!     "fitconfig:conf-a":  { … },        where the firmware has booted this configuration of a FIT image
//!     "dtb:board-a.dtb":   { … },        where the kernel has this device tree
//!     "ovl:camera.dtbo":   { … } }       where the firmware has laid this overlay over it
//! ```
//!
//! An entry is the name of a module, or an alias of one, and then its options. Entries are loaded in order; a name that stands
//! under two selectors that both fit means the entries of both. Options have values of metadata in them, as `${user-meta:KEY}`
//! and `${device-meta:KEY}`. An option whose value is not known is left out, and the module keeps its default.
//!
//! API: [`Aliases::of`] a revision, [`Selector::fits`], [`Entry::options`].

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::document::{self, DocumentError, Item, Read, TEXT_MAX, Warning, Wrong, shown};
use crate::metadata::Metadata;
use crate::state::{Class, Revision};

/// The document.
pub const KEY: &str = "bsp/drivers.json";

/// The spec that it names.
const SPEC: &str = "driver-aliases@1";

/// The most entries of one document.
pub const ENTRIES_MAX: usize = 1024;

/// The longest name or alias of a module in bytes. Those of a kernel are far below.
const NAME_MAX: usize = 255;

/// What a revision says about drivers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Aliases {
    records: Vec<Record>,
}

/// One name under one selector.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Record {
    selector: Selector,
    name: String,
    entries: Vec<Entry>,
}

/// On which boards a name means something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selector {
    /// On every one.
    All,
    /// The firmware has booted this configuration of a FIT image.
    FitConfig(String),
    /// The kernel has this device tree.
    Dtb(String),
    /// The firmware has laid this overlay over the device tree.
    Overlay(String),
}

/// What a firmware has done, as far as it tells.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Board {
    /// The configuration of a FIT image.
    pub fit_config: Option<String>,
    /// The file of the device tree.
    pub dtb: Option<String>,
    /// The files of its overlays.
    pub overlays: Vec<String>,
}

/// A module and what it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name, or an alias that its kernel knows.
    pub module: String,
    /// Its options, one word each, with metadata as it is spelled.
    words: Vec<String>,
}

/// Options of a module, ready for the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// All that are known, with a blank between them.
    pub options: String,
    /// Those that are left out, and why.
    pub left_out: Vec<String>,
}

impl Aliases {
    /// What a revision says about drivers. Without the document, nothing.
    ///
    /// # Errors
    /// [`DocumentError`] names the member.
    pub fn of(revision: &Revision, warnings: &mut Vec<Warning>) -> Result<Self, DocumentError> {
        match revision.get(KEY).filter(|entry| entry.class == Class::Inline) {
            Some(entry) => Self::parse(entry.raw, warnings),
            None => Ok(Self::default()),
        }
    }

    /// Reads the document. Warnings are added to the list.
    ///
    /// # Errors
    /// [`DocumentError`] names the member.
    pub fn parse(text: &str, warnings: &mut Vec<Warning>) -> Result<Self, DocumentError> {
        let value = document::parse(KEY, text)?;
        let mut aliases = Self::default();
        let mut count = 0;
        for (key, item) in Item::root(KEY, &value).members()?.iter() {
            if key == "#spec" {
                if item.text()? != SPEC {
                    return Err(item.error(Wrong::Word { found: shown(item.text()?), allowed: &[SPEC] }));
                }
                continue;
            }
            let Some(selector) = Selector::parse(key) else {
                warnings.push(item.warning(document::Doubt::UnknownMember));
                continue;
            };
            for (name, item) in item.members()?.iter() {
                // It becomes a component of a path of the control socket.
                crate::path::component(name).map_err(|why| item.error(Wrong::Path(why)))?;
                let entries = item.items()?.iter().map(Entry::read).collect::<Read<Vec<_>>>()?;
                count += entries.len();
                if count > ENTRIES_MAX {
                    return Err(item.error(Wrong::TooMany { limit: ENTRIES_MAX }));
                }
                aliases.records.push(Record { selector: selector.clone(), name: name.to_owned(), entries });
            }
        }
        Ok(aliases)
    }

    /// Whether a name stands under any selector.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.records.iter().any(|record| record.name == name)
    }

    /// What a name means on a board, in order; `None` where no selector that has it fits.
    #[must_use]
    pub fn on(&self, board: &Board, name: &str) -> Option<Vec<Entry>> {
        let mut fitting =
            self.records.iter().filter(|record| record.name == name && record.selector.fits(board)).peekable();
        fitting.peek()?;
        Some(fitting.flat_map(|record| record.entries.iter().cloned()).collect())
    }

    /// Every name, once, as the document has them.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for record in &self.records {
            if !names.contains(&record.name.as_str()) {
                names.push(record.name.as_str());
            }
        }
        names
    }

    /// The selectors under which a name stands.
    pub fn selectors<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Selector> {
        self.records.iter().filter(move |record| record.name == name).map(|record| &record.selector)
    }
}

impl Selector {
    /// Reads the key of a document.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        match key.split_once(':') {
            None if key == "all" => Some(Self::All),
            Some(("fitconfig", name)) if !name.is_empty() => Some(Self::FitConfig(name.into())),
            Some(("dtb", name)) if !name.is_empty() => Some(Self::Dtb(name.into())),
            Some(("ovl", name)) if !name.is_empty() => Some(Self::Overlay(name.into())),
            _ => None,
        }
    }

    /// Whether it is about this board. Files are compared without the directory and the ending, which differ between a
    /// revision and a firmware.
    #[must_use]
    pub fn fits(&self, board: &Board) -> bool {
        match self {
            Self::All => true,
            Self::FitConfig(name) => board.fit_config.as_ref() == Some(name),
            Self::Dtb(name) => board.dtb.as_deref().is_some_and(|dtb| stem(dtb) == stem(name)),
            Self::Overlay(name) => board.overlays.iter().any(|overlay| stem(overlay) == stem(name)),
        }
    }
}

/// `broadcom/board-a.dtb` and `board-a` are one device tree.
fn stem(file: &str) -> &str {
    let file = file.rsplit('/').next().unwrap_or(file);
    file.strip_suffix(".dtb").or_else(|| file.strip_suffix(".dtbo")).unwrap_or(file)
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::FitConfig(name) => write!(f, "fitconfig:{name}"),
            Self::Dtb(name) => write!(f, "dtb:{name}"),
            Self::Overlay(name) => write!(f, "ovl:{name}"),
        }
    }
}

impl Entry {
    fn read(item: &Item<'_, '_>) -> Read<Self> {
        let text = item.c_text()?;
        let wrong = || item.error(Wrong::Form { found: shown(&text), wanted: "a module and then its options" });
        let mut words = words(&text).ok_or_else(wrong)?.into_iter();
        let module = words.next().filter(|name| is_module(name)).ok_or_else(wrong)?.to_owned();
        let words: Vec<String> = words.map(ToOwned::to_owned).collect();
        let scopes = words.iter().flat_map(|word| pieces(word)).all(|piece| !matches!(piece, Piece::Unknown));
        if scopes { Ok(Self { module, words }) } else { Err(wrong()) }
    }

    /// The options with what metadata says. What is not known, or would become another option, is left out.
    #[must_use]
    pub fn options(&self, lookup: &dyn Fn(Metadata, &str) -> Option<String>) -> Told {
        let mut told = Told::default();
        for word in &self.words {
            match expand(word, lookup) {
                Ok(word) if told.options.len() + word.len() < TEXT_MAX => {
                    if !told.options.is_empty() {
                        told.options.push(' ');
                    }
                    told.options += &word;
                }
                Ok(_) => {
                    told.left_out.push(alloc::format!("{word}: the options of a module have at most {TEXT_MAX} bytes"))
                }
                Err(why) => told.left_out.push(alloc::format!("{word}: {why}")),
            }
        }
        told
    }
}

/// The words of options: a blank between double quotes is part of its word, as the kernel has it. `None`: a quote is open.
pub(crate) fn words(text: &str) -> Option<Vec<&str>> {
    let (mut words, mut begin, mut quoted) = (Vec::new(), None, false);
    for (at, c) in text.char_indices() {
        quoted ^= c == '"';
        match begin {
            None if !c.is_ascii_whitespace() => begin = Some(at),
            Some(from) if c.is_ascii_whitespace() && !quoted => {
                words.extend(text.get(from..at));
                begin = None;
            }
            _ => {}
        }
    }
    words.extend(begin.and_then(|from| text.get(from..)));
    (!quoted).then_some(words)
}

/// A name that can be of a module, or an alias: neither a path nor an option of a program.
fn is_module(name: &str) -> bool {
    let fine = name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/\"=$".contains(&byte));
    fine && name.len() <= NAME_MAX && name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
}

/// A part of an option.
enum Piece<'a> {
    Text(&'a str),
    Value(Metadata, &'a str),
    /// `${` of something else, or without an end.
    Unknown,
}

fn pieces(mut rest: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while let Some((text, behind)) = rest.split_once("${") {
        pieces.push(Piece::Text(text));
        let scoped = behind.split_once('}').and_then(|(name, rest)| {
            let (scope, key) = name.split_once(':').filter(|(_, key)| !key.is_empty())?;
            match scope {
                "user-meta" => Some((Piece::Value(Metadata::User, key), rest)),
                "device-meta" => Some((Piece::Value(Metadata::Device, key), rest)),
                _ => None,
            }
        });
        let Some((piece, behind)) = scoped else {
            pieces.push(Piece::Unknown);
            return pieces;
        };
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

fn expand(word: &str, lookup: &dyn Fn(Metadata, &str) -> Option<String>) -> Result<String, &'static str> {
    let mut expanded = String::new();
    for piece in pieces(word) {
        match piece {
            Piece::Text(text) => expanded += text,
            Piece::Value(of, key) => match lookup(of, key) {
                None => return Err("this device has no such metadata; the module keeps its default"),
                // Whoever may set metadata may not set what the signed revision does not name.
                Some(value) if value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') => {
                    return Err("its metadata has a blank, a quote or a control character in it");
                }
                Some(value) => expanded += &value,
            },
            Piece::Unknown => return Err("it is neither ${user-meta:KEY} nor ${device-meta:KEY}"),
        }
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn parse(text: &str) -> Result<(Aliases, Vec<String>), String> {
        let mut warnings = Vec::new();
        let aliases = Aliases::parse(text, &mut warnings).map_err(|error| error.to_string())?;
        Ok((aliases, warnings.iter().map(ToString::to_string).collect()))
    }

    fn names(entries: Option<Vec<Entry>>) -> Vec<String> {
        entries.unwrap_or_default().into_iter().map(|entry| entry.module).collect()
    }

    #[test]
    fn a_name_means_what_the_selectors_that_fit_say_in_their_order() {
        let (aliases, warnings) = parse(
            r##"{"#spec":"driver-aliases@1","all":{"wifi":["cfg80211"]},"fitconfig:conf-a":{"wifi":["a"]},
            "dtb:broadcom/board-a.dtb":{"wifi":["b","c"]},"ovl:camera":{"wifi":["d"],"cam":["d"]},"all2":{"wifi":["x"]}}"##,
        )
        .unwrap();
        assert_eq!(warnings, ["bsp/drivers.json: all2: is not known and has no effect"]);
        let board = |fit: &str, dtb: &str, overlays: &[&str]| Board {
            fit_config: Some(fit.into()),
            dtb: Some(dtb.into()),
            overlays: overlays.iter().map(|one| (*one).to_string()).collect(),
        };
        let on = |board: &Board| names(aliases.on(board, "wifi"));
        assert_eq!(on(&Board::default()), ["cfg80211"]);
        assert_eq!(on(&board("conf-a", "board-a", &["overlays/camera.dtbo"])), ["cfg80211", "a", "b", "c", "d"]);
        assert_eq!(on(&board("conf-ab", "board-ab", &["camera-2"])), ["cfg80211"]);
        assert_eq!(aliases.on(&Board::default(), "cam"), None);
        assert!(aliases.knows("cam") && !aliases.knows("camera"));
        assert_eq!(aliases.selectors("cam").map(ToString::to_string).collect::<Vec<_>>(), ["ovl:camera"]);
        assert_eq!(aliases.names(), ["wifi", "cam"]);
    }

    #[test]
    fn options_have_what_metadata_says_and_nothing_that_it_smuggles_in() {
        let (aliases, _) = parse(
            r#"{"all":{"w":["cfg regdom=${user-meta:country} id=${device-meta:id}-${user-meta:x} name=\"a b\" debug"]}}"#,
        )
        .unwrap();
        let entry = aliases.on(&Board::default(), "w").unwrap().remove(0);
        let told = |lookup: &dyn Fn(Metadata, &str) -> Option<String>| entry.options(lookup);
        let known = told(&|of, key| (of == Metadata::User || key == "id").then(|| key.to_uppercase()));
        assert_eq!(known.options, r#"regdom=COUNTRY id=ID-X name="a b" debug"#);
        assert!(known.left_out.is_empty());
        let unknown = told(&|_, _| None);
        assert_eq!(unknown.options, r#"name="a b" debug"#);
        assert_eq!(unknown.left_out.len(), 2);
        assert!(unknown.left_out[0].starts_with("regdom=${user-meta:country}: this device has no such metadata"));
        for smuggled in ["DE debug=1", "DE\"", "DE\n", "\u{a0}"] {
            let told = told(&|_, _| Some(smuggled.into()));
            assert_eq!(told.options, r#"name="a b" debug"#, "{smuggled:?}");
        }
        let long = told(&|_, _| Some("x".repeat(TEXT_MAX)));
        assert!(long.left_out[0].contains("at most"), "{:?}", long.left_out);
    }

    #[test]
    fn what_is_no_list_of_modules_is_refused_with_its_place() {
        for (text, why) in [
            (r##"{"#spec":"driver-aliases@2"}"##, "#spec: \"driver-aliases@2\" is none of driver-aliases@1"),
            (r#"{"all":[]}"#, "all: must be an object"),
            (r#"{"all":{"a":"tun"}}"#, "all.a: must be an array"),
            (r#"{"all":{"a":[1]}}"#, "all.a[0]: must be a string"),
            (r#"{"all":{"a/b":[]}}"#, "all.a/b: a name without `/`"),
            (r#"{"all":{"":[]}}"#, "is empty"),
            (r#"{"all":{"a":[""]}}"#, "a module and then its options"),
            (r#"{"all":{"a":["../tun"]}}"#, "a module and then its options"),
            (r#"{"all":{"a":["-r tun"]}}"#, "a module and then its options"),
            (r#"{"all":{"a":["x=1"]}}"#, "a module and then its options"),
            (r#"{"all":{"a":["tun name=\"a"]}}"#, "a module and then its options"),
            (r#"{"all":{"a":["tun x=${meta:y}"]}}"#, "a module and then its options"),
            (r#"{"all":{"a":["tun x=${user-meta:}"]}}"#, "a module and then its options"),
            (r#"{"all":{"a":["tun x=${user-meta:y"]}}"#, "a module and then its options"),
            (r#"{"all":{"a":["tun x=\u0000"]}}"#, "control"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("bsp/drivers.json: ") && error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_document_is_bounded() {
        let list = alloc::vec!["\"tun\""; 256].join(",");
        let lists: Vec<_> = (0..5).map(|n| alloc::format!("\"a{n}\":[{list}]")).collect();
        let text = |lists: &[String]| alloc::format!(r#"{{"all":{{{}}}}}"#, lists.join(","));
        assert!(parse(&text(&lists[..4])).is_ok());
        assert!(parse(&text(&lists)).unwrap_err().contains("more than 1024"));
    }
}
