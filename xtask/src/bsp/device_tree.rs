//! A device tree with other properties than its makers gave it: `[device-tree."/soc/serial@1c28400"]` of a recipe.
//!
//! `fdtput` of the device tree compiler writes them. Promises: a node that is not there is an error, a property that is not
//! there is added, everything else stays, and the same changes give the same bytes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::run::tools::quiet;

/// By the path of a node and the name of a property.
pub(crate) type Changes = BTreeMap<String, BTreeMap<String, Property>>;

/// What a property is to be.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Property {
    /// A number of 32 bits.
    Cell(u32),
    /// With its zero byte.
    Text(String),
    /// One number after the other.
    Cells(Vec<u32>),
    /// One text after the other.
    Texts(Vec<String>),
}

impl Property {
    /// What `fdtput` calls its type, and its values.
    fn words(&self) -> (&'static str, Vec<String>) {
        match self {
            Self::Cell(number) => ("u", vec![number.to_string()]),
            Self::Text(text) => ("s", vec![text.clone()]),
            Self::Cells(numbers) => ("u", numbers.iter().map(u32::to_string).collect()),
            Self::Texts(texts) => ("s", texts.clone()),
        }
    }
}

/// Gives the tree in this file these properties.
pub(crate) fn change(file: &Path, changes: &Changes) -> Result<()> {
    for (node, properties) in changes {
        for (name, property) in properties {
            let (kind, values) = property.words();
            let mut fdtput = Command::new("fdtput");
            fdtput.args(["-t", kind]).arg(file).args([node, name]).args(values);
            quiet(&mut fdtput).with_context(|| format!("no {name} for {node} of the device tree"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A line that is switched off, and another node.
    const TREE: &str = "/dts-v1/; / { model = \"A\"; line { status = \"disabled\"; }; b { status; }; };";

    /// A tree in a new directory with these changes, one after the other, and what came of the last.
    fn changed(changes: &[&str]) -> (Vec<u8>, String, Result<()>) {
        let dir = tempfile::tempdir().unwrap();
        let (source, tree) = (dir.path().join("tree.dts"), dir.path().join("tree.dtb"));
        fs::write(&source, TREE).unwrap();
        quiet(Command::new("dtc").args(["-q", "-O", "dtb", "-o"]).args([&tree, &source])).unwrap();
        let mut result = Ok(());
        for text in changes {
            result = change(&tree, &toml::from_str(text).unwrap());
        }
        let said = Command::new("dtc").args(["-q", "-O", "dts"]).arg(&tree).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        (fs::read(&tree).unwrap(), said.split_whitespace().collect::<Vec<_>>().join(" "), result)
    }

    #[test]
    fn a_property_is_changed_or_added_and_everything_else_stays() {
        let switched = "['/line']\nstatus = 'okay'";
        let (bytes, said, result) = changed(&[switched]);
        result.unwrap();
        assert_eq!(said, "/dts-v1/; / { model = \"A\"; line { status = \"okay\"; }; b { status; }; };");
        assert_eq!(changed(&[switched]).0, bytes, "the same bytes again");
        let (bytes, said, result) = changed(&[switched, "['/']\nnew = ['x', 'y']\nfew = [1, 2]\n['/b']\nstatus = 7"]);
        result.unwrap();
        assert!(bytes.windows(4).any(|bytes| bytes == b"x\0y\0"));
        for there in ["few = <0x01 0x02>;", "b { status = <0x07>; };", "status = \"okay\""] {
            assert!(said.contains(there), "{there}: {said}");
        }
    }

    #[test]
    fn a_node_that_is_not_there_is_an_error_and_changes_nothing() {
        let (bytes, _, result) = changed(&["['/lime']\nstatus = 'okay'"]);
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains("no status for /lime") && error.contains("NOTFOUND"), "{error}");
        assert_eq!(bytes, changed(&[]).0);
    }

    #[test]
    fn a_list_of_numbers_and_texts_is_none() {
        assert!(toml::from_str::<Changes>("['/b']\nstatus = ['x', 1]").is_err());
    }
}
