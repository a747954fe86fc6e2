//! Several places of one image, the first that has it.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::source::{Blob, Choice, Parts, Source, Tried};
use crate::cache::Cache;
use crate::error::{Error, Result};

/// Where an image is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Where {
    /// In a registry.
    Remote,
    /// In a daemon of this machine.
    Local,
}

impl Where {
    /// Reads a list like `remote,local`; the first is asked first.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(list: &str) -> Result<Vec<Self>> {
        let mut order = Vec::new();
        for word in list.split(',') {
            let place = match word.trim() {
                "remote" => Self::Remote,
                "local" => Self::Local,
                _ => return Err(wrong(list)),
            };
            if order.contains(&place) {
                return Err(wrong(list));
            }
            order.push(place);
        }
        Ok(order)
    }
}

fn wrong(list: &str) -> Error {
    Error::user(format!("{list:?} does not say where to look for an image"))
        .hint("write remote, local, or both: remote,local asks the registry first")
}

/// Places in order. One that cannot even be asked stands there as the reason.
pub struct Order {
    places: Vec<Result<Box<dyn Source>>>,
    /// The one that has the image.
    chosen: AtomicUsize,
    /// Why those before it were passed over.
    told: Mutex<Vec<String>>,
}

impl Order {
    /// The places, the first one first.
    #[must_use]
    pub fn of(places: Vec<Result<Box<dyn Source>>>) -> Self {
        Self { places, chosen: AtomicUsize::new(0), told: Mutex::default() }
    }

    fn chosen(&self) -> Result<&dyn Source> {
        match self.places.get(self.chosen.load(Ordering::Relaxed)) {
            Some(Ok(place)) => Ok(place.as_ref()),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::internal("an image of no place")),
        }
    }
}

impl Source for Order {
    fn name(&self) -> String {
        self.chosen().map(Source::name).unwrap_or_default()
    }

    fn parts(&self, platform: &Choice) -> Result<Parts> {
        let mut failed: Option<Error> = None;
        for (number, place) in self.places.iter().enumerate() {
            let tried = place.as_ref().map_err(Clone::clone).and_then(|place| place.parts(platform));
            match (tried, failed) {
                (Ok(parts), failed) => {
                    self.chosen.store(number, Ordering::Relaxed);
                    if let Some(error) = failed {
                        let line = format!("{}; it is taken from {}", error.message, self.name());
                        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    }
                    return Ok(parts);
                }
                // The first place is where it should be, so what to do is about that one.
                (Err(error), Some(first)) => {
                    failed = Some(Error { message: format!("{}; and {}", first.message, error.message), ..first });
                }
                (Err(error), None) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| Error::internal("an image of no place")))
    }

    fn blob(&self, blob: &Blob, from: u64) -> Tried<Box<dyn Read + '_>> {
        self.chosen()?.blob(blob, from)
    }

    fn is_remote(&self) -> bool {
        self.chosen().is_ok_and(Source::is_remote)
    }

    fn cache(&self) -> Option<&Cache> {
        self.chosen().ok().and_then(Source::cache)
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Digest;

    /// A place that has an image, or says why it has none.
    struct Place(&'static str, bool);

    impl Source for Place {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        fn parts(&self, _: &Choice) -> Result<Parts> {
            let config = Blob { place: self.0.to_owned(), digest: None, size: 0 };
            let parts = Parts { digest: Digest::of(self.0.as_bytes()), config, layers: Vec::new() };
            if self.1 { Ok(parts) } else { Err(Error::user(format!("{} has none", self.0)).hint(self.0)) }
        }

        fn blob(&self, _: &Blob, _: u64) -> Tried<Box<dyn Read + '_>> {
            Ok(Box::new(self.0.as_bytes()))
        }
    }

    fn asked(places: Vec<Result<Box<dyn Source>>>) -> Result<String> {
        let order = Order::of(places);
        let parts = order.parts(&Choice::default())?;
        let mut text = String::new();
        order.blob(&parts.config, 0).map_err(|failure| failure.error)?.read_to_string(&mut text).unwrap();
        assert_eq!((order.name(), parts.config.place), (text.clone(), text.clone()));
        Ok(text)
    }

    fn place(name: &'static str, has: bool) -> Result<Box<dyn Source>> {
        Ok(Box::new(Place(name, has)))
    }

    #[test]
    fn the_first_place_that_has_it_gives_all_of_it() {
        assert_eq!(asked(vec![place("a", true), place("b", true)]).unwrap(), "a");
        assert_eq!(asked(vec![place("a", false), place("b", true)]).unwrap(), "b");
        assert_eq!(asked(vec![Err(Error::user("no daemon")), place("b", true)]).unwrap(), "b");
        let error = asked(vec![place("a", false), Err(Error::user("no daemon"))]).unwrap_err();
        assert_eq!((error.message.as_str(), error.hint.as_deref()), ("a has none; and no daemon", Some("a")));
        assert!(asked(Vec::new()).is_err());
    }

    #[test]
    fn an_order_names_each_place_once() {
        assert_eq!(Where::parse("remote,local").unwrap(), [Where::Remote, Where::Local]);
        assert_eq!(Where::parse("local").unwrap(), [Where::Local]);
        for list in ["", "local,", "far", "local,local"] {
            assert!(Where::parse(list).is_err(), "{list}");
        }
    }
}
