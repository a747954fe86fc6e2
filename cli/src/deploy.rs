//! `pvr deploy`: the committed state as a trail, for the storage of a device that boots for the first time.
//!
//! ```text
//!   DIR/.pvr/json        the state, byte for byte
//!   DIR/.pvr/config      where the device has its objects
//!   DIR/.pv/…            what a bootloader reads: hard links to files of bsp/
//!   DIR/<path>           objects as hard links into the pool, read-only; inline files with the canonical text
//! ```
//!
//! The trail is made beside its place and renamed into it when all of it is durable. With `DIR` being `S/trails/0` the
//! pool is `S/objects`, as on a device.

use std::fs;
use std::path::{Path, PathBuf};

use formats::bsp_json::{Boot, Bsp};
use formats::state::{Class, Revision, SPEC};

use crate::check::{check, check_configurations};
use crate::error::{Context as _, Error, Result};
use crate::http::Client;
use crate::remote::Address;
use crate::remote::get::{How, get};
use crate::repo::building::{Building, may_be_replaced};
use crate::repo::durable::{self, parent};
use crate::repo::pool::Out;
use crate::repo::{BOOKS, Pool, Repo, absolute, config};
use crate::sign::auto;
use crate::watch::{Unwatched, Watch};
use crate::worktree::place;

/// Where a device mounts its pool.
pub const ON_DEVICE: &str = "/storage/objects";

/// How a trail is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The pool of the device, as the workstation sees it. None is the one beside `trails/`, or one inside of `DIR`.
    pub objects: Option<PathBuf>,
    /// The same pool as the device sees it.
    pub objects_on_device: String,
    /// Whether a trail that is there may be replaced.
    pub force: bool,
}

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deployed {
    /// The pool.
    pub objects: PathBuf,
    /// Boot links: name in `.pv`, and the file of `bsp/`.
    pub boot: Vec<(String, String)>,
    /// What a person should hear about.
    pub warnings: Vec<String>,
}

/// Makes the trail `directory`.
///
/// # Errors
/// The state is one that devices refuse, an object is missing or damaged, or the directory cannot be written; then
/// `directory` is as it was.
pub fn deploy(repo: &Repo, directory: &Path, options: &Options, watch: &dyn Watch) -> Result<Deployed> {
    let revision = repo.committed()?.revision()?;
    let mut warnings: Vec<String> = check(&revision)?.iter().map(ToString::to_string).collect();
    warnings.extend(auto::gaps(&revision)?);
    let directory = absolute(directory)?;
    if !may_be_replaced(&directory, options.force)? {
        return Err(Error::user(format!("{} exists and is not empty", directory.display()))
            .hint("remove it; or --force, which replaces a trail and nothing else"));
    }
    let above = parent(&directory);
    fs::create_dir_all(above).context("create", above)?;
    let building = Building::begin(&directory)?;
    let beside = above.file_name().is_some_and(|name| name == "trails").then(|| parent(above).join("objects"));
    let shared = options.objects.as_deref().map(absolute).transpose()?.or(beside);
    let pool = Pool::at(shared.clone().unwrap_or_else(|| building.path.join(BOOKS).join("objects")));
    let boot = boot_links(&revision, &mut warnings)?;
    fill(&building.path, &revision, repo.pool(), &pool, watch)?;
    check_configurations(&revision, &building.path)?;
    let objects_on_device = if shared.is_some() { options.objects_on_device.as_str() } else { "" };
    let books = building.path.join(BOOKS);
    fs::create_dir_all(&books).context("create", &books)?;
    durable::replace(&books.join("config"), config(objects_on_device).as_bytes(), 0o644)?;
    durable::replace(&books.join("json"), revision.text().as_bytes(), 0o644)?;
    link_boot_files(&building.path, &boot)?;
    pool.sync()?;
    building.publish(&directory)?;
    let objects = shared.unwrap_or_else(|| directory.join(BOOKS).join("objects"));
    Ok(Deployed { objects, boot, warnings })
}

/// Makes the trail of states that lie elsewhere, one laid upon the other in their order. `how` they are, the first is taken as
/// it is.
///
/// # Errors
/// One of them cannot be had, or those of [`deploy`].
pub fn deploy_from(
    client: &Client,
    sources: &[Address],
    how: How,
    directory: &Path,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Deployed> {
    let directory = absolute(directory)?;
    let above = parent(&directory);
    fs::create_dir_all(above).context("create", above)?;
    // On the file system of the trail, so that objects can be linked from here.
    let scratch = tempfile::Builder::new().prefix(".pvr-deploy-").tempdir_in(above);
    let scratch = scratch.context("make a temporary directory in", above)?;
    let repo = Repo::init(scratch.path(), None, SPEC)?;
    for (index, source) in sources.iter().enumerate() {
        let how = if index == 0 { How::Replace } else { how };
        get(&repo, client, source, how, true, watch)?;
    }
    deploy(&repo, &directory, options, watch)
}

fn fill(root: &Path, revision: &Revision, from: &Pool, pool: &Pool, watch: &dyn Watch) -> Result<()> {
    let objects: Vec<_> = revision.entries().filter_map(|entry| Some((entry.key, entry.object_id()?))).collect();
    watch.begin(
        "checking",
        objects.iter().filter_map(|(_, id)| fs::metadata(from.path(*id)).ok()).map(|m| m.len()).sum(),
    );
    for (key, id) in objects {
        pool.adopt(from, id, key, watch)?;
        pool.bring(id, key, &place(root, key)?, Out::Link, &Unwatched)?;
    }
    watch.end();
    for entry in revision.entries().filter(|entry| entry.object_id().is_none() && entry.class != Class::Spec) {
        let path = place(root, entry.key)?;
        fs::write(&path, entry.raw).context("write", &path)?;
    }
    Ok(())
}

/// What a bootloader reads, as names in `.pv` and files of `bsp/`.
pub(crate) fn boot_links(revision: &Revision, warnings: &mut Vec<String>) -> Result<Vec<(String, String)>> {
    let bsp = Bsp::of(revision, &mut Vec::new()).map_err(|error| Error::user(error.to_string()))?;
    let Some(bsp) = bsp else {
        warnings.push("the state has no bsp/run.json: the trail has nothing that a bootloader could start".into());
        return Ok(Vec::new());
    };
    let link = |name: &str, file: String| (name.to_owned(), file);
    let mut links = match bsp.boot {
        Boot::Fit(fit) => return Ok(vec![link("pantavisor.fit", fit)]),
        Boot::Rpiab(image) => {
            let name = if image.ends_with(".gz") { "rpiboot.img.gz" } else { "rpiboot.img" };
            return Ok(vec![link(name, image)]);
        }
        Boot::Linux { kernel, initrd, fdt } => {
            let mut links = vec![link("pv-kernel.img", kernel), link("pv-initrd.img", initrd)];
            links.extend(fdt.map(|fdt| link("pv-fdt.dtb", fdt)));
            links
        }
    };
    links.extend(bsp.addons.into_iter().enumerate().map(|(index, addon)| (format!("pv-initrd.img.{index}"), addon)));
    Ok(links)
}

fn link_boot_files(root: &Path, links: &[(String, String)]) -> Result<()> {
    let directory = root.join(".pv");
    fs::create_dir(&directory).context("create", &directory)?;
    for (name, file) in links {
        let path = directory.join(name);
        fs::hard_link(root.join("bsp").join(file), &path).context("link", &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::object::ObjectId;

    fn links(document: &str) -> Vec<(String, String)> {
        let id = ObjectId::of(b"");
        let names = ["kernel.img", "pantavisor", "b.dtb", "pantavisor.fit", "a.xz4", "c.xz4", "rpi.img", "rpi.img.gz"];
        let files: String = names.iter().map(|name| format!(r#","bsp/{name}":"{id}""#)).collect();
        let text = format!(r##"{{"#spec":"pantavisor-service-system@1","bsp/run.json":{document}{files}}}"##);
        boot_links(&Revision::parse(text.as_bytes()).unwrap(), &mut Vec::new()).unwrap()
    }

    #[test]
    fn each_kind_of_base_gives_its_bootloader_the_names_that_it_reads() {
        let link = |name: &str, file: &str| (name.to_owned(), file.to_owned());
        assert_eq!(links(r#"{"fit":"pantavisor.fit"}"#), [link("pantavisor.fit", "pantavisor.fit")]);
        assert_eq!(links(r#"{"rpiab":"rpi.img"}"#), [link("rpiboot.img", "rpi.img")]);
        assert_eq!(links(r#"{"rpiab":"rpi.img.gz"}"#), [link("rpiboot.img.gz", "rpi.img.gz")]);
        assert_eq!(
            links(r#"{"linux":"kernel.img","initrd":"pantavisor","fdt":"b.dtb","addons":["a.xz4","c.xz4"]}"#),
            [
                link("pv-kernel.img", "kernel.img"),
                link("pv-initrd.img", "pantavisor"),
                link("pv-fdt.dtb", "b.dtb"),
                link("pv-initrd.img.0", "a.xz4"),
                link("pv-initrd.img.1", "c.xz4")
            ]
        );
    }
}
