//! `device.json`: groups, disks, volumes of the base system, network pools, and what the revision fits.
//!
//! The older files `groups.json`, `disks.json` and `disks_v3.json` are read where there is no `device.json`, and have
//! no effect (with a warning) where there is one. A revision without groups gets [`default_groups`]. Every other member
//! of `device.json` is read whether or not there are groups.
//!
//! API: [`Device::of`] a [`Revision`].

use alloc::string::String;
use alloc::vec::Vec;

use crate::compatible::Fit;
use crate::document::{self, DocumentError, Doubt, Item, Members, Read, Warning, Wrong, shown};
use crate::group::{Group, default_groups, read_groups};
use crate::network::{self, Pool};
use crate::run_json::{Remount, remount};
use crate::state::{Class, Revision};
use crate::volume::{Storage, read_storage};
use crate::words::words;

words! {
    /// What a disk is made of.
    pub enum DiskKind {
        /// A directory of the storage partition, or a formatted device.
        Volume = "volume-disk",
        /// Swap.
        Swap = "swap-disk",
        /// Encrypted, key in a file.
        Versatile = "dm-crypt-versatile",
        /// Encrypted, key sealed by NXP CAAM.
        Caam = "dm-crypt-caam",
        /// Encrypted, key sealed by NXP DCP.
        Dcp = "dm-crypt-dcp",
        /// Two disks, one of which takes over from the other; in `disks_v3` only.
        Dual = "dual",
    }
}

words! {
    /// One attempt of a dual disk to come up.
    pub enum InitStep {
        /// Mount the first disk.
        Primary = "primary",
        /// Mount the second disk.
        Secondary = "secondary",
        /// Create the first disk.
        CreatePrimary = "create-primary",
        /// Create the second disk.
        CreateSecondary = "create-secondary",
        /// Copy the second disk to a new first one, once.
        CopyOnceToPrimary = "copy-once-to-primary",
    }
}

/// What a revision says of the device as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Groups in the order of starting.
    pub groups: Vec<Group>,
    /// Whether they are the default ones, which decides where containers without a group go.
    pub default_groups: bool,
    /// Disks.
    pub disks: Vec<Disk>,
    /// Writable directories of the runtime itself.
    pub volumes: Vec<Storage>,
    /// Network pools.
    pub pools: Vec<Pool>,
    /// Mount options by policy.
    pub remount: Vec<Remount>,
    /// What the revision fits; `None` if it does not say.
    pub compatible: Option<Vec<Fit>>,
}

/// A disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// Its name.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// What it is made of.
    pub kind: DiskKind,
    /// Where, in the form its kind wants.
    pub path: Option<String>,
    /// A variant of its kind.
    pub mode: Option<String>,
    /// Its file system.
    pub format: Option<String>,
    /// Options of formatting.
    pub format_options: Option<String>,
    /// Where it is mounted.
    pub mount_target: Option<String>,
    /// Options of mounting.
    pub mount_options: Option<String>,
    /// How it comes to be.
    pub provision: Option<String>,
    /// Options of that.
    pub provision_options: Option<String>,
    /// The id of its file system.
    pub uuid: Option<String>,
    /// Whether storage that names no disk lies on it.
    pub default: bool,
    /// Whether a sealed key may be sealed anew for another kernel interface.
    pub migrate_keyblob: bool,
    /// The two disks of a dual one.
    pub disks: Vec<String>,
    /// Its attempts to come up, in order.
    pub init_order: Vec<InitStep>,
}

impl Device {
    /// Reads what the revision says, from `device.json` or the older files. Warnings are added to the list.
    ///
    /// # Errors
    /// [`DocumentError`] names document and member.
    pub fn of(revision: &Revision, warnings: &mut Vec<Warning>) -> Result<Self, DocumentError> {
        let text = |key: &str| revision.get(key).filter(|entry| entry.class == Class::Inline).map(|entry| entry.raw);
        let mut device = Self {
            groups: default_groups(),
            default_groups: true,
            disks: Vec::new(),
            volumes: Vec::new(),
            pools: Vec::new(),
            remount: Vec::new(),
            compatible: None,
        };
        let modern = text("device.json");
        if let Some(text) = modern {
            let value = document::parse("device.json", text)?;
            device.read(&Item::root("device.json", &value), warnings)?;
        }
        for key in ["groups.json", "disks.json", "disks_v3.json"] {
            let Some(text) = text(key) else { continue };
            let value = document::parse(key, text)?;
            let root = Item::root(key, &value);
            match key {
                _ if modern.is_some() => warnings.push(root.warning(Doubt::NoEffect("there is a device.json"))),
                "groups.json" => {
                    device.groups = read_groups(&root, warnings)?;
                    device.default_groups = false;
                }
                _ => read_disks(&root, key == "disks_v3.json", &mut device.disks, warnings)?,
            }
        }
        Ok(device)
    }

    fn read(&mut self, root: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<()> {
        let members = root.members()?;
        members.only(
            &["#spec", "groups", "disks", "disks_v2", "disks_v3", "volumes", "network", "remount", "compatible"],
            warnings,
        );
        match members.get("groups") {
            Some(list) => {
                self.groups = read_groups(&list, warnings)?;
                self.default_groups = false;
            }
            None => warnings.push(root.warning(Doubt::NoEffect("it has no groups; the default groups apply"))),
        }
        for (key, third) in [("disks", false), ("disks_v2", false), ("disks_v3", true)] {
            if let Some(list) = members.get(key) {
                read_disks(&list, third, &mut self.disks, warnings)?;
            }
        }
        self.volumes = members.read("volumes", |item| read_storage(item, warnings))?.unwrap_or_default();
        if let Some(network) = members.get("network") {
            let network = network.members()?;
            network.only(&["pools"], warnings);
            self.pools = network.read("pools", |item| network::pools(item, warnings))?.unwrap_or_default();
        }
        self.remount = members.read("remount", remount)?.unwrap_or_default();
        self.compatible = members.read("compatible", |item| item.items()?.iter().map(read_fit).collect())?;
        Ok(())
    }

    /// A disk by its name or one of its aliases.
    #[must_use]
    pub fn disk(&self, name: &str) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.has_name(name))
    }
}

impl Disk {
    fn has_name(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

fn read_fit(item: &Item<'_, '_>) -> Read<Fit> {
    let text = item.text()?;
    Fit::parse(text).ok_or_else(|| item.error(Wrong::Form { found: shown(text), wanted: "BOARD/LINE" }))
}

fn read_disks(list: &Item<'_, '_>, third: bool, disks: &mut Vec<Disk>, warnings: &mut Vec<Warning>) -> Read<()> {
    let items = list.items()?;
    if items.is_empty() {
        return Err(list.error(Wrong::Empty));
    }
    for item in items {
        let members = item.members()?;
        let kind = members.need("type")?;
        let known: Read<DiskKind> = kind.word();
        let kind = match known {
            Ok(DiskKind::Dual) if !third => {
                return Err(kind.error(Wrong::Form { found: "dual".into(), wanted: "a type of this list" }));
            }
            Ok(kind) => kind,
            Err(error) if third => {
                warnings.push(item.warning(Doubt::LeftOut(error.wrong)));
                continue;
            }
            Err(error) => return Err(error),
        };
        let disk = read_disk(&members, kind, warnings)?;
        let names = core::iter::once(&disk.name).chain(&disk.aliases);
        if let Some(taken) = names.clone().find(|name| disks.iter().any(|other| other.has_name(name))) {
            return Err(item.error(Wrong::Taken(taken.clone())));
        }
        if disk.default && disks.iter().any(|other| other.default) {
            return Err(item.error(Wrong::Taken("default".into())));
        }
        disks.push(disk);
    }
    Ok(())
}

fn read_disk(members: &Members<'_, '_>, kind: DiskKind, warnings: &mut Vec<Warning>) -> Read<Disk> {
    members.only(
        &[
            "name",
            "aliases",
            "type",
            "path",
            "mode",
            "format",
            "mount_target",
            "mount_options",
            "format_options",
            "provision",
            "provision_options",
            "uuid",
            "default",
            "migrate_keyblob",
            "disks",
            "init_order",
        ],
        warnings,
    );
    let name = members.need("name")?;
    crate::path::component(name.text()?).map_err(|why| name.error(Wrong::Path(why)))?;
    let yes = |member: &str| members.read(member, Item::text).map(|word| word == Some("yes"));
    let disks = members.texts("disks")?;
    if kind == DiskKind::Dual && disks.len() != 2 {
        return Err(members.need("disks")?.error(Wrong::Form { found: String::new(), wanted: "a list of two disks" }));
    }
    let init_order: Vec<InitStep> =
        members.read("init_order", |item| item.items()?.iter().map(Item::word).collect())?.unwrap_or_default();
    if init_order.len() > 8 {
        return Err(members.need("init_order")?.error(Wrong::TooMany { limit: 8 }));
    }
    Ok(Disk {
        name: name.text()?.into(),
        aliases: members.texts("aliases")?,
        kind,
        path: members.c_text("path")?,
        mode: members.c_text("mode")?,
        format: members.c_text("format")?,
        format_options: members.c_text("format_options")?,
        mount_target: members.c_text("mount_target")?,
        mount_options: members.c_text("mount_options")?,
        provision: members.c_text("provision")?,
        provision_options: members.c_text("provision_options")?,
        uuid: members.c_text("uuid")?,
        default: yes("default")?,
        migrate_keyblob: yes("migrate_keyblob")?,
        disks,
        init_order,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    fn device(members: &str) -> Result<(Device, Vec<String>), String> {
        let text = format!(r##"{{"#spec":"pantavisor-service-system@1"{members}}}"##);
        let revision = Revision::parse(text.as_bytes()).unwrap();
        let mut warnings = Vec::new();
        let device = Device::of(&revision, &mut warnings).map_err(|error| error.to_string())?;
        Ok((device, warnings.iter().map(ToString::to_string).collect()))
    }

    fn only(document: &str) -> Result<(Device, Vec<String>), String> {
        device(&format!(r#","device.json":{document}"#))
    }

    const GROUPS: &str = r#""groups":[{"name":"a"}]"#;

    #[test]
    fn a_full_document_is_read_without_a_warning() {
        let (device, warnings) = only(
            r#"{"groups":[{"name":"root","restart_policy":"system","timeout":30},{"name":"app"}],
            "disks":[{"name":"secrets","type":"dm-crypt-versatile","path":"/storage/x/img.img,2,key","aliases":["dm-versatile"],"default":"no"}],
            "disks_v3":[{"name":"both","type":"dual","disks":["_a","_b"],"init_order":["primary","secondary","create-primary"]}],
            "volumes":{"pv--devmeta":{"disk":"secrets","persistence":"permanent"},"pv--firmware":{"persistence":"boot"}},
            "network":{"pools":{"pvcnet":{"type":"bridge","bridge":"lxcbr0","subnet":"10.0.3.0/24","gateway":"10.0.3.1","nat":true}}},
            "compatible":["rpi4/kiosk"]}"#,
        )
        .unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(device.groups.len(), 2);
        assert_eq!(device.disk("dm-versatile").unwrap().name, "secrets");
        assert_eq!(device.disk("both").unwrap().init_order.len(), 3);
        assert_eq!(device.volumes.len(), 2);
        assert_eq!(device.pools[0].subnet.to_string(), "10.0.3.0/24");
        assert_eq!(device.compatible.unwrap()[0].to_string(), "rpi4/kiosk");
    }

    #[test]
    fn a_revision_without_groups_gets_the_default_ones_and_keeps_its_disks() {
        let (found, _) = device("").unwrap();
        assert!(found.default_groups && found.groups == default_groups());
        let (found, warnings) = only(r#"{"disks":[{"name":"d","type":"volume-disk"}]}"#).unwrap();
        assert!(found.default_groups && found.disk("d").is_some());
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn older_files_count_only_without_a_device_json() {
        let older = r#","groups.json":[{"name":"x"}],"disks.json":[{"name":"d","type":"swap-disk"}]"#;
        let (found, warnings) = device(older).unwrap();
        assert_eq!((found.groups[0].name.as_str(), found.disks.len(), warnings.len()), ("x", 1, 0));
        let (found, warnings) = device(&format!(r#"{older},"device.json":{{{GROUPS}}}"#)).unwrap();
        assert_eq!((found.groups[0].name.as_str(), found.disks.len(), warnings.len()), ("a", 0, 2));
    }

    #[test]
    fn an_unknown_disk_type_is_refused_except_in_the_third_list() {
        assert!(only(&format!(r#"{{{GROUPS},"disks":[{{"name":"d","type":"x"}}]}}"#)).is_err());
        assert!(only(&format!(r#"{{{GROUPS},"disks":[{{"name":"d","type":"dual","disks":["a","b"]}}]}}"#)).is_err());
        let (found, warnings) = only(&format!(r#"{{{GROUPS},"disks_v3":[{{"name":"d","type":"x"}}]}}"#)).unwrap();
        assert_eq!((found.disks.len(), warnings.len()), (0, 1));
    }

    #[test]
    fn names_of_disks_are_unique_with_their_aliases() {
        for disks in [
            r#"{"name":"a","type":"swap-disk"},{"name":"a","type":"swap-disk"}"#,
            r#"{"name":"a","type":"swap-disk"},{"name":"b","type":"swap-disk","aliases":["a"]}"#,
            r#"{"name":"a","type":"swap-disk","aliases":["x"]},{"name":"b","type":"swap-disk","aliases":["x"]}"#,
            r#"{"name":"a","type":"swap-disk","aliases":["b"]},{"name":"b","type":"swap-disk"}"#,
            r#"{"name":"a","type":"swap-disk","default":"yes"},{"name":"b","type":"swap-disk","default":"yes"}"#,
        ] {
            let error = only(&format!(r#"{{{GROUPS},"disks":[{disks}]}}"#)).unwrap_err();
            assert!(error.contains("taken"), "{error}");
        }
        assert!(only(&format!(r#"{{{GROUPS},"disks":[]}}"#)).unwrap_err().contains("at least one"));
    }

    #[test]
    fn what_a_revision_fits_is_exact() {
        assert_eq!(only(&format!("{{{GROUPS}}}")).unwrap().0.compatible, None);
        assert!(only(&format!(r#"{{{GROUPS},"compatible":["rpi4"]}}"#)).unwrap_err().contains("BOARD/LINE"));
        assert!(only(&format!(r#"{{{GROUPS},"compatible":"rpi4/kiosk"}}"#)).is_err());
    }
}
