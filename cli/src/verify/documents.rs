//! What is wrong with manifests, and with the files that they name: configurations, filters, images.

use std::collections::BTreeSet;

use formats::bsp_json::Bsp;
use formats::lxc;
use formats::mdev;
use formats::resolve::{complaints, resolve};
use formats::run_json::Manifest;
use formats::seccomp::Filter;
use formats::state::{Class, Revision};
use formats::volume::{HEAD, Mount, begins_as};

use super::Finding;
use super::contents::Contents;
use crate::error::Result;

/// What stands in the state itself.
pub(crate) fn manifests(revision: &Revision, findings: &mut Vec<Finding>, warnings: &mut Vec<String>) {
    let mut heard = Vec::new();
    findings.extend(Bsp::of(revision, &mut heard).err().map(|error| Finding::of(&error)));
    findings.extend(complaints(revision).iter().map(|error| Finding::of(error)));
    for name in revision.containers() {
        if let Some(entry) = revision.get(&format!("{name}/mdev.json")) {
            findings.extend(mdev::rules(name, entry.raw, &mut heard).err().map(|error| Finding::of(&error)));
        }
    }
    if let Ok(resolved) = resolve(revision) {
        heard.extend(resolved.warnings);
    }
    warnings.extend(heard.iter().map(ToString::to_string));
    for manifest in readable(revision) {
        for image in manifest.images().filter(|image| image.verity) {
            let place = format!("{}/run.json: {}", manifest.name, image.file);
            warnings.push(format!("{place}: devices of this version refuse images that dm-verity is to check"));
        }
    }
}

/// The configurations of containers, which are objects, and the filters that they name.
pub(crate) fn configurations(revision: &Revision, contents: &Contents<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    for manifest in readable(revision) {
        let Some(config) = &manifest.config else { continue };
        let name = manifest.name.as_str();
        let mut failed = None;
        let mut missing = BTreeSet::new();
        let said = lxc::lines(name, config, &mut |key| match read(revision, contents, key) {
            Ok(Some(bytes)) => Some(bytes),
            Ok(None) => {
                missing.insert(key.to_owned());
                None
            }
            Err(error) => {
                failed = Some(error);
                None
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let lines = match said {
            Ok(lines) => lines,
            // A file that is in the state and not there is found where objects are looked at.
            Err(lxc::FilesError::Unreadable(key)) if missing.contains(&key) && revision.get(&key).is_some() => continue,
            Err(error) => {
                findings.push(Finding::of(&error));
                continue;
            }
        };
        findings.extend(lxc::wire::of(&lines).err().map(|error| Finding::of(&error)));
        for line in &lines {
            if let lxc::Item::SeccompProfile(file) = &line.item {
                let key = format!("{name}/{file}");
                match read(revision, contents, &key)? {
                    _ if revision.get(&key).is_none() => {
                        let what = format!("lxc.seccomp.profile: {key} is not in the state");
                        findings.push(Finding::new(&*line.document, what));
                    }
                    None => {}
                    Some(bytes) => findings.extend(Filter::parse(&bytes).err().map(|error| Finding::new(key, error))),
                }
            }
        }
    }
    Ok(())
}

/// Whether each image begins as a file system of its kind does.
pub(crate) fn images(revision: &Revision, contents: &Contents<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    for manifest in readable(revision) {
        let mut seen = BTreeSet::new();
        for image in manifest.images() {
            let Some(Mount::FileSystem(kind)) = image.mount() else { continue };
            let key = format!("{}/{}", manifest.name, image.file);
            let Some(id) = revision.get(&key).and_then(|entry| entry.object_id()) else { continue };
            let Some(head) = contents.beginning(&key, id, HEAD as u64)? else { continue };
            if seen.insert(key.clone()) && !begins_as(kind, &head) {
                findings.push(Finding::new(key, format!("it has no {kind} file system in it; make the image anew")));
            }
        }
    }
    Ok(())
}

/// The manifests that can be read. What is wrong with the others is told already.
fn readable(revision: &Revision) -> impl Iterator<Item = Manifest> {
    revision.containers().iter().filter_map(|name| {
        let entry = revision.get(&format!("{name}/run.json"))?;
        Manifest::parse(name, entry.raw, &mut Vec::new()).ok()
    })
}

/// A file of the revision.
fn read(revision: &Revision, contents: &Contents<'_>, key: &str) -> Result<Option<Vec<u8>>> {
    match revision.get(key).map(|entry| entry.class) {
        Some(Class::Object(id)) => contents.small(key, id),
        _ => Ok(None),
    }
}
