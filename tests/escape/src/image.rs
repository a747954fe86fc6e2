//! The image that containers are made of: an OCI layout with one program in it, twice. The second one is set-user-id.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cli::image::digest::Digest;
use serde_json::{Value, json};

/// Writes the layout into a directory.
pub(crate) fn write(dir: &Path, program: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let mut layer = tar::Builder::new(Vec::new());
    for (path, mode) in [("attempt", 0o755), ("set-user-id", 0o4755)] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(bytes.len().try_into()?);
        layer.append_data(&mut header, path, bytes.as_slice())?;
    }
    for path in ["srv/", "data/"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_mtime(1);
        header.set_size(0);
        layer.append_data(&mut header, path, &[][..])?;
    }
    let layer = layer.into_inner()?;
    fs::create_dir_all(dir.join("blobs/sha256"))?;
    let blob = |media: &str, bytes: &[u8]| -> Result<Value> {
        let digest = Digest::of(bytes);
        fs::write(dir.join("blobs/sha256").join(digest.hex()), bytes)?;
        Ok(json!({ "mediaType": media, "digest": digest.to_string(), "size": bytes.len() }))
    };
    let config = json!({
        "architecture": architecture(), "os": "linux", "created": "1970-01-01T00:00:01Z",
        "config": { "Entrypoint": ["/attempt"] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer).to_string()] },
    });
    let config = blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes())?;
    let layer = blob("application/vnd.oci.image.layer.v1.tar", &layer)?;
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    let manifest = blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())?;
    fs::write(dir.join("index.json"), json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string())?;
    Ok(fs::write(dir.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?)
}

/// What images call this machine.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
