//! A state as a transaction has it: keys in order, and the exact text of each value.
//!
//! ```text
//!   remove web   ─▶  web and all below it
//!                    + what _sigs/web.json names: `web/**` is all that begins with `web/`
//!                    − what a signature that stays names too
//! ```
//!
//! Promises: the text of a value is never written anew, because signatures are about that text; `#spec` comes first, and the
//! other keys in the order of their bytes. A name matches whole components (`web` is not `webshop`), a pattern as far as its
//! first `*`; one that begins with it (`**`) names nothing here, since everything would go with it.

use std::fmt;

use formats::json::{self, Limits, Member};
use formats::object::ObjectId;
use formats::path;
use formats::signature::Signature;
use formats::state::{self, KEYS_MAX, Revision};

use crate::failure::Failure;
use crate::tx::Result;

const SPEC: &str = "#spec";

/// A state, or some of the keys of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Parts(Vec<Text>);

/// What stood in a state, as it stood there. They are sorted by their names.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Text {
    name: String,
    /// The name as it stood between its quotes.
    key: String,
    value: String,
    /// The object that it names.
    object: Option<ObjectId>,
}

/// What a removal has come to.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Removed {
    /// The keys that went.
    pub(super) gone: Vec<String>,
    /// Those that another signature names too, with that signature.
    pub(super) kept: Vec<(String, String)>,
}

/// What a signature, or a person, means.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Scope {
    /// A key, or everything below a directory.
    Whole(String),
    /// Everything that begins so.
    Begins(String),
}

impl Scope {
    fn has(&self, key: &str) -> bool {
        match self {
            Self::Whole(name) => {
                key.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Begins(text) => key.starts_with(text.as_str()),
        }
    }

    fn of_pattern(pattern: &str) -> Option<Self> {
        match pattern.split_once('*') {
            Some(("", _)) => None,
            Some((before, _)) => Some(Self::Begins(before.into())),
            None => Some(Self::Whole(pattern.into())),
        }
    }
}

/// A signature of the state, by its key, and what it names.
type Claims = Vec<(String, Vec<Scope>)>;

impl Parts {
    /// A state with nothing in it.
    pub(super) fn empty() -> Self {
        let value = format!("\"{}\"", state::SPEC);
        Self(vec![Text { name: SPEC.into(), key: SPEC.into(), value, object: None }])
    }

    /// Reads a state, or a part of one, which need not have a `#spec`.
    pub(super) fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        let wrong = |why: &dyn fmt::Display| Failure::state(format!("{what}: {why}"));
        let value = json::parse(bytes, Limits::STATE).map_err(|error| wrong(&error))?;
        let object = value.as_object().ok_or_else(|| wrong(&"it is not a JSON object, so it is no state"))?;
        if object.len() > KEYS_MAX {
            return Err(wrong(&format_args!("it has more than {KEYS_MAX} keys")));
        }
        let mut parts = Self(Vec::new());
        for Member { key, raw_key, value } in object {
            path::key(key).map_err(|why| wrong(&format_args!("{key:?}: {why}")))?;
            let object = value.as_str().and_then(ObjectId::parse);
            parts.put(Text { name: key.as_ref().into(), key: (*raw_key).into(), value: value.raw().into(), object });
        }
        Ok(parts)
    }

    /// Where a key is, or would be.
    fn place(&self, name: &str) -> std::result::Result<usize, usize> {
        self.0.binary_search_by(|text| text.name.as_str().cmp(name))
    }

    fn put(&mut self, text: Text) {
        match self.place(&text.name) {
            Ok(at) => self.0.get_mut(at).into_iter().for_each(|there| *there = text.clone()),
            Err(at) => self.0.insert(at, text),
        }
    }

    /// The whole text.
    pub(super) fn text(&self) -> String {
        let mut all = String::from("{");
        for is_first in [true, false] {
            for text in self.0.iter().filter(|text| (text.name == SPEC) == is_first) {
                let comma = if all.len() > 1 { "," } else { "" };
                for part in [comma, "\"", &text.key, "\":", &text.value] {
                    all.push_str(part);
                }
            }
        }
        all.push('}');
        all
    }

    /// The same as a state that a device would read.
    pub(super) fn revision(&self) -> Result<Revision> {
        Revision::parse(self.text().as_bytes()).map_err(|error| Failure::state(error.to_string()))
    }

    /// The objects that it names, with the key of each. Tools count those too that a device passes over.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&str, ObjectId)> {
        self.0.iter().filter_map(|text| Some((text.name.as_str(), text.object?)))
    }

    fn has(&self, key: &str) -> bool {
        self.place(key).is_ok()
    }

    /// Puts the keys of a package in place of what they replace. A signature replaces what it named before, so that nothing
    /// of an older version stays, unless it comes without any of its files.
    pub(super) fn add(&mut self, package: &Self) -> Result<Removed> {
        let (own, new) = (self.claims("")?, package.claims("")?);
        let mut scopes: Vec<Scope> = package.0.iter().map(|text| Scope::Whole(text.name.clone())).collect();
        let mut going = Vec::new();
        for (signature, before) in own.iter().filter(|(signature, _)| package.has(signature)) {
            let named = new.iter().filter(|(name, _)| name == signature).flat_map(|(_, scopes)| scopes);
            let is_file = |text: &&Text| text.name != SPEC && !is_signature(&text.name);
            if named.clone().any(|scope| package.0.iter().filter(is_file).any(|text| scope.has(&text.name))) {
                going.push(signature.as_str());
                scopes.extend_from_slice(before);
            }
        }
        let mut removed = self.take(&scopes, &going, &own);
        package.0.iter().for_each(|text| self.put(text.clone()));
        self.revision()?;
        removed.gone.retain(|key| !self.has(key));
        removed.kept.retain(|(key, _)| !package.has(key));
        Ok(removed)
    }

    /// Removes a part: `web`, `_config/web`, or what `_sigs/web.json` signs.
    pub(super) fn remove(&mut self, part: &str) -> Result<Removed> {
        let bad = |why: &dyn fmt::Display| Failure::usage(format!("{part:?}: {why}"));
        path::key(part).map_err(|why| bad(&why))?;
        if part == SPEC {
            return Err(bad(&"a state cannot be without its format"));
        }
        let signature = if is_signature(part) { part.into() } else { format!("_sigs/{part}.json") };
        let claims = self.claims(&signature)?;
        let mut scopes = vec![Scope::Whole(part.into())];
        if let Some((_, named)) = claims.iter().find(|(name, _)| *name == signature) {
            scopes.push(Scope::Whole(signature.clone()));
            scopes.extend_from_slice(named);
        }
        let done = self.take(&scopes, &[&signature], &claims);
        match done.kept.first() {
            _ if !done.gone.is_empty() => Ok(done),
            Some((key, signer)) => {
                Err(Failure::wrong(format!("{key} is signed by {signer} too, which stays; remove that one")))
            }
            None => Err(bad(&"this transaction has no such part; `pvtx show` tells what it has")),
        }
    }

    /// Takes out what is meant, but for what a signature names that does not go.
    fn take(&mut self, scopes: &[Scope], going: &[&str], claims: &Claims) -> Removed {
        let mut done = Removed::default();
        self.0.retain(|Text { name, .. }| {
            let is_in = |scopes: &[Scope]| scopes.iter().any(|scope| scope.has(name));
            if name == SPEC || !is_in(scopes) {
                return true;
            }
            let is_going = |signature: &str| going.contains(&signature);
            let stays =
                claims.iter().find(|(signature, named)| !is_going(name) && !is_going(signature) && is_in(named));
            match stays {
                Some((signature, _)) => done.kept.push((name.clone(), signature.clone())),
                None => done.gone.push(name.clone()),
            }
            stays.is_some()
        });
        done
    }

    /// What each signature names, included or excluded. One that cannot be read is an error, since what it protects is not
    /// known; but this one may go.
    fn claims(&self, going: &str) -> Result<Claims> {
        let mut claims = Vec::new();
        for Text { name, value, .. } in &self.0 {
            // Wherever it is, as tools write it.
            if !is_signature(name) && !value.starts_with("{\"#spec\":\"pvs@2\"") {
                continue;
            }
            let scopes = match Signature::parse(name, value) {
                Ok(signature) => {
                    let patterns = signature.include.iter().chain(&signature.exclude);
                    patterns.filter_map(|one| Scope::of_pattern(one.as_str())).collect()
                }
                Err(_) if name == going => Vec::new(),
                Err(error) => {
                    return Err(Failure::state(format!("{error}; what it signs is not known: `pvtx remove {name}`")));
                }
            };
            claims.push((name.clone(), scopes));
        }
        Ok(claims)
    }
}

fn is_signature(key: &str) -> bool {
    key.starts_with("_sigs/") && key.ends_with(".json")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// base64url without padding, as the header of a signature has it.
    fn base64url(bytes: &[u8]) -> String {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            let all = [18, 12, 6, 0].map(|shift| char::from(digits[(bits >> shift) as usize & 63]));
            text.extend(all.iter().take(three.len() + 1));
        }
        text
    }

    pub(in crate::tx) fn signature(include: &[&str], exclude: &[&str]) -> String {
        let list = |texts: &[&str]| texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(",");
        let pvs = format!(r#"{{"include":[{}],"exclude":[{}]}}"#, list(include), list(exclude));
        let header = base64url(format!(r#"{{"alg":"ES256","pvs":{pvs},"typ":"PVS"}}"#).as_bytes());
        format!(r##"{{"#spec":"pvs@2","protected":"{header}","signature":"AAAA"}}"##)
    }

    fn id(of: &str) -> String {
        format!("\"{}\"", ObjectId::of(of.as_bytes()))
    }

    pub(in crate::tx) fn parts(members: &[(&str, &str)]) -> Parts {
        let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        Parts::parse(format!("{{{}}}", members.join(",")).as_bytes(), "package").unwrap()
    }

    fn state(members: &[(&str, &str)]) -> Parts {
        let mut state = Parts::empty();
        parts(members).0.into_iter().for_each(|text| state.put(text));
        state.revision().unwrap();
        state
    }

    fn keys(parts: &Parts) -> Vec<&str> {
        parts.0.iter().map(|text| text.name.as_str()).filter(|key| *key != SPEC).collect()
    }

    fn web() -> String {
        signature(&["web/**", "_config/web/**"], &["web/src.json", "_sigs/web.json"])
    }

    #[test]
    fn the_format_comes_first_then_keys_by_their_bytes_and_values_as_they_were_written() {
        let text = r##"{"b":1 , "!a" : {"z":1.50, "a":"\u0041"},"#spec":"x","a\u0062":[ ]}"##;
        let parts = Parts::parse(text.as_bytes(), "x").unwrap();
        assert_eq!(parts.text(), r##"{"#spec":"x","!a":{"z":1.50, "a":"\u0041"},"a\u0062":[ ],"b":1}"##);
        assert_eq!(Parts::empty().text(), r##"{"#spec":"pantavisor-service-system@1"}"##);
    }

    #[test]
    fn what_could_lead_out_of_a_trail_is_no_part() {
        for text in [r#"{"../a":1}"#, r#"{"/a":1}"#, r#"{".pv/done":1}"#, r#"{"a":1,"a":2}"#, "[]", "", r#"{"a":"#] {
            assert_eq!(Parts::parse(text.as_bytes(), "x").unwrap_err().exit_code(), 70, "{text}");
        }
    }

    #[test]
    fn an_added_key_takes_the_place_of_its_own_and_of_what_is_below_it() {
        let (old, new) = (id("old"), id("new"));
        let mut state = state(&[("a.json", "1"), ("web/data/x", &old), ("web/root", &old), ("webshop", &old)]);
        let removed = state.add(&parts(&[("web/data", &new), ("web/root", &new), ("a.json", "{ }")])).unwrap();
        assert_eq!(keys(&state), ["a.json", "web/data", "web/root", "webshop"]);
        assert_eq!(removed.gone, ["web/data/x"]);
        assert!(state.text().contains(&format!(r#""a.json":{{ }},"web/data":{new},"web/root":{new},"webshop":{old}"#)));
    }

    #[test]
    fn a_signed_package_leaves_nothing_of_its_older_version() {
        let (old, new, sig) = (id("old"), id("new"), web());
        let mut state = state(&[("_config/web/a", &old), ("_sigs/web.json", &sig), ("web/old", &old), ("z", &old)]);
        let removed = state.add(&parts(&[("_sigs/web.json", &sig), ("web/new", &new)])).unwrap();
        assert_eq!(
            (keys(&state), removed.gone),
            (vec!["_sigs/web.json", "web/new", "z"], vec!["_config/web/a".into(), "web/old".into()])
        );
    }

    #[test]
    fn a_signature_alone_takes_the_place_of_a_signature_alone() {
        let (old, sig) = (id("old"), web());
        let other = signature(&["web/**"], &[]);
        let mut state = state(&[("_sigs/web.json", &sig), ("web/old", &old)]);
        state.add(&parts(&[("_sigs/web.json", &other)])).unwrap();
        assert_eq!(keys(&state), ["_sigs/web.json", "web/old"]);
        assert!(state.text().contains(&other));
    }

    #[test]
    fn a_package_that_makes_no_state_changes_nothing_for_the_caller() {
        let old = id("old");
        let before = state(&[("web/a", &old)]);
        for bad in [&[("web/a/b", old.as_str())][..], &[("#spec", "\"other@1\"")], &[("x", "\"no object\"")]] {
            let mut changed = before.clone();
            assert_eq!(changed.add(&parts(bad)).unwrap_err().exit_code(), 70, "{bad:?}");
        }
    }

    #[test]
    fn a_part_goes_by_each_of_its_names_and_its_neighbours_stay() {
        let (one, sig) = (id("one"), web());
        let all = [
            ("_config/web/a", one.as_str()),
            ("_config/webshop/a", &one),
            ("_sigs/web.json", &sig),
            ("web/run.json", "{}"),
            ("webshop/b", &one),
        ];
        for name in ["web", "_sigs/web.json"] {
            let mut state = state(&all);
            let removed = state.remove(name).unwrap();
            assert_eq!(keys(&state), ["_config/webshop/a", "webshop/b"], "{name}");
            assert_eq!(removed.gone, ["_config/web/a", "_sigs/web.json", "web/run.json"]);
        }
        let unsigned: Vec<_> = all.iter().filter(|(key, _)| !key.starts_with("_sigs")).copied().collect();
        let mut config = state(&unsigned);
        config.remove("_config/web").unwrap();
        assert_eq!(keys(&config), ["_config/webshop/a", "web/run.json", "webshop/b"]);
    }

    #[test]
    fn what_two_sign_stays_until_the_second_one_goes() {
        let (one, sig) = (id("one"), web());
        let oem = signature(&["web/root*", "oem/**"], &[]);
        let mut state = state(&[
            ("_sigs/oem.json", &oem),
            ("_sigs/web.json", &sig),
            ("oem/x", &one),
            ("web/a", &one),
            ("web/root.img", &one),
        ]);
        let removed = state.remove("web").unwrap();
        assert_eq!(keys(&state), ["_sigs/oem.json", "oem/x", "web/root.img"]);
        assert_eq!(removed.kept, [("web/root.img".into(), "_sigs/oem.json".into())]);
        let said = state.remove("web/root.img").unwrap_err().to_string();
        assert!(said.contains("_sigs/oem.json"), "{said}");
        state.remove("_sigs/oem.json").unwrap();
        assert_eq!(keys(&state), [""; 0]);
    }

    #[test]
    fn a_signature_that_begins_with_a_star_does_not_take_the_device_with_it() {
        let one = id("one");
        let all = signature(&["**"], &["**/src.json"]);
        let mut state = state(&[("_sigs/all.json", &all), ("all/a", &one), ("web/a", &one)]);
        state.remove("all").unwrap();
        assert_eq!(keys(&state), ["web/a"]);
    }

    #[test]
    fn the_format_stays_whatever_signs_it() {
        let sig = signature(&["bsp/**", "device.json", "#spec"], &["bsp/src.json"]);
        let mut state = state(&[("_sigs/bsp.json", &sig), ("bsp/run.json", "{}"), ("device.json", "{}")]);
        state.remove("bsp").unwrap();
        assert_eq!(state, Parts::empty());
        assert_eq!(state.remove("#spec").unwrap_err().exit_code(), 1);
    }

    #[test]
    fn a_signature_that_cannot_be_read_protects_everything_until_it_is_removed_itself() {
        let one = id("one");
        let mut state = state(&[("_sigs/bad.json", r#"{"no":1}"#), ("web/a", &one)]);
        let said = state.remove("web").unwrap_err().to_string();
        assert!(said.contains("_sigs/bad.json") && said.contains("pvtx remove"), "{said}");
        state.remove("_sigs/bad.json").unwrap();
        state.remove("web").unwrap();
        assert_eq!(state, Parts::empty());
    }

    #[test]
    fn a_part_that_is_not_there_is_an_error() {
        for (part, exit) in [("web", 1), ("../x", 1), ("", 1), ("/x", 1)] {
            assert_eq!(Parts::empty().remove(part).unwrap_err().exit_code(), exit, "{part}");
        }
    }
}
