//! Who runs a container, and which program: what an image says by name, looked up in the image itself.

use super::facts::{Facts, GROUP, PASSWD};
use crate::error::{Error, Result};
use crate::image::tree::Node;

/// Where programs are looked for if the image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A user of an image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Its home, if it has one.
    pub(super) home: Option<String>,
}

/// `USER` of an image: name or number, and after a colon name or number of the group.
pub(super) fn user(facts: &Facts<'_>) -> Result<User> {
    let text = facts.config.text("User").map_err(|why| Error::user(format!("the image's configuration: {why}")))?;
    find(text, &facts.lines(PASSWD), || facts.lines(GROUP))
}

fn find(text: &str, passwd: &[Vec<String>], group: impl FnOnce() -> Vec<Vec<String>>) -> Result<User> {
    let (who, of) = text.split_once(':').map_or((text, None), |(who, of)| (who, Some(of)));
    let who = if who.is_empty() { "0" } else { who };
    let field = |line: &[String], at: usize| line.get(at).cloned().unwrap_or_default();
    let named = passwd.iter().find(|line| field(line, 0) == who).or_else(|| {
        let number: u32 = who.parse().ok()?;
        passwd.iter().find(|line| field(line, 2).parse() == Ok(number))
    });
    let missing = |what: &str, name: &str, file: &str| {
        Error::user(format!("the image runs as {what} {name:?}, which is not in its /etc/{file}"))
            .hint("name it by number: USER in the image's recipe")
    };
    let uid = match who.parse() {
        Ok(number) => number,
        Err(_) => named.and_then(|line| field(line, 2).parse().ok()).ok_or_else(|| missing("user", who, "passwd"))?,
    };
    let gid = match of {
        None | Some("") => named.and_then(|line| field(line, 3).parse().ok()).unwrap_or(0),
        Some(name) => match name.parse() {
            Ok(number) => number,
            Err(_) => {
                let groups = group();
                let found =
                    groups.iter().find(|line| field(line, 0) == name).and_then(|line| field(line, 2).parse().ok());
                found.ok_or_else(|| missing("group", name, "group"))?
            }
        },
    };
    let home = named.map(|line| field(line, 5)).filter(|home| home.starts_with('/'));
    Ok(User { uid, gid, home })
}

/// The full name of a program: what has no slash is looked for along `PATH`. `None` if it is nowhere.
pub(super) fn program(facts: &Facts<'_>, word: &str, env: &[(String, String)]) -> Option<String> {
    if word.contains('/') {
        return Some(word.to_owned());
    }
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map_or(PATH, |(_, path)| path.as_str());
    path.split(':').filter(|directory| directory.starts_with('/')).find_map(|directory| {
        let full = format!("{}/{word}", directory.trim_end_matches('/'));
        let inode = facts.tree.inode(facts.tree.find(full.as_bytes())?);
        let runs = matches!(inode.node, Node::File(_)) && inode.attributes.mode & 0o111 != 0;
        runs.then_some(full)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(text: &str) -> Vec<Vec<String>> {
        text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
    }

    fn found(text: &str) -> Result<(u32, u32, Option<String>)> {
        let passwd = book("root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/false");
        find(text, &passwd, || book("adm:x:4:web")).map(|user| (user.uid, user.gid, user.home))
    }

    #[test]
    fn users_are_names_or_numbers() {
        for (text, uid, gid, home) in [
            ("", 0, 0, Some("/root")),
            ("web", 33, 34, Some("/srv")),
            ("33", 33, 34, Some("/srv")),
            ("1000", 1000, 0, None),
            ("1000:7", 1000, 7, None),
            ("web:adm", 33, 4, Some("/srv")),
        ] {
            assert_eq!(found(text).unwrap(), (uid, gid, home.map(str::to_owned)), "{text}");
        }
        assert!(found("nobody").unwrap_err().message.contains("passwd"));
        assert!(found("web:x").unwrap_err().message.contains("/etc/group"));
        assert!(found("-1").is_err());
    }
}
