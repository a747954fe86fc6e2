//! What a container uses, in whichever generation tells it.
//!
//! | what           | v2                               | v1, where it was joined                     |
//! |----------------|----------------------------------|---------------------------------------------|
//! | memory         | `memory.current`, `memory.peak`  | `memory.usage_in_bytes`, `…max_usage_…`     |
//! | killed for it  | `memory.events`: `oom_kill`      | `memory.oom_control`: `oom_kill`            |
//! | processor time | `cpu.stat`: `usage_usec`         |                                             |
//! | processes      | `pids.current`                   | `pids.current`                              |
//! | disks          | `io.stat`                        | `blkio.throttle.io_service_bytes_recursive` |
//! | pressure       | `cpu`, `memory`, `io.pressure`   |                                             |
//!
//! A v2 group tells its processor time and its pressure even where v1 has the controllers. What no file tells is
//! `None`, and so is everything of a group that is gone: a container that ends while it is looked at is no error.

use std::io::Read as _;
use std::path::Path;

use super::{Group, field};

/// What a container uses. `None` is not known on this device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Bytes of memory, with what is cached for it.
    pub memory: Option<u64>,
    /// The most that it was.
    pub memory_peak: Option<u64>,
    /// How often the kernel has killed in it for lack of memory.
    pub memory_kills: Option<u64>,
    /// Microseconds of processor time.
    pub cpu: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Bytes read from disks.
    pub read: Option<u64>,
    /// Bytes written to disks.
    pub written: Option<u64>,
    /// How long it had to wait for the processor.
    pub cpu_pressure: Option<Pressure>,
    /// How long it had to wait for memory.
    pub memory_pressure: Option<Pressure>,
    /// How long it had to wait for disks.
    pub io_pressure: Option<Pressure>,
}

/// Which part of the last ten seconds was waited, in hundredths of a percent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pressure {
    /// By at least one process.
    pub some: u16,
    /// By all of them.
    pub full: u16,
}

/// The most that is read of a file: one with a line for each disk is the longest.
const FILE_MAX: u64 = 64 * 1024;

impl Group {
    /// What the container uses now. Reads a dozen small files, and waits for nothing.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let v2 = |file: &str| text(&self.v2.join(file));
        let v1 = |controller: &str, file: &str| text(&self.v1_dir(controller)?.join(file));
        let number = |text: String| text.trim().parse().ok();
        let (read, written) = v2("io.stat").map(|text| io(&text)).or_else(|| Some(blkio(&v1("blkio", BLKIO)?))).unzip();
        let pressed = |file: &str| pressure(&v2(file)?);
        Usage {
            memory: v2("memory.current").or_else(|| v1("memory", "memory.usage_in_bytes")).and_then(number),
            memory_peak: v2("memory.peak").or_else(|| v1("memory", "memory.max_usage_in_bytes")).and_then(number),
            memory_kills: v2("memory.events")
                .or_else(|| v1("memory", "memory.oom_control"))
                .and_then(|text| field(&text, "oom_kill")),
            cpu: v2("cpu.stat").and_then(|text| field(&text, "usage_usec")),
            tasks: v2("pids.current").or_else(|| v1("pids", "pids.current")).and_then(number),
            read,
            written,
            cpu_pressure: pressed("cpu.pressure"),
            memory_pressure: pressed("memory.pressure"),
            io_pressure: pressed("io.pressure"),
        }
    }
}

const BLKIO: &str = "blkio.throttle.io_service_bytes_recursive";

/// The text of a file that may not be there, as far as it is of use.
fn text(path: &Path) -> Option<String> {
    // Nearly all are shorter, and come at once: a file of the kernel has no length by which room could be made.
    let mut text = String::with_capacity(2048);
    std::fs::File::open(path).ok()?.take(FILE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Bytes read and written of all disks: `8:0 rbytes=4096 wbytes=0 rios=1 …`, a line each.
fn io(text: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let words = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(name));
        words.filter_map(|number| number.parse::<u64>().ok()).fold(0, u64::saturating_add)
    };
    (sum("rbytes="), sum("wbytes="))
}

/// The same of v1: `8:0 Read 4096`, a line for each disk and way.
fn blkio(text: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(' ')?.1.strip_prefix(name));
        lines.filter_map(|number| number.trim().parse::<u64>().ok()).fold(0, u64::saturating_add)
    };
    (sum("Read "), sum("Write "))
}

/// `some avg10=1.23 avg60=… total=…`, and a second line that begins with `full`, which older kernels lack for the
/// processor.
fn pressure(text: &str) -> Option<Pressure> {
    let average = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(" avg10="))?;
        let (whole, rest) = line.split_once('.')?;
        let hundredths = rest.get(..2)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(hundredths) {
            return None;
        }
        whole.parse::<u16>().ok()?.checked_mul(100)?.checked_add(hundredths.parse().ok()?)
    };
    Some(Pressure { some: average("some")?, full: average("full").unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_that_of_the_last_ten_seconds() {
        let text =
            "some avg10=65.25 avg60=73.30 avg300=66.59 total=38299\nfull avg10=0.07 avg60=0.00 avg300=0.20 total=1\n";
        assert_eq!(pressure(text), Some(Pressure { some: 6525, full: 7 }));
        assert_eq!(pressure("some avg10=100.00 avg60=0 total=1\n"), Some(Pressure { some: 10_000, full: 0 }));
        for bad in
            ["", "some\n", "some avg10=", "some avg10=1", "some avg10=1.2", "some avg10=+1.20 ", "some avg10=700.00 "]
        {
            assert_eq!(pressure(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn disks_are_added_up_in_either_generation() {
        let text = "7:1 rbytes=10 wbytes=1 rios=1 wios=1 dbytes=0 dios=0\n8:0 rbytes=5 wbytes=0 rios=9\n253:0 \n";
        assert_eq!(io(text), (15, 1));
        let text = "8:0 Read 10\n8:0 Write 1\n8:0 Sync 11\n8:0 Total 11\n7:1 Read 5\n7:1 Write 0\nTotal 16\n";
        assert_eq!(blkio(text), (15, 1));
        assert_eq!(io(&format!("8:0 rbytes={0}\n8:1 rbytes={0}\n", u64::MAX)), (u64::MAX, 0));
    }
}
