//! What a machine is made of. [`Plan::build`] checks it and makes the files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::disk::{Disk, escaped};
use crate::error::{Error, Result};
use crate::firmware::{OVMF_CODE, OVMF_VARS, UBOOT_ARM64};
use crate::kind::Kind;
use crate::ports::Port;
use crate::power::Machine;
use crate::record::Record;

/// Multiplies every limit of time, for machines that are slow or busy.
const PATIENCE: &str = "CAIRN_PATIENCE";

/// Who gets the bytes of the console as they come.
pub(crate) type Listener = Arc<Mutex<dyn FnMut(&[u8]) + Send>>;

/// A machine before it is built.
pub struct Plan {
    pub(crate) kind: Kind,
    disks: Vec<Disk>,
    kernel: Option<PathBuf>,
    initrd: Option<PathBuf>,
    append: String,
    dtb: Option<PathBuf>,
    memory: u32,
    watchdog: bool,
    reboot: bool,
    ports: Vec<(u16, Option<u16>)>,
    trace: Option<PathBuf>,
    log: Option<PathBuf>,
    dir: Option<PathBuf>,
    packages: Option<PathBuf>,
    listener: Option<Listener>,
    patience: Option<f64>,
    further: Vec<String>,
}

impl Plan {
    /// A machine of this kind with its usual memory, a network, and nothing else.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            disks: Vec::new(),
            kernel: None,
            initrd: None,
            append: String::new(),
            dtb: None,
            memory: kind.memory(),
            watchdog: false,
            reboot: true,
            ports: Vec::new(),
            trace: None,
            log: None,
            dir: None,
            packages: None,
            listener: None,
            patience: None,
            further: Vec::new(),
        }
    }

    /// Adds a disk. The firmware starts from the first one.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// A kernel that is started without a firmware, and its command line.
    #[must_use]
    pub fn kernel(mut self, kernel: impl Into<PathBuf>, append: impl Into<String>) -> Self {
        (self.kernel, self.append) = (Some(kernel.into()), append.into());
        self
    }

    /// The initramfs of that kernel.
    #[must_use]
    pub fn initrd(mut self, initrd: impl Into<PathBuf>) -> Self {
        self.initrd = Some(initrd.into());
        self
    }

    /// The device tree of that kernel, instead of the one that the machine has.
    #[must_use]
    pub fn device_tree(mut self, dtb: impl Into<PathBuf>) -> Self {
        self.dtb = Some(dtb.into());
        self
    }

    /// Megabytes of memory.
    #[must_use]
    pub fn memory(mut self, megabytes: u32) -> Self {
        self.memory = megabytes;
        self
    }

    /// A watchdog (Intel 6300ESB) that resets the machine.
    #[must_use]
    pub fn watchdog(mut self) -> Self {
        self.watchdog = true;
        self
    }

    /// A reset that the guest asks for switches the machine off.
    #[must_use]
    pub fn no_reboot(mut self) -> Self {
        self.reboot = false;
        self
    }

    /// A port of loopback that leads to this one of the guest: see [`Machine::port`].
    #[must_use]
    pub fn forward(mut self, guest: u16) -> Self {
        self.ports.push((guest, None));
        self
    }

    /// The same, of that number unless there is none or somebody has it.
    #[must_use]
    pub fn forward_from(mut self, host: impl Into<Option<u16>>, guest: u16) -> Self {
        self.ports.push((guest, host.into()));
        self
    }

    /// A second serial line, whose bytes are appended to a file as they come; see [`Kind`] for its name in the guest.
    #[must_use]
    pub fn second_serial(mut self, file: impl Into<PathBuf>) -> Self {
        self.trace = Some(file.into());
        self
    }

    /// A file for everything that the console says, line by line with its time, and for the events.
    #[must_use]
    pub fn log(mut self, file: impl Into<PathBuf>) -> Self {
        self.log = Some(file.into());
        self
    }

    /// Where copies of disks and the variables of the firmware go, and stay. Otherwise they go with the machine.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The directory of unpacked packages, if it is not `target/packages` of this workspace.
    #[must_use]
    pub fn packages(mut self, dir: impl Into<PathBuf>) -> Self {
        self.packages = Some(dir.into());
        self
    }

    /// Gets every byte of the console as it comes, on a thread of its own.
    #[must_use]
    pub fn listen(mut self, listener: impl FnMut(&[u8]) + Send + 'static) -> Self {
        self.listener = Some(Arc::new(Mutex::new(listener)));
        self
    }

    /// Multiplies every limit of time. Without it the variable `CAIRN_PATIENCE` does, and without that nothing.
    #[must_use]
    pub fn patience(mut self, factor: f64) -> Self {
        self.patience = Some(factor);
        self
    }

    /// A further argument for QEMU.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.further.push(argument.into());
        self
    }

    /// Checks the plan, finds the programs and makes the files. Nothing runs yet.
    pub fn build(self) -> Result<Machine> {
        self.check()?;
        let (dir, own) = match &self.dir {
            Some(dir) => {
                fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
                (dir.clone(), None)
            }
            None => {
                let own =
                    TempDir::with_prefix("cairn-machine-").map_err(Error::file("create", std::env::temp_dir()))?;
                (own.path().to_owned(), Some(own))
            }
        };
        let log = self.log.as_ref().map(|log| File::create(log).map_err(Error::file("create", log))).transpose()?;
        let ports = self.ports.iter().map(|(guest, wanted)| Port::hold(*guest, *wanted));
        let ports = ports.collect::<Result<Vec<_>>>()?;
        let disks = self.disks.iter().enumerate().map(|(number, disk)| disk.clone().settle(&dir, number));
        let disks = disks.collect::<Result<Vec<_>>>()?;
        let program = self.kind.qemu().find(self.packages.as_deref())?;
        let mut arguments = self.arguments(&ports)?;
        arguments.extend(self.firmware(&dir)?);
        arguments.extend(self.further.iter().cloned());
        Ok(Machine::new(self.kind, program, arguments, Record::new(log))
            .with_parts(disks, ports, dir, own)
            .with_ways(self.listener, self.patience.unwrap_or_else(usual_patience)))
    }

    fn check(&self) -> Result<()> {
        let wrong = |text: &str| Err(Error::Plan(format!("{:?} {text}", self.kind)));
        if self.kind.is_direct() != self.kernel.is_some() {
            return wrong(if self.kind.is_direct() { "needs a kernel" } else { "takes its kernel from its disk" });
        }
        if !self.kind.takes_memory(self.memory) {
            return wrong("has 1024 MB of memory; give less to its kernel, with mem= on the command line");
        }
        if self.watchdog && !self.kind.has_watchdog() {
            return wrong("has no watchdog");
        }
        if self.kind == Kind::OrangePiPc {
            for disk in &self.disks {
                if disk.length()?.is_some_and(|length| !length.is_power_of_two()) {
                    return wrong("takes SD cards whose size is a power of two");
                }
            }
            if self.disks.len() > 1 {
                return wrong("has one card reader");
            }
        }
        Ok(())
    }

    /// Everything but the disks, the firmware, and what differs from one start to the next.
    fn arguments(&self, ports: &[Port]) -> Result<Vec<String>> {
        let mut arguments: Vec<String> = self.kind.machine().iter().map(|text| (*text).to_owned()).collect();
        let mut add = |texts: &[&str]| arguments.extend(texts.iter().map(|text| (*text).to_owned()));
        // Named, so that a kernel module that can only half of it is never asked.
        add(&["-accel", "tcg", "-nodefaults", "-display", "none", "-rtc", "base=utc"]);
        add(&["-m", &format!("{}M", self.memory)]);
        add(&["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
        if let Some(trace) = &self.trace {
            add(&["-chardev", &format!("file,id=trace,path={},append=on", escaped(trace))]);
            add(&self.kind.second_serial("trace").each_ref().map(String::as_str));
        }
        if self.watchdog {
            add(&["-device", "i6300esb", "-action", "watchdog=reset"]);
        }
        if !self.reboot {
            add(&["-no-reboot"]);
        }
        if let Some(kernel) = &self.kernel {
            add(&["-kernel", &text(kernel)?, "-append", &self.append]);
        }
        if let Some(initrd) = &self.initrd {
            add(&["-initrd", &text(initrd)?]);
        }
        if let Some(dtb) = &self.dtb {
            add(&["-dtb", &text(dtb)?]);
        }
        let network = self.kind.network(&ports.iter().map(Port::option).collect::<String>());
        add(&network.iter().map(String::as_str).collect::<Vec<_>>());
        Ok(arguments)
    }

    /// The firmware, with variables of its own where it has some.
    fn firmware(&self, dir: &Path) -> Result<Vec<String>> {
        let find = |packaged: crate::firmware::Packaged| packaged.find(self.packages.as_deref());
        Ok(match self.kind {
            Kind::X86_64Uefi => {
                let (code, vars) = (find(OVMF_CODE)?, dir.join("variables.fd"));
                fs::copy(find(OVMF_VARS)?, &vars).map_err(Error::file("create", &vars))?;
                let flash = |unit: u32, file: &Path, read_only: &str| {
                    let file = escaped(file);
                    ["-drive".to_owned(), format!("if=pflash,format=raw,unit={unit},file={file}{read_only}")]
                };
                [flash(0, &code, ",readonly=on"), flash(1, &vars, "")].concat()
            }
            Kind::Arm64UBoot => vec!["-bios".into(), text(&find(UBOOT_ARM64)?)?],
            Kind::X86_64Direct | Kind::Arm64Direct | Kind::OrangePiPc => Vec::new(),
        })
    }
}

fn usual_patience() -> f64 {
    let factor = std::env::var(PATIENCE).ok().and_then(|text| text.parse().ok());
    factor.filter(|factor: &f64| factor.is_finite() && *factor > 0.0).unwrap_or(1.0)
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::Plan(format!("{} is no text", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(plan: Plan) -> String {
        plan.build().err().expect("the plan must be refused").to_string()
    }

    #[test]
    fn what_a_machine_cannot_be_is_refused_before_anything_starts() {
        assert!(refusal(Plan::new(Kind::X86_64Direct)).contains("needs a kernel"));
        assert!(refusal(Plan::new(Kind::Arm64UBoot).kernel("vmlinuz", "")).contains("from its disk"));
        assert!(refusal(Plan::new(Kind::OrangePiPc).memory(64)).contains("mem="));
        assert!(refusal(Plan::new(Kind::OrangePiPc).watchdog()).contains("no watchdog"));
    }

    #[test]
    fn an_sd_card_has_a_size_that_is_a_power_of_two() {
        let dir = tempfile::tempdir().unwrap();
        let card = dir.path().join("card");
        File::create(&card).unwrap().set_len(3 << 20).unwrap();
        assert!(refusal(Plan::new(Kind::OrangePiPc).disk(Disk::of(&card))).contains("power of two"));
    }
}
