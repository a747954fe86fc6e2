//! A directory with a repository, a configuration and the real program.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use formats::state::Revision;
use formats::trust::Trust;
use formats::verify::{Mode, Policy, Untrusted, VerifyError, verify};
use tempfile::TempDir;

/// Where the repository, the configuration and whatever else a test makes are.
pub(crate) struct Bench {
    scratch: TempDir,
}

/// What a call of the program left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) const RUN_JSON: &str =
    r##"{"#spec":"service-manifest-run@1","name":"web","type":"lxc","config":"lxc.container.conf","group":"app"}"##;

impl Bench {
    /// A new repository with nothing in it.
    pub(crate) fn new() -> Self {
        let bench = Self { scratch: tempfile::tempdir().unwrap() };
        fs::create_dir(bench.repo()).unwrap();
        bench.ok(&["init"]);
        bench
    }

    /// A repository with one container, committed and signed.
    pub(crate) fn with_web() -> Self {
        let bench = Self::new();
        bench.write("web/run.json", RUN_JSON);
        bench.write("web/lxc.container.conf", "lxc.init.cmd = /bin/web\n");
        bench.write("web/root.squashfs", "not a real image");
        bench.write("web/src.json", r##"{"#spec":"service-manifest-src@1"}"##);
        bench.ok(&["add"]);
        bench.ok(&["commit", "-m", "first"]);
        bench
    }

    /// A repository that holds a golden state with its objects, and no files yet.
    pub(crate) fn with_golden(name: &str) -> Self {
        let bench = Self::new();
        fs::copy(golden(name), bench.path(".pvr/json")).unwrap();
        for object in fs::read_dir(golden("objects")).unwrap() {
            let object = object.unwrap();
            fs::copy(object.path(), bench.path(".pvr/objects").join(object.file_name())).unwrap();
        }
        bench
    }

    pub(crate) fn top(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.top().join("repo")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.repo().join(path)
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), bytes).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap()
    }

    /// The program, in the repository, with nothing of the caller's environment that it reads.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("pvr"));
        command.args(args).current_dir(self.repo()).env_clear().env("HOME", self.top());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        noted(args, self.command(args).output().unwrap().into())
    }

    /// The program, with the tools of this machine and what is named.
    pub(crate) fn with(&self, env: &[(&str, &str)], args: &[&str]) -> Ran {
        let mut command = self.command(args);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(env.iter().copied());
        noted(args, command.output().unwrap().into())
    }

    pub(crate) fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "pvr {args:?}: {}", ran.stderr);
        ran
    }

    /// The program fails as a person's matter and says all of this.
    pub(crate) fn refused(&self, args: &[&str], parts: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 1, "pvr {args:?}: {}", ran.stderr);
        // Other lines may come first: what was found on the way, or that a key was made.
        assert!(ran.stderr.lines().any(|line| line.starts_with("error: ")), "{}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "pvr {args:?} should say {part:?}: {}", ran.stderr);
        }
        ran
    }

    /// Everything that must not change when a command fails.
    pub(crate) fn books(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        let mut open = vec![self.path(".pvr"), self.path("_sigs")];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    open.push(entry.path());
                } else if entry.file_name() != "lock" && entry.file_name() != "known" {
                    all.push((entry.path(), fs::read(entry.path()).unwrap()));
                }
            }
        }
        all.sort();
        all
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision::parse(&fs::read(self.path(".pvr/json")).unwrap()).unwrap()
    }

    /// What a strict device says that trusts the developer's own key and nothing else.
    pub(crate) fn strict(&self) -> Result<(), VerifyError> {
        let mut trust = Trust::new();
        let public = self.top().join(".config/pvr/pvs/pub.default.pem");
        trust.add_public_keys(&fs::read(public).unwrap()).unwrap();
        strict(&self.revision(), &trust)
    }
}

/// What a strict device says.
pub(crate) fn strict(revision: &Revision, trust: &Trust) -> Result<(), VerifyError> {
    let policy = Policy { mode: Mode::Strict, boot_chain_checks_fit: false };
    // The first day of 2060, when all golden certificates are valid.
    let now = trust.at(Duration::from_secs(2_840_140_800));
    verify(Untrusted::new(revision.clone()), policy, &now).map(drop)
}

/// Says to `cargo xtask test pvr` what was run and with what it ended.
pub(crate) fn noted(args: &[&str], ran: Ran) -> Ran {
    if let Some(notes) = std::env::var_os("PVR_TEST_NOTES") {
        let words: Vec<_> = args.iter().take(3).copied().collect();
        let line = format!("{} {}\n", ran.code, words.join(" ").replace('\n', " "));
        // One write at the end of the file, so that tests beside each other do not mix their lines.
        let mut file = fs::File::options().append(true).create(true).open(notes).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    ran
}

pub(crate) fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/formats/golden/states").join(name)
}

/// A copy of a golden private key that only its owner can read.
pub(crate) fn golden_key(bench: &Bench, name: &str) -> String {
    let path = bench.top().join(format!("{name}.key.pem"));
    fs::copy(golden(&format!("keys/{name}.key.pem")), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
