//! What the base system of a revision brings for the kernel that runs: its modules, and firmware for its drivers.
//!
//! ```text
//!   trails/REVISION/bsp/modules_RELEASE.squashfs ──▶ /lib/modules/RELEASE      where `modprobe` looks, in containers too
//!                       firmware.squashfs        ──▶ /lib/firmware             where drivers look
//! ```
//!
//! Both are mounted for the whole boot: a revision with another base comes with another boot. A container runs without
//! them if it must, so what cannot be mounted is told to a person, and is no reason not to run.

use std::path::Path;

use container::image::{self, Kind};
use formats::bsp_json::Bsp;
use formats::state::Revision;
use formats::volume::{Mount, Volume};

/// Mounts both below `root`, which is `/` on a device; `trail` is the directory of the revision that runs. Says what was
/// mounted where, and what was not.
pub fn mount(revision: &Revision, trail: &Path, root: &Path, release: &str) -> (Vec<String>, Vec<String>) {
    let (mut mounted, mut warnings) = (Vec::new(), Vec::new());
    for (volume, dir) in images(revision, release) {
        let done = kind(volume.as_ref()).and_then(|(volume, kind)| {
            let (file, place) = (trail.join("bsp").join(&volume.file), root.join(&dir));
            std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
            image::mount(&file, kind, &place).map_err(|error| error.to_string())?;
            Ok(format!("{} on /{dir}", volume.file))
        });
        match done {
            Ok(what) => mounted.push(what),
            Err(why) => warnings.push(format!("nothing is mounted on /{dir}: {why}")),
        }
    }
    (mounted, warnings)
}

/// What is wanted, and where.
fn images(revision: &Revision, release: &str) -> Vec<(Result<Volume, String>, String)> {
    let bsp = match Bsp::of(revision, &mut Vec::new()) {
        Ok(Some(bsp)) => bsp,
        Ok(None) => return Vec::new(),
        // It was understood when it was staged.
        Err(why) => return vec![(Err(why.to_string()), "lib".into())],
    };
    let modules = bsp.modules_for(release).cloned().map(|volume| (Ok(volume), format!("lib/modules/{release}")));
    let missing = || (Err(format!("the base system has no modules for {release}")), format!("lib/modules/{release}"));
    // A kernel of one piece comes with none.
    let modules = modules.or_else(|| (!bsp.modules.is_empty()).then(missing));
    modules.into_iter().chain(bsp.firmware.map(|volume| (Ok(volume), "lib/firmware".into()))).collect()
}

fn kind<'v>(volume: Result<&'v Volume, &'v String>) -> Result<(&'v Volume, Kind), String> {
    let volume = volume.map_err(Clone::clone)?;
    let kind = match volume.mount() {
        _ if volume.verity => return Err(format!("{}: this version does not check with dm-verity", volume.file)),
        Some(Mount::FileSystem(kind)) => Kind::parse(kind),
        Some(Mount::Bind | Mount::Data) | None => None,
    };
    kind.map(|kind| (volume, kind)).ok_or_else(|| format!("{}: it is no squashfs, ext4 or erofs", volume.file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// What is wanted of a revision with this `bsp/run.json`.
    fn wanted(document: &str) -> Vec<(String, Result<String, String>)> {
        let files = ["k", "i", "f.squashfs", "m.squashfs", "n.squashfs", "d.data"];
        let files: String = files.iter().map(|file| format!(r#","bsp/{file}":"{ID}""#)).collect();
        let text = format!(r##"{{"#spec":"pantavisor-service-system@1","bsp/run.json":{document}{files}}}"##);
        let revision = Revision::parse(text.as_bytes()).unwrap();
        let file = |volume: &Result<Volume, String>| kind(volume.as_ref()).map(|(volume, _)| volume.file.clone());
        images(&revision, "6.1").iter().map(|(volume, dir)| (dir.clone(), file(volume))).collect()
    }

    #[test]
    fn the_modules_are_those_of_the_kernel_that_runs() {
        let both = r#"{"linux":"k","initrd":"i","modules_6.1":"m.squashfs","modules_6.2":"n.squashfs","firmware":"f.squashfs"}"#;
        let found = wanted(both);
        let expected = [("lib/modules/6.1", "m.squashfs"), ("lib/firmware", "f.squashfs")];
        assert_eq!(found, expected.map(|(dir, file)| (dir.to_owned(), Ok(file.to_owned()))));
        let other = wanted(r#"{"linux":"k","initrd":"i","modules_6.2":"n.squashfs"}"#);
        assert!(matches!(&other[..], [(_, Err(why))] if why.contains("no modules for 6.1")), "{other:?}");
        assert!(wanted(r#"{"linux":"k","initrd":"i"}"#).is_empty());
    }

    #[test]
    fn what_cannot_be_mounted_as_it_is_meant_is_not_mounted() {
        for modules in ["dm:m.squashfs", "d.data"] {
            let found = wanted(&format!(r#"{{"linux":"k","initrd":"i","modules":"{modules}"}}"#));
            assert!(matches!(&found[..], [(_, Err(_))]), "{modules}: {found:?}");
        }
    }
}
