//! A directory that holds one directory for each revision: `trails`, and `disks/rev`.
//!
//! ```text
//!   trails/7              whole                 trails/locals/x          whole
//!   trails/.8.new         being built           trails/locals/.y.new     being built
//!   trails/.6.old         being removed         trails/locals/.z.old     being removed
//! ```
//!
//! A directory appears and disappears by one rename, so what has the name of a revision is whole. What a power cut
//! leaves is recognised by its name and removed. No revision's name begins with a dot; other names are strangers, which
//! are neither shown nor touched.

use rustix::fs::RenameFlags;
use statemachine::ids::RevisionId;

use crate::dir::{Dir, DirError, failure, is_dir};
use crate::tree;

/// The directories of revisions.
#[derive(Debug)]
pub(crate) struct Shelf {
    dir: Dir,
}

/// A directory that is being built.
pub(crate) struct Draft {
    parent: Dir,
    name: String,
    leaf: String,
    pub(crate) dir: Dir,
}

/// What a power cut may leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leftover {
    /// Built in part.
    New,
    /// Removed in part.
    Old,
}

const LOCALS: &str = "locals";

impl Shelf {
    pub(crate) fn new(dir: Dir) -> Self {
        Self { dir }
    }

    /// The directory of a revision.
    pub(crate) fn get(&self, id: &RevisionId) -> Result<Option<Dir>, DirError> {
        self.dir.sub_if_any(id.as_str())
    }

    /// The revisions that have one, sorted by name.
    pub(crate) fn list(&self) -> Result<Vec<RevisionId>, DirError> {
        let mut found = Vec::new();
        self.each(|prefix, parent, name| {
            if let Ok(id) = RevisionId::parse(&format!("{prefix}{name}"))
                && parent.stat(name)?.is_some_and(|stat| is_dir(&stat))
            {
                found.push(id);
            }
            Ok(())
        })?;
        found.sort();
        Ok(found)
    }

    /// An empty directory in which a revision's is built. What an earlier attempt left is removed.
    pub(crate) fn draft(&self, id: &RevisionId) -> Result<Draft, DirError> {
        let (parent, leaf) = self.place(id)?;
        let name = Leftover::New.name(&leaf);
        if parent.stat(&name)?.is_some() {
            tree::remove(&parent, &name)?;
        }
        let dir = parent.make(&name)?;
        Ok(Draft { parent, name, leaf, dir })
    }

    /// Removes a revision's directory: at once for every reader, then its bytes. It tells how many those are.
    pub(crate) fn retire(&self, id: &RevisionId) -> Result<u64, DirError> {
        let (parent, leaf) = self.place(id)?;
        let old = Leftover::Old.name(&leaf);
        let mut bytes = 0;
        if parent.stat(&old)?.is_some() {
            bytes = tree::remove(&parent, &old)?;
        }
        parent.rename(&leaf, &old)?;
        parent.sync()?;
        Ok(bytes.saturating_add(tree::remove(&parent, &old)?))
    }

    /// Removes what power cuts left of these kinds; it tells how many bytes that freed.
    pub(crate) fn clear(&self, kinds: &[Leftover]) -> Result<u64, DirError> {
        let mut bytes: u64 = 0;
        self.each(|prefix, parent, name| {
            if kinds.iter().any(|kind| kind.is(prefix, name)) {
                bytes = bytes.saturating_add(tree::remove(parent, name)?);
            }
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Shows every name, with what stands before it in the name of a revision, and the directory that holds it.
    fn each(&self, mut visit: impl FnMut(&str, &Dir, &str) -> Result<(), DirError>) -> Result<(), DirError> {
        let mut names = |prefix: &str, parent: &Dir| {
            parent.each_name(|name| name.to_str().map_or(Ok(()), |name| visit(prefix, parent, name)))
        };
        names("", &self.dir)?;
        match self.dir.sub_if_any(LOCALS)? {
            Some(locals) => names("locals/", &locals),
            None => Ok(()),
        }
    }

    /// Waits until the name of a revision's directory is durable.
    pub(crate) fn sync(&self, id: &RevisionId) -> Result<(), DirError> {
        self.place(id)?.0.sync()
    }

    /// The directory that holds a revision's, and the name there.
    fn place(&self, id: &RevisionId) -> Result<(Dir, String), DirError> {
        if id.as_str().starts_with("locals/") {
            self.dir.make_durably(LOCALS)?;
        }
        let (parent, leaf) = self.dir.parent(id.as_str())?;
        Ok((parent, leaf.to_owned()))
    }
}

impl Draft {
    /// Gives it its name, durably. What was written in it must be durable before.
    pub(crate) fn publish(self) -> Result<(), DirError> {
        let Self { parent, name, leaf, dir: _ } = &self;
        rustix::fs::renameat_with(parent, name, parent, leaf, RenameFlags::NOREPLACE)
            .map_err(|errno| failure("rename", parent.name(leaf), errno))?;
        parent.sync()
    }

    /// Removes it.
    pub(crate) fn discard(self) -> Result<(), DirError> {
        tree::remove(&self.parent, &self.name).map(|_| ())
    }
}

impl Leftover {
    fn suffix(self) -> &'static str {
        match self {
            Self::New => ".new",
            Self::Old => ".old",
        }
    }

    fn name(self, leaf: &str) -> String {
        format!(".{leaf}{}", self.suffix())
    }

    fn is(self, prefix: &str, name: &str) -> bool {
        let leaf = name.strip_prefix('.').and_then(|name| name.strip_suffix(self.suffix()));
        leaf.is_some_and(|leaf| RevisionId::parse(&format!("{prefix}{leaf}")).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::{Scratch, id};

    fn shelf(scratch: &Scratch) -> Shelf {
        Shelf::new(scratch.dir().make("trails").unwrap())
    }

    #[test]
    fn a_draft_is_nobody_s_revision_until_it_is_published() {
        let scratch = Scratch::new();
        let shelf = shelf(&scratch);
        for name in ["7", "locals/a.b"] {
            let draft = shelf.draft(&id(name)).unwrap();
            draft.dir.write_new("x", b"1").unwrap();
            assert_eq!(
                (shelf.list().unwrap().contains(&id(name)), shelf.get(&id(name)).unwrap().is_some()),
                (false, false)
            );
            draft.publish().unwrap();
            assert_eq!(scratch.text(&format!("trails/{name}/x")), "1");
        }
        assert_eq!(shelf.list(), Ok(vec![id("7"), id("locals/a.b")]));
    }

    #[test]
    fn strangers_are_neither_shown_nor_touched() {
        let scratch = Scratch::new();
        let shelf = shelf(&scratch);
        for name in ["007", "backup", ".hidden", ".x.new", "locals/.y", "locals/a b", "locals/.a b.old", ".07.old"] {
            std::fs::create_dir_all(scratch.path().join("trails").join(name)).unwrap();
        }
        symlink("7", scratch.path().join("trails/current")).unwrap();
        symlink("backup", scratch.path().join("trails/8")).unwrap();
        std::fs::write(scratch.path().join("trails/9"), "").unwrap();
        let before = (scratch.names("trails"), scratch.names("trails/locals"));
        assert_eq!(shelf.list(), Ok(vec![]));
        assert_eq!(shelf.clear(&[Leftover::New, Leftover::Old]), Ok(0));
        assert_eq!((scratch.names("trails"), scratch.names("trails/locals")), before);
        assert!(matches!(shelf.get(&id("8")), Err(DirError::Link { .. })), "a link is no revision");
        assert!(matches!(shelf.get(&id("9")), Err(DirError::Kind { .. })), "nor is a file");
    }

    #[test]
    fn what_a_power_cut_left_of_building_or_removing_goes_and_what_is_whole_stays() {
        let scratch = Scratch::new();
        let shelf = shelf(&scratch);
        for name in ["7", ".8.new", ".6.old", "locals/a", "locals/.b.new", "locals/.c.old"] {
            std::fs::create_dir_all(scratch.path().join("trails").join(name).join("deep/er")).unwrap();
        }
        shelf.clear(&[Leftover::Old]).unwrap();
        assert_eq!(scratch.names("trails"), [".8.new", "7", "locals"]);
        shelf.clear(&[Leftover::New, Leftover::Old]).unwrap();
        assert_eq!(
            (scratch.names("trails"), scratch.names("trails/locals")),
            (vec!["7".into(), "locals".into()], vec!["a".into()])
        );
    }

    #[test]
    fn a_revision_is_retired_though_an_earlier_one_of_its_name_was_not_removed_whole() {
        let scratch = Scratch::new();
        let shelf = shelf(&scratch);
        std::fs::create_dir_all(scratch.path().join("trails/.7.old/deep/er")).unwrap();
        std::fs::create_dir_all(scratch.path().join("trails/7/deep/er")).unwrap();
        shelf.retire(&id("7")).unwrap();
        assert_eq!(scratch.names("trails"), [""; 0]);
    }

    #[test]
    fn a_link_in_place_of_locals_leads_nowhere() {
        let scratch = Scratch::new();
        let shelf = shelf(&scratch);
        std::fs::create_dir_all(scratch.path().join("else/a")).unwrap();
        symlink("../else", scratch.path().join("trails/locals")).unwrap();
        assert!(shelf.list().is_err() && shelf.get(&id("locals/a")).is_err() && shelf.retire(&id("locals/a")).is_err());
        assert!(scratch.has("else/a"));
    }
}
