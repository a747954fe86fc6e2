//! Images made by hand, as OCI layouts.
#![expect(clippy::indexing_slicing, reason = "a test that is wrong about a length fails")]

use std::borrow::Borrow;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use cli::image::digest::Digest;
use tar::{Builder, EntryType, Header};

/// A layer that is being written.
pub(crate) struct Layer(pub(crate) Builder<Vec<u8>>);

/// How a layer travels.
#[derive(Clone, Copy)]
pub(crate) enum Packed {
    Plain,
    Gzip,
    Zstd,
}

/// An image that is being made.
pub(crate) struct Image {
    config: String,
    platform: (&'static str, &'static str),
    pub(crate) layers: Vec<(Vec<u8>, Packed)>,
}

/// A directory with an OCI layout.
pub(crate) struct Layout(pub(crate) PathBuf);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An entry with everything that a header holds.
    pub(crate) fn put(mut self, kind: EntryType, path: &str, mode: u32, owner: (u64, u64), rest: &str) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(1_600_000_000);
        header.set_size(0);
        match kind {
            EntryType::Link | EntryType::Symlink => {
                self.0.append_link(&mut header, path, rest).unwrap();
                return self;
            }
            EntryType::Char | EntryType::Block => {
                let (major, minor) = rest.split_once(':').unwrap();
                header.set_device_major(major.parse().unwrap()).unwrap();
                header.set_device_minor(minor.parse().unwrap()).unwrap();
            }
            EntryType::Regular => header.set_size(rest.len() as u64),
            _ => {}
        }
        let contents = if kind == EntryType::Regular { rest.as_bytes() } else { b"" };
        self.0.append_data(&mut header, path, contents).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, contents: &str) -> Self {
        self.put(EntryType::Regular, path, 0o755, (0, 0), contents)
    }

    /// A file whose name nobody checks.
    pub(crate) fn raw(mut self, path: &str) -> Self {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(0);
        header.set_cksum();
        self.0.append(&header, &b""[..]).unwrap();
        self
    }

    pub(crate) fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// A record of POSIX about the next entry.
    pub(crate) fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.0.append_pax_extensions([(key, value)]).unwrap();
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

impl Image {
    pub(crate) fn new(config: &str) -> Self {
        Self { config: config.to_owned(), platform: ("amd64", ""), layers: Vec::new() }
    }

    /// With one layer that a program can be started from.
    pub(crate) fn small(config: &str) -> Self {
        Self::new(config).layer(Layer::new().file("bin/web", "#!/bin/sh\n"), Packed::Gzip)
    }

    pub(crate) fn on(mut self, architecture: &'static str, variant: &'static str) -> Self {
        self.platform = (architecture, variant);
        self
    }

    pub(crate) fn layer(mut self, layer: Layer, packed: Packed) -> Self {
        self.layers.push((layer.done(), packed));
        self
    }

    /// A layer whose bytes were made elsewhere.
    pub(crate) fn bytes(mut self, tar: Vec<u8>, packed: Packed) -> Self {
        self.layers.push((tar, packed));
        self
    }

    /// Writes it into a layout and returns its descriptor.
    fn write(&self, layout: &Layout) -> String {
        let (architecture, variant) = self.platform;
        let ids: Vec<_> = self.layers.iter().map(|(tar, _)| format!("\"{}\"", Digest::of(tar))).collect();
        let config = format!(
            r#"{{"architecture":"{architecture}","variant":"{variant}","os":"linux","created":"2020-10-10T10:10:10Z","config":{},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            self.config,
            ids.join(",")
        );
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|(tar, packed)| {
                let (suffix, bytes) = match packed {
                    Packed::Plain => ("", tar.clone()),
                    Packed::Gzip => {
                        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                        encoder.write_all(tar).unwrap();
                        ("+gzip", encoder.finish().unwrap())
                    }
                    Packed::Zstd => ("+zstd", zstd::encode_all(tar.as_slice(), 3).unwrap()),
                };
                layout.blob(&format!("application/vnd.oci.image.layer.v1.tar{suffix}"), &bytes, "")
            })
            .collect();
        let config = layout.blob("application/vnd.oci.image.config.v1+json", config.as_bytes(), "");
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","));
        let platform = format!(
            r#","platform":{{"os":"linux","architecture":"{architecture}","variant":"{variant}"}},"annotations":{{"org.opencontainers.image.ref.name":"{architecture}{variant}"}}"#
        );
        layout.blob("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes(), &platform)
    }
}

impl Layout {
    /// Makes a layout with these images.
    pub(crate) fn of(directory: &Path, images: &[impl Borrow<Image>]) -> Self {
        fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let layout = Self(directory.to_owned());
        let list: Vec<_> = images.iter().map(|image| image.borrow().write(&layout)).collect();
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, list.join(","));
        fs::write(directory.join("index.json"), index).unwrap();
        layout
    }

    fn blob(&self, media_type: &str, bytes: &[u8], more: &str) -> String {
        let digest = Digest::of(bytes);
        fs::write(self.0.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}{more}}}"#, bytes.len())
    }

    /// The bytes of a blob.
    pub(crate) fn read(&self, digest: &str) -> Option<Vec<u8>> {
        fs::read(self.0.join("blobs/sha256").join(digest.strip_prefix("sha256:")?)).ok()
    }

    /// The largest blob: a layer, in the images that are made here.
    pub(crate) fn layer(&self) -> PathBuf {
        let files = fs::read_dir(self.0.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
        files.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
    }
}
