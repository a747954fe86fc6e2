//! What tools see of PID 1.

use container::cgroup::{Pressure, Usage};
use formats::control::{
    ContainerView, DeviceView, GroupView, InterfaceView, NetworkView, PressureView, RecoveryView, UpdateView, UsageView,
};
use formats::device_json::Device;
use statemachine::container::{Backoff, RecoveryPolicy, RestartPolicy, Status};
use statemachine::ids::RevisionId;
use statemachine::journal::Record;

use super::Core;
use crate::assembly::{Attachment, Interface};
use crate::supervisor::Hold;
use crate::trace::{phase_word, revision_of, state_word};

impl Core {
    pub(super) fn device_view(&self) -> DeviceView {
        let wanted = self.machine.wanted();
        let journal = self.machine.journal();
        DeviceView {
            board: self.settings.fit.to_string(),
            revision: self.running().cloned(),
            default: wanted.map(|wanted| wanted.default.clone()),
            previous: wanted.and_then(|wanted| wanted.previous.clone()),
            factory: wanted.and_then(|wanted| wanted.factory.clone()),
            standing: if journal.body.proven { "DONE" } else { "UPDATED" }.to_owned(),
            update: self.update_view(),
            uptime_ms: self.now().0,
            warnings: self.warnings.clone(),
        }
    }

    fn update_view(&self) -> Option<UpdateView> {
        let phase = phase_word(self.machine.phase()?).to_owned();
        let state = state_word(self.machine.state()).to_owned();
        if let Some(revision) = revision_of(self.machine.state()).and_then(|name| RevisionId::parse(name).ok()) {
            return Some(UpdateView { revision, phase, state, reason: None });
        }
        let (revision, reason) = match &self.machine.journal().body.record {
            Record::Committed(revision) | Record::Updated(revision) => (revision.clone(), None),
            Record::Trying { what, .. } => (what.revision.clone(), None),
            Record::RolledBack(revision, reason) => (revision.clone(), Some(self.explained(*reason))),
        };
        Some(UpdateView { revision, phase, state, reason })
    }

    pub(super) fn container_views(&self) -> Vec<ContainerView> {
        let now = self.now();
        let views = self.supervisor.containers().filter_map(|(member, container)| {
            let seat = self.table.get(&member.name)?;
            let recovery = &member.policy.recovery;
            let hold = self.supervisor.holds_back(member);
            Some(ContainerView {
                name: member.name.clone(),
                group: seat.assembled.group.clone(),
                status: container.status().word().to_owned(),
                status_goal: goal(member.policy.goal).to_owned(),
                restart_policy: restart(member.policy.restart).to_owned(),
                roles: if seat.assembled.manager { vec!["mgmt".to_owned()] } else { Vec::new() },
                recovery: (recovery.policy != RecoveryPolicy::No).then(|| RecoveryView {
                    policy: policy(recovery.policy).to_owned(),
                    max_retries: recovery.max_retries,
                    current_retries: container.retries(),
                    stable_timeout: u32::try_from(recovery.stable_timeout.0 / 1_000).unwrap_or(u32::MAX),
                    is_stable: container.is_stable(),
                    backoff_policy: backoff(recovery.backoff_policy),
                }),
                user_stopped: container.is_user_stopped(),
                pid: seat.process.as_ref().map(|process| process.pid.as_raw_nonzero().get().unsigned_abs()),
                restarts: seat.starts.saturating_sub(1),
                next_retry_ms: match hold {
                    Some(Hold::Until(at)) => Some(at),
                    Some(Hold::ThisBoot) => None,
                    None => container.next_retry(),
                }
                .map(|at| at.until(now).0),
                reason: match hold {
                    Some(Hold::Until(_)) => Some("held back for a while: boots keep ending early".to_owned()),
                    Some(Hold::ThisBoot) => Some("held back in this boot: boots keep ending early".to_owned()),
                    None => self.reason_of(&member.name).cloned(),
                },
                usage: seat.process.as_ref().map(|process| usage(process.usage())),
                network: seat.assembled.network.as_ref().map(network),
            })
        });
        views.collect()
    }

    pub(super) fn group_views(&self) -> Vec<GroupView> {
        let Some(current) = &self.current else { return Vec::new() };
        // It was read before it ran.
        let Ok(device) = Device::of(&current.revision, &mut Vec::new()) else { return Vec::new() };
        let groups = device.groups.iter().enumerate();
        let views = groups.map(|(index, group)| {
            let members = self.supervisor.containers().filter(|(member, _)| member.group == index);
            let status = members.map(|(_, container)| container.status()).max_by_key(|status| worse(*status));
            GroupView {
                name: group.name.clone(),
                status_goal: group.status_goal.as_str().to_owned(),
                restart_policy: group.restart_policy.as_str().to_owned(),
                status: status.map_or("READY", Status::word).to_owned(),
            }
        });
        views.collect()
    }

    /// One word about all containers, as tools wait for it: `READY` once every goal is met, else the worst.
    pub(super) fn whole_status(&self) -> &'static str {
        let worst = self.supervisor.containers().map(|(_, container)| container.status()).max_by_key(|one| worse(*one));
        worst.filter(|_| !self.supervisor.is_met()).unwrap_or(Status::Ready).word()
    }
}

/// How bad a status is for a group.
fn worse(status: Status) -> u8 {
    match status {
        Status::Ready => 0,
        Status::Started => 1,
        Status::Mounted => 2,
        Status::Stopped => 3,
        Status::Starting => 4,
        Status::Installed => 5,
        Status::Blocked => 6,
        Status::Stopping => 7,
        Status::Recovering => 8,
        Status::Failed => 9,
    }
}

fn usage(usage: Usage) -> UsageView {
    let Usage { memory, memory_peak, memory_kills, cpu, tasks, read, written, .. } = usage;
    let pressure = [usage.cpu_pressure, usage.memory_pressure, usage.io_pressure]
        .map(|pressure| pressure.map(|Pressure { some, full }| PressureView { some, full }));
    UsageView { memory, memory_peak, memory_kills, cpu_us: cpu, tasks, read, written, pressure }
}

fn network(network: &Attachment) -> NetworkView {
    let interface = |one: &Interface| InterfaceView {
        name: one.name.clone(),
        pool: one.pool.name.clone(),
        ip: one.address.to_string(),
        mac: net::Mac::new(one.mac).map(|mac| mac.to_string()).unwrap_or_default(),
    };
    NetworkView {
        interfaces: network.interfaces.iter().map(interface).collect(),
        ports: network.ports.iter().map(ToString::to_string).collect(),
    }
}

fn goal(goal: statemachine::container::Goal) -> &'static str {
    use statemachine::container::Goal;
    match goal {
        Goal::Mounted => "MOUNTED",
        Goal::Started => "STARTED",
        Goal::Ready => "READY",
    }
}

fn restart(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::System => "system",
        RestartPolicy::Container => "container",
    }
}

fn policy(policy: RecoveryPolicy) -> &'static str {
    match policy {
        RecoveryPolicy::No => "no",
        RecoveryPolicy::Always => "always",
        RecoveryPolicy::OnFailure => "on-failure",
        RecoveryPolicy::UnlessStopped => "unless-stopped",
    }
}

fn backoff(policy: Backoff) -> String {
    match policy {
        Backoff::Reboot => "reboot".to_owned(),
        Backoff::Never => "never".to_owned(),
        Backoff::After(span) => format!("{}s", span.0 / 1_000),
    }
}
