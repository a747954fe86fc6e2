//! `pvr app add --type rootfs`: containers made of a directory or a tar.
//!
//! ```text
//!   DIR, FILE, URL ──▶ NAME/root.squashfs                  its files
//!                 └──▶ NAME/root.squashfs.rootfs-digest    the digest of that
//! ```
//!
//! Such files do not say how they are started: `config` of `src.json` does.

use formats::json::Json;

use super::facts::Facts;
use super::make::{Made, Making, Means};
use super::recipe::Recipe;
use super::{Options, Origin, ROOT, named};
use crate::error::{Error, Result};
use crate::http::Client;
use crate::image::digest::Digest;
use crate::image::rootfs::{Owner, Place, read};
use crate::image::{Image, squashfs};
use crate::repo::Repo;
use crate::watch::Watch;

const MARKER: &str = "root.squashfs.rootfs-digest";

/// Makes a container of a root file system.
///
/// # Errors
/// As [`add`](super::add).
pub fn add_rootfs(repo: &Repo, options: &Options, client: &Client, watch: &dyn Watch) -> Result<Made> {
    let Origin::Rootfs { place, owner } = &options.from else {
        return Err(Error::internal("an image where a root file system was expected"));
    };
    let (name, mut recipe) = named(repo, options)?;
    if let Some(key) = &options.reach.signer {
        return Err(Error::user(format!("nobody signs root file systems for {}", key.name()))
            .hint("--require-signed is for images of registries; a tar has a digest: --from URL#sha256=HEX"));
    }
    if starts_nothing(&recipe) {
        return Err(Error::user("nothing says which program the container starts")
            .hint("a root file system does not: --config Cmd='[\"/sbin/init\"]', or --config-json FILE"));
    }
    let means = Means::of(options);
    let making = Making::begin(repo, &name, &means, watch)?;
    let image = making.unpack(place, *owner, client, &mut recipe)?;
    let facts = Facts::of(&image, &recipe.overrides())?;
    let rendered = making.render(&recipe, &facts)?;
    making.pack_rootfs(&image, &mut recipe)?;
    making.publish(&mut recipe, rendered, &facts, options.force)
}

fn starts_nothing(recipe: &Recipe) -> bool {
    let config = recipe.overrides();
    super::template::starts(recipe) && config.get("Cmd").is_none() && config.get("Entrypoint").is_none()
}

impl Making<'_> {
    /// Reads a root file system, and notes in the recipe what it runs on.
    fn unpack(&self, place: &Place, owner: Owner, client: &Client, recipe: &mut Recipe) -> Result<Image> {
        let wanted = self.platforms(recipe)?;
        let mut image = read(place, owner, self.build.path(), self.means.limits, client, self.watch)?;
        let found = &image.config.platform;
        match wanted.first() {
            // It has no program that says.
            Some(first) if found.architecture.is_empty() => image.config.platform = first.clone(),
            Some(_) if !wanted.iter().any(|wanted| found.serves(wanted)) => {
                let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
                let what = format!("{}: its programs are for {found}, not for {}", place.name(), wanted.join(" or "));
                return Err(Error::user(what).hint("name a root file system of the device's platform"));
            }
            _ => {}
        }
        if recipe.text("docker_platform").is_none() && !image.config.platform.architecture.is_empty() {
            recipe.set("docker_platform", image.config.platform.to_string());
        }
        super::template::complete(&mut image)?;
        Ok(image)
    }

    /// Packs it, and notes the digest of the result.
    fn pack_rootfs(&self, image: &Image, recipe: &mut Recipe) -> Result<()> {
        let packing: Vec<&str> = match recipe.text("format_options") {
            Some(options) => options.split_ascii_whitespace().collect(),
            None => squashfs::PACKED.to_vec(),
        };
        let target = self.build.path().join(self.name.as_str()).join(ROOT);
        squashfs::write(image, &target, self.means.times, &packing, self.watch)?;
        let digest = std::fs::File::open(&target).and_then(|mut file| Digest::of_file(&mut file));
        let digest = digest.map_err(|error| Error::io("read", &target, &error))?.to_string();
        self.build.write(self.name.as_str(), MARKER, digest.as_bytes())?;
        recipe.set("rootfs_digest", Json::from(digest));
        Ok(())
    }
}
