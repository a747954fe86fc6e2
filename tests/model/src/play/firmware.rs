//! The firmware's turn: it picks, writes its note or fails to, and jumps; a kernel lives or dies.

use statemachine::boot::{Choice, Note, Spent, TrialKind, pick, unnoted};
use statemachine::recover::Boot;
use statemachine::update::{Event, Machine, Running};

use super::Table;
use crate::moves::{KernelLuck, NoteLuck};
use crate::world::{Live, Session, name, number};

impl Table<'_> {
    pub(super) fn boot(&mut self, note: NoteLuck, kernel: KernelLuck) {
        let setting = *self.setting;
        let flash = &mut self.world.flash;
        let read = match (setting.kind, &flash.wanted) {
            // `pv_trying` names what was tried; it is compared by name and knows no nonce.
            (TrialKind::Toggling, Some(wanted)) => {
                let trial = wanted.trial.as_ref().map(|trial| number(&trial.revision));
                let boots = u8::from(trial.is_some() && trial == flash.trying);
                Note::Read(Spent { nonce: wanted.nonce, boots })
            }
            _ => flash.note,
        };
        let asked = core::mem::take(&mut self.world.asked);
        let picked = pick(setting.kind, flash.wanted.as_ref(), &read, asked, setting.limits.chain);
        // As the trial, and not as a later entry of the list that has the same name.
        let tried = !matches!(note, NoteLuck::Refused | NoteLuck::Mended)
            && flash.wanted.as_ref().is_some_and(|wanted| {
                wanted.trial.as_ref().is_some_and(|trial| match setting.kind {
                    TrialKind::Counted => read.boots(wanted) < trial.max,
                    TrialKind::OneShot => asked,
                    TrialKind::Toggling => read.boots(wanted) == 0,
                })
            });
        let choice = match (note, &flash.wanted) {
            (NoteLuck::Refused | NoteLuck::Mended, Some(wanted)) => unnoted(wanted),
            _ => picked.choice,
        };
        match (note, picked.note, &flash.wanted) {
            (NoteLuck::Written, Some(spent), None) => flash.note = Note::Read(spent),
            (NoteLuck::Written, Some(spent), Some(wanted)) => {
                if setting.kind == TrialKind::Toggling {
                    let trial = wanted.trial.as_ref().map(|trial| number(&trial.revision));
                    flash.trying = trial.filter(|_| spent.boots == 1);
                } else {
                    flash.note = Note::Read(spent);
                }
            }
            (NoteLuck::Torn, ..) => {
                if setting.kind == TrialKind::Toggling {
                    flash.trying = None;
                } else {
                    flash.note = Note::Unreadable;
                }
                return;
            }
            _ => {}
        }
        let running = match choice {
            Choice::Revision(revision) => Some(number(&revision)),
            Choice::Factory => self.world.board_chooses(true),
            Choice::FirstSlot => self.world.board_chooses(false),
            Choice::Recovery => None,
        };
        self.jump(running, kernel, tried);
        if note == NoteLuck::Mended {
            // Nothing durable was done yet, and what PID 1 was told stands.
            let flash = &mut self.world.flash;
            flash.note = Note::Read(Note::spelled_out(flash.wanted.as_ref()));
        }
    }

    fn jump(&mut self, running: Option<u8>, kernel: KernelLuck, tried: bool) {
        self.about = running;
        if let Some(revision) = running {
            if tried {
                let most = self.setting.limits.ceiling + 1;
                self.world.ghost.tries = (self.world.ghost.tries + 1).min(most);
                if self.setting.kind != TrialKind::Toggling && self.world.ghost.tries > self.setting.limits.ceiling {
                    self.broken.push("a trial has a bounded number of boots");
                }
            }
            if !self.world.boots(revision) {
                self.broken.push("the firmware is never sent to what is not there");
                return;
            }
        }
        match kernel {
            KernelLuck::Dies { marked } => self.world.flash.marked |= marked,
            KernelLuck::Lives => self.wake(running),
        }
    }

    fn wake(&mut self, running: Option<u8>) {
        // Mounting replays the file system's journal.
        self.world.flash.visible = self.world.flash.visible.and(self.world.flash.trails);
        let flash = &self.world.flash;
        let note = match (self.setting.kind, &flash.wanted) {
            (TrialKind::Counted, _) => flash.note,
            (_, Some(wanted)) => Note::Read(Spent { nonce: wanted.nonce, boots: 0 }),
            (_, None) => Note::Unreadable,
        };
        let head = flash.journal.as_ref().map(|journal| &journal.header).or(flash.head.as_ref());
        let default = match (&flash.wanted, head) {
            (Some(wanted), _) => Some(number(&wanted.default)),
            (None, Some(head)) => Some(number(&head.default.revision)),
            (None, None) => None,
        };
        let boot = Boot {
            kind: self.setting.kind,
            running: running.map_or(Running::Recovery, |revision| Running::Revision(name(revision))),
            wanted: flash.wanted.clone(),
            note,
            journal: flash.journal.clone(),
            head: flash.head.clone(),
            marked: flash.marked,
            factory: self.world.boots(0).then(|| name(0)),
            default_verifies: default.is_some_and(|default| self.world.boots(default)),
        };
        self.world.flash.marked = false;
        self.world.session = Some(Session {
            machine: Machine::dark(self.setting.limits),
            booted: running,
            long: None,
            live: Live::Nothing,
            watched: false,
            met: false,
            soaking: false,
            lasted: false,
            soaked: None,
            sealed: false,
        });
        self.take(Event::Booted(boot));
    }
}
