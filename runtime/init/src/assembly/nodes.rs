//! Which further device nodes a container has: `mdev.json`, held against its configuration.

use container::Launch;
use formats::document::Warning;
use formats::mdev::{self, Rules};
use formats::path::ContainerName;
use formats::state::Revision;

use super::error::{AssemblyError, Refusal, Where};

/// The rules of a container; none if it has no such file.
pub(super) fn of(
    revision: &Revision,
    name: &ContainerName,
    launch: &Launch,
    warnings: &mut Vec<String>,
) -> Result<Rules, AssemblyError> {
    let document = format!("{name}/mdev.json");
    let Some(entry) = revision.get(&document) else { return Ok(Rules::default()) };
    let mut doubts = Vec::new();
    let rules = mdev::rules(name, entry.raw, &mut doubts)?;
    warnings.extend(doubts.iter().map(Warning::to_string));
    if let (None, false) = (launch.dev, rules.is_empty()) {
        // What is there is the device's own, or the image's: both are for others, too.
        warnings.push(format!("{document}: has no effect: with lxc.autodev = 0 its /dev is none of its own"));
        return Ok(Rules::default());
    }
    let is_outside = |(uid, gid): &(u32, u32)| {
        launch.users.as_ref().is_some_and(|it| it.uid(*uid).is_none() || it.gid(*gid).is_none())
    };
    let stranger = rules.owners().find(is_outside);
    match stranger {
        Some((uid, gid)) => Err(AssemblyError::refused(document, Where::Whole, Refusal::Owner(uid, gid))),
        None => Ok(rules),
    }
}
