//! An OCI image: blobs by their SHA-256, as a registry serves them.
//!
//! ```text
//!   index ──▶ manifest ──▶ configuration            https://github.com/opencontainers/image-spec
//!                     └──▶ layers (tar, gzip)
//! ```

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use formats::object::ObjectId;
use serde_json::{Map, Value, json};

use super::tree::{Tree, gzip};
use crate::arch::Arch;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Bytes with their type and their name.
#[derive(Clone)]
pub(crate) struct Blob {
    pub(crate) media: &'static str,
    pub(crate) digest: String,
    pub(crate) bytes: Vec<u8>,
}

impl Blob {
    fn new(media: &'static str, bytes: Vec<u8>) -> Self {
        Self { media, digest: digest(&bytes), bytes }
    }

    fn json(media: &'static str, value: &Value) -> Self {
        Self::new(media, value.to_string().into_bytes())
    }

    fn descriptor(&self) -> Map<String, Value> {
        let members = [
            ("mediaType", self.media.into()),
            ("digest", self.digest.as_str().into()),
            ("size", self.bytes.len().into()),
        ];
        members.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into_iter().collect()
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", ObjectId::of(bytes))
}

/// A layer, packed once for all images that share it.
#[derive(Clone)]
pub(crate) struct Layer {
    blob: Blob,
    /// The digest before compression.
    plain: String,
}

impl Layer {
    pub(crate) fn new(tree: &Tree) -> Result<Self> {
        let tar = tree.tar()?;
        Ok(Self { plain: digest(&tar), blob: Blob::new(LAYER, gzip(&tar)?) })
    }

    /// A layer that was packed before: its bytes, and the digest before compression.
    pub(crate) fn packed(bytes: Vec<u8>, plain: &str) -> Self {
        Self { plain: plain.trim().to_owned(), blob: Blob::new(LAYER, bytes) }
    }
}

/// An image of one platform, behind an index.
pub(crate) struct Image {
    /// Configuration and layers.
    pub(crate) blobs: Vec<Blob>,
    pub(crate) manifest: Blob,
    pub(crate) index: Blob,
    arch: Arch,
}

impl Image {
    /// `config` is what a container starts with: `Entrypoint`, `Cmd`, `Env`, …; its programs are for `arch`.
    pub(crate) fn new(layers: &[Layer], config: &Value, arch: Arch) -> Self {
        let plain: Vec<_> = layers.iter().map(|layer| layer.plain.as_str()).collect();
        let mut whole = platform(arch);
        whole.insert("created".into(), "1970-01-01T00:00:00Z".into());
        whole.insert("config".into(), config.clone());
        whole.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": plain }));
        let config = Blob::json(CONFIG, &whole.into());
        let packed: Vec<_> = layers.iter().map(|layer| layer.blob.descriptor()).collect();
        let manifest = Blob::json(
            MANIFEST,
            &json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": packed }),
        );
        let index = Blob::json(INDEX, &index(&manifest, arch, None));
        let blobs = layers.iter().map(|layer| layer.blob.clone()).chain([config]).collect();
        Self { blobs, manifest, index, arch }
    }

    /// Writes the image as a layout that tools read from a directory, under this name.
    pub(crate) fn write_layout(&self, dir: &Path, name: &str) -> Result<()> {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot create {}", blobs.display()))?;
        for blob in self.blobs.iter().chain([&self.manifest]) {
            fs::write(blobs.join(blob.digest.trim_start_matches("sha256:")), &blob.bytes)?;
        }
        fs::write(dir.join("index.json"), index(&self.manifest, self.arch, Some(name)).to_string())?;
        fs::write(dir.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
        Ok(())
    }
}

/// The index of one manifest; in a layout it also has a name.
fn index(manifest: &Blob, arch: Arch, name: Option<&str>) -> Value {
    let mut entry = manifest.descriptor();
    entry.insert("platform".into(), platform(arch).into());
    if let Some(name) = name {
        entry.insert("annotations".into(), json!({ "org.opencontainers.image.ref.name": name }));
    }
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] })
}

/// What configurations and indexes say of the machine that an image is for.
fn platform(arch: Arch) -> Map<String, Value> {
    let (architecture, variant) = arch.oci();
    let members = [("os", Some("linux")), ("architecture", Some(architecture)), ("variant", variant)];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_has_the_same_name() {
        let build = || {
            let layer = Layer::new(&Tree::default().file("a", 0o644, "1")).unwrap();
            Image::new(&[layer], &json!({ "Cmd": ["/a"] }), Arch::Armv7)
        };
        let (one, two) = (build(), build());
        assert_eq!(one.index.digest, two.index.digest);
        let index: Value = serde_json::from_slice(&one.index.bytes).unwrap();
        assert_eq!(index["manifests"][0]["digest"].as_str(), Some(one.manifest.digest.as_str()));
        let platform = json!({ "os": "linux", "architecture": "arm", "variant": "v7" });
        assert_eq!(index["manifests"][0]["platform"], platform);
    }
}
