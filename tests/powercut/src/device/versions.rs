//! The journal between versions of Cairn: what the running one is told, and which body it writes.
//!
//! | found | told | written |
//! |---|---|---|
//! | a body that it reads | all of it | the newest body that itself, the default and the previous revision read |
//! | a newer one | its head | another head before the same body, until what runs becomes the default itself |

use formats::journal::{MAX_LEN, decode, rehead};
use init::driver::Flash;
use statemachine::ids::RevisionId;
use statemachine::journal::{Header, Journal};

use super::{Device, Planted, text};
use crate::cairns::{self, Cairn, Read};

impl Device {
    /// The facts of the journal for PID 1, as its version reads them.
    pub(crate) fn told(&mut self) -> (Option<Journal>, Option<Header>) {
        let Ok(record) = self.read_record() else { return (None, None) };
        match cairns::read(&record, self.cairn(&self.running)) {
            Ok(Read::Whole(journal)) => (Some(*journal), None),
            Ok(Read::Head(header)) => (None, Some(*header)),
            Err(_) => (None, None),
        }
    }

    /// A newer body stands as it was written until a Cairn that cannot read it has become the default itself; and none
    /// that is default or previous ever meets one.
    ///
    /// # Errors
    /// What two versions have done to each other.
    pub(crate) fn versions_agree(&mut self) -> Result<(), String> {
        if !self.is_mixed() {
            return Ok(());
        }
        let Ok(record) = self.read_record() else { return Ok(()) };
        if !self.newer.is_empty() && !self.newer.contains(&cairns::body(&record)) {
            let number = cairns::number(&record);
            return Err(format!("a newer body is gone, and nobody has taken its place as default: body {number}"));
        }
        if cairns::number(&record) <= self.cairn(&self.running).newest() {
            return Ok(());
        }
        let header = decode(&record).map_err(text)?.header;
        let previous = self.wanted().ok().and_then(|wanted| wanted.previous);
        if header.default.revision == self.running || previous.as_ref() == Some(&self.running) {
            return Err(format!("{} is default or previous, and cannot read the journal", self.running));
        }
        Ok(())
    }

    /// Whether versions of Cairn meet on this device; where not, nobody has to look.
    fn is_mixed(&self) -> bool {
        self.cairns.iter().any(|cairn| *cairn != Cairn::This)
    }

    pub(super) fn cairn(&self, revision: &RevisionId) -> Cairn {
        let number = revision.as_str().parse::<usize>().ok();
        number.and_then(|number| self.cairns.get(number)).copied().unwrap_or(Cairn::This)
    }

    /// The number of the body to write: everybody who may have to read it can.
    fn shape(&mut self) -> u8 {
        let own = self.cairn(&self.running).newest();
        if self.planted == Planted::NewerTooEarly {
            return own;
        }
        let Ok(wanted) = self.wanted() else { return own };
        let readers = [Some(&wanted.default), wanted.previous.as_ref()];
        readers.into_iter().flatten().map(|reader| self.cairn(reader).newest()).fold(own, u8::min)
    }

    /// The journal as the running Cairn writes it.
    pub(super) fn record(&mut self, journal: &Journal) -> Result<Vec<u8>, String> {
        let own = self.cairn(&self.running).newest();
        if !self.is_mixed() {
            return cairns::encode(journal, own).map_err(text);
        }
        let header = &journal.header;
        let itself = header.default.revision == self.running;
        let newer = self.read_record().ok().filter(|old| cairns::number(old) > own);
        if let (Some(old), false, true) = (newer, itself, self.planted != Planted::NewerReplaced) {
            let mut bytes = [0; MAX_LEN];
            let length = rehead(&old, header, &mut bytes).map_err(text)?;
            return Ok(bytes[..length].to_vec());
        }
        let shape = self.shape();
        let record = cairns::encode(journal, shape).map_err(text)?;
        if shape == cairns::FUTURE {
            self.newer.push(cairns::body(&record));
        } else if itself || own == cairns::FUTURE {
            self.newer.clear();
        }
        Ok(record)
    }
}
