//! The device of a run: made from a factory state, booted by the stand-in, spoken to through its ports.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::factory::{COMMIT_DELAY, Factory, LINE};
use super::scene::Scene;
use super::story::Story;
use super::tools::{Tools, quiet};

/// The port of the endpoint inside of the device.
pub(super) const ENDPOINT: u16 = 12368;

/// The port of the web server inside of the device.
pub(super) const WEB: u16 = 80;

/// The name of its process in the scene.
pub(crate) const NAME: &str = "device";

/// A container to a line, and of the one that is asked for, the number. Nothing else in it is called `pid`.
const PID_OF: &str = r#"'s/{"name":/\n&/g' | sed -n "s/^{\"name\":\"$1\",.*\"pid\":\([0-9]*\).*/\1/p" | grep ."#;

/// PID 1 as this machine counts, of what the stand-in says.
const PID1_OF: &str = r#"sed -n 's/.*"pid1": *\([0-9]*\).*/\1/p' | grep ."#;

/// A program inside of a container, with the rights of that container.
pub(super) const INSIDE: &str = r#"there=$1; shift
exec pvcontrol exec "$there" -- "$@"
"#;

/// Whole at once, for whoever waits for it.
const TELL: &str = r#"there=$(outside "/proc/$(pid "$1")/root/tmp")
echo "$2" > "$there/do.new"
mv "$there/do.new" "$there/do"
"#;

/// Keys for a console: a line, and after a while those that leave it.
pub(super) const KEYS: &str = r#"{ sleep 2; printf "%s\r" "$2"; sleep 3; printf "\001q"; }"#;

/// What runs writes twice a second, so its log is the newest.
const SAYS: &str = r#"logs=$(outside /storage/logs)
newest=$(ls -t "$logs"/*/"$1"/console.log "$logs"/*/*/"$1"/console.log 2> /dev/null | head -n 1)
tail -n 1 "$newest"
"#;

const REVISION: &str = r#"sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | grep .
"#;

const STEPS: &str = r#"grep -o '"name": *"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/' | sort
"#;

const HELPER: &str = r"sed -n 's/^helper *front *\([0-9][0-9]*\) .*/\1/p' | grep .
";

const APP: &str = r#"set -e
name=$1; shift
pvr app add "$name" --from "oci:$IMAGES/library-shell-latest" --platform "$PLATFORM" --group app "$@"
mkdir -p "_config/$name"
cat > "_config/$name/app"
"#;

/// Whatever stands in the words is one text for `sed`.
const ASKS: &str = r#"asks=$(printf '{"exec": %s, %s}' "$2" "$3" | sed 's/[&\\|]/\\&/g')
exec sed -i "s|\"status_goal\"|\"readiness\": $asks, &|" "$1/run.json"
"#;

const BEATS: &str = r#"echo "trap 'exit 0' TERM; while :; do echo '$1'; sleep 0.5 & wait \$!; done"
"#;

/// What a container with a pulse knows of itself: how many beats, and hundredths of a second of the longest pause.
const PULSE: &str = "peek \"${1:-pulse}\" /tmp/pulse\n";

const BEAT: &str = r#"until line=$(pulse "$@") && test "${line#* }" != "$line"; do sleep 0.1; done
echo "${line% *}"
"#;

const PAUSE: &str = r#"until line=$(pulse "$@") && test "${line#* }" != "$line"; do sleep 0.1; done
echo "${line#* }"
"#;

const LONGEST: &str = r#"until line=$(pulse ${2:+"$2"}) && test "${line#* }" != "$line"; do sleep 0.1; done
echo "${line% *} beats, the longest pause ${line#* }0 ms"
test "${line#* }" -le "$1"
"#;

const FETCH: &str = "exec timeout 10 busybox wget -q -Y off -O - \"$@\"\n";

pub(crate) struct Device {
    host: PathBuf,
    dir: PathBuf,
    /// The endpoint, as this machine reaches it: `127.0.0.1:PORT`.
    pub(crate) endpoint: String,
    /// The web server, likewise.
    pub(crate) web: String,
    /// Where the stand-in writes what happens.
    pub(crate) events: PathBuf,
    /// All the memory that it may have: PID 1, its helper and every container, with the files that they read.
    memory: Option<String>,
    /// What boots when every revision is used up: the program of this tree.
    recovery: PathBuf,
}

impl Device {
    /// Makes the device of a story, with a factory state in it.
    pub(crate) fn create(scene: &mut Scene, tools: &Tools, factory: &Factory, story: &Story) -> Result<Self> {
        let dir = scene.path("device");
        let mut create = Command::new(&tools.host);
        create.arg("create").arg(&dir).arg("--storage").arg(&factory.storage).arg("--trust").arg(&factory.trust);
        create.args(["--line", LINE, "--commit-delay", &COMMIT_DELAY.to_string()]);
        create.args(story.size.iter().flat_map(|size| ["--size", size]));
        quiet(&mut create)?;
        Ok(Self {
            host: tools.host.clone(),
            endpoint: format!("127.0.0.1:{}", free_port(ENDPOINT)?),
            web: format!("127.0.0.1:{}", free_port(8080)?),
            events: scene.path("events.jsonl"),
            memory: story.memory.clone(),
            recovery: tools.cairn.clone(),
            dir,
        })
    }

    /// Switches it on.
    pub(crate) fn start(&self, scene: &mut Scene) -> Result<()> {
        let publish = |here: &str, there: u16| format!("{}:{there}", here.rsplit(':').next().unwrap_or_default());
        let mut run = Command::new(&self.host);
        run.arg("run").arg(&self.dir).arg("--events").arg(&self.events).arg("--recovery").arg(&self.recovery);
        run.args(["--publish", &publish(&self.endpoint, ENDPOINT), "--publish", &publish(&self.web, WEB)]);
        run.args(self.memory.iter().flat_map(|memory| ["--memory", memory]));
        scene.has_device(&self.host, &self.dir)?;
        let log = scene.start(NAME, &mut run)?;
        scene.wait("the first boot", Duration::from_secs(30), || {
            if !scene.runs(NAME) {
                bail!("the stand-in has ended:\n{}", fs::read_to_string(&log)?.trim_end());
            }
            Ok(self.events.exists().then_some(()))
        })
    }

    /// The stand-in, and the directory of the device.
    pub(crate) fn place(&self) -> (&Path, &Path) {
        (&self.host, &self.dir)
    }

    /// Kills PID 1, or cuts the power.
    pub(crate) fn kill(&self, power_cut: bool) -> Result<()> {
        quiet(Command::new(&self.host).arg("kill").arg(&self.dir).args(power_cut.then_some("--power-cut")))
    }

    /// Programs for scripts and for a person.
    ///
    /// | | |
    /// |---|---|
    /// | `pvr`, `pvcontrol`, `pvtx` | those of this tree; the last two inside of the device |
    /// | `fetch URL` | the page |
    /// | `pid CONTAINER` | of its first process, as the device counts |
    /// | `outside PATH` | a path of the device, as this machine reaches it |
    /// | `inside CONTAINER COMMAND…` | the command in there, with the rights of the container |
    /// | `peek CONTAINER FILE` | the file in there, read from outside |
    /// | `tell CONTAINER TEXT` | its `/tmp/do` holds that text, written from outside |
    /// | `slay CONTAINER` | its first process is killed, from outside |
    /// | `types CONTAINER TEXT` | types that line at its console, and says what is seen there |
    /// | `pair` | makes `pvr` one that the device lets in: on loopback that is everybody |
    /// | `console` | what the device has written to its console |
    /// | `says CONTAINER` | the last line that it has written |
    /// | `revision default`, `… previous` | the name of that revision |
    /// | `table CONTAINER` | its line of the table, with single blanks |
    /// | `helper` | the process of `front`, as the device counts |
    /// | `die CONTAINER TIMES` | writes that number to its `/tmp/die` |
    /// | `steps` | the names of all that are on the device, sorted |
    /// | `app NAME …` | makes an app in the current repository; what it does is a script on the standard input |
    /// | `asks NAME WORDS MEMBERS` | has the device ask that app, in the repository of this directory, whether it is ready: a list of words, and the times |
    /// | `beat [NAME]`, `longest N [NAME]` | how often the container `pulse`, or this one, has beaten; its longest pause, of at most N hundredths of a second |
    /// | `pause [NAME]` | that pause |
    /// | `beats TEXT` | such a script: says the text twice a second until it is asked to end |
    pub(crate) fn write_programs(&self, bin: &Path, pvr: &Path) -> Result<()> {
        let (host, dir) = (quoted(&self.host), quoted(&self.dir));
        let programs = [
            ("pvcontrol", format!("exec {host} exec {dir} -- pvcontrol \"$@\"\n")),
            ("pvtx", format!("exec {host} exec {dir} -- pvtx \"$@\"\n")),
            ("outside", format!("echo \"/proc/$({host} status {dir} --json | {PID1_OF})/root$1\"\n")),
            ("inside", INSIDE.to_owned()),
            ("peek", "cat \"$(outside \"/proc/$(pid \"$1\")/root$2\")\"\n".to_owned()),
            ("tell", TELL.to_owned()),
            (
                "slay",
                "exec nsenter --target \"$(outside | cut -d / -f 3)\" --pid kill -KILL \"$(pid \"$1\")\"\n".to_owned(),
            ),
            ("types", format!("{KEYS} | pvcontrol console \"$1\"\n")),
            ("pair", ":\n".to_owned()),
            ("console", format!("cat {dir}/console.log\n")),
            ("says", SAYS.to_owned()),
            ("helper", format!("pvcontrol --table daemons ls | {HELPER}")),
            ("die", "echo \"$2\" > \"$(outside \"/proc/$(pid \"$1\")/root/tmp/die\")\"\n".to_owned()),
        ];
        write_all(bin, &shared(pvr))?;
        write_all(bin, &programs)
    }
}

/// Those that are made of others, and so the same for every device.
pub(super) fn shared(pvr: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("pvr", format!("exec {} \"$@\"\n", quoted(pvr))),
        ("pid", format!("pvcontrol --json containers ls | sed {PID_OF}\n")),
        ("table", "pvcontrol --table containers ls | tr -s ' ' | sed 's/ $//' | grep \"^$1 \"\n".to_owned()),
        ("revision", format!("pvcontrol --json device | {REVISION}")),
        ("steps", format!("pvcontrol --json steps ls | {STEPS}")),
        ("app", APP.to_owned()),
        ("asks", ASKS.to_owned()),
        ("beats", BEATS.to_owned()),
        ("pulse", PULSE.to_owned()),
        ("beat", BEAT.to_owned()),
        ("pause", PAUSE.to_owned()),
        ("longest", LONGEST.to_owned()),
        ("fetch", FETCH.to_owned()),
    ]
}

/// Puts programs of the shell into a directory.
pub(super) fn write_all(bin: &Path, programs: &[(&str, String)]) -> Result<()> {
    programs.iter().try_for_each(|(name, text)| write_program(&bin.join(name), &format!("#!/bin/sh\n{text}")))
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// A path as one word of a shell.
pub(crate) fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

/// This port of loopback if nobody has it, else one that nobody has.
fn free_port(wanted: u16) -> Result<u16> {
    let taken = TcpListener::bind(("127.0.0.1", wanted)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    Ok(taken.context("no free port on loopback")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word_of_a_shell() {
        let path = Path::new("/tmp/it's here");
        let output = Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(path))).output().unwrap();
        assert_eq!(output.stdout, b"/tmp/it's here");
    }

    #[test]
    fn a_port_that_somebody_has_is_not_taken() {
        let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        assert_ne!(free_port(port).unwrap(), port);
    }
}
