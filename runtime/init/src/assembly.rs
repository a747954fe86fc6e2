//! From a verified revision to everything that its containers need, before anything of it is touched.
//!
//! ```text
//!   state ── resolve ──▶ groups, policies ──▶ Member      for the supervisor
//!     │                                  └──▶ Row         for the transition: what stops, what starts
//!     └── run.json ────▶ volumes ───────────▶ Volume      for the engine: what is mounted
//!     └── lxc.container.conf ───────────────▶ Program     for the engine: what is started, and how confined
//!         └── seccomp.bpf
//! ```
//!
//! A pure function: the same revision gives the same assembly, and a revision without one cannot be started at all.
//! Each line of a configuration is honoured, or it is an error that names it. A line that only concerns the program
//! which Cairn stands in for (its terminals, its own log) has no effect. Paths are those that configurations use
//! (`/volumes/NAME/VOLUME`); where these lie on a device is the [engine](crate::engine)'s.

mod base;
mod confine;
mod drivers;
mod error;
mod exports;
mod filter;
mod limits;
mod network;
mod nodes;
mod order;
mod program;
mod remount;
mod services;
mod volumes;
mod wires;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use formats::document::Warning;
use formats::drivers_json::{Aliases, Board};
use formats::leases::Leases;
use formats::lxc::{self, Item};
use formats::network::Pool;
use formats::path::ContainerName;
use formats::resolve::{self, Resolved, resolve};
use formats::rows::{Files, spread};
use formats::run_json::{AbsentRoles, Manifest};
use formats::state::Revision;
use statemachine::container::policy::STOP_GRACE;
use statemachine::container::{Backoff, Factor, Goal, Policy, Recovery, RecoveryPolicy, Span};
use statemachine::transition::{Change, InPlace, Row};

pub use base::BaseRoot;
pub(crate) use confine::READ_ONLY;
pub use drivers::{Driver, Wish, all as all_drivers, board_of};
pub use error::{AssemblyError, Refusal, Where};
pub use limits::{DeviceAccess, GroupSetting, Setting};
pub use network::{Attachment, Interface};
pub(crate) use program::below;
pub use program::{Imported, Program};
pub use volumes::{Volume, What};

use crate::supervisor::{Member, Switch};

/// What a device is configured for, where a revision does not say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What a container without roles may do.
    pub absent_roles: AbsentRoles,
    /// How long the containers of a group may take to their goals.
    pub group_timeout: Span,
    /// How long a container may take to stop.
    pub grace: Span,
    /// The release of the running kernel, whose modules containers see. `None`: they see none.
    pub kernel: Option<String>,
    /// Who has which address so far.
    pub leases: Leases,
    /// What the firmware has told of the board, for which drivers are chosen.
    pub board: Board,
    /// Which mount options of the revision apply. `None`: those of the policy `default`.
    pub remount_policy: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            absent_roles: AbsentRoles::default(),
            // As the default groups have it.
            group_timeout: Span::seconds(30),
            grace: STOP_GRACE,
            kernel: None,
            leases: Leases::default(),
            board: Board::default(),
            remount_policy: None,
        }
    }
}

/// A revision, ready to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assembly {
    /// The names of the groups, in the order of starting.
    pub groups: Vec<String>,
    /// The containers, group by group, in a group as the state has them.
    pub containers: Vec<Assembled>,
    /// Where hooks of its base system lie, if it has any.
    pub base: Option<BaseRoot>,
    /// The networks that containers can be in.
    pub pools: Vec<Pool>,
    /// Who has which address from now on.
    pub leases: Leases,
    /// What a person should hear about.
    pub warnings: Vec<String>,
    files: Files,
}

/// A container, ready to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assembled {
    /// Its name.
    pub name: ContainerName,
    /// The name of its group.
    pub group: String,
    /// For the supervisor.
    pub member: Member,
    /// Whether it may manage the device.
    pub manager: bool,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The drivers that it declares.
    pub drivers: Vec<Driver>,
    /// What is mounted for it, in order.
    pub volumes: Vec<Volume>,
    /// Whether the revision lays files over its root.
    pub overlay: bool,
    /// What is started; `None` where only its volumes are wanted.
    pub program: Option<Program>,
    /// Its interfaces; `None`: whatever its program shares or lacks.
    pub network: Option<Attachment>,
    /// Other containers whose volumes it uses, or a part of what they export as it is at its start.
    pub uses: BTreeSet<String>,
}

impl Assembled {
    /// The signal that it names as the one that asks it to end.
    #[must_use]
    pub fn halt(&self) -> Option<u8> {
        self.program.as_ref().and_then(|program| program.halt)
    }
}

impl Assembly {
    /// Assembles a revision. `read` gives the bytes of a file of it, by its key in the state.
    ///
    /// # Errors
    /// [`AssemblyError`] names the document and the line or member.
    pub fn of(
        revision: &Revision,
        settings: &Settings,
        mut read: impl FnMut(&str) -> Option<Vec<u8>>,
    ) -> Result<Self, AssemblyError> {
        let Resolved { device, containers, warnings } = resolve(revision)?;
        let mut warnings: Vec<String> = warnings.iter().map(Warning::to_string).collect();
        let policy_name = settings.remount_policy.as_deref().unwrap_or(remount::DEFAULT);
        let wrong = |why| AssemblyError::refused("device.json", Where::Member("remount".into()), why);
        let rules = remount::rules(&device.remount, policy_name).map_err(wrong)?;
        let mut doubts = Vec::new();
        let aliases = Aliases::of(revision, &mut doubts)?;
        warnings.extend(doubts.iter().map(Warning::to_string));
        let board = board_of(revision, &settings.board)?;
        let mut volumes = BTreeMap::new();
        let mut exports = exports::Exports::new();
        for container in &containers {
            exports.insert(container.manifest.name.clone(), exports::offered(&container.manifest));
            volumes.insert(container.manifest.name.clone(), volumes::of(&container.manifest, &device)?);
        }
        let files = Files::of(revision, &containers);
        let mut assembled = Vec::new();
        for container in containers {
            let name = container.manifest.name.clone();
            // `resolve` has found the group of each.
            let Some(group) = device.groups.get(container.group) else { continue };
            let policy = policy(&container, group.timeout, settings);
            error::without_effect(&container.manifest, &mut warnings);
            let drivers = drivers::of(&container.manifest, &aliases, &board, &mut warnings)?;
            let found = match (&container.manifest.config, policy.goal) {
                (Some(file), Goal::Started | Goal::Ready) => {
                    let document = format!("{name}/{file}");
                    let lines = lxc::lines(name.as_str(), file, &mut read)?;
                    let sight = program::Sight {
                        document: &document,
                        manifest: &container.manifest,
                        group: &group.name,
                        volumes: &volumes,
                        exports: &exports,
                        settings,
                    };
                    let (mut program, uses) = program::of(&lines, &sight, &mut warnings)?;
                    program.nodes = nodes::of(revision, &name, &program.launch, &mut warnings)?;
                    let own = remount::rules(&container.manifest.remount, policy_name);
                    let own = own.map_err(|why| AssemblyError::member(&container.manifest, "remount", why))?;
                    remount::apply(&mut program.launch, &[rules.clone(), own].concat(), &document, &mut warnings);
                    for line in &lines {
                        if let Item::SeccompProfile(file) = &line.item {
                            let filter = filter::of(name.as_str(), file, &mut read);
                            program.launch.process.seccomp = Some(filter.map_err(|why| program::refused(line, why))?);
                            // It may be what is too much.
                            let whole = program.launch.encode().map_err(Refusal::Launch);
                            whole.map_err(|why| program::refused(line, why))?;
                        }
                    }
                    Some((program, uses))
                }
                _ => None,
            };
            let overlay = formats::config::overlay(revision, &name).next().is_some();
            let (program, uses) = found.map_or((None, BTreeSet::new()), |(program, uses)| (Some(program), uses));
            let imported = program.iter().flat_map(|program| program.after.iter());
            let after = imported.chain(&container.manifest.conditions).cloned().collect();
            assembled.push(Assembled {
                group: group.name.clone(),
                member: Member { name: name.to_string(), group: container.group, policy, after },
                manager: container.manifest.is_manager(settings.absent_roles),
                drivers,
                volumes: volumes.get(&name).cloned().unwrap_or_default(),
                overlay,
                manifest: container.manifest,
                name,
                program,
                network: None,
                uses,
            });
        }
        assembled.sort_by_key(|container: &Assembled| container.member.group);
        services::settle(revision, &mut assembled, &mut warnings)?;
        order::check(&assembled)?;
        wires::check(&device.pools, &assembled)?;
        let leases = network::settle(&device.pools, &mut assembled, &settings.leases)?;
        let groups = device.groups.into_iter().map(|group| group.name).collect();
        let base = base::of(revision)?;
        Ok(Self { groups, containers: assembled, base, pools: device.pools, leases, warnings, files })
    }

    /// What each container in a pool finds in its `/etc/hosts`.
    #[must_use]
    pub fn hosts(&self) -> BTreeMap<String, String> {
        let networked = self.containers.iter().filter(|one| one.network.is_some());
        networked.map(|one| (one.name.to_string(), network::hosts(one, &self.containers))).collect()
    }

    /// A container by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Assembled> {
        self.containers.iter().find(|container| container.name.as_str() == name)
    }

    /// All containers, for the supervisor.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.containers.iter().map(|container| container.member.clone()).collect()
    }

    /// All files, as [`decide`](statemachine::transition::decide) wants them.
    #[must_use]
    pub fn rows(&self) -> Vec<Row<'_>> {
        self.files.rows()
    }
}

/// What a container in a pool finds in its `/etc/hosts` where the others are not known.
pub(crate) fn hosts_of_one(one: &Assembled) -> String {
    network::hosts(one, &[])
}

/// What the supervisor does for a change in place. A container whose files stay is started anew all the same if what is
/// assembled for it is another (a new container can take its place in a default group), or if it uses volumes of one that
/// goes or comes: what it has mounted is no longer what its configuration names. An import follows by itself.
#[must_use]
pub fn switch(change: InPlace<'_>, old: &Assembly, new: &Assembly) -> Switch {
    let (mut stop, mut start) = (BTreeSet::new(), BTreeSet::new());
    for change in change.changes() {
        let (stops, starts) = match change {
            Change::Stop(name) => (Some(name), None),
            Change::Start(name) => (None, Some(name)),
            Change::Replace(name) => (Some(name), Some(name)),
            Change::Keep(name) if old.get(name) != new.get(name) => (Some(name), Some(name)),
            Change::Keep(_) => (None, None),
        };
        stop.extend(stops.map(str::to_owned));
        start.extend(starts.map(str::to_owned));
    }
    let mut touched: BTreeSet<String> = stop.union(&start).cloned().collect();
    for name in spread(&mut touched, new.containers.iter().map(|one| (one.name.as_str(), &one.uses))) {
        stop.insert(name.clone());
        start.insert(name);
    }
    let start = new.members().into_iter().filter(|member| start.contains(&member.name)).collect();
    Switch { stop: stop.into_iter().collect(), start }
}

/// The machine's words for what the documents say. One `match` for each: both sides grow together.
fn policy(container: &resolve::Container, timeout: Option<u32>, settings: &Settings) -> Policy {
    use formats::group;
    let seconds = |seconds: u32| Span::seconds(seconds.into());
    let recovery = container.auto_recovery;
    Policy {
        goal: match container.status_goal {
            group::Goal::Mounted => Goal::Mounted,
            group::Goal::Started => Goal::Started,
            group::Goal::Ready => Goal::Ready,
        },
        timeout: timeout.map_or(settings.group_timeout, seconds),
        restart: container.restart_policy.into(),
        recovery: Recovery {
            policy: match recovery.policy {
                group::RecoveryPolicy::No => RecoveryPolicy::No,
                group::RecoveryPolicy::Always => RecoveryPolicy::Always,
                group::RecoveryPolicy::OnFailure => RecoveryPolicy::OnFailure,
                group::RecoveryPolicy::UnlessStopped => RecoveryPolicy::UnlessStopped,
            },
            max_retries: recovery.max_retries,
            retry_delay: seconds(recovery.retry_delay),
            backoff_factor: Factor(recovery.backoff_factor),
            reset_window: seconds(recovery.reset_window),
            stable_timeout: seconds(recovery.stable_timeout),
            backoff_policy: match recovery.after_all(container.restart_policy) {
                group::Backoff::Reboot => Backoff::Reboot,
                group::Backoff::Never => Backoff::Never,
                group::Backoff::Wait(wait) => Backoff::After(seconds(wait)),
            },
        },
        grace: settings.grace,
    }
}
