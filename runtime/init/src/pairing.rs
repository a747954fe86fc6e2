//! Who may use the endpoint from outside: the life of a code, and the list of who is paired.
//!
//! ```text
//!   none ──offer──▶ open ──the code is said──▶ none          a new offer replaces whatever there was
//!     ▲              │ └──WRONG_MAX times another──▶ burnt
//!     └─CODE_LASTS───┴──────────────────────────────────┘
//! ```
//!
//! Promises: a code is good for one pairing; time and random bytes are arguments here. A list that cannot be read pairs
//! nobody. Nothing but hashes of tokens is kept, and no code outlives this process.

use std::net::IpAddr;
use std::path::Path;

use formats::control::{PairingView, Refused, Status};
use formats::pairing::{Code, LIST_MAX, PAIRINGS_MAX, Pairing, TokenHash, read, write};
use statemachine::container::{Span, Time};
use store::dir::{Dir, DirError};

/// How long a code is valid: the way from the device to a workstation, and typing eight characters.
pub const CODE_LASTS: Span = Span::seconds(300);

/// Wrong codes that burn the right one: 40 bits guessed five times are not guessed.
pub const WRONG_MAX: u8 = 5;

/// Where the list lies in the storage.
const DIRECTORY: &str = "config";
const FILE: &str = "config/pairings";

/// The code that a person has asked for.
#[derive(Debug, Default)]
enum Offer {
    #[default]
    None,
    Open {
        code: Code,
        until: Time,
        wrong: u8,
    },
    Burnt {
        until: Time,
    },
}

/// Why what was said pairs nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotTheCode {
    /// There is no code that could be said.
    None,
    /// It is another one; so often may others still be tried.
    Wrong(u8),
    /// Too many wrong ones were said; the right one would have been valid for so long.
    Burnt(Span),
}

/// Who is paired, and who could be.
#[derive(Debug, Default)]
pub struct Pairings {
    known: Vec<Pairing>,
    offer: Offer,
    /// A new list is on its way to the storage. Meanwhile there is no other one.
    pub writing: bool,
}

/// Why no pairing is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotOne {
    /// None is called so.
    None,
    /// Several are.
    Several,
}

impl Pairings {
    /// Those of a list.
    #[must_use]
    pub fn new(known: Vec<Pairing>) -> Self {
        Self { known, ..Self::default() }
    }

    /// Reads the list of a device; with what a person should know, if it cannot be read.
    #[must_use]
    pub fn load(storage: &Path) -> (Self, Option<String>) {
        let bytes = Dir::open(storage).and_then(|dir| dir.read_if_any(FILE, LIST_MAX));
        let list = match bytes {
            Ok(None) => Ok(Vec::new()),
            Ok(Some(bytes)) => read(&bytes).map_err(|error| format!("{}: {error}", storage.join(FILE).display())),
            Err(error) => Err(error.to_string()),
        };
        match list {
            Ok(known) => (Self::new(known), None),
            Err(why) => (Self::default(), Some(format!("nobody is paired any more: {why}; pair anew"))),
        }
    }

    /// Makes a code of random bytes; the one before is worth nothing any more.
    pub fn offer(&mut self, random: [u8; 8], now: Time) -> Code {
        let code = Code::from_random(random);
        self.offer = Offer::Open { code: code.clone(), until: now.after(CODE_LASTS), wrong: 0 };
        code
    }

    /// Whether a code is valid now.
    #[must_use]
    pub fn is_open(&self, now: Time) -> bool {
        matches!(&self.offer, Offer::Open { until, .. } if *until > now)
    }

    /// For how long a burnt code would have been valid. One that nobody has asked for on the device waits for that: else
    /// whoever guesses could have codes to guess as fast as he likes.
    #[must_use]
    pub fn burnt_for(&self, now: Time) -> Option<Span> {
        match &self.offer {
            Offer::Burnt { until } if *until > now => Some(until.until(now)),
            _ => None,
        }
    }

    /// Somebody says a code. If it is the right one, it is used up.
    ///
    /// # Errors
    /// [`NotTheCode`]
    pub fn say(&mut self, said: &str, now: Time) -> Result<(), NotTheCode> {
        match &mut self.offer {
            Offer::Open { until, .. } | Offer::Burnt { until } if *until <= now => {
                self.offer = Offer::None;
                Err(NotTheCode::None)
            }
            Offer::None => Err(NotTheCode::None),
            Offer::Burnt { until } => Err(NotTheCode::Burnt(until.until(now))),
            Offer::Open { code, .. } if Code::parse(said).as_ref() == Some(code) => {
                self.offer = Offer::None;
                Ok(())
            }
            Offer::Open { until, wrong, .. } => {
                *wrong += 1;
                let left = WRONG_MAX.saturating_sub(*wrong);
                if left == 0 {
                    self.offer = Offer::Burnt { until: *until };
                }
                Err(NotTheCode::Wrong(left))
            }
        }
    }

    /// Whether a token is of somebody who is paired.
    #[must_use]
    pub fn admits(&self, token: &TokenHash) -> bool {
        // All are looked at, so that the time does not tell which one it was.
        self.known.iter().fold(false, |found, pairing| found | (pairing.token == *token))
    }

    /// Whether somebody on the network may go on: on a loopback address anybody, on any other who is paired.
    ///
    /// # Errors
    /// For the caller: what is missing.
    pub fn lets_in(&self, endpoint: IpAddr, token: Option<&TokenHash>) -> Result<(), Refused> {
        let why = match token {
            _ if endpoint.is_loopback() => return Ok(()),
            Some(token) if self.admits(token) => return Ok(()),
            Some(_) => {
                "this token is not, or no longer, paired: `pvcontrol pair` on the device prints a code for another one"
            }
            None => "this endpoint lets in who is paired: `pvcontrol pair` on the device prints a code for that",
        };
        Err(Refused::new(Status::Unauthorized, why))
    }

    /// Whether there is room for one more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.known.len() >= PAIRINGS_MAX
    }

    /// The list with one more.
    #[must_use]
    pub fn with(&self, pairing: Pairing) -> Vec<Pairing> {
        self.known.iter().cloned().chain([pairing]).collect()
    }

    /// The list without one.
    #[must_use]
    pub fn without(&self, token: &TokenHash) -> Vec<Pairing> {
        self.known.iter().filter(|pairing| pairing.token != *token).cloned().collect()
    }

    /// Whose this token is.
    #[must_use]
    pub fn of(&self, token: &TokenHash) -> Option<&Pairing> {
        self.known.iter().find(|pairing| pairing.token == *token)
    }

    /// The one that is meant by a fingerprint or a name. A fingerprint goes first, for a name is free to look like one.
    ///
    /// # Errors
    /// [`NotOne`]
    pub fn find(&self, who: &str) -> Result<&Pairing, NotOne> {
        let by_fingerprint = self.known.iter().find(|pairing| pairing.token.fingerprint() == who);
        let mut by_name = self.known.iter().filter(|pairing| pairing.name == who);
        match (by_fingerprint, by_name.next(), by_name.next()) {
            (Some(one), _, _) | (None, Some(one), None) => Ok(one),
            (None, None, _) => Err(NotOne::None),
            (None, Some(_), Some(_)) => Err(NotOne::Several),
        }
    }

    /// What tools see.
    #[must_use]
    pub fn views(&self) -> Vec<PairingView> {
        let view = |Pairing { token, date, name }: &Pairing| PairingView {
            fingerprint: token.fingerprint(),
            name: name.clone(),
            date: *date,
        };
        self.known.iter().map(view).collect()
    }

    /// This list is durable: from now on it counts.
    pub fn replace(&mut self, known: Vec<Pairing>) {
        self.known = known;
    }
}

/// Replaces the list of a device, durably.
///
/// # Errors
/// It cannot be written; which list the next boot reads is not known then if it was the last sync that failed.
pub fn keep(storage: &Path, list: &[Pairing]) -> Result<(), DirError> {
    let dir = Dir::open(storage)?;
    dir.make_durably(DIRECTORY)?;
    dir.replace(FILE, write(list).as_bytes())
}

/// What is left, for whoever is to come back then.
#[must_use]
pub fn seconds(time: Span) -> u16 {
    u16::try_from(time.0.div_ceil(1000)).unwrap_or(u16::MAX).max(1)
}

impl From<NotTheCode> for Refused {
    fn from(why: NotTheCode) -> Self {
        match why {
            NotTheCode::None => Self::new(
                Status::Forbidden,
                "no code is valid now: `pvcontrol pair` on the device prints one, for five minutes and one use",
            ),
            NotTheCode::Wrong(0) => Self::new(
                Status::Forbidden,
                "this is not the code, which is burnt now: `pvcontrol pair` on the device prints another one",
            ),
            NotTheCode::Wrong(left) => {
                Self::new(Status::Forbidden, format!("this is not the code; {left} more wrong ones burn it"))
            }
            NotTheCode::Burnt(time) => {
                let seconds = seconds(time);
                let message = "too many wrong codes: `pvcontrol pair` on the device prints another one";
                Self { retry_after: Some(seconds), ..Self::new(Status::TooMany, message) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::pairing::Secret;

    const START: Time = Time(1_000);

    fn later(seconds: u64) -> Time {
        START.after(Span::seconds(seconds))
    }

    fn offered() -> (Pairings, Secret) {
        let mut pairings = Pairings::default();
        let code = pairings.offer([1, 2, 3, 4, 5, 6, 7, 8], START).reveal();
        (pairings, code)
    }

    fn named(name: &str, number: u8) -> Pairing {
        let token = TokenHash::of(Secret::token(&[number; 32]).expose());
        Pairing { token, date: Some(1_800_000_000), name: name.into() }
    }

    #[test]
    fn a_code_is_good_for_one_pairing_in_whatever_case_it_is_typed() {
        let (mut pairings, code) = offered();
        assert_eq!(pairings.say(&code.expose().to_lowercase(), later(10)), Ok(()));
        assert_eq!(pairings.say(code.expose(), later(10)), Err(NotTheCode::None));
    }

    #[test]
    fn a_code_ends_after_its_time_and_none_is_valid_before_the_first() {
        assert_eq!(Pairings::default().say("22222222", START), Err(NotTheCode::None));
        let (mut pairings, code) = offered();
        assert_eq!(pairings.say(code.expose(), later(300)), Err(NotTheCode::None));
        let (mut pairings, code) = offered();
        assert_eq!(pairings.say(code.expose(), Time(later(300).0 - 1)), Ok(()));
    }

    #[test]
    fn five_wrong_codes_burn_it_and_the_right_one_is_of_no_use_then() {
        let (mut pairings, code) = offered();
        for left in [4, 3, 2, 1, 0] {
            assert_eq!(pairings.say("22222222", later(60)), Err(NotTheCode::Wrong(left)));
        }
        assert_eq!(pairings.say(code.expose(), later(60)), Err(NotTheCode::Burnt(Span::seconds(240))));
        let refused = Refused::from(NotTheCode::Burnt(Span::seconds(240)));
        assert_eq!((refused.status.code(), refused.retry_after), (429, Some(240)));
        assert_eq!(pairings.say(code.expose(), later(300)), Err(NotTheCode::None));
    }

    #[test]
    fn four_wrong_codes_do_not_and_what_is_no_code_counts_too() {
        let (mut pairings, code) = offered();
        for wrong in ["", "x", "000000000000", "22222222"] {
            assert!(matches!(pairings.say(wrong, later(1)), Err(NotTheCode::Wrong(_))));
        }
        assert_eq!(pairings.say(code.expose(), later(1)), Ok(()));
    }

    #[test]
    fn a_new_code_replaces_the_old_one_and_a_burnt_one() {
        let (mut pairings, old) = offered();
        let new = pairings.offer([9; 8], later(200)).reveal();
        assert_eq!(pairings.say(old.expose(), later(201)), Err(NotTheCode::Wrong(4)));
        assert_eq!(pairings.say(new.expose(), later(499)), Ok(()));
        pairings.offer([9; 8], later(500));
        (0..5).for_each(|_| assert!(pairings.say("", later(500)).is_err()));
        let new = pairings.offer([1; 8], later(501)).reveal();
        assert_eq!(pairings.say(new.expose(), later(502)), Ok(()));
    }

    #[test]
    fn who_burns_a_code_waits_for_its_end_where_nobody_asks_for_another() {
        let (mut pairings, _) = offered();
        assert!(pairings.is_open(later(299)) && !pairings.is_open(later(300)));
        (0..5).for_each(|_| assert!(pairings.say("", later(10)).is_err()));
        assert!(!pairings.is_open(later(10)));
        assert_eq!(pairings.burnt_for(later(10)), Some(Span::seconds(290)));
        assert_eq!(pairings.burnt_for(later(300)), None);
        assert_eq!((seconds(Span(1)), seconds(Span::seconds(290))), (1, 290));
    }

    #[test]
    fn who_is_paired_is_known_by_the_token_until_the_pairing_is_removed() {
        let (me, other) = (named("me", 1), named("me", 2));
        let mut pairings = Pairings::new(vec![me.clone()]);
        assert!(pairings.admits(&me.token) && !pairings.admits(&other.token));
        assert_eq!(pairings.find("me"), Ok(&me));
        pairings.replace(pairings.with(other.clone()));
        assert_eq!(pairings.find("me"), Err(NotOne::Several));
        assert_eq!(pairings.find(&other.token.fingerprint()), Ok(&other));
        assert_eq!(pairings.find("you"), Err(NotOne::None));
        pairings.replace(pairings.without(&me.token));
        assert!(!pairings.admits(&me.token) && pairings.admits(&other.token));
    }

    #[test]
    fn on_a_loopback_address_anybody_is_let_in_and_on_any_other_who_is_paired() {
        let me = named("me", 1);
        let (pairings, other) = (Pairings::new(vec![me.clone()]), named("other", 2).token);
        for (endpoint, open) in [
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("::1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("10.0.0.5", false),
        ] {
            let endpoint: IpAddr = endpoint.parse().unwrap();
            let code = |token| pairings.lets_in(endpoint, token).map_err(|refused| refused.status.code());
            assert_eq!(code(Some(&me.token)), Ok(()), "{endpoint}");
            for token in [None, Some(&other)] {
                assert_eq!(code(token), if open { Ok(()) } else { Err(401) }, "{endpoint}");
            }
        }
        assert!(Pairings::default().lets_in([0, 0, 0, 0].into(), Some(&me.token)).is_err());
    }

    #[test]
    fn a_name_that_looks_like_a_fingerprint_does_not_hide_it() {
        let me = named("me", 1);
        let thief = named(&me.token.fingerprint(), 2);
        let pairings = Pairings::new(vec![thief, me.clone()]);
        assert_eq!(pairings.find(&me.token.fingerprint()), Ok(&me));
    }

    #[test]
    fn a_list_is_kept_and_one_that_cannot_be_read_pairs_nobody_and_says_so() {
        let storage = std::env::temp_dir().join(format!("pairings-{}", std::process::id()));
        std::fs::create_dir_all(&storage).unwrap();
        let me = named("me", 1);
        assert_eq!(Pairings::load(&storage).1, None);
        keep(&storage, std::slice::from_ref(&me)).unwrap();
        let (pairings, warning) = Pairings::load(&storage);
        assert!(pairings.admits(&me.token) && warning.is_none());
        let file = storage.join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        for bad in [&text[..text.len() - 1], "", &text.repeat(100)] {
            std::fs::write(&file, bad).unwrap();
            let (pairings, warning) = Pairings::load(&storage);
            assert!(!pairings.admits(&me.token));
            assert!(warning.unwrap().contains("nobody is paired any more"));
        }
        keep(&storage, std::slice::from_ref(&me)).unwrap();
        assert!(Pairings::load(&storage).0.admits(&me.token));
        std::fs::remove_dir_all(&storage).unwrap();
    }
}
