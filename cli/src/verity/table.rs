//! `NAME/_dm/VOLUME.json`: what a device needs to check the blocks of a volume.
//!
//! ```text
//!   {"data_device":"root.squashfs","hash_device":"root.squashfs.hash","root_hash":"<hex>","salt":"<hex>",
//!    "type":"dm-verity","uuid":"<uuid>"}
//! ```
//!
//! Older tools left salt and uuid out; then the file of hashes has them.

use formats::json::{self, Json, Limits};
use formats::object::ObjectId;
use formats::path;

use super::tree::Root;

/// What makes the tree of one image different from that of another with equal blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seed {
    /// Hashed before each block.
    pub salt: Vec<u8>,
    /// The name of the tree.
    pub uuid: [u8; 16],
}

/// A table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// The image, relative to the container.
    pub data: String,
    /// The file of hashes, relative to the container.
    pub hashes: String,
    /// The root, in hexadecimal.
    pub root: String,
    /// What the tree was made with, if the table says it.
    pub seed: Option<Seed>,
}

impl Seed {
    /// One that follows from the image alone, so that equal images have equal trees.
    #[must_use]
    pub fn of(image: ObjectId) -> Self {
        let from = |what: &str| ObjectId::of(format!("{what} of {image}").as_bytes()).to_string();
        let mut uuid = [0; 16];
        uuid.iter_mut().zip(decoded(&from("uuid")).unwrap_or_default()).for_each(|(to, byte)| *to = byte);
        // A UUID of version 8: its bits mean what its maker says (RFC 9562).
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
        *version = *version & 0x0f | 0x80;
        *variant = *variant & 0x3f | 0x80;
        Self { salt: decoded(&from("salt")).unwrap_or_default(), uuid }
    }
}

impl Table {
    /// Reads one; why it cannot be used, as the end of a sentence.
    ///
    /// # Errors
    /// It is no table of dm-verity, or names files outside of its container.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let value = json::parse(text, Limits::DOCUMENT).map_err(|error| error.to_string())?;
        let members = value.as_object().ok_or("it is not an object")?;
        let text = |name: &str| members.get(name).and_then(|value| value.as_str());
        let need = |name: &str| text(name).ok_or_else(|| format!("{name} is not there, or no text"));
        if need("type")? != "dm-verity" {
            return Err(format!("type: {:?} is not dm-verity", need("type")?));
        }
        let file = |name: &str| {
            let file = need(name)?;
            path::relative(file).map_err(|why| format!("{name}: {why}")).map(|()| file.to_owned())
        };
        let root = need("root_hash")?;
        if root.len() != 64 || decoded(root).is_none() {
            return Err("root_hash: not 64 hexadecimal digits".into());
        }
        let seed = match (text("salt"), text("uuid")) {
            (None, None) => None,
            (Some(salt), Some(uuid)) => {
                let salt =
                    decoded(salt).filter(|salt| salt.len() <= 256).ok_or("salt: not up to 256 bytes in hexadecimal")?;
                let uuid = decoded(&uuid.replace('-', "")).and_then(|bytes| bytes.try_into().ok());
                Some(Seed { salt, uuid: uuid.ok_or("uuid: not one")? })
            }
            _ => return Err("salt and uuid: one without the other".into()),
        };
        let (data, hashes) = (file("data_device")?, file("hash_device")?);
        if data == hashes {
            return Err("data_device and hash_device are the same".into());
        }
        Ok(Self { data, hashes, root: root.to_ascii_lowercase(), seed })
    }

    /// As it stands in a state.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut json = Json::object()
            .with("data_device", self.data.as_str())
            .with("hash_device", self.hashes.as_str())
            .with("root_hash", self.root.as_str());
        if let Some(seed) = &self.seed {
            let uuid = hexadecimal(&seed.uuid);
            let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
                .map(|(from, to)| uuid.get(from..to).unwrap_or_default());
            json.set("salt", hexadecimal(&seed.salt));
            json.set("uuid", parts.join("-"));
        }
        json.with("type", "dm-verity")
    }

    /// Takes the root of a tree over.
    #[must_use]
    pub fn with_root(self, root: &Root) -> Self {
        Self { root: hexadecimal(root), ..self }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_as_it_is_read() {
        let table = Table {
            data: "root.squashfs".into(),
            hashes: "root.squashfs.hash".into(),
            root: "ab".repeat(32),
            seed: Some(Seed::of(ObjectId::of(b"x"))),
        };
        let text = table.to_json().canonical();
        assert_eq!(Table::parse(text.as_bytes()), Ok(table.clone()));
        let old = Table { seed: None, ..table };
        assert_eq!(Table::parse(old.to_json().canonical().as_bytes()), Ok(old));
        assert_ne!(Seed::of(ObjectId::of(b"x")), Seed::of(ObjectId::of(b"y")));
    }

    #[test]
    fn a_table_that_cannot_be_used_says_which_member() {
        let root = "ab".repeat(32);
        let good = format!(r#""type":"dm-verity","data_device":"a","hash_device":"a.hash","root_hash":"{root}""#);
        for (text, said) in [
            ("[]", "not an object"),
            ("{}", "type"),
            (r#"{"type":"crypt"}"#, "not dm-verity"),
            (&good.replace("\"a\"", "\"../a\""), "data_device"),
            (&good.replace("a.hash", "a"), "the same"),
            (&good.replace(&root, "ab"), "root_hash"),
            (&format!(r#"{good},"salt":"1""#), "one without"),
            (&format!(r#"{good},"salt":"1","uuid":"x""#), "salt"),
            (&format!(r#"{good},"salt":"11","uuid":"11""#), "uuid"),
        ] {
            let text = if text.starts_with(['{', '[']) { text.to_owned() } else { format!("{{{text}}}") };
            assert!(Table::parse(text.as_bytes()).unwrap_err().contains(said), "{text}");
        }
    }
}
