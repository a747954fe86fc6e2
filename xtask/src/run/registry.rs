//! The distribution's image registry on loopback, on a port that nobody else has, with images pushed into it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ureq::http::header::LOCATION;

use super::image::oci::{Blob, Image};
use super::scene::Scene;
use crate::packages;

const NAME: &str = "registry";

pub(crate) struct Registry {
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    agent: ureq::Agent,
}

impl Registry {
    /// Starts it, empty.
    pub(crate) fn start(scene: &mut Scene) -> Result<Self> {
        let program = packages::need("docker-registry", "usr/bin/docker-registry")?;
        let root = scene.place("registry")?;
        let config = scene.path("registry.yml");
        // Port 0: the kernel gives a free one, and the registry says which.
        let text = format!(
            "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {root:?}\nhttp:\n  addr: 127.0.0.1:0\n"
        );
        fs::write(&config, text)?;
        let log = scene.start(NAME, Command::new(program).arg("serve").arg(&config))?;
        let address = scene.wait("the registry", Duration::from_secs(20), || {
            let said = fs::read_to_string(&log)?;
            let address =
                said.split_once("listening on ").and_then(|(_, rest)| rest.split(['"', ' ', '\n', ',']).next());
            match address {
                Some(address) => Ok(Some(address.to_owned())),
                None if scene.runs(NAME) => Ok(None),
                None => bail!("the registry has ended: see {}", log.display()),
            }
        })?;
        // No proxy stands between us and loopback, whatever the environment says.
        let agent = ureq::Agent::config_builder().proxy(None).timeout_global(Some(Duration::from_secs(60))).build();
        Ok(Self { url: format!("http://{address}"), agent: agent.into() })
    }

    /// Pushes an image as `repository:tag`.
    pub(crate) fn push(&self, name: &str, image: &Image) -> Result<()> {
        let (repository, tag) = name.split_once(':').context("an image is named repository:tag")?;
        for blob in &image.blobs {
            self.push_blob(repository, blob).with_context(|| format!("cannot push {} of {name}", blob.digest))?;
        }
        let manifest = &image.manifest;
        self.push_manifest(repository, &manifest.digest, manifest)
            .and_then(|()| self.push_manifest(repository, tag, &image.index))
            .with_context(|| format!("cannot push {name}"))
    }

    fn push_blob(&self, repository: &str, blob: &Blob) -> Result<()> {
        let begun = self.agent.post(format!("{}/v2/{repository}/blobs/uploads/", self.url)).send_empty()?;
        let place = begun.headers().get(LOCATION).context("the registry names no place for an upload")?.to_str()?;
        let mark = if place.contains('?') { '&' } else { '?' };
        self.agent
            .put(format!("{place}{mark}digest={}", blob.digest))
            .content_type("application/octet-stream")
            .send(blob.bytes.as_slice())?;
        Ok(())
    }

    fn push_manifest(&self, repository: &str, reference: &str, blob: &Blob) -> Result<()> {
        self.agent
            .put(format!("{}/v2/{repository}/manifests/{reference}", self.url))
            .content_type(blob.media)
            .send(blob.bytes.as_slice())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::run::image::oci::Layer;
    use crate::run::image::tree::Tree;

    #[test]
    fn what_was_pushed_is_served_by_name_and_digest_and_nothing_stays_behind() {
        let mut scene = Scene::open("test-registry").unwrap();
        let registry = Registry::start(&mut scene).unwrap();
        let layer = Layer::new(&Tree::default().file("etc/motd", 0o644, "hello")).unwrap();
        let image = Image::new(&[layer], &json!({ "Cmd": ["/bin/sh"] }), crate::arch::Arch::X86_64);
        registry.push("library/motd:latest", &image).unwrap();
        let get = |path: &str, accept: &str| {
            let url = format!("{}/v2/library/motd/{path}", registry.url);
            registry.agent.get(url).header("accept", accept).call().unwrap().body_mut().read_to_vec().unwrap()
        };
        let index: Value = serde_json::from_slice(&get("manifests/latest", image.index.media)).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        assert_eq!(get(&format!("manifests/{digest}"), image.manifest.media), image.manifest.bytes);
        for blob in &image.blobs {
            assert_eq!(get(&format!("blobs/{}", blob.digest), "*/*"), blob.bytes);
        }
        drop(scene);
        assert!(registry.agent.get(format!("{}/v2/", registry.url)).call().is_err(), "it has ended");
    }
}
