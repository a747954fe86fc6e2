//! Which containers offer what one requires, and whether that is where it is looked for.
//!
//! ```text
//!   db/services.json:  {"name": "api", "socket": "/run/db/api.sock"}       db/run.json:  "exports": ["/run/db"]
//!   app/run.json:      "services": {"required": [{"name": "api", "target": "/run/db/api.sock"}]}
//!   app/lxc.container.conf:  lxc.mount.entry = /exports/db/run/db run/db none bind,create=dir,optional 0 0
//! ```
//!
//! Nothing links services by itself here. What a container requires is there if it has mounted what the other exports, with the
//! socket at the target; a revision in which it is nowhere would start programs without what they need, and is refused.

use std::collections::BTreeMap;

use formats::path::ContainerName;
use formats::run_json::Requirement;
use formats::services_json::{Service, services};
use formats::state::Revision;

use super::Assembled;
use super::error::{AssemblyError, Refusal};
use super::program::{Imported, below};

/// What each container of a revision offers.
type Offers = BTreeMap<ContainerName, Vec<Service>>;

/// Makes every container wait for those whose services it requires.
pub(super) fn settle(
    revision: &Revision,
    assembled: &mut [Assembled],
    warnings: &mut Vec<String>,
) -> Result<(), AssemblyError> {
    let asks = |one: &Assembled| {
        let services = &one.manifest.services;
        !services.required.is_empty() || !services.optional.is_empty()
    };
    if !assembled.iter().any(asks) {
        return Ok(());
    }
    let mut offers = Offers::new();
    // What is not started listens nowhere.
    for name in assembled.iter().filter(|one| one.program.is_some()).map(|one| &one.name) {
        if let Some(entry) = revision.get(&format!("{name}/services.json")) {
            offers.insert(name.clone(), services(name, entry.raw)?);
        }
    }
    for one in assembled {
        let imports = one.program.as_ref().map_or(&[][..], |program| program.imports.as_slice());
        let mut after = Vec::new();
        for wanted in &one.manifest.services.required {
            let refused = |why| AssemblyError::member(&one.manifest, "services.required", why);
            let offered: Vec<_> = offered(&offers, &one.name, wanted).collect();
            let (first, service) = offered.first().ok_or_else(|| refused(Refusal::NoService(wanted.name.clone())))?;
            let linked = offered.iter().filter(|(name, service)| is_linked(imports, name, service, wanted));
            let found = after.len();
            after.extend(linked.map(|(name, _)| name.to_string()));
            if after.len() == found {
                let names = [wanted.name.as_str(), &wanted.target, first.as_str(), &service.socket].map(str::to_owned);
                return Err(refused(Refusal::Unlinked(Box::new(names))));
            }
        }
        for wanted in &one.manifest.services.optional {
            let mut offered = offered(&offers, &one.name, wanted).peekable();
            if offered.peek().is_some() && !offered.any(|(name, service)| is_linked(imports, name, service, wanted)) {
                let (name, target) = (&wanted.name, &wanted.target);
                warnings.push(format!(
                    "{}/run.json: services.optional: {name}: has no effect: nothing that it has mounted puts it at {target}",
                    one.name
                ));
            }
        }
        one.member.after.extend(after);
    }
    Ok(())
}

/// The others that offer a service, and where.
fn offered<'o>(
    offers: &'o Offers,
    own: &'o ContainerName,
    wanted: &'o Requirement,
) -> impl Iterator<Item = (&'o ContainerName, &'o Service)> {
    let others = offers.iter().filter(move |(name, _)| *name != own);
    let all = others.flat_map(|(name, list)| list.iter().map(move |service| (name, service)));
    all.filter(move |(_, service)| service.name == wanted.name)
}

/// Whether the socket is at the target, by something that the container has mounted of the other one.
fn is_linked(imports: &[Imported], name: &ContainerName, service: &Service, wanted: &Requirement) -> bool {
    let target = wanted.target.trim_matches('/');
    imports.iter().filter(|import| import.owner == *name).any(|import| {
        // Both have the same way to go below what is mounted.
        let there = below(&service.socket, &import.path);
        there.is_some() && there == below(target, &import.target)
    })
}
