//! What a container has of others: files that they export, parts of their volumes, and images of its own at places of their
//! own. All of it is named by arguments, and lines like those of existing tools.

use formats::path::ContainerName;

use super::arguments::Arguments;
use crate::error::{Error, Result};

/// What is mounted besides the volumes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Imports {
    /// Exported file, target.
    files: Vec<(String, String)>,
    /// Volume of configuration, target.
    configs: Vec<(String, String)>,
    /// Image of this container, target.
    images: Vec<(String, String)>,
    volumes: Vec<Shared>,
}

/// A volume of another container.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Shared {
    container: String,
    directory: String,
    part: Option<String>,
    target: String,
    writable: bool,
}

impl Imports {
    /// Reads the arguments.
    pub(super) fn read(args: &Arguments) -> Result<Self> {
        let pairs = |name: &'static str, form: &'static str| -> Result<Vec<(String, String)>> {
            let pair = |text: String| {
                let (left, right) = text.split_once(':').filter(|(left, right)| is_word(left) && is_word(right))?;
                Some((left.to_owned(), right.to_owned()))
            };
            let wrong = |text: String| Error::user(format!("{name}: {text:?} is not {form}"));
            args.commas(name).into_iter().map(|text| pair(text.clone()).ok_or_else(|| wrong(text))).collect()
        };
        Ok(Self {
            files: pairs("PV_FILEIMPORTS", "SOURCE:TARGET")?,
            configs: pairs("PV_IMPORT_CONFIGVOLUMES", "VOLUME:TARGET")?,
            images: pairs("PV_VOLUME_MOUNTS", "FILE:TARGET")?,
            volumes: args.list("PV_VOLUME_IMPORTS").iter().map(|text| Shared::parse(text)).collect::<Result<_>>()?,
        })
    }

    /// The images that are mounted, by file.
    pub(super) fn images(&self) -> impl Iterator<Item = &str> {
        self.images.iter().map(|(file, _)| file.as_str())
    }

    /// The lines.
    pub(super) fn lines(&self, name: &ContainerName) -> Vec<String> {
        let mut lines = Vec::new();
        let entry = |source: String, target: &str, options: &str| format!("{source} {target} none {options} 0 0");
        for (source, target) in &self.files {
            lines.push(entry(format!("/exports/{source}"), target, "bind,rw,create=file"));
        }
        for (volume, target) in &self.configs {
            lines.push(entry(format!("/volumes/{volume}/{name}"), target, "bind,rw,create=dir,optional,noexec"));
        }
        for (file, target) in &self.images {
            lines.push(entry(format!("/volumes/{name}/{file}"), target, "bind,rw,create=dir"));
        }
        for Shared { container, directory, part, target, writable } in &self.volumes {
            let part = part.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
            let options = if *writable { "bind,rw,create=dir" } else { "bind,ro,create=dir" };
            lines.push(entry(format!("/volumes/{container}/{directory}{part}"), target, options));
        }
        lines
    }
}

impl Shared {
    /// Reads `CONTAINER:[PART@]PATH:TARGET[:ro]`.
    fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::user(format!("PV_VOLUME_IMPORTS: {text:?} has another form"))
                .hint("write CONTAINER:[PART@]PATH:TARGET[:ro], like db:/var/lib/db:var/lib/db:ro")
        };
        let words: Vec<&str> = text.split(':').collect();
        let (container, what, target, writable) = match words.as_slice() {
            [container, what, target] | [container, what, target, "rw"] => (container, what, target, true),
            [container, what, target, "ro"] => (container, what, target, false),
            _ => return Err(wrong()),
        };
        let (part, path) = what.split_once('@').map_or((None, *what), |(part, path)| (Some(part), path));
        let inside = path.trim_matches('/');
        if [container, inside, target].into_iter().chain(part).any(|word| !is_word(word)) {
            return Err(wrong());
        }
        Ok(Self {
            container: (*container).to_owned(),
            directory: format!("docker--{}", inside.replace('/', "-")),
            part: part.map(|part| part.trim_matches('/').to_owned()),
            target: (*target).to_owned(),
            writable,
        })
    }
}

/// What can stand in a line as one field.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}
