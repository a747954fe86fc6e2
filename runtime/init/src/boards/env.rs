//! The boot environment of any board, so that all that works with one is in the program once.
//!
//! ```text
//!   B::Env<OnDevice> ──▶ Box<dyn …> ──▶ DeviceFlash, whatever the board
//! ```
//!
//! Its errors are text: nobody above decides by what kind they are.

use std::fmt;

use boards_api::env::BootEnv;
use statemachine::boot::{Note, Wanted};

/// An environment of whatever type.
pub(super) struct AnyEnv(Box<dyn Erased + Send>);

/// What the environment of a board says of an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct EnvWords(String);

impl fmt::Display for EnvWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EnvWords {}

trait Erased {
    fn load(&mut self) -> (Result<Wanted, EnvWords>, Note);
    fn store(&mut self, wanted: &Wanted) -> Result<(), EnvWords>;
}

impl<E: BootEnv> Erased for E {
    fn load(&mut self) -> (Result<Wanted, EnvWords>, Note) {
        let (wanted, note) = BootEnv::load(self);
        (wanted.map_err(|error| EnvWords(error.to_string())), note)
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), EnvWords> {
        BootEnv::store(self, wanted).map_err(|error| EnvWords(error.to_string()))
    }
}

impl AnyEnv {
    pub(super) fn new(env: impl BootEnv + Send + 'static) -> Self {
        Self(Box::new(env))
    }
}

impl BootEnv for AnyEnv {
    type Error = EnvWords;

    fn load(&mut self) -> (Result<Wanted, EnvWords>, Note) {
        self.0.load()
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), EnvWords> {
        self.0.store(wanted)
    }
}
