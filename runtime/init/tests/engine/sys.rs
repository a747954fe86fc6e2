//! A block device that comes and goes when a test says so.

use std::fs::File;
use std::path::Path;

use harness::Result;
use rustix::ioctl::{IntegerSetter, ioctl};

/// `LOOP_CTL_ADD`, `LOOP_CTL_REMOVE`: the number is the argument itself.
const ADD: rustix::ioctl::Opcode = 0x4C80;
const REMOVE: rustix::ioctl::Opcode = 0x4C81;

/// A loop device that nobody had, gone with the value.
pub(crate) struct Come {
    control: File,
    pub(crate) number: usize,
}

impl Come {
    pub(crate) fn new() -> Result<Self> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        // Far from those that the kernel gives out, and another one in every process.
        let is_free = |number: &usize| !Path::new(&format!("/sys/block/loop{number}")).exists();
        let first = 1000 + std::process::id() as usize % 1000;
        let number = (first..first + 100).find(is_free).ok_or("every loop device is there already")?;
        // SAFETY: the call takes an integer, reads and writes no memory, and the opcode is the one of `ADD`.
        unsafe { ioctl(&control, IntegerSetter::<ADD>::new_usize(number)) }?;
        Ok(Self { control, number })
    }
}

impl Drop for Come {
    fn drop(&mut self) {
        // SAFETY: as for `ADD`. A device that somebody uses stays, and the next test says so.
        let _ = unsafe { ioctl(&self.control, IntegerSetter::<REMOVE>::new_usize(self.number)) };
    }
}
