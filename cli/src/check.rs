//! What a device would refuse, found before it is committed: the state, its manifests, and what they name.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use formats::bsp_json::Bsp;
use formats::document::Warning;
use formats::lxc;
use formats::mdev;
use formats::resolve::resolve;
use formats::state::{Class, Revision};

use crate::error::{Context as _, Error, Result};

/// Checks everything that stands in the state itself. Returns what a person should hear about.
///
/// # Errors
/// The first thing that a device refuses, with document and member.
pub fn check(revision: &Revision) -> Result<Vec<Warning>> {
    let refused = |error: &dyn std::fmt::Display| {
        Error::user(error.to_string()).hint("devices refuse such a state; put the file right")
    };
    let mut warnings = Vec::new();
    Bsp::of(revision, &mut warnings).map_err(|error| refused(&error))?;
    let resolved = resolve(revision).map_err(|error| refused(&error))?;
    for container in &resolved.containers {
        let name = &container.manifest.name;
        if let Some(entry) = revision.get(&format!("{name}/mdev.json")) {
            mdev::rules(name, entry.raw, &mut warnings).map_err(|error| refused(&error))?;
        }
    }
    warnings.extend(resolved.warnings);
    Ok(warnings)
}

/// Checks the container configurations, which are objects: those of the revision that lie below `root`.
///
/// # Errors
/// The first line that a device refuses, with its file and number.
pub fn check_configurations(revision: &Revision, root: &Path) -> Result<()> {
    let resolved = resolve(revision).map_err(|error| Error::user(error.to_string()))?;
    for container in &resolved.containers {
        let Some(config) = &container.manifest.config else { continue };
        let name = container.manifest.name.as_str();
        let is_object = |key: &str| matches!(revision.get(key).map(|entry| entry.class), Some(Class::Object(_)));
        if !is_object(&format!("{name}/{config}")) {
            continue;
        }
        let mut unread = None;
        let mut read = |key: &str| match is_object(key).then(|| read(&root.join(key)))? {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                unread = Some(error);
                None
            }
        };
        let lines = lxc::lines(name, config, &mut read);
        if let Some(error) = unread {
            return Err(error);
        }
        let refused = |error: lxc::FilesError| {
            Error::user(error.to_string()).hint("devices refuse such a container; put the line right")
        };
        let lines = lines.map_err(refused)?;
        lxc::wire::of(&lines).map_err(refused)?;
        for line in &lines {
            if let lxc::Item::SeccompProfile(file) = &line.item {
                check_filter(revision, root, &line.document, &format!("{name}/{file}"))?;
            }
        }
    }
    Ok(())
}

/// A file of a configuration. One byte more than it may have is enough for its reader to refuse it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = lxc::BYTES_MAX as u64 + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).context("read", path)?;
    Ok(bytes)
}

/// Checks the filter of system calls that a configuration names. For which machine it is, a device knows.
fn check_filter(revision: &Revision, root: &Path, config: &str, key: &str) -> Result<()> {
    match revision.get(key).map(|entry| entry.class) {
        Some(Class::Object(_)) => crate::seccomp::read(&root.join(key)).map(drop),
        _ => Err(Error::user(format!("{config}: lxc.seccomp.profile: {key} is not in the state"))
            .hint("add the file, or remove the line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_devices_refuse_is_not_committed() {
        let checked = |rule: &str| {
            let id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            let state = format!(
                r##"{{"#spec":"pantavisor-service-system@1","web/lxc.container.conf":"{id}",
                "web/mdev.json":{{"rules":[{rule:?}]}},"web/root.squashfs":"{id}","web/run.json":{{"name":"web",
                "type":"lxc","config":"lxc.container.conf","root-volume":"root.squashfs","volumes":[],"storage":{{}}}}}}"##
            );
            check(&Revision::parse(state.as_bytes()).unwrap())
        };
        assert_eq!(checked(".* 0:0 666").unwrap(), []);
        let error = checked(".* 0:0 666 *run").unwrap_err().to_string();
        assert!(error.starts_with("web/mdev.json: rules[0]: column 12: no program is run"), "{error}");
    }
}
