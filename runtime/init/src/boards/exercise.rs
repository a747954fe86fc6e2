//! Whether the media of a device take a write, and whether its firmware would see it.
//!
//! ```text
//!   a file of ours ── synced, renamed ──▶ storage           not on the disk yet, as a firmware reads it
//!   PID 1 writes journal and cells as they are, and stands its barrier
//!   the disk, read without replay ──▶ the file of ours?     the barrier is worth something here
//! ```
//!
//! What is written changes nothing: PID 1, the only writer of journal and cells, puts there what stands there, while no update
//! is under way. The file is of a name that nobody reads, and goes again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use boards_api::board::Board;
use boards_api::slots::Places;
use formats::json::{self, Kind, Limits, Value};
use formats::object::ObjectId;
use metal::disks::Roots;
use metal::place;

use super::inspect::unreplayed;
use crate::selftest::Findings;
use crate::settings::Settings;

/// The file, in the storage. One that a power cut has left is overwritten by the next.
const FILE: &str = "cairn.selftest";
const TEMPORARY: &str = "cairn.selftest.new";

/// Asks for everything that takes a write.
pub(super) fn exercise_as<B: Board>(
    settings: &Settings,
    storage: &Path,
    rewrite: &dyn Fn() -> Result<String, String>,
    findings: &mut Findings,
) {
    let reads_files = matches!(B::PLACES, Places::Trails) && settings.storage.is_some();
    let bytes = reads_files.then(fresh);
    let mut unseen = "this firmware reads no file of the storage";
    let mut written = false;
    if let Some(bytes) = &bytes {
        let put = put(storage, bytes).map(|()| format!("{} bytes in a new file", bytes.len()));
        (written, unseen) = (put.is_ok(), "there is no new file");
        findings.law("write storage", put.map_err(|error| format!("{}: {error}", storage.display())));
    }
    match rewrite().and_then(|answer| laws(&answer)) {
        Ok(laws) => {
            for (law, fault) in laws {
                findings.law(&law, fault.map_or_else(|| Ok("done, and nothing has changed by it".into()), Err));
            }
        }
        Err(why) => {
            (written, unseen) = (false, "PID 1 has not stood its barrier");
            findings.law("write", Err(format!("PID 1 was asked to write what it has written already: {why}")));
        }
    }
    match bytes.as_ref().filter(|_| written) {
        Some(bytes) => findings.law("seen by the firmware", seen(settings, bytes)),
        None => findings.skip("seen by the firmware", unseen),
    }
    if reads_files && let Err(error) = remove(storage) {
        findings.law("remove", Err(format!("{}: {error}; remove {FILE} by hand", storage.display())));
    }
}

/// Bytes that no file of an earlier selftest has.
fn fresh() -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let line = format!("{} {}.{:09}\n", std::process::id(), now.as_secs(), now.subsec_nanos());
    // More than what an inode holds by itself.
    line.repeat(100).into_bytes()
}

/// As everything that a firmware reads is written.
fn put(storage: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = storage.join(TEMPORARY);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, storage.join(FILE))?;
    File::open(storage)?.sync_all()
}

/// What was put there, whole or not.
fn remove(storage: &Path) -> io::Result<()> {
    for name in [TEMPORARY, FILE] {
        match fs::remove_file(storage.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    File::open(storage)?.sync_all()
}

/// What PID 1 has told: laws, and what is wrong with them.
fn laws(answer: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let unknown = || format!("its answer is not understood: {answer:?}");
    let value = json::parse(answer.as_bytes(), Limits::DOCUMENT).map_err(|_| unknown())?;
    let law = |law: &Value| {
        let members = law.as_object()?;
        let fault = match members.get("fault")?.kind() {
            Kind::Null => None,
            Kind::String(fault) => Some(fault.clone().into_owned()),
            _ => return None,
        };
        Some((members.get("law")?.as_str()?.to_owned(), fault))
    };
    let laws: Option<Vec<_>> = value.as_array().ok_or_else(unknown)?.iter().map(law).collect();
    laws.filter(|laws| !laws.is_empty()).ok_or_else(unknown)
}

/// The file, read from the disk as the firmware reads it.
fn seen(settings: &Settings, bytes: &[u8]) -> Result<String, String> {
    let place = settings.storage.as_ref().ok_or("the settings name no storage=")?;
    let device = place::find(&Roots::of_machine(), place, std::time::Duration::ZERO, &mut |_| ());
    let (found, length) = unreplayed(&device.map_err(|error| error.to_string())?, FILE)?;
    if found == ObjectId::of(bytes) {
        Ok(format!("{length} bytes, without a replay of the journal"))
    } else {
        Err("it would read something else, so an update could boot what is not there".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pid_1_tells_is_passed_on_and_a_strange_answer_is_no_success() {
        let told = laws(r#"[{"law":"barrier","fault":null},{"law":"write wanted","fault":"torn"}]"#);
        assert_eq!(told, Ok(vec![("barrier".into(), None), ("write wanted".into(), Some("torn".into()))]));
        for strange in ["", "[]", "{}", "[{}]", r#"[{"law":"x"}]"#, r#"[{"law":"x","fault":1}]"#, r#"[{"fault":null}]"#]
        {
            assert!(laws(strange).unwrap_err().contains("not understood"), "{strange}");
        }
    }

    #[test]
    fn each_file_is_new_replaces_the_one_before_and_goes_whole_or_not() {
        let storage = tempfile::tempdir().unwrap();
        let (first, second) = (fresh(), fresh());
        assert_ne!(first, second);
        put(storage.path(), &first).unwrap();
        put(storage.path(), &second).unwrap();
        assert_eq!(fs::read(storage.path().join(FILE)).unwrap(), second);
        assert_eq!(fs::read_dir(storage.path()).unwrap().count(), 1);
        fs::write(storage.path().join(TEMPORARY), "half").unwrap();
        remove(storage.path()).unwrap();
        assert_eq!(fs::read_dir(storage.path()).unwrap().count(), 0);
        remove(storage.path()).unwrap();
    }
}
