//! A compose file with all that it includes and extends, its variables replaced: one tree.
//!
//! Paths are relative to the file that they stand in, and every value knows its file; so a service that another file lends
//! finds its own files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dotenv;
use super::interpolate::{self, Lookup, Unset};
use super::merge::merge;
use super::yaml::{self, Entry, Kind, Node, Place};
use crate::error::{Context as _, Error, Result};

/// The most files that include or extend each other.
const FILES_MAX: usize = 64;

/// The most services that extend each other in a row.
const DEPTH_MAX: usize = 16;

/// What belongs to several files is gathered under these keys.
const SHARED: [&str; 5] = ["services", "networks", "volumes", "configs", "secrets"];

/// What a compose file says.
#[derive(Debug)]
pub struct Loaded {
    /// All files as one tree.
    pub tree: Node,
    /// The directory of the first file.
    pub directory: PathBuf,
    /// What paths of a file are relative to.
    pub bases: BTreeMap<Arc<str>, PathBuf>,
    /// Variables of `.env`, which the services do not see but by name.
    pub dotenv: BTreeMap<String, String>,
    /// Variables that were wanted and are not set.
    pub unset: Vec<Unset>,
}

/// How files are read.
pub struct Source<'a> {
    /// The variables of the environment.
    pub environment: Lookup<'a>,
    /// Files of variables instead of `.env`.
    pub env_files: &'a [PathBuf],
}

struct Loader<'a> {
    environment: Lookup<'a>,
    bases: BTreeMap<Arc<str>, PathBuf>,
    unset: Vec<Unset>,
    files: usize,
    /// Those that are being included.
    open: Vec<PathBuf>,
}

/// Reads a small file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = yaml::BYTES_MAX as u64 + 1;
    // A device or a pipe may never end.
    if path.exists() && !path.is_file() {
        return Err(Error::user(format!("{} is no file", path.display())));
    }
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).context("read", path)?;
    if bytes.len() > yaml::BYTES_MAX {
        return Err(Error::user(format!("{} has more than {} bytes", path.display(), yaml::BYTES_MAX)));
    }
    Ok(bytes)
}

/// Reads a file of variables.
pub(crate) fn variables(path: &Path, lookup: Lookup<'_>, unset: &mut Vec<Unset>) -> Result<Vec<dotenv::Variable>> {
    let text = String::from_utf8(read(path)?).map_err(|_| Error::user(format!("{} is not UTF-8", path.display())))?;
    dotenv::parse(&path.display().to_string(), &text, lookup, unset)
}

/// Reads a compose file and all that it needs.
///
/// # Errors
/// A file cannot be read, or is no compose file; the message names file and line.
pub fn load(path: &Path, source: &Source<'_>) -> Result<Loaded> {
    let directory = crate::repo::durable::parent(path).to_owned();
    let mut loader = Loader {
        environment: source.environment,
        bases: BTreeMap::new(),
        unset: Vec::new(),
        files: 0,
        open: vec![path.to_owned()],
    };
    let env_files = match source.env_files {
        [] => Some(directory.join(".env")).filter(|path| path.is_file()).into_iter().collect(),
        files => files.to_vec(),
    };
    let dotenv = loader.dotenv(&env_files, &BTreeMap::new())?;
    let tree = loader.file(path, &directory, &dotenv)?;
    Ok(Loaded { tree, directory, bases: loader.bases, dotenv, unset: loader.unset })
}

impl Loader<'_> {
    fn dotenv(&mut self, files: &[PathBuf], before: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        let mut all = before.clone();
        for file in files {
            let known = |name: &str| (self.environment)(name).or_else(|| all.get(name).cloned());
            let found = variables(file, &known, &mut self.unset)?;
            all.extend(found.into_iter().filter_map(|(name, value)| Some((name, value?))));
        }
        Ok(all)
    }

    /// A file with what it includes and extends.
    fn file(&mut self, path: &Path, base: &Path, dotenv: &BTreeMap<String, String>) -> Result<Node> {
        let mut tree = self.plain(path, base, dotenv)?;
        let include = take(&mut tree, "include");
        let names: Vec<String> = services(&tree).iter().map(|entry| entry.key.clone()).collect();
        for name in names {
            let whole = self.extended(&tree, base, dotenv, &name, 0)?;
            if let Some(entry) = services_mut(&mut tree).and_then(|all| all.iter_mut().find(|entry| entry.key == name))
            {
                entry.value = whole;
            }
        }
        for item in include.as_ref().map(Node::items).unwrap_or_default() {
            self.include(&mut tree, item, base, dotenv)?;
        }
        Ok(tree)
    }

    /// A file as it stands, with its variables replaced.
    fn plain(&mut self, path: &Path, base: &Path, dotenv: &BTreeMap<String, String>) -> Result<Node> {
        self.files += 1;
        if self.files > FILES_MAX {
            return Err(Error::user(format!("more than {FILES_MAX} files include or extend each other"))
                .hint("does one include itself?"));
        }
        let name = path.display().to_string();
        let mut tree = yaml::parse(&name, &read(path)?)?;
        if !matches!(tree.kind, Kind::Map(_)) {
            return Err(tree.place.error(format!("a compose file is a map, and this is {}", tree.what())));
        }
        let known = |name: &str| (self.environment)(name).or_else(|| dotenv.get(name).cloned());
        interpolate::tree(&mut tree, &known, &mut self.unset)?;
        self.bases.insert(tree.place.file.clone(), base.to_owned());
        Ok(tree)
    }

    /// A service of a tree, laid over what it extends.
    fn extended(
        &mut self,
        tree: &Node,
        base: &Path,
        dotenv: &BTreeMap<String, String>,
        name: &str,
        depth: usize,
    ) -> Result<Node> {
        let service = services(tree).iter().find(|entry| entry.key == name).map(|entry| entry.value.clone());
        let Some(mut service) = service else {
            return Err(tree.place.error(format!("there is no service {name} to extend")));
        };
        let Some(extends) = take(&mut service, "extends") else { return Ok(service) };
        if depth >= DEPTH_MAX {
            return Err(extends.place.error(format!("more than {DEPTH_MAX} services extend each other")));
        }
        let other = extends.text().or_else(|| extends.get("service").and_then(Node::text));
        let Some(other) = other else { return Err(extends.place.error("`extends` names no service")) };
        let below = match extends.get("file").and_then(Node::text) {
            None => self.extended(tree, base, dotenv, other, depth + 1)?,
            Some(file) => {
                let path = base.join(file);
                let base = crate::repo::durable::parent(&path).to_owned();
                let tree = self.plain(&path, &base, dotenv).map_err(|error| at(&extends.place, error))?;
                self.extended(&tree, &base, dotenv, other, depth + 1).map_err(|error| at(&extends.place, error))?
            }
        };
        Ok(merge(name, below, service))
    }

    fn include(&mut self, tree: &mut Node, item: &Node, base: &Path, dotenv: &BTreeMap<String, String>) -> Result<()> {
        let texts = |node: Option<&Node>| -> Vec<String> {
            let one = node.and_then(Node::text).into_iter();
            one.chain(node.map(Node::items).unwrap_or_default().iter().filter_map(Node::text))
                .map(str::to_owned)
                .collect()
        };
        let paths = match item.text() {
            Some(path) => vec![path.to_owned()],
            None => texts(item.get("path")),
        };
        let [first] = paths.as_slice() else {
            return Err(item
                .place
                .error("`include` wants one path for each entry")
                .hint("files that are laid over each other are not read; write one that has what they come to"));
        };
        let path = base.join(first);
        let own = match item.get("project_directory").and_then(Node::text) {
            Some(directory) => base.join(directory),
            None => crate::repo::durable::parent(&path).to_owned(),
        };
        let mut files: Vec<PathBuf> = texts(item.get("env_file")).iter().map(|file| base.join(file)).collect();
        if files.is_empty() {
            files.extend(Some(own.join(".env")).filter(|file| own != base && file.is_file()));
        }
        let same = |one: &PathBuf| one.canonicalize().ok().is_some_and(|one| path.canonicalize().ok() == Some(one));
        if self.open.iter().any(same) {
            return Err(item.place.error(format!("{} includes itself", path.display())));
        }
        let dotenv = self.dotenv(&files, dotenv)?;
        self.open.push(path.clone());
        let other = self.file(&path, &own, &dotenv).map_err(|error| at(&item.place, error))?;
        self.open.pop();
        let Kind::Map(entries) = other.kind else { return Ok(()) };
        for entry in entries.into_iter().filter(|entry| SHARED.contains(&entry.key.as_str())) {
            let Kind::Map(all) = &mut tree.kind else { continue };
            let Some(own) = all.iter_mut().find(|own| own.key == entry.key) else {
                all.push(entry);
                continue;
            };
            let Kind::Map(own) = &mut own.value.kind else { continue };
            let Kind::Map(more) = entry.value.kind else { continue };
            for one in more {
                match own.iter().find(|own| own.key == one.key) {
                    Some(own) if own.value == one.value => {}
                    Some(own) => {
                        let what = format!("{}.{} is at {} already", entry.key, one.key, own.place);
                        return Err(one
                            .place
                            .error(what)
                            .hint("rename one; what is included is not laid over the rest"));
                    }
                    None => own.push(one),
                }
            }
        }
        Ok(())
    }
}

/// The same error, with the place that led to it.
fn at(place: &Place, error: Error) -> Error {
    Error { message: format!("{}, which {place} asks for", error.message), ..error }
}

fn services(tree: &Node) -> &[Entry] {
    tree.get("services").map(Node::entries).unwrap_or_default()
}

fn services_mut(tree: &mut Node) -> Option<&mut Vec<Entry>> {
    let Kind::Map(entries) = &mut tree.kind else { return None };
    let services = entries.iter_mut().find(|entry| entry.key == "services")?;
    if let Kind::Map(entries) = &mut services.value.kind { Some(entries) } else { None }
}

/// Takes a key out of a map.
fn take(node: &mut Node, key: &str) -> Option<Node> {
    let Kind::Map(entries) = &mut node.kind else { return None };
    let at = entries.iter().position(|entry| entry.key == key)?;
    Some(entries.remove(at).value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> Result<Loaded> {
        let scratch = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = scratch.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let environment = |name: &str| (name == "FROM_ENV").then(|| "env".to_owned());
        load(&scratch.path().join("c.yml"), &Source { environment: &environment, env_files: &[] })
    }

    #[test]
    fn variables_come_from_the_environment_and_then_from_the_file_beside_it() {
        let loaded = with(&[
            (".env", "FROM_ENV=file\nTAG=1.2\n"),
            ("c.yml", "services: {web: {image: 'a:${TAG}-${FROM_ENV}', user: '${NOBODY}'}}"),
        ])
        .unwrap();
        let web = loaded.tree.get("services").unwrap().get("web").unwrap();
        assert_eq!(web.get("image").unwrap().text(), Some("a:1.2-env"));
        assert_eq!(loaded.unset.iter().map(|unset| unset.name.as_str()).collect::<Vec<_>>(), ["NOBODY"]);
    }

    #[test]
    fn a_service_of_another_file_knows_where_it_comes_from() {
        let loaded = with(&[
            ("c.yml", "include: [more/d.yml]\nservices:\n  web:\n    extends: {file: base/b.yml, service: web}\n    user: a\n"),
            ("base/b.yml", "services:\n  web:\n    extends: common\n    env_file: web.env\n  common: {image: x, user: b}\n"),
            ("more/d.yml", "services: {db: {image: '${X}'}}\nvolumes: {data: }\n"),
            ("more/.env", "X=y\n"),
        ])
        .unwrap();
        let services = loaded.tree.get("services").unwrap();
        let web = services.get("web").unwrap();
        assert_eq!([web.get("image"), web.get("user")].map(|node| node.unwrap().text()), [Some("x"), Some("a")]);
        let file = web.get("env_file").unwrap();
        assert!(loaded.bases[&file.place.file].ends_with("base"));
        assert_eq!(services.get("db").unwrap().get("image").unwrap().text(), Some("y"));
        assert!(loaded.tree.get("volumes").unwrap().entries()[0].key == "data");
    }

    #[test]
    fn files_that_include_each_other_end_and_what_is_there_twice_is_named() {
        let error = with(&[("c.yml", "include: [c.yml]\nservices: {}\n")]).unwrap_err().to_string();
        assert!(error.contains("c.yml:1: ") && error.contains("includes itself"), "{error}");
        let error = with(&[("c.yml", "services: {a: {extends: b}, b: {extends: a}}\n")]).unwrap_err().to_string();
        assert!(error.contains("extend each other"), "{error}");
        let twice = with(&[
            ("c.yml", "include: [d.yml]\nservices: {web: {image: a}}\n"),
            ("d.yml", "services: {web: {image: b}}\n"),
        ]);
        let error = twice.unwrap_err().to_string();
        assert!(error.contains("d.yml:1: services.web is at"), "{error}");
        assert!(with(&[("c.yml", "services: {a: {extends: x}}\n")]).unwrap_err().to_string().contains("no service x"));
    }
}
