//! Manifests, indexes and configurations: what an image says of itself, read with everything bounded.
//!
//! ```text
//!   index ──platform──▶ manifest ──▶ config     who starts, as whom, with what
//!                           └──────▶ layers     tars, the lowest first
//! ```
//!
//! Formats: OCI image specification 1.1 and Docker's schema 2, which differ in nothing but their media types.

use std::fmt;

use formats::json::{self, Json, Limits as JsonLimits, Object, Value};

use super::Limits;
use super::digest::Digest;

/// What is asked of a registry.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// An operating system, an architecture and a variant of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, `arm`, …
    pub architecture: String,
    /// `v7`, `v8`; empty if there is none.
    pub variant: String,
}

/// A blob by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What it runs on, in an index.
    pub platform: Option<Platform>,
    /// Its tag, in the index of a layout.
    pub tag: Option<String>,
}

/// What a name leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Document {
    /// Several manifests.
    Index(Vec<Descriptor>),
    /// One.
    Manifest(Manifest),
}

/// An image as its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// The configuration of an image.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// What to run, as it stands there; an object.
    pub config: Json,
    /// What it runs on.
    pub platform: Platform,
    /// When it was made, in seconds since 1970; 0 if it does not say.
    pub created: u32,
    /// The digests of its layers, unpacked.
    pub diff_ids: Vec<Digest>,
}

/// What is wrong with a document, as the end of a sentence.
pub type Reason = String;

impl Platform {
    /// Reads `ARCH`, `OS/ARCH` or `OS/ARCH/VARIANT`. The kernel's names of architectures are understood.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [architecture] => ("linux", *architecture, ""),
            [os, architecture] => (*os, *architecture, ""),
            [os, architecture, variant] => (*os, *architecture, *variant),
            _ => return None,
        };
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64", variant) => ("amd64", variant),
            ("i386" | "i686" | "x86", variant) => ("386", variant),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf" | "armv7" | "armv7l", "") => ("arm", "v7"),
            ("armv6" | "armel", "") => ("arm", "v6"),
            other => other,
        };
        let word =
            |text: &str| text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        let fine = !os.is_empty() && !architecture.is_empty() && [os, architecture, variant].into_iter().all(word);
        fine.then(|| Self { os: os.into(), architecture: architecture.into(), variant: variant.into() })
    }

    /// Whether this is what is wanted. A variant that is not asked for, or not said, does not matter; 64-bit ARM has
    /// one variant for all purposes.
    #[must_use]
    pub fn serves(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_empty() || self.variant.is_empty() || self.variant == wanted.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

impl Document {
    /// Reads a manifest or an index.
    ///
    /// # Errors
    /// It is neither, or more than is believed.
    pub fn parse(bytes: &[u8], limits: Limits) -> Result<Self, Reason> {
        let value = read(bytes, limits)?;
        let object = value.as_object().ok_or("it is no JSON object")?;
        if object.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
            return Err("it has the format that registries gave up in 2019 (schema 1); build and push it again".into());
        }
        if let Some(list) = object.get("manifests") {
            let list = list.as_array().ok_or("`manifests` is no list")?;
            return Ok(Self::Index(list.iter().map(descriptor).collect::<Result<_, _>>()?));
        }
        let config = object.get("config").ok_or("it has neither `config` nor `manifests`")?;
        let layers = object.get("layers").and_then(Value::as_array).ok_or("it has no list of `layers`")?;
        if layers.len() > limits.layers {
            return Err(format!("it has {} layers, at most {} are taken", layers.len(), limits.layers));
        }
        let manifest =
            Manifest { config: descriptor(config)?, layers: layers.iter().map(descriptor).collect::<Result<_, _>>()? };
        manifest.check()?;
        Ok(Self::Manifest(manifest))
    }
}

impl Manifest {
    /// Charts, signatures and the like have manifests too.
    fn check(&self) -> Result<(), Reason> {
        let config = self.config.media_type.as_str();
        if !matches!(
            config,
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
        ) {
            return Err(format!("it is no container image but {config:?}"));
        }
        match self.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
            Some(layer) => Err(format!("the layer {} is {:?}, which is not read", layer.digest, layer.media_type)),
            None => Ok(()),
        }
    }
}

/// How a layer is packed is told by its first bytes; that it is a tar at all, by its type.
fn is_layer(media_type: &str) -> bool {
    let oci = ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"];
    let docker =
        ["application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"];
    oci.into_iter()
        .chain(docker)
        .any(|base| matches!(media_type.strip_prefix(base), Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd")))
}

impl Config {
    /// That of files which say nothing of how they are started.
    #[must_use]
    pub fn none() -> Self {
        let platform = Platform { os: "linux".into(), architecture: String::new(), variant: String::new() };
        Self { config: Json::object(), platform, created: 0, diff_ids: Vec::new() }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// It is none, or more than is believed.
    pub fn parse(bytes: &[u8], limits: Limits) -> Result<Self, Reason> {
        let value = read(bytes, limits)?;
        let object = value.as_object().ok_or("it is no JSON object")?;
        let text = |member: &str| object.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
        let ids = object.get("rootfs").and_then(Value::as_object).and_then(|rootfs| rootfs.get("diff_ids"));
        let ids = ids.and_then(Value::as_array).ok_or("it has no list `rootfs.diff_ids`")?;
        let id = |id: &Value<'_>| id.as_str().and_then(Digest::parse).ok_or("`rootfs.diff_ids` must be SHA-256");
        let config = match object.get("config").map(Value::to_json) {
            None | Some(Json::Null) => Json::object(),
            Some(config @ Json::Object(_)) => config,
            Some(_) => return Err("`config` is no object".into()),
        };
        Ok(Self {
            config,
            platform: Platform { os: text("os"), architecture: text("architecture"), variant: text("variant") },
            created: seconds(&text("created")).unwrap_or(0),
            diff_ids: ids.iter().map(id).collect::<Result<_, _>>()?,
        })
    }

    /// A member of the configuration as a list of strings; a string stands for a list of one.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&self, member: &str) -> Result<Vec<String>, Reason> {
        let wrong = || format!("`config.{member}` is no list of strings");
        match self.config.get(member) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::String(text)) => Ok(vec![text.clone()]),
            Some(Json::Array(list)) => {
                list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }

    /// A member of the configuration as a string; empty if it is not there.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&self, member: &str) -> Result<&str, Reason> {
        match self.config.get(member) {
            None | Some(Json::Null) => Ok(""),
            Some(Json::String(text)) => Ok(text),
            Some(_) => Err(format!("`config.{member}` is no string")),
        }
    }

    /// The names in a member that is an object.
    ///
    /// # Errors
    /// It is something else.
    pub fn names(&self, member: &str) -> Result<Vec<&str>, Reason> {
        match self.config.get(member) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::Object(members)) => Ok(members.iter().map(|(name, _)| name.as_str()).collect()),
            Some(_) => Err(format!("`config.{member}` is no object")),
        }
    }
}

pub(super) fn read(bytes: &[u8], limits: Limits) -> Result<Value<'_>, Reason> {
    let bounds = JsonLimits { bytes: limits.document, depth: 32, values: 262_144 };
    json::parse(bytes, bounds).map_err(|error| format!("it is no JSON that can be used: {error}"))
}

fn descriptor(value: &Value<'_>) -> Result<Descriptor, Reason> {
    let object = value.as_object().ok_or("a descriptor is no object")?;
    let digest = object.get("digest").and_then(Value::as_str).ok_or("a descriptor without a digest")?;
    let text = |object: &Object<'_>, member: &str| -> String {
        object.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let annotations = object.get("annotations").and_then(Value::as_object);
    Ok(Descriptor {
        media_type: text(object, "mediaType"),
        digest: Digest::parse(digest).ok_or_else(|| format!("{digest:?} is no SHA-256 digest"))?,
        size: object.get("size").and_then(Value::as_u64).ok_or("a descriptor without a size")?,
        platform: object.get("platform").and_then(Value::as_object).map(|platform| Platform {
            os: text(platform, "os"),
            architecture: text(platform, "architecture"),
            variant: text(platform, "variant"),
        }),
        tag: annotations.map(|map| text(map, "org.opencontainers.image.ref.name")).filter(|tag| !tag.is_empty()),
    })
}

/// The seconds of a date as RFC 3339 writes them; `None` outside of 1970 to 2106.
fn seconds(text: &str) -> Option<u32> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, zone) = rest.split_at_checked(8)?;
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let zone = zone.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), zone) => {
            let (hours, minutes) = zone.split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            if sign == "+" { minutes * 60 } else { -minutes * 60 }
        }
        _ => return None,
    };
    if !(1970..=2106).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 in years that begin in March, so that the leap day is the last one (Hinnant).
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * shifted + 2) / 5 + day - 1 - 719_468;
    u32::try_from(((days * 24 + hour) * 60 + minute) * 60 + second - offset).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_platform_is_written_in_many_ways() {
        let shown = |text| Platform::parse(text).map(|platform| platform.to_string());
        for (text, wanted) in [
            ("arm64", "linux/arm64"),
            ("aarch64", "linux/arm64"),
            ("linux/x86_64", "linux/amd64"),
            ("armv7", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(wanted));
        }
        for text in ["", "/", "linux/", "a/b/c/d", "linux/arm 64"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_seconds() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T12:34:56.789012345Z", Some(1_709_210_096)),
            ("2024-02-29T13:34:56+01:00", Some(1_709_210_096)),
            ("2000-03-01T00:00:00Z", Some(951_868_800)),
            ("0001-01-01T00:00:00Z", None),
            ("2024-02-29", None),
            ("nonsense", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_image_is_told_apart() {
        let wrong = |text: &str| Document::parse(text.as_bytes(), Limits::DEFAULT).unwrap_err();
        assert!(wrong(r#"{"schemaVersion":1,"fsLayers":[]}"#).contains("schema 1"));
        let config = format!(
            r#""config":{{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"{EMPTY}","size":0}}"#
        );
        assert!(wrong(&format!(r#"{{{config},"layers":[]}}"#)).contains("helm"));
        assert!(wrong("<html>").contains("no JSON"));
        assert!(wrong("{}").contains("neither"));
    }

    #[test]
    fn layers_are_known_by_their_type() {
        for (media_type, known) in [
            ("application/vnd.oci.image.layer.v1.tar", true),
            ("application/vnd.oci.image.layer.v1.tar+zstd", true),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", true),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", false),
            ("application/vnd.in-toto+json", false),
        ] {
            assert_eq!(is_layer(media_type), known, "{media_type}");
        }
    }
}
