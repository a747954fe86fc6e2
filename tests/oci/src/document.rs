//! A `config.json`, member by member. What is taken is carried out or refused by whoever takes it; what the specification
//! has and nothing here can carry out is refused by its name, so that no property of a bundle is passed over. Members that
//! the specification does not have are not looked at, as it wants it.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The longest configuration that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// The version of the specification whose bundles are read: any of this generation.
const GENERATION: &str = "1.";

/// What a configuration can say, and neither a line of `lxc.container.conf` nor the engine.
const REFUSED: &[&str] = &[
    "/solaris",
    "/vm",
    "/windows",
    "/zos",
    "/process/execCPUAffinity",
    "/process/ioPriority",
    "/process/scheduler",
    "/linux/intelRdt",
    "/linux/memoryPolicy",
    "/linux/mountLabel",
    "/linux/netDevices",
    "/linux/personality",
    "/linux/resources/rdma",
    "/linux/timeOffsets",
];

/// What has not been taken yet.
pub(crate) struct Document(Value);

impl Document {
    /// Reads the configuration of a bundle.
    pub(crate) fn read(bundle: &Path) -> Result<Self> {
        let file = bundle.join("config.json");
        let size = std::fs::metadata(&file).with_context(|| format!("cannot read {}", file.display()))?.len();
        ensure!(size <= BYTES_MAX, "{}: {size} bytes are more than a configuration has", file.display());
        let value = serde_json::from_slice::<Value>(&std::fs::read(&file)?).ok().filter(Value::is_object);
        let mut document = Self(value.with_context(|| format!("{} is no configuration", file.display()))?);
        let version: String = document.take("/ociVersion")?.context("ociVersion: a configuration names its version")?;
        let known = version.starts_with(GENERATION) && version.split('.').count() >= 3;
        ensure!(known, "ociVersion: {version:?} is not a version {GENERATION}x.y of the specification");
        Ok(document)
    }

    /// Takes a member by its JSON pointer. One that is null is not there.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, pointer: &str) -> Result<Option<T>> {
        let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
        let members = self.0.pointer_mut(parent).and_then(Value::as_object_mut);
        match members.and_then(|members| members.remove(name)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).with_context(|| pointer.to_owned()),
        }
    }

    /// Nothing may be left that says something.
    pub(crate) fn finish(self) -> Result<()> {
        for pointer in REFUSED {
            let says = |value: &Value| match value {
                Value::Null => false,
                Value::Object(members) => !members.is_empty(),
                _ => true,
            };
            if self.0.pointer(pointer).is_some_and(says) {
                bail!("{pointer}: no key of LXC says this");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nothing_can_carry_out_is_refused_by_its_place() {
        let mut document = Document(json!({"linux": {"b": 1, "c": [1], "intelRdt": {}}, "future": 1, "vm": null}));
        assert_eq!(document.take::<u32>("/linux/b").unwrap(), Some(1));
        assert_eq!(document.take::<u32>("/linux/b").unwrap(), None);
        assert_eq!(document.take::<u32>("/x/y").unwrap(), None);
        assert!(document.take::<u32>("/linux/c").is_err());
        document.finish().unwrap();
        let error = Document(json!({"linux": {"mountLabel": "x"}})).finish().unwrap_err();
        assert_eq!(error.to_string(), "/linux/mountLabel: no key of LXC says this");
    }
}
