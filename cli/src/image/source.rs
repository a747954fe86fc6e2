//! Where an image comes from: a few documents and blobs by name.

use std::io::Read;

use super::digest::Digest;
use super::manifest::{Descriptor, Platform};
use crate::cache::Cache;
use crate::error::Error;

/// A place with one image in it, or one for each of several platforms.
pub trait Source: Sync {
    /// What it is called in messages: `registry.example.com/team/web:1`.
    fn name(&self) -> String;

    /// The parts of the image for a platform.
    ///
    /// # Errors
    /// There is none, or the place cannot be read.
    fn parts(&self, platform: &Choice) -> Result<Parts, Error>;

    /// A blob from a byte on.
    ///
    /// # Errors
    /// It cannot be had; whether another try is worth it is said too.
    fn blob(&self, blob: &Blob, from: u64) -> Tried<Box<dyn Read + '_>>;

    /// Whether it is at the other end of a network: a read that fails may succeed when it is tried again, and several blobs
    /// at once are sooner here than one after the other.
    fn is_remote(&self) -> bool {
        false
    }

    /// Where its blobs are kept. What is a file of this machine already is not kept twice.
    fn cache(&self) -> Option<&Cache> {
        None
    }

    /// What a person should hear about where it was found.
    fn told(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The parts of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    /// What identifies it: the digest of its manifest, or of its configuration where there is no manifest.
    pub digest: Digest,
    /// Its configuration.
    pub config: Blob,
    /// Its layers, the lowest first.
    pub layers: Vec<Blob>,
}

/// A blob of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blob {
    /// How its source finds it.
    pub place: String,
    /// Its digest, where one is known before it is unpacked.
    pub digest: Option<Digest>,
    /// Its length in bytes.
    pub size: u64,
}

impl From<&Descriptor> for Blob {
    fn from(descriptor: &Descriptor) -> Self {
        Self { place: descriptor.digest.to_string(), digest: Some(descriptor.digest), size: descriptor.size }
    }
}

/// What comes of one try.
pub type Tried<T> = Result<T, Failure>;

/// Why a blob cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The reason.
    pub error: Error,
    /// Whether it may be another time.
    pub passing: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, passing: false }
    }
}

/// The platforms that will do, the best first; none at all means: whatever there is, if there is one only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Choice(pub Vec<Platform>);

impl Choice {
    /// The one manifest of an index that is wanted.
    ///
    /// # Errors
    /// There is none, or more than one; the message lists what there is.
    pub fn pick<'m>(&self, name: &str, manifests: &'m [Descriptor]) -> Result<&'m Descriptor, Error> {
        // Signatures and the like stand in indexes with an unknown platform.
        let images: Vec<_> = manifests
            .iter()
            .filter(|one| one.platform.as_ref().is_none_or(|it| it.architecture != "unknown"))
            .collect();
        let shown = |one: &&Descriptor| one.platform.as_ref().map_or_else(|| "unnamed".to_owned(), Platform::to_string);
        let list = || images.iter().map(shown).collect::<Vec<_>>().join(", ");
        let serving = |wanted: &Platform| -> Vec<&'m Descriptor> {
            let serves = |one: &&&Descriptor| one.platform.as_ref().is_none_or(|it| it.serves(wanted));
            images.iter().filter(serves).copied().collect()
        };
        let mut found = match self.0.as_slice() {
            [] => images.clone(),
            wanted => wanted.iter().map(serving).find(|found| !found.is_empty()).unwrap_or_default(),
        };
        // The one that says the very same is better than those that only do.
        if let Some(exact) =
            found.iter().copied().find(|one| one.platform.as_ref().is_some_and(|it| self.0.contains(it)))
        {
            found = vec![exact];
        }
        match (found.as_slice(), self.0.as_slice()) {
            ([one], _) => Ok(one),
            ([], []) => Err(Error::user(format!("{name}: the index names no image"))),
            ([], wanted) => {
                let wanted: Vec<_> = wanted.iter().map(Platform::to_string).collect();
                Err(Error::user(format!(
                    "{name}: there is no image for {}; there are: {}",
                    wanted.join(" or "),
                    list()
                ))
                .hint("name one of them: --platform"))
            }
            ([_, ..], _) => Err(Error::user(format!("{name}: there are several images: {}", list()))
                .hint("say which the device runs: --platform linux/arm64")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Vec<Descriptor> {
        let one = |text: &&str| Descriptor {
            media_type: String::new(),
            digest: Digest::of(text.as_bytes()),
            size: 0,
            platform: Platform::parse(text),
            tag: None,
        };
        platforms.iter().map(one).collect()
    }

    fn pick(wanted: &[&str], there: &[&str]) -> Result<String, String> {
        let choice = Choice(wanted.iter().map(|text| Platform::parse(text).unwrap()).collect());
        let index = index(there);
        let one = choice.pick("x", &index).map_err(|error| error.message)?;
        Ok(one.platform.as_ref().unwrap().to_string())
    }

    #[test]
    fn the_platform_that_is_asked_for_is_picked() {
        let there = ["linux/amd64", "linux/arm/v5", "linux/arm/v7", "linux/arm64/v8", "unknown/unknown"];
        assert_eq!(pick(&["arm64"], &there).unwrap(), "linux/arm64/v8");
        assert_eq!(pick(&["linux/arm/v7"], &there).unwrap(), "linux/arm/v7");
        assert_eq!(pick(&["riscv64", "amd64"], &there).unwrap(), "linux/amd64");
        assert_eq!(pick(&[], &["linux/amd64", "unknown/unknown"]).unwrap(), "linux/amd64");
        assert_eq!(pick(&["linux/arm"], &["linux/arm", "linux/arm/v7"]).unwrap(), "linux/arm");
    }

    #[test]
    fn what_cannot_be_picked_is_listed() {
        let there = ["linux/amd64", "linux/arm/v5", "linux/arm/v7"];
        assert_eq!(
            pick(&["riscv64"], &there).unwrap_err(),
            "x: there is no image for linux/riscv64; there are: linux/amd64, linux/arm/v5, linux/arm/v7"
        );
        assert!(pick(&[], &there).unwrap_err().contains("several"));
        assert!(pick(&["linux/arm"], &there).unwrap_err().contains("several"));
        assert!(pick(&[], &[]).unwrap_err().contains("no image"));
    }
}
