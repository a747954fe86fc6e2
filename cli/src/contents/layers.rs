//! What of an app's image was built anew, by its layers.
//!
//! `src.json` keeps the digests of the layers that an image was made of, unpacked and in order, as `docker_layers`. Tools
//! that do not know the member pass over it. A `src.json` without it says nothing about layers, and neither do we.

use formats::json::Json;

use crate::image::digest::Digest;

/// The member of `src.json`.
pub const MEMBER: &str = "docker_layers";

/// Layers of two builds, from the bottom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layers {
    /// How many are the same at the bottom of both.
    pub kept: usize,
    /// Those above them that the old image had.
    pub old: Vec<Digest>,
    /// Those above them that the new one has.
    pub new: Vec<Digest>,
}

/// The value of the member.
#[must_use]
pub fn member(layers: &[Digest]) -> Json {
    layers.iter().map(|digest| Json::from(digest.to_string())).collect::<Vec<_>>().into()
}

/// Compares what two `src.json` say. None if one of them does not say it.
#[must_use]
pub fn layers(old: &Json, new: &Json) -> Option<Layers> {
    let (old, new) = (read(old)?, read(new)?);
    let kept = old.iter().zip(&new).take_while(|(was, is)| was == is).count();
    Some(Layers { kept, old: old.into_iter().skip(kept).collect(), new: new.into_iter().skip(kept).collect() })
}

fn read(src: &Json) -> Option<Vec<Digest>> {
    let Json::Array(list) = src.get(MEMBER)? else { return None };
    list.iter().map(|one| one.as_str().and_then(Digest::parse)).collect()
}

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let layers = |count| if count == 1 { "layer" } else { "layers" };
        let (old, new) = (self.old.len(), self.new.len());
        match (old, new) {
            (0, 0) => write!(f, "all {} {} as before", self.kept, layers(self.kept)),
            _ => write!(f, "{} {} as before, {old} gone, {new} new", self.kept, layers(self.kept)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn src(layers: &[&[u8]]) -> Json {
        let digests: Vec<_> = layers.iter().map(|bytes| Digest::of(bytes)).collect();
        Json::object().with("template", "confined").with(MEMBER, member(&digests))
    }

    #[test]
    fn a_layer_is_kept_only_if_all_below_it_are() {
        let found = layers(&src(&[b"base", b"lib", b"app"]), &src(&[b"base", b"lib2", b"app"])).unwrap();
        assert_eq!((found.kept, found.old.len(), found.new.len()), (1, 2, 2));
        assert_eq!(found.to_string(), "1 layer as before, 2 gone, 2 new");
        let same = layers(&src(&[b"base"]), &src(&[b"base"])).unwrap();
        assert_eq!(same.to_string(), "all 1 layer as before");
    }

    #[test]
    fn what_was_not_kept_is_not_made_up() {
        let other = Json::object().with(MEMBER, "base");
        for (old, new) in [(Json::object(), src(&[b"a"])), (src(&[b"a"]), Json::object()), (other, src(&[b"a"]))] {
            assert_eq!(layers(&old, &new), None);
        }
    }
}
